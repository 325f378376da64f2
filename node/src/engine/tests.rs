//! The engine's decisions, one by one. Long random histories are in `tests/engine_model.rs`.

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::event::{EventDraft, encode_record};
use crate::limits::READ_PAGE_RECORDS_SKIPPED_MAX;

fn part(expectation: Expectation, stream: &str, events: &[(u128, &str)]) -> StreamAppend {
    let drafts: Vec<_> = events
        .iter()
        .map(|(id, data)| EventDraft::new(Uuid::from_u128(*id), "happened", data.as_bytes()))
        .collect();
    StreamAppend { expectation, record: encode_record(stream, &drafts).unwrap() }
}

fn apply_at(engine: &mut Engine, epoch_us: u64, appends: Vec<StreamAppend>) -> Outcome {
    let group = encode_group(epoch_us, &[Command::Append { appends }.encode()]);
    engine.apply_group(&group).unwrap().remove(0)
}

fn apply(engine: &mut Engine, appends: Vec<StreamAppend>) -> Outcome {
    apply_at(engine, 1_000, appends)
}

fn appended(last_versions: &[u64], first_position: u64, last_position: u64) -> Outcome {
    appended_at(1_000, last_versions, first_position, last_position)
}

fn appended_at(
    epoch_us: u64,
    last_versions: &[u64],
    first_position: u64,
    last_position: u64,
) -> Outcome {
    let last_versions = last_versions.to_vec();
    Outcome::Appended(Appended { last_versions, first_position, last_position, epoch_us })
}

fn reused(id: u128) -> Outcome {
    Outcome::Refused(Refusal::EventIdReused { event_id: Uuid::from_u128(id) })
}

/// Streams `a` (versions 0 to 2, ids 1 to 3) and `b` (version 0, id 4), appended at time 1,000.
fn engine() -> Engine {
    let mut engine = Engine::default();
    let a = part(Expectation::NoStream, "a", &[(1, "1"), (2, "2"), (3, "3")]);
    assert_eq!(apply(&mut engine, vec![a]), appended(&[2], 0, 2));
    assert_eq!(
        apply(&mut engine, vec![part(Expectation::Any, "b", &[(4, "4")])]),
        appended(&[0], 3, 3)
    );
    engine
}

#[test]
fn expectations_are_checked_against_the_last_version() {
    use Expectation::{Any, Exact, NoStream, StreamExists};
    for (stream, actual, met, unmet) in [
        ("a", 2, vec![Any, StreamExists, Exact(2)], vec![NoStream, Exact(0), Exact(1), Exact(3)]),
        ("b", 0, vec![Any, StreamExists, Exact(0)], vec![NoStream, Exact(1), Exact(u64::MAX)]),
        ("new", -1, vec![Any, NoStream], vec![StreamExists, Exact(0), Exact(u64::MAX)]),
    ] {
        for expectation in met {
            let outcome = apply(&mut engine(), vec![part(expectation, stream, &[(9, "")])]);
            let version = u64::try_from(actual + 1).unwrap();
            assert_eq!(outcome, appended(&[version], 4, 4), "{stream} at {expectation}");
        }
        for expected in unmet {
            let mut engine = engine();
            let outcome = apply(&mut engine, vec![part(expected, stream, &[(9, "")])]);
            let stream_id = stream.to_owned();
            let refusal = Refusal::WrongExpectedVersion { stream_id, expected, actual };
            assert_eq!(outcome, Outcome::Refused(refusal), "{stream} at {expected}");
            assert_eq!(engine.next_position(), 4);
        }
    }
}

#[test]
fn an_append_over_several_streams_is_all_or_nothing() {
    let mut engine = engine();
    let parts = |b: Expectation| {
        vec![
            part(Expectation::Exact(2), "a", &[(10, "")]),
            part(b, "b", &[(11, ""), (12, "")]),
            part(Expectation::NoStream, "c", &[(13, "")]),
        ]
    };
    let refusal = Refusal::WrongExpectedVersion {
        stream_id: "b".into(),
        expected: Expectation::NoStream,
        actual: 0,
    };
    assert_eq!(apply(&mut engine, parts(Expectation::NoStream)), Outcome::Refused(refusal));
    assert_eq!((engine.next_position(), engine.stream("c")), (4, None));
    assert_eq!(apply(&mut engine, parts(Expectation::Exact(0))), appended(&[3, 2, 0], 4, 7));
}

#[test]
fn a_retried_append_returns_the_first_result() {
    let mut engine = engine();
    let multi = |expectation| {
        vec![part(expectation, "a", &[(5, "5")]), part(expectation, "b", &[(6, "6"), (7, "7")])]
    };
    let first = apply_at(&mut engine, 2_000, multi(Expectation::StreamExists));
    assert_eq!(first, appended_at(2_000, &[3, 2], 4, 6));
    apply_at(&mut engine, 3_000, vec![part(Expectation::Any, "a", &[(8, "8")])]);
    // The expectations no longer hold, time went on, and the streams grew: none of that matters.
    assert_eq!(apply_at(&mut engine, 4_000, multi(Expectation::NoStream)), first);
    assert_eq!(engine.next_position(), 8);
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
        let mut engine = engine();
        assert_eq!(apply(&mut engine, vec![append]), expected, "{case}");
        assert_eq!(engine.next_position(), 4, "{case}");
    }
    let both = vec![part(any, "x", &[(9, "9")]), part(any, "y", &[(9, "9")])];
    assert_eq!(apply(&mut engine(), both), reused(9));
}

