//! Reads, listings and times over the overlay.

use uuid::Uuid;

use super::*;
use crate::limits::READ_PAGE_WORK_MAX;

fn positions(tested: &Tested, read: &AllRead<'_>) -> Vec<u64> {
    let page = tested.reader.read_all(read).unwrap();
    assert_eq!(page.next, None);
    page.events.iter().map(|event| event.position).collect()
}

fn names(tested: &Tested, listing: &Listing<'_>) -> Vec<String> {
    let page = tested.reader.list_streams(listing).unwrap();
    assert_eq!(page.next_after, None);
    page.streams.into_iter().map(|stream| stream.stream_id).collect()
}

#[test]
fn the_servers_own_streams_are_left_out_unless_asked_for() {
    let mut tested = Tested::default();
    for (id, stream) in (1..).zip(["#first", "$sys", "%third", "$sys", "last"]) {
        tested.append_one(stream, id);
    }
    assert_eq!(tested.next_position(), 5);
    assert_eq!((tested.reader.events(), tested.reader.streams()), (3, 3));

    let everything = AllRead { include_system: true, ..AllRead::default() };
    assert_eq!(positions(&tested, &AllRead::default()), [0, 2, 4]);
    assert_eq!(positions(&tested, &everything), [0, 1, 2, 3, 4]);
    let backward = AllRead { from: 3, direction: Direction::Backward, ..AllRead::default() };
    assert_eq!(positions(&tested, &backward), [2, 0]);

    let listing = Listing::default();
    let with_system = Listing { include_system: true, ..listing };
    assert_eq!(names(&tested, &listing), ["#first", "%third", "last"]);
    assert_eq!(names(&tested, &with_system), ["#first", "$sys", "%third", "last"]);
    assert_eq!(names(&tested, &Listing { after: Some("$a"), ..listing }), ["%third", "last"]);
    assert!(names(&tested, &Listing { prefix: "$", ..listing }).is_empty());
    assert_eq!(names(&tested, &Listing { prefix: "$", ..with_system }), ["$sys"]);
    assert_eq!(names(&tested, &Listing { after: Some("%third"), ..listing }), ["last"]);
    let ends_in_t = |name: &str| name.ends_with('t');
    let accepting = Listing { accepts: Some(&ends_in_t), ..listing };
    assert_eq!(names(&tested, &accepting), ["#first", "last"]);
    // An exact name is always answered.
    assert_eq!(tested.reader.stream("$sys").unwrap().summary().unwrap().events, 2);
}

#[test]
fn listings_show_deleted_streams_only_when_asked_to() {
    let mut tested = Tested::with_two_streams();
    tested.delete("a");
    tested.tombstone("c");
    assert_eq!(names(&tested, &Listing::default()), ["b"]);
    let listing = Listing { include_deleted: true, ..Listing::default() };
    assert_eq!(names(&tested, &listing), ["a", "b", "c"]);
    let first = tested.reader.list_streams(&Listing { streams_max: 2, ..listing }).unwrap();
    assert_eq!(first.next_after.as_deref(), Some("b"));
    assert_eq!(first.streams[0].status, StreamStatus::Deleted);
}

#[test]
fn a_page_of_nothing_but_excluded_records_still_moves_on() {
    let mut tested = Tested::default();
    let excluded = READ_PAGE_WORK_MAX as u64 + 2_000;
    for id in 0..u128::from(excluded) {
        tested.append_one("$sys", id);
    }
    for direction in [Direction::Forward, Direction::Backward] {
        let from = if direction == Direction::Forward { 0 } else { excluded - 1 };
        let read = AllRead { from, direction, events_max: 10, ..AllRead::default() };
        let first = tested.reader.read_all(&read).unwrap();
        assert!(first.events.is_empty());
        let next = first.next.unwrap();
        assert!(next.abs_diff(from) >= READ_PAGE_WORK_MAX as u64);
        let second = tested.reader.read_all(&AllRead { from: next, ..read }).unwrap();
        assert_eq!(second, Page::default());
        assert_eq!(tested.reader.any(&read).unwrap(), Found { position: None, next: Some(next) });
    }
}

