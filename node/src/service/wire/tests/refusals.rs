//! What is told about refusals.

use super::*;
use crate::engine::{
    Expectation, ReadError, Refusal, SelectError, StreamState, StreamStatus, StreamSummary,
};

#[test]
fn a_wrong_expected_version_tells_stream_expected_and_actual() {
    for (expected, actual, values, message) in [
        (Expectation::Exact(3), 4, ("3", "4"), "expected at version 3 but is at version 4"),
        (Expectation::Exact(3), -1, ("3", "-1"), "has never had an event"),
        (Expectation::NoStream, 0, ("-1", "0"), "expected to be new but is at version 0"),
        (Expectation::StreamExists, -1, ("stream_exists", "-1"), "has never had an event"),
        (Expectation::StreamExists, 4, ("stream_exists", "4"), "is deleted"),
    ] {
        let stream_id = "orders-1".to_owned();
        let status = refusal_status(&Refusal::WrongExpectedVersion { stream_id, expected, actual });
        let (reason, told_message, told_values) = told(&status);
        assert_eq!(reason, Reason::WrongExpectedVersion);
        assert!(told_message.contains(message), "{told_message:?} lacks {message:?}");
        let expected = [("actual", values.1), ("expected", values.0), ("stream", "orders-1")];
        assert_eq!(told_values, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}

#[test]
fn every_refusal_has_its_reason_and_its_values() {
    let stream_id = || "s".to_owned();
    let beyond =
        Refusal::TruncateBeyondEnd { stream_id: stream_id(), before_version: 9, next_version: 4 };
    for (refusal, reason, value) in [
        (Refusal::EventIdReused { event_id: NEW_ID }, Reason::EventIdReused, "event_id"),
        (Refusal::StreamNamedTwice { stream_id: stream_id() }, Reason::InvalidArgument, "appends"),
        (Refusal::InvalidName { name: "a\n".into() }, Reason::InvalidArgument, "appends"),
        (Refusal::InvalidVolumeId { bytes: 0 }, Reason::InvalidArgument, "volume_id"),
        (Refusal::StreamNotFound { stream_id: stream_id() }, Reason::StreamNotFound, "s"),
        (Refusal::StreamDeleted { stream_id: stream_id() }, Reason::StreamDeleted, "s"),
        (Refusal::StreamTombstoned { stream_id: stream_id() }, Reason::StreamTombstoned, "s"),
        (beyond, Reason::InvalidArgument, "before_version"),
        (Refusal::AppendConditionFailed { position: 7 }, Reason::AppendConditionFailed, "7"),
    ] {
        let (told_reason, message, values) = told(&refusal_status(&refusal));
        assert_eq!(told_reason, reason, "{message}");
        assert!(
            values.iter().any(|(key, told)| key == value || told == value),
            "{value} is not in {values:?}"
        );
    }
}

#[test]
fn a_stream_that_cannot_be_read_says_in_which_part_of_its_life_it_is() {
    let summary = |status| StreamSummary {
        stream_id: "s".to_owned(),
        status,
        first_version: 1,
        last_version: Some(0),
        events: 0,
        first_epoch_us: 0,
        last_epoch_us: 5,
    };
    live("s", &StreamState::Live(summary(StreamStatus::Live))).unwrap();
    for (state, reason) in [
        (StreamState::Unknown, Reason::StreamNotFound),
        (StreamState::Deleted(summary(StreamStatus::Deleted)), Reason::StreamDeleted),
        (StreamState::Tombstoned(summary(StreamStatus::Tombstoned)), Reason::StreamTombstoned),
    ] {
        let (told_reason, _, values) = told(&live("s", &state).unwrap_err());
        assert_eq!(told_reason, reason);
        assert_eq!(values, [("stream".to_owned(), "s".to_owned())]);
    }
    assert_eq!(told(&event_not_found(NEW_ID)).0, Reason::EventNotFound);
}

#[test]
fn what_cannot_be_read_is_damaged_and_what_costs_too_much_is_beyond_a_limit() {
    let missing = ReadError::VersionMissing { stream_id: "s".to_owned(), version: 3 };
    assert_eq!(told(&read_failed(missing)).0, Reason::Damaged);
    let costly = ReadError::Select(SelectError::TooCostly { position: 7, steps_max: 20_000 });
    let (reason, _, values) = told(&read_failed(costly));
    assert_eq!(reason, Reason::LimitExceeded);
    for (key, value) in [("position", "7"), ("maximum", "20000"), ("limit", "expression_steps_max")]
    {
        assert!(values.contains(&(key.to_owned(), value.to_owned())), "{key} in {values:?}");
    }
}
