//! Appends, and what else is decided besides.

use crate::storage::LogPosition;
use bytes::Bytes;
use uuid::Uuid;

use super::*;

#[test]
fn expectations_are_checked_against_the_last_version() {
    use Expectation::{Any, Exact, NoStream, StreamExists};
    for (stream, actual, met, unmet) in [
        ("a", 2, vec![Any, StreamExists, Exact(2)], vec![NoStream, Exact(0), Exact(1), Exact(3)]),
        ("b", 0, vec![Any, StreamExists, Exact(0)], vec![NoStream, Exact(1), Exact(u64::MAX)]),
        ("new", -1, vec![Any, NoStream], vec![StreamExists, Exact(0), Exact(u64::MAX)]),
    ] {
        for expectation in met {
            let append = vec![part(expectation, stream, &[(9, "")])];
            let outcome = Tested::with_two_streams().append(append);
            let version = u64::try_from(actual + 1).unwrap();
            assert_eq!(outcome, appended(&[version], 4, 4), "{stream} at {expectation}");
        }
        for expected in unmet {
            let mut tested = Tested::with_two_streams();
            let outcome = tested.append(vec![part(expected, stream, &[(9, "")])]);
            assert_eq!(outcome, unexpected(stream, expected, actual), "{stream} at {expected}");
            assert_eq!(tested.next_position(), 4);
        }
    }
}

#[test]
fn an_append_over_several_streams_is_all_or_nothing() {
    let mut tested = Tested::with_two_streams();
    let parts = |b: Expectation| {
        vec![
            part(Expectation::Exact(2), "a", &[(10, "")]),
            part(b, "b", &[(11, ""), (12, "")]),
            part(Expectation::NoStream, "c", &[(13, "")]),
        ]
    };
    let refused = unexpected("b", Expectation::NoStream, 0);
    assert_eq!(tested.append(parts(Expectation::NoStream)), refused);
    assert_eq!(tested.next_position(), 4);
    assert_eq!(tested.reader.stream("c").unwrap(), StreamState::Unknown);
    assert_eq!(tested.append(parts(Expectation::Exact(0))), appended(&[3, 2, 0], 4, 7));
}

#[test]
fn a_retried_append_returns_the_first_result() {
    let mut tested = Tested::with_two_streams();
    let multi = |expectation| {
        vec![part(expectation, "a", &[(5, "5")]), part(expectation, "b", &[(6, "6"), (7, "7")])]
    };
    let first = tested.append_at(2_000, multi(Expectation::StreamExists));
    assert_eq!(first, appended_at(2_000, &[3, 2], 4, 6));
    tested.append_at(3_000, vec![part(Expectation::Any, "a", &[(8, "8")])]);
    // The expectations no longer hold, time went on, and the streams grew: none of that matters.
    assert_eq!(tested.append_at(4_000, multi(Expectation::NoStream)), first);
    assert_eq!(tested.next_position(), 8);
}

#[test]
fn event_ids_are_reused_only_by_the_same_events_in_the_same_order() {
    let any = Expectation::Any;
    let cases = [
        ("the same again", part(any, "a", &[(1, "1"), (2, "2"), (3, "3")]), appended(&[2], 0, 2)),
        ("its beginning", part(any, "a", &[(1, "1"), (2, "2")]), appended(&[1], 0, 1)),
        ("its end", part(any, "a", &[(2, "2"), (3, "3")]), appended(&[2], 1, 2)),
        ("a gap", part(any, "a", &[(1, "1"), (3, "3")]), reused(3)),
        ("another order", part(any, "a", &[(2, "2"), (1, "1")]), reused(1)),
        ("other content", part(any, "a", &[(1, "1"), (2, "!")]), reused(2)),
        ("another stream", part(any, "b", &[(1, "1")]), reused(1)),
        ("a new event behind", part(any, "a", &[(3, "3"), (9, "9")]), reused(3)),
        ("a new event in front", part(any, "a", &[(9, "9"), (1, "1")]), reused(1)),
        ("twice in one append", part(any, "a", &[(9, "9"), (9, "9")]), reused(9)),
    ];
    for (case, append, expected) in cases {
        let mut tested = Tested::with_two_streams();
        assert_eq!(tested.append(vec![append]), expected, "{case}");
        assert_eq!(tested.next_position(), 4, "{case}");
    }
    let both = vec![part(any, "x", &[(9, "9")]), part(any, "y", &[(9, "9")])];
    assert_eq!(Tested::with_two_streams().append(both), reused(9));
}

#[test]
fn ids_are_checked_before_expectations() {
    let append = vec![part(Expectation::Exact(77), "a", &[(1, "changed")])];
    assert_eq!(Tested::with_two_streams().append(append), reused(1));
}

#[test]
fn a_stream_stands_once_in_an_append() {
    let twice = vec![
        part(Expectation::NoStream, "x", &[(10, "")]),
        part(Expectation::Any, "y", &[(11, "")]),
        part(Expectation::NoStream, "x", &[(12, "")]),
    ];
    let refusal = Refusal::StreamNamedTwice { stream_id: "x".into() };
    assert_eq!(Tested::with_two_streams().append(twice), Outcome::Refused(refusal));
}

