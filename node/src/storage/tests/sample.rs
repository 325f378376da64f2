//! Records and keys for tests, the same for the same numbers.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::event::{EventDraft, StoredRecord, encode_record};
use crate::storage::keys::{self, EventPlace, Posting};

/// A record of `events` events of a stream.
pub fn record(stream: &str, first_position: u64, first_version: u64, events: u64) -> StoredRecord {
    record_of(stream, first_position, first_version, events, 40)
}

/// The same with events of `data_bytes`.
pub fn record_of(
    stream: &str,
    first_position: u64,
    first_version: u64,
    events: u64,
    data_bytes: usize,
) -> StoredRecord {
    let drafts: Vec<_> = (first_position..first_position + events)
        .map(|position| {
            let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, &position.to_le_bytes());
            let data = format!("{{\"n\":{position:0>data_bytes$}}}");
            (id, data)
        })
        .collect();
    let drafts: Vec<_> = drafts
        .iter()
        .map(|(id, data)| {
            let mut draft = EventDraft::new(*id, "placed", data.as_bytes());
            draft.set_tags(["red", stream]);
            draft
        })
        .collect();
    let record = encode_record(stream, &drafts).unwrap();
    let epoch_us = 1_000_000 + first_position * 10;
    StoredRecord { record, first_position, first_version, epoch_us, removed: 0 }
}

/// Records of a few streams that take the positions from `start` on without a gap.
pub fn records(start: u64, count: u64, streams: u64) -> Vec<StoredRecord> {
    Feed { position: start, streams, versions: BTreeMap::new() }.take(count)
}

/// Appends to a few streams, one after the other, for ever.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The next position.
    pub position: u64,
    streams: u64,
    versions: BTreeMap<String, u64>,
}

impl Feed {
    pub fn new(streams: u64) -> Self {
        Self { position: 0, streams, versions: BTreeMap::new() }
    }

    /// The next records.
    pub fn take(&mut self, count: u64) -> Vec<StoredRecord> {
        (0..count)
            .map(|_| {
                let stream = format!("stream-{}", self.position * 7 % self.streams);
                let events = 1 + self.position % 3;
                let version = self.versions.entry(stream.clone()).or_default();
                let made = record(&stream, self.position, *version, events);
                *version += events;
                self.position += events;
                made
            })
            .collect()
    }
}

/// The keys of a run over records. The value of a head is the position of the stream's last record.
pub fn index(records: &[StoredRecord]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut index = BTreeMap::new();
    for stored in records {
        let stream = stored.record.stream_id();
        let position = stored.first_position;
        index.insert(keys::head(stream), keys::position_value(position));
        let version = keys::version(stream, stored.first_version);
        index.insert(version, keys::position_value(position));
        for (place, event) in (0..).zip(stored.record.events()) {
            let value = keys::place_value(EventPlace { position, index: place });
            index.insert(keys::event_id(event.event_id.as_bytes()), value);
            index.insert(keys::posting(Posting::Type, event.event_type, position), Vec::new());
            for tag in event.tags.iter() {
                index.insert(keys::posting(Posting::Tag, tag, position), Vec::new());
            }
        }
    }
    index
}
