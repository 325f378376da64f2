//! An append as a caller sends it becomes an encoded command, or is refused with the field, its value and the
//! limit. Whatever passes here, every replica can take.

use std::collections::HashSet;

use bytes::Bytes;
use reckon_api::{Reason, v1};
use tonic::Status;
use uuid::Uuid;

use super::filter::filter_status;
use super::metadata::{Found, FromMetadata};
use super::refusal::{Limit, check_name, check_text, empty_field, invalid_field, limit_exceeded};
use crate::engine::{AppendCondition, Command, Expectation, Query, StreamAppend};
use crate::event::{DEFAULT_SCHEMA_VERSION, EventDraft, SYSTEM_PREFIX, encode_record};
use crate::filter::query_items;
use crate::limits;

const STREAMS: Limit = Limit { name: "append_streams_max", maximum: limits::APPEND_STREAMS_MAX };
const EVENTS: Limit = Limit { name: "append_events_max", maximum: limits::APPEND_EVENTS_MAX };
const APPEND_BYTES: Limit = Limit { name: "append_bytes_max", maximum: limits::APPEND_BYTES_MAX };
const EVENT_BYTES: Limit = Limit { name: "event_bytes_max", maximum: limits::EVENT_BYTES_MAX };
const STREAM_ID: Limit =
    Limit { name: "stream_id_bytes_max", maximum: limits::STREAM_ID_BYTES_MAX };
const EVENT_TYPE: Limit =
    Limit { name: "event_type_bytes_max", maximum: limits::EVENT_TYPE_BYTES_MAX };
const TAGS: Limit = Limit { name: "tags_max", maximum: limits::TAGS_MAX };
const TAG: Limit = Limit { name: "tag_bytes_max", maximum: limits::TAG_BYTES_MAX };
const REFERENCE_ID: Limit =
    Limit { name: "reference_id_bytes_max", maximum: limits::REFERENCE_ID_BYTES_MAX };
const CONTENT_TYPE: Limit =
    Limit { name: "content_type_bytes_max", maximum: limits::CONTENT_TYPE_BYTES_MAX };

/// Checks an append and encodes it for the proposer. Events without an id are given one by `new_id`.
pub fn append_command(
    request: &v1::AppendRequest,
    mut new_id: impl FnMut() -> Uuid,
) -> Result<Bytes, Status> {
    let streams = request.appends.len();
    if streams == 0 {
        return Err(empty_field("appends", "name at least one stream with its events"));
    }
    if streams > STREAMS.maximum {
        return Err(limit_exceeded("appends", STREAMS, streams, "streams; send several appends"));
    }
    let events: usize = request.appends.iter().map(|append| append.events.len()).sum();
    if events > EVENTS.maximum {
        return Err(limit_exceeded("appends", EVENTS, events, "events; send several appends"));
    }

    let mut names = HashSet::new();
    let mut appends = Vec::with_capacity(streams);
    let mut append_bytes = 0;
    for (index, append) in request.appends.iter().enumerate() {
        check_appendable(index, append)?;
        if streams > 1 && !names.insert(append.stream_id.as_str()) {
            let what = "is named twice; put all its events into one entry";
            let field = format!("appends[{index}].stream_id");
            return Err(invalid_field(&field, &append.stream_id, what));
        }
        appends.push(stream_append(index, append, &mut append_bytes, &mut new_id)?);
    }
    let condition = request.condition.as_ref().map(condition).transpose()?;
    Ok(Command::Append { appends, condition }.encode())
}

/// A condition with something in it.
fn condition(given: &v1::AppendCondition) -> Result<AppendCondition, Status> {
    let query = given.query.as_ref().ok_or_else(|| {
        empty_field("condition.query", "a condition has a query; for none leave the condition out")
    })?;
    let items = query_items("condition.query", query).map_err(filter_status)?;
    Ok(AppendCondition { query: Query { items }, after_position: given.after_position })
}

/// The refusal of a message of `AppendBatch` with nothing in it.
pub fn no_append() -> Status {
    empty_field("append", "each message carries one append")
}