#[test]
fn a_name_with_a_control_character_never_reaches_the_indexes() {
    let refused = |name: &str| Outcome::Refused(Refusal::InvalidName { name: name.to_owned() });
    let mut tested = Tested::default();
    assert_eq!(tested.append_one("a\0", 1), refused("a\0"));
    let tagged = Given { tags: &["fine", "not\0"], ..event(1, "") };
    let append = vec![part_of(Expectation::Any, "a", &[tagged])];
    assert_eq!(tested.append(append), refused("not\0"));
    assert_eq!(tested.tombstone("b\n"), refused("b\n"));
    assert_eq!(tested.next_position(), 0);
}

#[test]
fn commands_of_one_group_see_each_other() {
    let mut tested = Tested::default();
    let command = |expectation, id| Command::Append {
        appends: vec![part(expectation, "s", &[(id, "")])],
        condition: None,
    };
    let outcomes = tested.group(
        7,
        &[
            command(Expectation::NoStream, 1),
            command(Expectation::NoStream, 2),
            command(Expectation::Exact(0), 3),
            command(Expectation::NoStream, 1),
        ],
    );
    assert_eq!(outcomes[0], appended_at(7, &[0], 0, 0));
    assert_eq!(outcomes[1], unexpected("s", Expectation::NoStream, 0));
    assert_eq!(outcomes[2], appended_at(7, &[1], 1, 1));
    assert_eq!(outcomes[3], outcomes[0]);
}

#[test]
fn time_never_decreases_over_positions() {
    let mut tested = Tested::default();
    for (id, given, recorded) in [(1, 500, 500), (2, 400, 500), (3, 501, 501), (4, 0, 501)] {
        tested.append_at(given, vec![part(Expectation::Any, "s", &[(id, "")])]);
        let event = tested.reader.event(Uuid::from_u128(id)).unwrap().unwrap();
        assert_eq!(event.epoch_us, recorded);
    }
}

#[test]
fn node_ids_count_from_two_and_a_volume_keeps_its_own() {
    let mut tested = Tested::default();
    let mut allocate =
        |volume_id: &str| tested.command(Command::AllocateNodeId { volume_id: volume_id.into() });
    assert_eq!(allocate("x"), Outcome::NodeIdAllocated(2));
    assert_eq!(allocate("y"), Outcome::NodeIdAllocated(3));
    assert_eq!(allocate("x"), Outcome::NodeIdAllocated(2));
    assert_eq!(allocate("z"), Outcome::NodeIdAllocated(4));
    assert_eq!(allocate(""), Outcome::Refused(Refusal::InvalidVolumeId { bytes: 0 }));
}

#[test]
fn activation_is_part_of_the_log_and_idempotent() {
    let mut tested = Tested::default();
    assert!(!tested.reader.activated());
    let outcomes = tested.group(1, &[Command::Activate, Command::Activate]);
    assert_eq!(outcomes, [Outcome::Activated, Outcome::Activated]);
    assert!(tested.reader.activated());
}

#[test]
fn a_group_that_cannot_be_read_in_full_changes_nothing() {
    let appends = vec![part(Expectation::Any, "s", &[(1, "")])];
    let append = Command::Append { appends, condition: None }.encode();
    let group = encode_group(1, std::slice::from_ref(&append));
    let mut engine = Engine::default();
    let mut apply = |group: &Bytes| engine.apply_group(group, LogPosition::default());

    for at in 0..group.len() {
        let mut damaged = group.to_vec();
        damaged[at] ^= 1;
        apply(&Bytes::from(damaged)).unwrap_err();
        apply(&group.slice(..at)).unwrap_err();
    }
    for (damage, expected) in [
        (vec![2, 1], CorruptCommand::UnknownVersion(2)),
        (vec![1, 99], CorruptCommand::UnknownKind(99)),
        (vec![1, 1, 0], CorruptCommand::NoAppends),
        (vec![1, 1, 1, 8], CorruptCommand::UnknownExpectation(8)),
        (vec![1, 4, 0, 0], CorruptCommand::EmptyQuery),
        (vec![1, 4, 0, 101], CorruptCommand::QueryTooLarge { maximum: 100 }),
        (vec![1, 5, 0, 0], CorruptCommand::NoStream),
    ] {
        let group = encode_group(1, &[append.clone(), Bytes::from(damage)]);
        let error = apply(&group).unwrap_err();
        let ApplyError::Group(error) = error else { panic!("{error:?}") };
        assert_eq!(error, CorruptGroup::Command { index: 1, source: expected });
    }
    apply(&group).unwrap();
    assert_eq!(engine.next_position(), 1);
}

#[test]
fn the_overlay_keeps_the_bytes_that_arrived() {
    let appends = vec![part(Expectation::Any, "s", &[(1, "data")])];
    let group = encode_group(1, &[Command::Append { appends, condition: None }.encode()]);
    let tested = Tested::default();
    tested.shared.write().apply_group(&group, LogPosition::default()).unwrap();
    let event = tested.reader.event(Uuid::from_u128(1)).unwrap().unwrap();
    assert!(group.as_ptr_range().contains(&event.event().data.as_ptr()));
}
