//! Events to ask filters about.

use uuid::Uuid;

use crate::engine::RecordedEvent;
use crate::event::{EventDraft, StoredRecord, encode_record};

/// What is given of an event; the rest are defaults.
#[derive(Debug, Clone)]
pub struct Given<'a> {
    pub stream_id: &'a str,
    pub event_type: &'a str,
    pub tags: &'a [&'a str],
    pub data: &'a str,
    pub data_content_type: &'a str,
    pub metadata: &'a str,
    pub correlation_id: Option<&'a str>,
    pub occurred_at_us: Option<i64>,
}

impl Default for Given<'_> {
    fn default() -> Self {
        Self {
            stream_id: "orders-1",
            event_type: "OrderPlaced",
            tags: &[],
            data: "{}",
            data_content_type: "application/json",
            metadata: "",
            correlation_id: None,
            occurred_at_us: None,
        }
    }
}

impl Given<'_> {
    /// The event, at version 7 and position 42.
    pub fn event(&self) -> RecordedEvent {
        let id = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
        let mut draft = EventDraft::new(id, self.event_type, self.data.as_bytes());
        draft.data_content_type = self.data_content_type;
        draft.metadata = self.metadata.as_bytes();
        draft.correlation_id = self.correlation_id;
        draft.occurred_at_us = self.occurred_at_us;
        draft.set_tags(self.tags.iter().copied());
        let record = encode_record(self.stream_id, &[draft]).unwrap();
        let span = record.spans().next().unwrap();
        let stored = StoredRecord {
            record,
            first_position: 42,
            first_version: 7,
            epoch_us: 1_700_000_000_000_000,
            removed: 0,
        };
        RecordedEvent::new(&stored, 0, span)
    }

    /// An event with this data.
    pub fn data(data: &str) -> RecordedEvent {
        Given { data, ..Given::default() }.event()
    }
}