/// A stream that a caller may append to, with something to append.
fn check_appendable(index: usize, append: &v1::StreamAppend) -> Result<(), Status> {
    let field = || format!("appends[{index}].stream_id");
    check_name(field, &append.stream_id, STREAM_ID)?;
    check_not_system(field, &append.stream_id)?;
    if append.events.is_empty() {
        let field = format!("appends[{index}].events");
        return Err(empty_field(&field, "an append to a stream has at least one event"));
    }
    Ok(())
}

fn stream_append(
    index: usize,
    append: &v1::StreamAppend,
    append_bytes: &mut usize,
    new_id: &mut impl FnMut() -> Uuid,
) -> Result<StreamAppend, Status> {
    let field = format!("appends[{index}].expectation");
    let expectation = expectation(&field, append.expectation.as_ref())?;
    let mut derived = Vec::with_capacity(append.events.len());
    for (number, event) in append.events.iter().enumerate() {
        derived.push(Derived::of(EventPlace { append: index, event: number }, event)?);
    }
    let mut drafts = Vec::with_capacity(append.events.len());
    for (number, (event, derived)) in append.events.iter().zip(&derived).enumerate() {
        let place = EventPlace { append: index, event: number };
        let draft = draft(place, event, derived, new_id)?;
        let event_bytes = draft.encoded_len();
        if event_bytes > EVENT_BYTES.maximum {
            let what = "bytes; keep large contents elsewhere and append where they are";
            return Err(limit_exceeded(&place.to_string(), EVENT_BYTES, event_bytes, what));
        }
        *append_bytes += event_bytes;
        if *append_bytes > APPEND_BYTES.maximum {
            return Err(append_too_large(*append_bytes));
        }
        drafts.push(draft);
    }
    let event_bytes: usize = drafts.iter().map(EventDraft::encoded_len).sum();
    let record = encode_record(&append.stream_id, &drafts).map_err(|corrupt| {
        Reason::Internal.plain(format!("a checked append cannot be encoded: {corrupt}"))
    })?;
    // What stands around the events counts too: the limit is on what the log has to carry.
    *append_bytes += record.bytes().len() - event_bytes;
    if *append_bytes > APPEND_BYTES.maximum {
        return Err(append_too_large(*append_bytes));
    }
    Ok(StreamAppend { expectation, record })
}

fn append_too_large(append_bytes: usize) -> Status {
    limit_exceeded("appends", APPEND_BYTES, append_bytes, "bytes or more; send several appends")
}

/// Reads an expectation; `field` is its path in the request.
pub(super) fn expectation(
    field: &str,
    given: Option<&v1::Expectation>,
) -> Result<Expectation, Status> {
    use v1::expectation::Kind;
    let invalid = |kind: &str, value: &str, what: &str| {
        Err(invalid_field(&format!("{field}.{kind}"), value, what))
    };
    match given.and_then(|expectation| expectation.kind.as_ref()) {
        None | Some(Kind::Version(-2)) => Ok(Expectation::Any),
        Some(Kind::Version(-1)) => Ok(Expectation::NoStream),
        Some(&Kind::Version(version)) => match u64::try_from(version) {
            Ok(version) => Ok(Expectation::Exact(version)),
            Err(_negative) => invalid(
                "version",
                &version.to_string(),
                "is no expectation: −2 is any, −1 no stream, 0 and above that version",
            ),
        },
        Some(Kind::StreamExists(true)) => Ok(Expectation::StreamExists),
        Some(Kind::StreamExists(false)) => invalid(
            "stream_exists",
            "false",
            "is ambiguous; for a stream that must not exist send version −1, for any none",
        ),
    }
}

/// Which event of a request is spoken of.
#[derive(Debug, Clone, Copy)]
struct EventPlace {
    append: usize,
    event: usize,
}

impl EventPlace {
    fn field(self, name: &'static str) -> impl Fn() -> String {
        move || format!("{self}.{name}")
    }
}

impl std::fmt::Display for EventPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "appends[{}].events[{}]", self.append, self.event)
    }
}

/// What an event says outright or else in its metadata.
#[derive(Debug)]
struct Derived {
    causation_id: Option<String>,
    correlation_id: Option<String>,
    actor_id: Option<String>,
    schema_version: u32,
}

