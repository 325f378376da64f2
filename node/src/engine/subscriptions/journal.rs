//! What is told of subscriptions by events of the server's own streams: changes of definitions in `$subscriptions`, and
//! in a journal for each subscription what was parked and dropped.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::command::{Dropped, Parked};
use crate::engine::page::RecordedEvent;
use crate::event::{EventDraft, RecordView, encode_record};

/// The stream that changes of definitions are written to.
pub const SUBSCRIPTIONS_STREAM: &str = "$subscriptions";

const JOURNAL_PREFIX: &str = "$subscription:";

const TYPE_CREATED: &str = "$SubscriptionCreated";
const TYPE_UPDATED: &str = "$SubscriptionUpdated";
const TYPE_DELETED: &str = "$SubscriptionDeleted";
const TYPE_PARKED: &str = "$EventParked";
const TYPE_DROPPED: &str = "$EventsDropped";

/// The types of the events of [`SUBSCRIPTIONS_STREAM`].
pub(in crate::engine) const SUBSCRIPTION_NOTICE_TYPES: [&str; 3] =
    [TYPE_CREATED, TYPE_UPDATED, TYPE_DELETED];

/// The content type of definitions.
const DEFINITION_CONTENT_TYPE: &str = "application/protobuf";

/// The namespace of the ids of these events: UUIDv5 of the position that the event takes.
const JOURNAL_IDS: Uuid = Uuid::from_u128(0x41c2_9e07_5f3b_4d1c_9c84_2f60_97aa_d3e1);

/// The journal of a subscription.
pub fn journal_stream(name: &str) -> String {
    format!("{JOURNAL_PREFIX}{name}")
}

/// What happened to a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionChange {
    Created,
    Updated,
    Deleted,
}

/// That something happened to a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionNotice {
    pub position: u64,
    /// Microseconds since 1970 UTC.
    pub epoch_us: u64,
    pub change: SubscriptionChange,
    /// The definition that is in force since, or was.
    pub definition: Bytes,
}

/// An entry of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its version in the journal.
    pub version: u64,
    /// When it was written, microseconds since 1970 UTC.
    pub epoch_us: u64,
    pub parked: Parked,
}

/// The data of an event that says what was parked.
#[derive(Debug, Serialize, Deserialize)]
struct ParkedData {
    position: u64,
    stream_id: String,
    version: u64,
    event_type: String,
    key: String,
    reason: String,
    attempts: u32,
    holds_key: bool,
}

/// The data of an event that says what was dropped.
#[derive(Debug, Serialize)]
struct DroppedData {
    first_position: u64,
    last_position: u64,
    events: u64,
}

/// The notice that takes `position`.
pub(super) fn notice_record(
    change: SubscriptionChange,
    definition: &[u8],
    position: u64,
) -> RecordView {
    let event_type = match change {
        SubscriptionChange::Created => TYPE_CREATED,
        SubscriptionChange::Updated => TYPE_UPDATED,
        SubscriptionChange::Deleted => TYPE_DELETED,
    };
    let mut draft = EventDraft::new(id_at(position), event_type, definition);
    draft.data_content_type = DEFINITION_CONTENT_TYPE;
    encode_record(SUBSCRIPTIONS_STREAM, &[draft])
        .expect("a stream name and one event make a record")
}

/// The entries that say what was parked; the first one takes `position`. At least one.
pub(super) fn parked_record(journal: &str, parked: &[&Parked], position: u64) -> RecordView {
    let data = parked.iter().map(|parked| {
        json(&ParkedData {
            position: parked.position,
            stream_id: parked.stream_id.clone(),
            version: parked.version,
            event_type: parked.event_type.clone(),
            key: parked.key.clone(),
            reason: parked.reason.clone(),
            attempts: parked.attempts,
            holds_key: parked.holds_key,
        })
    });
    entries_record(journal, TYPE_PARKED, &data.collect::<Vec<_>>(), position)
}

/// The entries that say what was dropped; the first one takes `position`. At least one.
pub(super) fn dropped_record(journal: &str, dropped: &[Dropped], position: u64) -> RecordView {
    let data = dropped.iter().map(|&Dropped { first_position, last_position, events }| {
        json(&DroppedData { first_position, last_position, events })
    });
    entries_record(journal, TYPE_DROPPED, &data.collect::<Vec<_>>(), position)
}

fn entries_record(journal: &str, event_type: &str, data: &[Vec<u8>], position: u64) -> RecordView {
    let drafts: Vec<_> = (position..)
        .zip(data)
        .map(|(position, data)| EventDraft::new(id_at(position), event_type, data))
        .collect();
    encode_record(journal, &drafts).expect("a stream name and events make a record")
}

fn json(data: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(data).expect("texts and numbers are always JSON")
}

fn id_at(position: u64) -> Uuid {
    Uuid::new_v5(&JOURNAL_IDS, &position.to_be_bytes())
}

impl SubscriptionNotice {
    /// What an event of [`SUBSCRIPTIONS_STREAM`] says; `None`: it is none.
    pub(in crate::engine) fn of_event(recorded: &RecordedEvent) -> Option<Self> {
        let event = recorded.event();
        let change = match event.event_type {
            TYPE_CREATED => SubscriptionChange::Created,
            TYPE_UPDATED => SubscriptionChange::Updated,
            TYPE_DELETED => SubscriptionChange::Deleted,
            _ => return None,
        };
        Some(Self {
            position: recorded.position,
            epoch_us: recorded.epoch_us,
            change,
            definition: Bytes::copy_from_slice(event.data),
        })
    }
}

impl JournalEntry {
    /// What an event of a journal says was parked; `None`: it says something else.
    pub(in crate::engine) fn of_event(recorded: &RecordedEvent) -> Option<Self> {
        let event = recorded.event();
        if event.event_type != TYPE_PARKED {
            return None;
        }
        let data: ParkedData = serde_json::from_slice(event.data).ok()?;
        Some(Self {
            version: recorded.version,
            epoch_us: recorded.epoch_us,
            parked: Parked {
                position: data.position,
                stream_id: data.stream_id,
                version: data.version,
                event_type: data.event_type,
                key: data.key,
                reason: data.reason,
                attempts: data.attempts,
                holds_key: data.holds_key,
            },
        })
    }
}
