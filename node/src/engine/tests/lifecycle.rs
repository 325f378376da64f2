//! Deletion, tombstones and truncation.

use uuid::Uuid;

use super::*;

#[test]
fn a_deleted_stream_is_gone_from_every_read() {
    let mut tested = Tested::with_two_streams();
    let removed = Removed { first_version: 3, last_version: Some(2), position: 4 };
    assert_eq!(tested.delete("a"), Outcome::Deleted(removed));
    assert!(tested.stream_ids("a").is_empty());
    assert_eq!(tested.all_ids(), [4]);
    assert_eq!(tested.reader.event(Uuid::from_u128(1)).unwrap(), None);
    assert_eq!((tested.reader.events(), tested.reader.streams()), (1, 1));
    let StreamState::Deleted(summary) = tested.reader.stream("a").unwrap() else { panic!() };
    assert_eq!((summary.first_version, summary.last_version, summary.events), (3, Some(2), 0));
    tested.delete("b");
    assert!(!tested.reader.has_events(false));
    assert!(tested.reader.has_events(true));
}

#[test]
fn deleting_again_is_answered_alike_without_a_new_event() {
    let mut tested = Tested::with_two_streams();
    let first = tested.delete("a");
    assert_eq!(tested.delete("a"), first);
    let exact = |version| Command::Delete {
        stream_id: "a".into(),
        expectation: Expectation::Exact(version),
    };
    assert_eq!(tested.command(exact(2)), first);
    assert_eq!(tested.command(exact(1)), unexpected("a", Expectation::Exact(1), 2));
    assert_eq!(tested.next_position(), 5);
}

#[test]
fn an_append_opens_a_deleted_stream_again_and_versions_go_on() {
    use Expectation::{Any, Exact, NoStream, StreamExists};
    for (expectation, met) in
        [(Any, true), (NoStream, true), (Exact(2), true), (StreamExists, false), (Exact(1), false)]
    {
        let mut tested = Tested::with_two_streams();
        tested.delete("a");
        // The id of a removed event is free again.
        let outcome = tested.append(vec![part(expectation, "a", &[(1, "new")])]);
        if met {
            assert_eq!(outcome, appended(&[3], 5, 5), "{expectation}");
            assert_eq!(tested.stream_ids("a"), [1]);
            assert_eq!((tested.reader.events(), tested.reader.streams()), (2, 2));
            let again = tested.append(vec![part(expectation, "a", &[(1, "new")])]);
            assert_eq!(again, outcome);
        } else {
            assert_eq!(outcome, unexpected("a", expectation, 2));
        }
    }
}

#[test]
fn a_tombstoned_name_can_never_be_used_again() {
    let mut tested = Tested::with_two_streams();
    let first = tested.tombstone("a");
    let removed = Removed { first_version: 3, last_version: Some(2), position: 4 };
    assert_eq!(first, Outcome::Tombstoned(removed));
    assert_eq!(tested.tombstone("a"), first);
    for expectation in
        [Expectation::Any, Expectation::NoStream, Expectation::StreamExists, Expectation::Exact(2)]
    {
        let append = vec![part(expectation, "a", &[(9, "")])];
        assert_eq!(tested.append(append), is_tombstoned("a"), "{expectation}");
    }
    assert_eq!(tested.delete("a"), is_tombstoned("a"));
    assert_eq!(tested.truncate("a", 0), is_tombstoned("a"));
    assert!(matches!(tested.reader.stream("a").unwrap(), StreamState::Tombstoned(_)));

    let removed = Removed { first_version: 0, last_version: None, position: 5 };
    assert_eq!(tested.tombstone("never used"), Outcome::Tombstoned(removed));
    assert_eq!(tested.append_one("never used", 9), is_tombstoned("never used"));
    assert_eq!(tested.reader.streams(), 1);
}

#[test]
fn a_stream_is_truncated_up_to_its_end_and_still_exists() {
    let mut tested = Tested::with_two_streams();
    let removed = |first_version, position| {
        Outcome::Truncated(Removed { first_version, last_version: Some(2), position })
    };
    assert_eq!(tested.truncate("a", 0), removed(0, 2));
    assert_eq!(tested.truncate("a", 2), removed(2, 4));
    assert_eq!(tested.stream_ids("a"), [3]);
    assert_eq!(tested.truncate("a", 1), removed(2, 4), "it begins later already");
    assert_eq!(tested.truncate("a", 3), removed(3, 5));
    let StreamState::Live(summary) = tested.reader.stream("a").unwrap() else { panic!() };
    assert!(summary.exists());
    assert_eq!((summary.events, summary.first_epoch_us, summary.last_epoch_us), (0, 0, 1_000));
    assert_eq!((tested.reader.events(), tested.reader.streams()), (1, 2));
    let refusal =
        Refusal::TruncateBeyondEnd { stream_id: "a".into(), before_version: 4, next_version: 3 };
    assert_eq!(tested.truncate("a", 4), Outcome::Refused(refusal));
    let append = vec![part(Expectation::StreamExists, "a", &[(9, "")])];
    assert_eq!(tested.append(append), appended(&[3], 6, 6));
    assert_eq!(tested.stream_ids("a"), [9]);
}