#[test]
fn a_page_ends_at_its_bytes_but_never_before_one_event() {
    let mut tested = Tested::default();
    let data = "x".repeat(100);
    let events: Vec<_> = (0..10).map(|id| (id, data.as_str())).collect();
    tested.append(vec![part(Expectation::Any, "s", &events)]);
    let page = |bytes_max| {
        tested.reader.read_stream(&StreamRead { bytes_max, ..StreamRead::of("s") }).unwrap()
    };
    assert_eq!(page(0).events.len(), 1);
    assert_eq!(page(0).next, Some(1));
    assert_eq!(page(300).events.len(), 2);
    assert_eq!(page(1 << 20).next, None);
}

#[test]
fn a_read_can_be_bounded_at_both_ends() {
    let tested = Tested::with_two_streams();
    let read = |first, last, events_max| {
        let read = StreamRead { first, last, events_max, ..StreamRead::of("a") };
        let page = tested.reader.read_stream(&read).unwrap();
        (ids(&page), page.next)
    };
    assert_eq!(read(0, u64::MAX, 10), (vec![1, 2, 3], None));
    assert_eq!(read(0, 1, 10), (vec![1, 2], None));
    assert_eq!(read(0, 1, 1), (vec![1], Some(1)));
    assert_eq!(read(1, 1, 10), (vec![2], None));
    assert_eq!(read(2, 1, 10), (vec![], None));
    for direction in [Direction::Forward, Direction::Backward] {
        let from = if direction == Direction::Forward { 0 } else { 9 };
        let read = AllRead { from, first: 1, last: 2, direction, ..AllRead::default() };
        let mut expected = vec![1, 2];
        if direction == Direction::Backward {
            expected.reverse();
        }
        assert_eq!(positions(&tested, &read), expected);
        assert_eq!(tested.reader.count(&read).unwrap(), Counted { events: 2, next: None });
        let found = Found { position: Some(expected[0]), next: None };
        assert_eq!(tested.reader.any(&read).unwrap(), found);
    }
}

#[test]
fn reads_outside_of_what_is_there_are_empty() {
    let tested = Tested::with_two_streams();
    let page = |stream, from, direction| {
        let read = StreamRead { from, direction, ..StreamRead::of(stream) };
        tested.reader.read_stream(&read).unwrap()
    };
    assert_eq!(page("none", 0, Direction::Forward), Page::default());
    assert_eq!(page("a", 3, Direction::Forward), Page::default());
    assert_eq!(page("a", u64::MAX, Direction::Forward), Page::default());
    assert_eq!(page("a", u64::MAX, Direction::Backward).events.len(), 3);
    let all = |tested: &Tested, from, direction| {
        let read = AllRead { from, direction, include_system: true, ..AllRead::default() };
        tested.reader.read_all(&read).unwrap()
    };
    assert_eq!(all(&tested, 4, Direction::Forward), Page::default());
    assert_eq!(all(&tested, u64::MAX, Direction::Backward).events.len(), 4);
    assert_eq!(all(&Tested::default(), 0, Direction::Backward), Page::default());
}

#[test]
fn times_are_found_with_both_bounds_inclusive() {
    let mut tested = Tested::default();
    for (id, epoch_us) in (0..).zip([10, 10, 20, 30]) {
        let stream = if id == 2 { "b" } else { "a" };
        tested.append_at(epoch_us, vec![part(Expectation::Any, stream, &[(id, "")])]);
    }
    let first = |time| tested.reader.first_position_at(time).unwrap();
    let last = |time| tested.reader.last_position_at(time).unwrap();
    assert_eq!([0, 10, 11, 20, 30, 31].map(first), [0, 0, 2, 2, 3, 4]);
    assert_eq!(
        [9, 10, 19, 20, 30, u64::MAX].map(last),
        [None, Some(1), Some(1), Some(2), Some(3), Some(3)]
    );
    let version = |time| tested.reader.version_at("a", time).unwrap();
    assert_eq!([9, 10, 29, 30, u64::MAX].map(version), [None, Some(1), Some(1), Some(2), Some(2)]);
    assert_eq!(tested.reader.version_at("none", 50).unwrap(), None);
    assert_eq!(tested.reader.first_version_at("a", 11).unwrap(), 2);
    assert_eq!(tested.reader.first_version_at("a", 31).unwrap(), 3);
}

#[test]
fn an_event_is_found_by_its_id() {
    let tested = Tested::with_two_streams();
    let event = tested.reader.event(Uuid::from_u128(2)).unwrap().unwrap();
    assert_eq!((event.stream_id(), event.version, event.position), ("a", 1, 1));
    assert_eq!(tested.reader.event(Uuid::from_u128(9)).unwrap(), None);
}