#[test]
fn ids_are_checked_before_expectations() {
    let outcome = apply(&mut engine(), vec![part(Expectation::Exact(77), "a", &[(1, "changed")])]);
    assert_eq!(outcome, reused(1));
}

#[test]
fn a_stream_stands_once_in_an_append() {
    let twice = vec![
        part(Expectation::NoStream, "x", &[(10, "")]),
        part(Expectation::Any, "y", &[(11, "")]),
        part(Expectation::NoStream, "x", &[(12, "")]),
    ];
    let refusal = Refusal::StreamNamedTwice { stream_id: "x".into() };
    assert_eq!(apply(&mut engine(), twice), Outcome::Refused(refusal));
}

#[test]
fn commands_of_one_group_see_each_other() {
    let mut engine = Engine::default();
    let command = |expectation, id| {
        Command::Append { appends: vec![part(expectation, "s", &[(id, "")])] }.encode()
    };
    let group = encode_group(
        7,
        &[
            command(Expectation::NoStream, 1),
            command(Expectation::NoStream, 2),
            command(Expectation::Exact(0), 3),
            command(Expectation::NoStream, 1),
        ],
    );
    let outcomes = engine.apply_group(&group).unwrap();
    assert_eq!(outcomes[0], appended_at(7, &[0], 0, 0));
    assert!(matches!(outcomes[1], Outcome::Refused(Refusal::WrongExpectedVersion { .. })));
    assert_eq!(outcomes[2], appended_at(7, &[1], 1, 1));
    assert_eq!(outcomes[3], outcomes[0]);
}

#[test]
fn time_never_decreases_over_positions() {
    let mut engine = Engine::default();
    for (id, given, recorded) in [(1, 500, 500), (2, 400, 500), (3, 501, 501), (4, 0, 501)] {
        apply_at(&mut engine, given, vec![part(Expectation::Any, "s", &[(id, "")])]);
        assert_eq!(engine.event(Uuid::from_u128(id)).unwrap().epoch_us, recorded);
    }
}

#[test]
fn node_ids_count_from_two_and_a_volume_keeps_its_own() {
    let mut engine = Engine::default();
    let mut allocate = |volume_id: &str| {
        let command = Command::AllocateNodeId { volume_id: volume_id.into() }.encode();
        engine.apply_group(&encode_group(1, &[command])).unwrap().remove(0)
    };
    assert_eq!(allocate("x"), Outcome::NodeIdAllocated(2));
    assert_eq!(allocate("y"), Outcome::NodeIdAllocated(3));
    assert_eq!(allocate("x"), Outcome::NodeIdAllocated(2));
    assert_eq!(allocate("z"), Outcome::NodeIdAllocated(4));
    assert_eq!(allocate(""), Outcome::Refused(Refusal::InvalidVolumeId { bytes: 0 }));
}

#[test]
fn activation_is_part_of_the_log_and_idempotent() {
    let mut engine = Engine::default();
    assert!(!engine.activated());
    let group = encode_group(1, &[Command::Activate.encode(), Command::Activate.encode()]);
    assert_eq!(engine.apply_group(&group).unwrap(), [Outcome::Activated, Outcome::Activated]);
    assert!(engine.activated());
}

#[test]
fn a_group_that_cannot_be_read_in_full_changes_nothing() {
    let append =
        Command::Append { appends: vec![part(Expectation::Any, "s", &[(1, "")])] }.encode();
    let group = encode_group(1, std::slice::from_ref(&append));
    let mut engine = Engine::default();

    for at in 0..group.len() {
        let mut damaged = group.to_vec();
        damaged[at] ^= 1;
        engine.apply_group(&Bytes::from(damaged)).unwrap_err();
        engine.apply_group(&group.slice(..at)).unwrap_err();
    }
    for (damage, expected) in [
        (vec![2, 1], CorruptCommand::UnknownVersion(2)),
        (vec![1, 9], CorruptCommand::UnknownKind(9)),
        (vec![1, 1, 0], CorruptCommand::NoAppends),
        (vec![1, 1, 1, 8], CorruptCommand::UnknownExpectation(8)),
    ] {
        let group = encode_group(1, &[append.clone(), Bytes::from(damage)]);
        let error = engine.apply_group(&group).unwrap_err();
        assert_eq!(error, CorruptGroup::Command { index: 1, source: expected });
    }
    assert_eq!(engine.next_position(), 0);
    engine.apply_group(&group).unwrap();
    assert_eq!(engine.next_position(), 1);
}

