//! Answers as clients see them.

use prost::Message as _;
use reckon_api::{Reason, v1};
use tonic::Status;

use crate::engine::{
    Appended, Notice, RecordedEvent, StreamChange, StreamNotice, StreamPage, StreamState,
    StreamStatus, StreamSummary, SubscriptionChange, SubscriptionNotice,
};

/// The answer to an append that took effect, now or at its first try.
pub fn append_response(request: v1::AppendRequest, appended: &Appended) -> v1::AppendResponse {
    let streams = request
        .appends
        .into_iter()
        .zip(&appended.last_versions)
        .map(|(append, &last_version)| v1::StreamAppended {
            stream_id: append.stream_id,
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

/// The error of an outcome that no command of this kind has.
pub fn not_its_answer() -> Status {
    Reason::Internal.plain("the answer to a command does not go with it")
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

/// What `GetStream` says; a stream that never was is described too.
pub fn stream_info(stream_id: &str, state: &StreamState) -> v1::StreamInfo {
    match state {
        StreamState::Unknown => v1::StreamInfo {
            stream_id: stream_id.to_owned(),
            first_version: -1,
            last_version: -1,
            ..v1::StreamInfo::default()
        },
        StreamState::Live(summary)
        | StreamState::Deleted(summary)
        | StreamState::Tombstoned(summary) => summary_info(summary),
    }
}

/// A page of a listing.
pub fn list_response(page: StreamPage) -> v1::ListStreamsResponse {
    v1::ListStreamsResponse {
        streams: page.streams.iter().map(summary_info).collect(),
        next_page_token: page.next_after.unwrap_or_default(),
    }
}

/// What happened.
pub fn notice(notice: &Notice) -> v1::Notice {
    match notice {
        Notice::Stream(notice) => stream_notice(notice),
        Notice::Subscription(notice) => subscription_notice(notice),
    }
}

fn subscription_notice(notice: &SubscriptionNotice) -> v1::Notice {
    let change = match notice.change {
        SubscriptionChange::Created => v1::Change::Created,
        SubscriptionChange::Updated => v1::Change::Updated,
        SubscriptionChange::Deleted => v1::Change::Deleted,
    };
    v1::Notice {
        position: notice.position,
        epoch_us: notice.epoch_us,
        feature: v1::Feature::Subscriptions.into(),
        change: change.into(),
        stream: None,
        // What the engine keeps was encoded by this service.
        subscription: v1::SubscriptionDefinition::decode(notice.definition.clone()).ok(),
    }
}

fn stream_notice(notice: &StreamNotice) -> v1::Notice {
    let change = match notice.change {
        StreamChange::Created => v1::Change::Created,
        StreamChange::Truncated => v1::Change::Updated,
        StreamChange::Deleted => v1::Change::Deleted,
        StreamChange::Tombstoned => v1::Change::Tombstoned,
    };
    v1::Notice {
        position: notice.position,
        epoch_us: notice.epoch_us,
        feature: v1::Feature::Streams.into(),
        change: change.into(),
        stream: Some(summary_info(&notice.stream)),
        subscription: None,
    }
}

fn summary_info(summary: &StreamSummary) -> v1::StreamInfo {
    // A tombstone may stand on a name that was never used.
    let first_version = summary.last_version.map_or(-1, |_| summary.first_version.cast_signed());
    v1::StreamInfo {
        stream_id: summary.stream_id.clone(),
        exists: summary.status == StreamStatus::Live,
        first_version,
        last_version: summary.last_version.map_or(-1, u64::cast_signed),
        events: summary.events,
        first_epoch_us: summary.first_epoch_us,
        last_epoch_us: summary.last_epoch_us,
        deleted: summary.status == StreamStatus::Deleted,
        tombstoned: summary.status == StreamStatus::Tombstoned,
    }
}