impl Derived {
    /// Metadata is only parsed when something is not said outright.
    fn of(place: EventPlace, event: &v1::NewEvent) -> Result<Self, Status> {
        let outright = event.causation_id.is_some()
            && event.correlation_id.is_some()
            && event.actor_id.is_some()
            && event.schema_version.is_some();
        let found = if outright {
            FromMetadata::default()
        } else {
            FromMetadata::read(&event.metadata, &event.metadata_content_type)
        };
        let reference = |name, outright: Option<&String>, found: Found<String>| match outright {
            Some(id) => check_name(place.field(name), id, REFERENCE_ID).map(|()| None),
            None => found
                .map(|(key, id)| {
                    check_name(|| format!("{place}.metadata.{key}"), &id, REFERENCE_ID)?;
                    Ok(id)
                })
                .transpose(),
        };
        Ok(Self {
            causation_id: reference(
                "causation_id",
                event.causation_id.as_ref(),
                found.causation_id,
            )?,
            correlation_id: reference(
                "correlation_id",
                event.correlation_id.as_ref(),
                found.correlation_id,
            )?,
            actor_id: reference("actor_id", event.actor_id.as_ref(), found.actor_id)?,
            schema_version: schema_version(place, event.schema_version, found.schema_version)?,
        })
    }
}

fn schema_version(
    place: EventPlace,
    outright: Option<u32>,
    found: Found<Option<u32>>,
) -> Result<u32, Status> {
    const WHAT: &str = "is no schema version: they are whole numbers from 1";
    match (outright, found) {
        (Some(0), _) => Err(invalid_field(&place.field("schema_version")(), "0", WHAT)),
        (Some(version), _) | (None, Some((_, Some(version)))) => Ok(version),
        (None, Some((key, None))) => {
            Err(invalid_field(&format!("{place}.metadata.{key}"), "", WHAT))
        }
        (None, None) => Ok(DEFAULT_SCHEMA_VERSION),
    }
}

fn draft<'a>(
    place: EventPlace,
    event: &'a v1::NewEvent,
    derived: &'a Derived,
    new_id: &mut impl FnMut() -> Uuid,
) -> Result<EventDraft<'a>, Status> {
    let event_id = match event.event_id.as_deref() {
        None => new_id(),
        Some(text) => event_id(place, text)?,
    };
    check_name(place.field("event_type"), &event.event_type, EVENT_TYPE)?;
    check_not_system(place.field("event_type"), &event.event_type)?;
    check_text(place.field("data_content_type"), &event.data_content_type, CONTENT_TYPE)?;
    check_text(place.field("metadata_content_type"), &event.metadata_content_type, CONTENT_TYPE)?;
    for (index, tag) in event.tags.iter().enumerate() {
        check_name(|| format!("{place}.tags[{index}]"), tag, TAG)?;
    }

    let mut draft = EventDraft::new(event_id, &event.event_type, &event.data);
    draft.data_content_type = &event.data_content_type;
    draft.metadata = &event.metadata;
    draft.metadata_content_type = &event.metadata_content_type;
    draft.set_tags(event.tags.iter().map(String::as_str));
    if draft.tags().len() > TAGS.maximum {
        let tags = draft.tags().len();
        return Err(limit_exceeded(&place.field("tags")(), TAGS, tags, "different tags"));
    }
    draft.causation_id = event.causation_id.as_deref().or(derived.causation_id.as_deref());
    draft.correlation_id = event.correlation_id.as_deref().or(derived.correlation_id.as_deref());
    draft.actor_id = event.actor_id.as_deref().or(derived.actor_id.as_deref());
    draft.schema_version = derived.schema_version;
    draft.occurred_at_us = event.occurred_at_us;
    Ok(draft)
}

fn event_id(place: EventPlace, text: &str) -> Result<Uuid, Status> {
    let field = place.field("event_id");
    if text.is_empty() {
        return Err(empty_field(&field(), "leave it out to be given an id"));
    }
    Uuid::try_parse(text).map_err(|_not_a_uuid| {
        let what = "is not a UUID; if your ids are of another kind, send the UUIDv5 of them";
        invalid_field(&field(), text, what)
    })
}

/// Refuses names that belong to the server.
pub(super) fn check_not_system(field: impl Fn() -> String, name: &str) -> Result<(), Status> {
    if !name.starts_with(SYSTEM_PREFIX) {
        return Ok(());
    }
    Err(invalid_field(&field(), name, "starts with `$`, and such names belong to the server"))
}