#[test]
fn the_overlay_keeps_the_bytes_that_arrived() {
    let append = Command::Append { appends: vec![part(Expectation::Any, "s", &[(1, "data")])] };
    let group = encode_group(1, &[append.encode()]);
    let mut engine = Engine::default();
    engine.apply_group(&group).unwrap();
    let event = engine.event(Uuid::from_u128(1)).unwrap();
    assert!(group.as_ptr_range().contains(&event.event().data.as_ptr()));
}

#[test]
fn the_servers_own_streams_are_left_out_unless_asked_for() {
    let mut engine = Engine::default();
    for (id, stream) in (1..).zip(["#first", "$sys", "%third", "$sys", "last"]) {
        apply(&mut engine, vec![part(Expectation::Any, stream, &[(id, "")])]);
    }
    assert_eq!((engine.next_position(), engine.events(), engine.streams()), (5, 3, 3));

    let positions = |from, direction, include_system| {
        let page = engine.read_all(from, direction, include_system, 100, 1 << 20);
        assert_eq!(page.next, None);
        page.events.iter().map(|event| event.position).collect::<Vec<_>>()
    };
    assert_eq!(positions(0, Direction::Forward, false), [0, 2, 4]);
    assert_eq!(positions(0, Direction::Forward, true), [0, 1, 2, 3, 4]);
    assert_eq!(positions(3, Direction::Backward, false), [2, 0]);

    let names = |after, prefix, include_system| {
        let page = engine.list_streams(after, prefix, include_system, 100);
        page.streams.into_iter().map(|stream| stream.stream_id).collect::<Vec<_>>()
    };
    assert_eq!(names(None, "", false), ["#first", "%third", "last"]);
    assert_eq!(names(None, "", true), ["#first", "$sys", "%third", "last"]);
    assert_eq!(names(Some("$a"), "", false), ["%third", "last"]);
    assert!(names(None, "$", false).is_empty());
    assert_eq!(names(None, "$", true), ["$sys"]);
    assert_eq!(names(Some("%third"), "", false), ["last"]);
    // An exact name is always answered.
    assert_eq!(engine.stream("$sys").unwrap().events, 2);
}

#[test]
fn a_page_of_nothing_but_excluded_records_still_moves_on() {
    let mut engine = Engine::default();
    let excluded = READ_PAGE_RECORDS_SKIPPED_MAX as u64 + 5;
    for id in 0..u128::from(excluded) {
        apply(&mut engine, vec![part(Expectation::Any, "$sys", &[(id, "")])]);
    }
    for direction in [Direction::Forward, Direction::Backward] {
        let from = if direction == Direction::Forward { 0 } else { excluded - 1 };
        let first = engine.read_all(from, direction, false, 10, 1 << 20);
        assert!(first.events.is_empty());
        let next = first.next.unwrap();
        assert_eq!(next.abs_diff(from), READ_PAGE_RECORDS_SKIPPED_MAX as u64);
        assert_eq!(engine.read_all(next, direction, false, 10, 1 << 20), Page::default());
    }
}

#[test]
fn a_page_ends_at_its_bytes_but_never_before_one_event() {
    let mut engine = Engine::default();
    let data = "x".repeat(100);
    let events: Vec<_> = (0..10).map(|id| (id, data.as_str())).collect();
    apply(&mut engine, vec![part(Expectation::Any, "s", &events)]);
    let page = |bytes_max| engine.read_stream("s", 0, Direction::Forward, 100, bytes_max);
    assert_eq!(page(0).events.len(), 1);
    assert_eq!(page(0).next, Some(1));
    assert_eq!(page(300).events.len(), 2);
    assert_eq!(page(1 << 20).next, None);
}

#[test]
fn a_forward_page_can_be_ended_where_the_header_ended() {
    let engine = engine();
    let read = |last, events_max| {
        let mut page = engine.read_stream("a", 0, Direction::Forward, events_max, 1 << 20);
        page.end_at(last, |event| event.version);
        (page.events.len(), page.next)
    };
    assert_eq!(read(None, 10), (3, None));
    assert_eq!(read(Some(1), 10), (2, None));
    assert_eq!(read(Some(1), 2), (2, None));
    assert_eq!(read(Some(1), 1), (1, Some(1)));
}

#[test]
fn reads_outside_of_what_is_there_are_empty() {
    let engine = engine();
    let page = |stream, from, direction| engine.read_stream(stream, from, direction, 10, 1 << 20);
    assert_eq!(page("none", 0, Direction::Forward), Page::default());
    assert_eq!(page("a", 3, Direction::Forward), Page::default());
    assert_eq!(page("a", u64::MAX, Direction::Forward), Page::default());
    assert_eq!(page("a", u64::MAX, Direction::Backward).events.len(), 3);
    assert_eq!(engine.read_all(4, Direction::Forward, true, 10, 1 << 20), Page::default());
    assert_eq!(engine.read_all(u64::MAX, Direction::Backward, true, 10, 1 << 20).events.len(), 4);
    assert_eq!(Engine::default().read_all(0, Direction::Backward, true, 10, 0), Page::default());
}
