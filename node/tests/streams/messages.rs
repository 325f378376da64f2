//! What tests send, and what they look at in a refusal.

#![allow(
    clippy::unnecessary_wraps,
    reason = "fields of messages are options, and tests fill them in place"
)]

use reckon_api::{Reason, v1};
use tonic::Status;
use tonic_types::StatusExt as _;
use uuid::Uuid;
use v1::filter_term::Kind;

/// A name that no other test uses.
pub fn unique(name: &str) -> String {
    format!("{name}-{}", Uuid::new_v4().simple())
}

/// An event of a type, with an id of its own.
pub fn event(event_type: &str) -> v1::NewEvent {
    v1::NewEvent {
        event_id: Some(Uuid::now_v7().to_string()),
        event_type: event_type.to_owned(),
        data: "{}".into(),
        ..v1::NewEvent::default()
    }
}

/// An event of a type with tags.
pub fn tagged(event_type: &str, tags: &[&str]) -> v1::NewEvent {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    v1::NewEvent { tags, ..event(event_type) }
}

pub fn stream(stream_id: &str, events: Vec<v1::NewEvent>) -> v1::StreamAppend {
    v1::StreamAppend { stream_id: stream_id.to_owned(), expectation: None, events }
}

pub fn expecting(append: v1::StreamAppend, expectation: v1::Expectation) -> v1::StreamAppend {
    v1::StreamAppend { expectation: Some(expectation), ..append }
}

/// −2 any, −1 no stream, N that version.
pub fn version(version: i64) -> v1::Expectation {
    v1::Expectation { kind: Some(v1::expectation::Kind::Version(version)) }
}

pub fn stream_exists() -> v1::Expectation {
    v1::Expectation { kind: Some(v1::expectation::Kind::StreamExists(true)) }
}

pub fn append(appends: Vec<v1::StreamAppend>) -> v1::AppendRequest {
    v1::AppendRequest { appends, condition: None }
}

/// So many events of one type to one stream.
pub fn events_to(stream_id: &str, count: usize) -> v1::AppendRequest {
    append(vec![stream(stream_id, (0..count).map(|_| event("Tested")).collect())])
}

pub fn in_batch(append: v1::AppendRequest) -> v1::AppendBatchRequest {
    v1::AppendBatchRequest { append: Some(append), timeout_ms: 0 }
}

pub fn item(types: &[&str], tags: &[&str]) -> v1::QueryItem {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    v1::QueryItem { types: owned(types), tags: owned(tags) }
}

pub fn query(items: Vec<v1::QueryItem>) -> v1::Query {
    v1::Query { items }
}

pub fn term(kind: Kind) -> v1::FilterTerm {
    v1::FilterTerm { negate: false, kind: Some(kind) }
}

pub fn not(kind: Kind) -> v1::FilterTerm {
    v1::FilterTerm { negate: true, kind: Some(kind) }
}

pub fn filter(terms: Vec<v1::FilterTerm>) -> Option<v1::Filter> {
    Some(v1::Filter { terms })
}

/// Events of the streams of one test.
pub fn of_prefix(prefix: &str) -> v1::FilterTerm {
    term(Kind::StreamPrefix(prefix.to_owned()))
}

pub fn stale() -> Option<v1::Consistency> {
    Some(v1::Consistency { kind: Some(v1::consistency::Kind::Stale(true)) })
}

pub fn at_least(position: u64) -> Option<v1::Consistency> {
    Some(v1::Consistency { kind: Some(v1::consistency::Kind::AtLeastPosition(position)) })
}

pub fn from(kind: v1::read_from::Kind) -> Option<v1::ReadFrom> {
    Some(v1::ReadFrom { kind: Some(kind) })
}

pub fn versions(events: &[v1::Event]) -> Vec<u64> {
    events.iter().map(|event| event.version).collect()
}

pub fn positions(events: &[v1::Event]) -> Vec<u64> {
    events.iter().map(|event| event.position).collect()
}

/// A value that a refusal speaks of.
pub fn value(status: &Status, name: &str) -> String {
    let info = status.get_details_error_info().expect("a refusal carries an ErrorInfo");
    let value = info.metadata.get(name);
    value.unwrap_or_else(|| panic!("no {name} in {:?}", info.metadata)).clone()
}

/// Fails unless the answer is a refusal for this reason, which names this field.
#[track_caller]
pub fn refused_field<T: std::fmt::Debug>(answer: Result<T, Status>, reason: Reason, field: &str) {
    let status = refused(answer, reason);
    assert_eq!(value(&status, "field"), field, "{status:?}");
    if reason == Reason::LimitExceeded {
        for name in ["limit", "value", "maximum"] {
            value(&status, name);
        }
    }
}

/// Fails unless the answer is a refusal for this reason.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, reason: Reason) -> Status {
    let status = match answer {
        Err(status) => status,
        Ok(answer) => panic!("{} was expected, {answer:?} came", reason.as_str()),
    };
    assert_eq!(Reason::of(&status), Some(reason), "{status:?}");
    assert_eq!(status.code(), reason.code(), "{status:?}");
    let retry = status.get_details_retry_info().is_some();
    assert_eq!(retry, reason.retryable(), "RetryInfo stands where a retry helps: {status:?}");
    status
}
