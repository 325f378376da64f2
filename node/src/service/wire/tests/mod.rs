//! What callers may send, field by field, and what they are told when they may not.

mod answers;
mod append;
mod refusals;
mod requests;
mod subscription;

use std::sync::Arc;

use parking_lot::RwLock;
use reckon_api::{Reason, v1};
use tonic::Status;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::*;
use crate::engine::{Command, Engine, Outcome, StateReader, StreamRead, encode_group};
use crate::storage::LogPosition;

const NEW_ID: Uuid = Uuid::from_u128(0xfeed);

fn new_event() -> v1::NewEvent {
    v1::NewEvent { event_type: "happened".into(), data: "{}".into(), ..v1::NewEvent::default() }
}

/// An append of these events to one stream.
fn request_of(events: Vec<v1::NewEvent>) -> v1::AppendRequest {
    let append = v1::StreamAppend { stream_id: "orders-1".into(), events, expectation: None };
    v1::AppendRequest { appends: vec![append], condition: None }
}

fn stream(stream_id: impl Into<String>) -> v1::StreamAppend {
    v1::StreamAppend { stream_id: stream_id.into(), events: vec![new_event()], expectation: None }
}

/// What an empty store makes of appends, and how to read it then.
fn applied(epoch_us: u64, request: &v1::AppendRequest) -> (Outcome, StateReader) {
    let mut ids = (NEW_ID.as_u128()..).map(Uuid::from_u128);
    let command = append_command(request, || ids.next().unwrap()).unwrap();
    let mut engine = Engine::default();
    let group = encode_group(epoch_us, &[command]);
    let outcome = engine.apply_group(&group, LogPosition { term: 1, index: 1 }).unwrap().remove(0);
    (outcome, StateReader::new(Arc::new(RwLock::new(engine))))
}

/// Appends to an empty store and reads the only event back.
fn recorded(event: v1::NewEvent) -> v1::Event {
    let (_, reader) = applied(77, &request_of(vec![event]));
    super::event(&reader.read_stream(&StreamRead::of("orders-1")).unwrap().events[0])
}

/// Reason, sentence, and the values by name.
fn told(status: &Status) -> (Reason, String, Vec<(String, String)>) {
    let info = status.get_details_error_info().unwrap();
    let mut values: Vec<_> = info.metadata.into_iter().collect();
    values.sort();
    (Reason::of(status).unwrap(), status.message().to_owned(), values)
}

#[track_caller]
fn check_refused(request: &v1::AppendRequest, reason: Reason, field: &str, message: &str) {
    let status = append_command(request, || NEW_ID).unwrap_err();
    let (told_reason, told_message, values) = told(&status);
    assert_eq!(told_reason, reason, "{told_message}");
    assert!(told_message.contains(message), "{told_message:?} lacks {message:?}");
    assert!(values.contains(&("field".into(), field.into())), "{values:?}");
    assert!(values.iter().any(|(key, _)| key == "value"), "{values:?}");
    if reason == Reason::LimitExceeded {
        for key in ["limit", "maximum"] {
            assert!(values.iter().any(|(found, _)| found == key), "no {key} in {values:?}");
        }
    }
}
