//! Parts of a stream.

use reckon_api::Reason;

use super::Tested;
use crate::engine::{Command, Direction, Expectation, StateReader, StreamState};
use crate::service::streams::stream_part::StreamPart;
use crate::service::wire::{Start, Times};

const STREAM: &str = "orders-1";

/// Versions 0 to 5 at the times 10, 20, 20, 30, 40 and 50.
fn six_events() -> Tested {
    let mut tested = Tested::new();
    for epoch_us in [10, 20, 20, 30, 40, 50] {
        tested.append(epoch_us, STREAM);
    }
    tested
}

fn part(reader: &StateReader, direction: Direction, times: Times) -> StreamPart {
    let StreamState::Live(summary) = reader.stream(STREAM).unwrap() else {
        panic!("the stream lives")
    };
    StreamPart::new(reader, STREAM.to_owned(), direction, &summary, times).unwrap()
}

/// Every version that a read delivers, by pages of two.
fn versions(reader: &StateReader, direction: Direction, start: Start, times: Times) -> Vec<u64> {
    let part = part(reader, direction, times);
    let mut cursor = part.begin(reader, start).unwrap();
    let mut versions = Vec::new();
    while let Some(from) = cursor {
        let page = part.page(reader, from, 2).unwrap();
        versions.extend(page.events.iter().map(|event| event.version));
        cursor = page.next;
    }
    versions
}

#[test]
fn a_read_begins_where_it_was_asked_to_and_keeps_to_its_times() {
    use Direction::{Backward, Forward};
    let tested = six_events();
    let none = Times::default();
    let times = |since_us, until_us| Times { since_us, until_us };
    for (direction, start, times, expected) in [
        (Forward, Start::First, none, vec![0, 1, 2, 3, 4, 5]),
        (Forward, Start::At(4), none, vec![4, 5]),
        (Forward, Start::At(6), none, vec![]),
        (Forward, Start::Last, none, vec![]),
        (Forward, Start::Time(20), none, vec![1, 2, 3, 4, 5]),
        (Forward, Start::Time(21), none, vec![3, 4, 5]),
        (Forward, Start::Time(51), none, vec![]),
        (Backward, Start::Last, none, vec![5, 4, 3, 2, 1, 0]),
        (Backward, Start::At(1), none, vec![1, 0]),
        (Backward, Start::At(99), none, vec![5, 4, 3, 2, 1, 0]),
        (Backward, Start::First, none, vec![0]),
        (Backward, Start::Time(20), none, vec![2, 1, 0]),
        (Backward, Start::Time(9), none, vec![]),
        (Forward, Start::First, times(Some(20), Some(30)), vec![1, 2, 3]),
        (Backward, Start::Last, times(Some(20), Some(30)), vec![3, 2, 1]),
        (Forward, Start::At(2), times(Some(20), None), vec![2, 3, 4, 5]),
        (Forward, Start::At(0), times(Some(41), None), vec![5]),
        (Backward, Start::At(0), times(Some(20), None), vec![]),
        (Forward, Start::First, times(Some(31), Some(39)), vec![]),
        (Forward, Start::First, times(None, Some(9)), vec![]),
        (Forward, Start::First, times(Some(51), None), vec![]),
    ] {
        let found = versions(&tested.reader, direction, start, times);
        assert_eq!(found, expected, "{direction:?} from {start:?} within {times:?}");
    }
}

#[test]
fn what_is_appended_during_a_read_is_not_part_of_it() {
    let mut tested = six_events();
    let part = part(&tested.reader, Direction::Forward, Times::default());
    tested.append(60, STREAM);
    let page = part.page(&tested.reader, 4, 100).unwrap();
    assert_eq!(page.events.iter().map(|event| event.version).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(page.next, None);
}

#[test]
fn a_stream_that_ends_during_a_read_does_not_look_as_if_it_had_been_read_whole() {
    let stream_id = || STREAM.to_owned();
    let expectation = Expectation::Any;
    for (command, reason) in [
        (Command::Delete { stream_id: stream_id(), expectation }, Reason::StreamDeleted),
        (Command::Tombstone { stream_id: stream_id(), expectation }, Reason::StreamTombstoned),
    ] {
        let mut tested = six_events();
        let part = part(&tested.reader, Direction::Forward, Times::default());
        let first = part.page(&tested.reader, 0, 2).unwrap();
        assert_eq!(first.next, Some(2));
        tested.apply(60, &command);
        let ended = part.page(&tested.reader, 2, 2).unwrap_err();
        assert_eq!(Reason::of(&ended), Some(reason));
    }
}

#[test]
fn a_stream_that_is_truncated_during_a_read_goes_on_at_its_new_beginning() {
    let mut tested = six_events();
    let part = part(&tested.reader, Direction::Forward, Times::default());
    let truncate = Command::Truncate {
        stream_id: STREAM.to_owned(),
        before_version: 4,
        expectation: Expectation::Any,
    };
    tested.apply(60, &truncate);
    let page = part.page(&tested.reader, 2, 100).unwrap();
    assert_eq!(page.events.iter().map(|event| event.version).collect::<Vec<_>>(), [4, 5]);
}
