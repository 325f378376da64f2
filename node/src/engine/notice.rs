//! Notices: what happened to streams. Deletions, tombstones and truncations are events of the server's own
//! stream `$streams`, so that a notice has a position, replicates, is sealed and can be watched like everything
//! else. That a stream was created is told by the index of the records that did it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::head::{Head, StreamStatus};
use super::page::{RecordedEvent, StreamSummary};
use super::subscriptions::SubscriptionNotice;
use crate::event::{EventDraft, RecordView, StoredRecord, encode_record};

/// The stream that life-cycle events are written to.
pub const NOTICES_STREAM: &str = "$streams";

const TYPE_DELETED: &str = "$StreamDeleted";
const TYPE_TOMBSTONED: &str = "$StreamTombstoned";
const TYPE_TRUNCATED: &str = "$StreamTruncated";

/// The types of life-cycle events.
pub(super) const NOTICE_TYPES: [&str; 3] = [TYPE_DELETED, TYPE_TOMBSTONED, TYPE_TRUNCATED];

/// The namespace of the ids of life-cycle events: UUIDv5 of the position that the event takes.
const NOTICE_IDS: Uuid = Uuid::from_u128(0x9d0f_3c5b_6a0e_4a58_8d0a_5b6f_7e2c_4401);

/// What happened to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamChange {
    /// Its first event, or its first after it was deleted.
    Created,
    Truncated,
    Deleted,
    Tombstoned,
}

/// That something happened to a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamNotice {
    pub position: u64,
    /// When the leader took the command, microseconds since 1970 UTC.
    pub epoch_us: u64,
    pub change: StreamChange,
    /// The stream as it was right after the change.
    pub stream: StreamSummary,
}

/// That something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// To a stream.
    Stream(StreamNotice),
    /// To a subscription.
    Subscription(SubscriptionNotice),
}

/// The data of a life-cycle event.
#[derive(Debug, Serialize, Deserialize)]
struct NoticeData {
    stream_id: String,
    first_version: u64,
    /// Null: the stream never had an event.
    last_version: Option<u64>,
    first_epoch_us: u64,
    last_epoch_us: u64,
}

/// The life-cycle event that takes `position`, about a stream that has this head now.
pub(super) fn notice_record(
    change: StreamChange,
    stream_id: &str,
    head: &Head,
    position: u64,
) -> RecordView {
    let event_type = match change {
        StreamChange::Deleted => TYPE_DELETED,
        StreamChange::Tombstoned => TYPE_TOMBSTONED,
        StreamChange::Truncated => TYPE_TRUNCATED,
        StreamChange::Created => unreachable!("creation is told by an index, not by an event"),
    };
    let data = NoticeData {
        stream_id: stream_id.to_owned(),
        first_version: head.first_version,
        last_version: head.last_version(),
        first_epoch_us: head.first_epoch_us,
        last_epoch_us: head.last_epoch_us,
    };
    let data = Bytes::from(serde_json::to_vec(&data).expect("texts and numbers are always JSON"));
    let event_id = Uuid::new_v5(&NOTICE_IDS, &position.to_be_bytes());
    let draft = EventDraft::new(event_id, event_type, &data);
    encode_record(NOTICES_STREAM, &[draft]).expect("a stream name and one event make a record")
}

impl StreamNotice {
    /// What a life-cycle event says; `None`: it is none.
    pub(super) fn of_event(recorded: &RecordedEvent) -> Option<Self> {
        let event = recorded.event();
        let (change, status) = match event.event_type {
            TYPE_DELETED => (StreamChange::Deleted, StreamStatus::Deleted),
            TYPE_TOMBSTONED => (StreamChange::Tombstoned, StreamStatus::Tombstoned),
            TYPE_TRUNCATED => (StreamChange::Truncated, StreamStatus::Live),
            _ => return None,
        };
        let data: NoticeData = serde_json::from_slice(event.data).ok()?;
        let next_version = data.last_version.map_or(0, |last| last + 1);
        Some(Self {
            position: recorded.position,
            epoch_us: recorded.epoch_us,
            change,
            stream: StreamSummary {
                stream_id: data.stream_id,
                status,
                first_version: data.first_version,
                last_version: data.last_version,
                events: next_version.saturating_sub(data.first_version),
                first_epoch_us: data.first_epoch_us,
                last_epoch_us: data.last_epoch_us,
            },
        })
    }

    /// What a record says that created its stream or opened it again.
    pub(super) fn of_creation(stored: &StoredRecord) -> Self {
        Self {
            position: stored.first_position,
            epoch_us: stored.epoch_us,
            change: StreamChange::Created,
            stream: StreamSummary {
                stream_id: stored.record.stream_id().to_owned(),
                status: StreamStatus::Live,
                first_version: stored.first_version,
                last_version: Some(stored.last_version()),
                events: stored.events_len(),
                first_epoch_us: stored.epoch_us,
                last_epoch_us: stored.epoch_us,
            },
        }
    }
}
