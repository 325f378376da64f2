//! Between the messages of `reckon.v1` and the engine's own types: what a caller may send, and how answers and
//! refusals read. Pure: knows neither the state of the store nor Raft, and takes new ids from outside.

mod append;
mod metadata;
mod refusal;
#[cfg(test)]
mod tests;

use reckon_api::{Reason, v1};
use tonic::Status;

pub use append::{append_command, no_append};
pub use refusal::{refusal_status, stream_not_found};

use crate::engine::{
    Appended, Direction, ReadError, RecordedEvent, StreamPage, StreamStatus, StreamSummary,
};
use crate::limits::STREAM_ID_BYTES_MAX;
use refusal::invalid_field;

/// The answer to an append that took effect, now or at its first try.
pub fn append_response(request: &v1::AppendRequest, appended: &Appended) -> v1::AppendResponse {
    let streams = request
        .appends
        .iter()
        .zip(&appended.last_versions)
        .map(|(append, &last_version)| v1::StreamAppended {
            stream_id: append.stream_id.clone(),
            last_version,
        })
        .collect();
    v1::AppendResponse {
        streams,
        first_position: appended.first_position,
        last_position: appended.last_position,
        epoch_us: appended.epoch_us,
    }
}

/// An event as clients see it. Data and metadata are not copied.
pub fn event(recorded: &RecordedEvent) -> v1::Event {
    let event = recorded.event();
    let shared = |part: &[u8]| recorded.record().bytes().slice_ref(part);
    v1::Event {
        event_id: event.event_id.to_string(),
        stream_id: recorded.stream_id().to_owned(),
        version: recorded.version,
        position: recorded.position,
        event_type: event.event_type.to_owned(),
        data: shared(event.data),
        data_content_type: event.data_content_type.to_owned(),
        metadata: shared(event.metadata),
        metadata_content_type: event.metadata_content_type.to_owned(),
        tags: event.tags.iter().map(str::to_owned).collect(),
        causation_id: event.causation_id.map(str::to_owned),
        correlation_id: event.correlation_id.map(str::to_owned),
        actor_id: event.actor_id.map(str::to_owned),
        schema_version: event.schema_version,
        occurred_at_us: event.occurred_at_us,
        epoch_us: recorded.epoch_us,
    }
}

/// What `GetStream` says; `None` is a stream that never had an event.
pub fn stream_info(stream_id: &str, summary: Option<&StreamSummary>) -> v1::StreamInfo {
    let Some(summary) = summary else {
        return v1::StreamInfo {
            stream_id: stream_id.to_owned(),
            first_version: -1,
            last_version: -1,
            ..v1::StreamInfo::default()
        };
    };
    v1::StreamInfo {
        stream_id: stream_id.to_owned(),
        exists: summary.exists(),
        first_version: summary.first_version.cast_signed(),
        last_version: summary.last_version.map_or(-1, u64::cast_signed),
        events: summary.events,
        first_epoch_us: summary.first_epoch_us,
        last_epoch_us: summary.last_epoch_us,
        deleted: summary.status == StreamStatus::Deleted,
        tombstoned: summary.status == StreamStatus::Tombstoned,
    }
}

/// A read that met something in the store, or in its own filter, that keeps it from an answer.
pub fn read_failed(error: ReadError) -> Status {
    Reason::Internal.plain(error.to_string())
}

/// A page of a listing. Its token is the last name on it.
pub fn list_response(page: &StreamPage) -> v1::ListStreamsResponse {
    v1::ListStreamsResponse {
        streams: page
            .streams
            .iter()
            .map(|summary| stream_info(&summary.stream_id, Some(summary)))
            .collect(),
        next_page_token: page.next_after.clone().unwrap_or_default(),
    }
}

/// The direction of a read; unspecified is forward.
pub fn direction(direction: i32) -> Result<Direction, Status> {
    match v1::Direction::try_from(direction) {
        Ok(v1::Direction::Unspecified | v1::Direction::Forward) => Ok(Direction::Forward),
        Ok(v1::Direction::Backward) => Ok(Direction::Backward),
        Err(_unknown) => Err(invalid_field(
            "direction",
            &direction.to_string(),
            "is no direction: 1 is forward, 2 is backward",
        )),
    }
}

/// Whether a stream may be asked for by this name; the server's own may.
pub fn check_stream_id(stream_id: &str) -> Result<(), Status> {
    let limit = refusal::Limit { name: "stream_id_bytes_max", maximum: STREAM_ID_BYTES_MAX };
    refusal::check_name(|| "stream_id".to_owned(), stream_id, limit)
}
