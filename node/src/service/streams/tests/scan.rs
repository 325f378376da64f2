//! Parts of the store.

use super::Tested;
use crate::engine::{Direction, StateReader};
use crate::service::streams::scan::Scan;
use crate::service::wire::{Positions, Start, Times};

/// Positions 0 to 5 at the times 10, 20, 20, 30, 40 and 50.
fn six_events() -> Tested {
    let mut tested = Tested::new();
    for (epoch_us, stream_id) in [(10, "a"), (20, "b"), (20, "a"), (30, "c"), (40, "a"), (50, "b")]
    {
        tested.append(epoch_us, stream_id);
    }
    tested
}

/// Every position that a scan meets, by pages of two.
fn positions(reader: &StateReader, scan: &Scan, start: Start) -> Vec<u64> {
    let mut cursor = scan.begin(reader, start).unwrap();
    let mut positions = Vec::new();
    while let Some(from) = cursor {
        let page = scan.page(reader, from, 2).unwrap();
        positions.extend(page.events.iter().map(|event| event.position));
        cursor = page.next;
    }
    positions
}

#[test]
fn a_scan_begins_where_it_was_asked_to_and_keeps_to_its_bounds() {
    use Direction::{Backward, Forward};
    let tested = six_events();
    let bounds = |from, to| Positions { from, to };
    let times = |since_us, until_us| Times { since_us, until_us };
    let (anywhere, always) = (Positions::default(), Times::default());
    for (direction, start, within, during, expected) in [
        (Forward, Start::First, anywhere, always, vec![0, 1, 2, 3, 4, 5]),
        (Forward, Start::At(4), anywhere, always, vec![4, 5]),
        (Forward, Start::At(6), anywhere, always, vec![]),
        (Forward, Start::Last, anywhere, always, vec![]),
        (Forward, Start::Time(20), anywhere, always, vec![1, 2, 3, 4, 5]),
        (Forward, Start::Time(51), anywhere, always, vec![]),
        (Backward, Start::Last, anywhere, always, vec![5, 4, 3, 2, 1, 0]),
        (Backward, Start::At(99), anywhere, always, vec![5, 4, 3, 2, 1, 0]),
        (Backward, Start::First, anywhere, always, vec![0]),
        (Backward, Start::Time(20), anywhere, always, vec![2, 1, 0]),
        (Backward, Start::Time(9), anywhere, always, vec![]),
        (Forward, Start::First, bounds(Some(2), Some(3)), always, vec![2, 3]),
        (Backward, Start::Last, bounds(Some(2), Some(3)), always, vec![3, 2]),
        (Forward, Start::First, bounds(Some(6), None), always, vec![]),
        (Forward, Start::First, bounds(None, Some(99)), always, vec![0, 1, 2, 3, 4, 5]),
        (Forward, Start::First, anywhere, times(Some(20), Some(30)), vec![1, 2, 3]),
        (Forward, Start::First, bounds(Some(2), None), times(Some(20), Some(30)), vec![2, 3]),
        (Forward, Start::First, anywhere, times(Some(31), Some(39)), vec![]),
        (Forward, Start::First, anywhere, times(None, Some(9)), vec![]),
    ] {
        let next_position = tested.reader.next_position();
        let mut scan = Scan::new(&tested.reader, next_position, within, during).unwrap();
        scan.direction = direction;
        let found = positions(&tested.reader, &scan, start);
        assert_eq!(found, expected, "{direction:?} from {start:?} in {within:?}, {during:?}");
    }
}

#[test]
fn a_scan_holds_what_was_there_when_it_began_and_no_more() {
    let mut tested = six_events();
    let next_position = tested.reader.next_position();
    let scan =
        Scan::new(&tested.reader, next_position, Positions::default(), Times::default()).unwrap();
    tested.append(60, "a");
    assert_eq!(positions(&tested.reader, &scan, Start::At(4)), [4, 5]);
}

#[test]
fn there_is_nothing_to_scan_in_an_empty_store() {
    let tested = Tested::new();
    let scan = Scan::new(&tested.reader, 0, Positions::default(), Times::default()).unwrap();
    assert_eq!(scan.first(), None);
    assert!(positions(&tested.reader, &scan, Start::First).is_empty());
}