#[test]
fn a_truncation_within_a_record_hides_its_beginning() {
    let mut tested = Tested::with_two_streams();
    tested.truncate("a", 1);
    assert_eq!(tested.stream_ids("a"), [2, 3]);
    assert_eq!(tested.all_ids(), [2, 3, 4]);
    assert_eq!(tested.reader.event(Uuid::from_u128(1)).unwrap(), None);
    assert!(tested.reader.event(Uuid::from_u128(2)).unwrap().is_some());
    let backward =
        StreamRead { from: u64::MAX, direction: Direction::Backward, ..StreamRead::of("a") };
    assert_eq!(ids(&tested.reader.read_stream(&backward).unwrap()), [3, 2]);
    // Not all of the append exists any more, so it is no retry.
    let whole = part(Expectation::Any, "a", &[(1, "1"), (2, "2"), (3, "3")]);
    assert_eq!(tested.append(vec![whole]), reused(2));
    let rest = part(Expectation::Any, "a", &[(2, "2"), (3, "3")]);
    assert_eq!(tested.append(vec![rest]), appended(&[2], 1, 2));
}

#[test]
fn what_was_never_there_cannot_be_removed() {
    let not_found = Outcome::Refused(Refusal::StreamNotFound { stream_id: "x".into() });
    let mut tested = Tested::with_two_streams();
    assert_eq!(tested.delete("x"), not_found);
    assert_eq!(tested.truncate("x", 0), not_found);
    tested.delete("a");
    let deleted = Outcome::Refused(Refusal::StreamDeleted { stream_id: "a".into() });
    assert_eq!(tested.truncate("a", 3), deleted);
}

#[test]
fn notices_tell_what_happened_in_order() {
    use StreamChange::{Created, Deleted, Tombstoned, Truncated};

    let mut tested = Tested::with_two_streams();
    tested.truncate("a", 1);
    tested.delete("a");
    tested.append_one("a", 9);
    tested.tombstone("b");
    let page = tested.reader.notices(0, false, 100).unwrap();
    let told: Vec<_> = page
        .notices
        .iter()
        .map(|notice| {
            let Notice::Stream(notice) = notice else { panic!("{notice:?}") };
            let stream = &notice.stream;
            let versions = (stream.first_version, stream.last_version, stream.events);
            (notice.position, notice.change, stream.stream_id.as_str(), versions)
        })
        .collect();
    let expected = [
        (0, Created, "a", (0, Some(2), 3)),
        (3, Created, "b", (0, Some(0), 1)),
        (4, Truncated, "a", (1, Some(2), 2)),
        (5, Deleted, "a", (3, Some(2), 0)),
        (6, Created, "a", (3, Some(3), 1)),
        (7, Tombstoned, "b", (1, Some(0), 0)),
    ];
    assert_eq!(told, expected);
    assert_eq!((page.next, page.more), (8, false));

    let first = tested.reader.notices(0, false, 2).unwrap();
    assert_eq!((first.notices.len(), first.more), (2, true));
    let rest = tested.reader.notices(first.next, false, 100).unwrap();
    assert_eq!(rest.notices, page.notices[2..]);
    let own = tested.reader.notices(0, true, 100).unwrap();
    assert!(own.notices.iter().any(
        |notice| matches!(notice, Notice::Stream(it) if it.stream.stream_id == NOTICES_STREAM)
    ));
}

#[test]
fn the_stream_of_notices_can_itself_be_removed() {
    let mut tested = Tested::with_two_streams();
    tested.delete("a");
    tested.delete(NOTICES_STREAM);
    let StreamState::Live(summary) = tested.reader.stream(NOTICES_STREAM).unwrap() else {
        panic!()
    };
    // Its deletion was told by an event that opened it again.
    assert_eq!((summary.first_version, summary.last_version, summary.events), (1, Some(1), 1));
    assert_eq!(tested.stream_ids(NOTICES_STREAM).len(), 1);
}
