//! Refusals as gRPC statuses: a reason, a sentence a person can act on, and the values it speaks of.

use reckon_api::Reason;
use tonic::Status;
use uuid::Uuid;

use crate::engine::{Expectation, ReadError, Refusal, SelectError, StreamState, StreamSummary};

/// How much of a caller's value is repeated to the caller, in characters: statuses travel in headers.
const VALUE_CHARS_MAX: usize = 64;

/// A limit by the name of its constant in `limits`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub name: &'static str,
    pub maximum: usize,
}

/// What an engine's refusal means to a caller.
pub fn refusal_status(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::WrongExpectedVersion { stream_id, expected, actual } => {
            let stream = shortened(stream_id);
            let message = match (expected, actual) {
                (Expectation::NoStream, _) => format!(
                    "stream {stream:?} was expected to be new but is at version {actual}; \
                     read it and decide again"
                ),
                (Expectation::StreamExists, -1) => {
                    format!("stream {stream:?} was expected to exist but has never had an event")
                }
                (Expectation::StreamExists, _) => {
                    format!("stream {stream:?} was expected to exist but is deleted")
                }
                (_, -1) => format!(
                    "stream {stream:?} was expected at version {expected} but has never had an event"
                ),
                _ => format!(
                    "stream {stream:?} was expected at version {expected} but is at version {actual}; \
                     read what is new and decide again"
                ),
            };
            let expected = match expected {
                Expectation::Any => "-2".to_owned(),
                Expectation::NoStream => "-1".to_owned(),
                Expectation::StreamExists | Expectation::Exact(_) => expected.to_string(),
            };
            let values = [
                ("stream", stream_id.clone()),
                ("expected", expected),
                ("actual", actual.to_string()),
            ];
            Reason::WrongExpectedVersion.status(message, values)
        }
        Refusal::StreamNotFound { stream_id } => stream_not_found(stream_id),
        Refusal::StreamDeleted { stream_id } => stream_deleted(stream_id),
        Refusal::StreamTombstoned { stream_id } => stream_tombstoned(stream_id),
        Refusal::TruncateBeyondEnd { before_version, next_version, .. } => invalid_field(
            "before_version",
            &before_version.to_string(),
            &format!("is beyond the end: the stream's next version is {next_version}"),
        ),
        Refusal::AppendConditionFailed { position } => Reason::AppendConditionFailed.status(
            format!(
                "the event at position {position} matches the condition; read what is new and \
                 decide again"
            ),
            [("position", position.to_string())],
        ),
        Refusal::EventIdReused { event_id } => Reason::EventIdReused.status(
            format!(
                "event id {event_id} is already used, and not by this same append: a retry must \
                 send the same events in the same order, other events need ids of their own"
            ),
            [("event_id", event_id.to_string())],
        ),
        Refusal::StreamNamedTwice { stream_id } => {
            invalid_field("appends", stream_id, "is named twice; put all its events into one entry")
        }
        Refusal::InvalidName { name } => {
            invalid_field("appends", name, "has a control character; leave it out")
        }
        Refusal::SubscriptionNotFound { name } => subscription_not_found(name),
        Refusal::SubscriptionExists { name } => Reason::SubscriptionExists.status(
            format!(
                "subscription {:?} exists with another definition; update it, or take another name",
                shortened(name)
            ),
            [("subscription", name.clone())],
        ),
        Refusal::SubscriptionChanged { name } => Reason::SubscriptionChanged.status(
            format!(
                "subscription {:?} was changed by somebody else meanwhile; look again and decide",
                shortened(name)
            ),
            [("subscription", name.clone())],
        ),
        Refusal::TooManySubscriptions { maximum } => Reason::LimitExceeded.status(
            format!("the store has {maximum} subscriptions, which is the most; delete some"),
            [("limit", "subscriptions_max".to_owned()), ("maximum", maximum.to_string())],
        ),
        Refusal::InvalidVolumeId { bytes } => Reason::InvalidArgument.status(
            format!("volume_id has {bytes} bytes; a node id is given to volumes named by 1 to 256"),
            [("field", "volume_id".to_owned()), ("value", format!("{bytes} bytes"))],
        ),
    }
}

/// The stream, if it lives; otherwise why it cannot be read.
pub fn live<'a>(stream_id: &str, state: &'a StreamState) -> Result<&'a StreamSummary, Status> {
    match state {
        StreamState::Live(summary) => Ok(summary),
        StreamState::Unknown => Err(stream_not_found(stream_id)),
        StreamState::Deleted(_) => Err(stream_deleted(stream_id)),
        StreamState::Tombstoned(_) => Err(stream_tombstoned(stream_id)),
    }
}

/// The refusal of a request about a subscription that is not there.
pub fn subscription_not_found(name: &str) -> Status {
    let message = format!("there is no subscription {:?}", shortened(name));
    Reason::SubscriptionNotFound.status(message, [("subscription", name)])
}

/// The refusal of a request about a stream that never had an event.
pub(super) fn stream_not_found(stream_id: &str) -> Status {
    let message = format!("stream {:?} has never had an event", shortened(stream_id));
    Reason::StreamNotFound.status(message, [("stream", stream_id)])
}

/// The refusal of a request about a stream that was deleted and not opened again.
fn stream_deleted(stream_id: &str) -> Status {
    let message = format!("stream {:?} is deleted; an append opens it again", shortened(stream_id));
    Reason::StreamDeleted.status(message, [("stream", stream_id)])
}

/// The refusal of a request about a stream that can never be used again.
fn stream_tombstoned(stream_id: &str) -> Status {
    let message = format!(
        "stream {:?} was deleted for ever; its name cannot be used again, take another one",
        shortened(stream_id)
    );
    Reason::StreamTombstoned.status(message, [("stream", stream_id)])
}

/// Why nothing could be read. A damaged file is fetched again from another member, so a retry may help, at once on
/// another node.
#[allow(clippy::needless_pass_by_value, reason = "what takes errors over hands them over")]
pub fn read_failed(error: ReadError) -> Status {
    let message = error.to_string();
    if let Some(file) = error.damaged_file() {
        return Reason::Damaged.status(
            format!("{message}; it is being mended from another member"),
            [("file", file)],
        );
    }
    match error {
        ReadError::Select(SelectError::TooCostly { position, steps_max }) => Reason::LimitExceeded
            .status(
                message,
                [
                    ("field", "filter".to_owned()),
                    ("limit", "expression_steps_max".to_owned()),
                    ("value", format!("more than {steps_max}")),
                    ("maximum", steps_max.to_string()),
                    ("position", position.to_string()),
                ],
            ),
        ReadError::VersionMissing { .. } | ReadError::RemovalsUnknown { .. } => {
            Reason::Damaged.plain(message)
        }
        ReadError::File(_) | ReadError::Index { .. } => Reason::Internal.plain(message),
    }
}

/// The refusal of a look-up of an event that is not there, or not any more.
pub fn event_not_found(event_id: Uuid) -> Status {
    let message = format!("no event that can be read has the id {event_id}");
    Reason::EventNotFound.status(message, [("event_id", event_id.to_string())])
}

/// A field whose value cannot be taken; `what` goes on after the field and the value.
pub(super) fn invalid_field(field: &str, value: &str, what: &str) -> Status {
    let value = shortened(value);
    Reason::InvalidArgument.status(
        format!("{field} {value:?} {what}"),
        [("field", field.to_owned()), ("value", value)],
    )
}

/// A field that is missing; `what` says what belongs there.
pub(super) fn empty_field(field: &str, what: &str) -> Status {
    Reason::InvalidArgument.status(
        format!("{field} is empty; {what}"),
        [("field", field.to_owned()), ("value", String::new())],
    )
}

/// A field beyond its limit; `what` says what the number counts and what to do.
pub(super) fn limit_exceeded(field: &str, limit: Limit, value: usize, what: &str) -> Status {
    let Limit { name, maximum } = limit;
    Reason::LimitExceeded.status(
        format!("{field} has {value} {what}; the most is {maximum}"),
        [
            ("field", field.to_owned()),
            ("limit", name.to_owned()),
            ("value", value.to_string()),
            ("maximum", maximum.to_string()),
        ],
    )
}

/// A name: one byte to the limit, without control characters.
pub(super) fn check_name(
    field: impl Fn() -> String,
    name: &str,
    limit: Limit,
) -> Result<(), Status> {
    if name.is_empty() {
        return Err(empty_field(&field(), &format!("it takes 1 to {} bytes", limit.maximum)));
    }
    check_text(field, name, limit)
}

/// A text: up to the limit, without control characters.
pub(super) fn check_text(
    field: impl Fn() -> String,
    text: &str,
    limit: Limit,
) -> Result<(), Status> {
    if text.len() > limit.maximum {
        return Err(limit_exceeded(&field(), limit, text.len(), "bytes"));
    }
    match text.char_indices().find(|(_, character)| character.is_control()) {
        None => Ok(()),
        Some((offset, _)) => {
            let what = format!("has a control character at byte {offset}; leave it out");
            Err(invalid_field(&field(), text, &what))
        }
    }
}

fn shortened(value: &str) -> String {
    match value.char_indices().nth(VALUE_CHARS_MAX) {
        None => value.to_owned(),
        Some((end, _)) => format!("{}…", &value[..end]),
    }
}
