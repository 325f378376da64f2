//! The overlay: what was applied since the last seal, in memory. Records stay the bytes that arrived; over
//! them lie indexes from streams, event ids and positions. Knows nothing of commands and decides nothing.
//!
//! Hash maps here are only looked up, never iterated, so that their random order cannot reach a result.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::event::{EventSpan, StoredRecord};

/// Memory per event, stream and record besides the group's own bytes: entries of the indexes, and the room
/// that hash maps keep free. An estimate for back-pressure, on the high side.
const EVENT_INDEX_BYTES: u64 = 64;
const RECORD_INDEX_BYTES: u64 = 96;
const STREAM_INDEX_BYTES: u64 = 256;

/// Records of a range of positions, without holes.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// In the order of positions.
    records: Vec<StoredRecord>,
    streams: HashMap<Arc<str>, StreamIndex>,
    /// The keys of `streams` in the order of their bytes.
    names: BTreeSet<Arc<str>>,
    ids: HashMap<[u8; 16], EventPlace>,
    bytes: u64,
}

/// Where an event with a known id stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventPlace {
    record: u32,
    /// Which event of the record, from 0.
    pub index: u32,
    pub span: EventSpan,
}

/// The records of one stream, in the order of versions: places in `Overlay::records`. Never empty.
#[derive(Debug)]
struct StreamIndex {
    records: Vec<u32>,
    events: u64,
}

impl Overlay {
    /// Takes in a record whose ids are all new and whose position and version continue without a gap.
    pub fn push(&mut self, stored: StoredRecord) {
        debug_assert!(
            self.records.last().is_none_or(|last| last.end_position() == stored.first_position),
            "positions have no gap"
        );
        let place =
            u32::try_from(self.records.len()).expect("memory holds fewer than 2^32 records");
        let record = &stored.record;
        self.bytes += RECORD_INDEX_BYTES + EVENT_INDEX_BYTES * u64::from(record.events_len());
        for (index, span) in (0..).zip(record.spans()) {
            self.ids.insert(record.event_id(span), EventPlace { record: place, index, span });
        }
        let events = u64::from(record.events_len());
        if let Some(stream) = self.streams.get_mut(record.stream_id()) {
            stream.records.push(place);
            stream.events += events;
        } else {
            let name: Arc<str> = record.stream_id().into();
            self.bytes += STREAM_INDEX_BYTES + name.len() as u64;
            self.names.insert(Arc::clone(&name));
            self.streams.insert(name, StreamIndex { records: vec![place], events });
        }
        self.records.push(stored);
    }

    /// Counts bytes that records of the overlay keep in memory: a record holds its whole group.
    pub fn add_group_bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Memory in use, in bytes: groups exactly, indexes by estimate.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The place of the event with this id.
    pub fn event(&self, event_id: &[u8; 16]) -> Option<(&StoredRecord, EventPlace)> {
        let place = *self.ids.get(event_id)?;
        Some((&self.records[place.record as usize], place))
    }

    /// Whether the event is here; cheaper than finding it.
    pub fn has_event(&self, event_id: &[u8; 16]) -> bool {
        self.ids.contains_key(event_id)
    }

    /// Records in the order of positions, from the one that holds `position`.
    pub fn records_from(&self, position: u64) -> &[StoredRecord] {
        let start = self.records.partition_point(|stored| stored.end_position() <= position);
        &self.records[start..]
    }

    /// Records in the order of positions, up to the one that holds `position`.
    pub fn records_to(&self, position: u64) -> &[StoredRecord] {
        let end = self.records.partition_point(|stored| stored.first_position <= position);
        &self.records[..end]
    }

    /// The records of a stream; `None` when it has none here.
    pub fn stream(&self, stream_id: &str) -> Option<StreamRecords<'_>> {
        let index = self.streams.get(stream_id)?;
        Some(StreamRecords { records: &self.records, index })
    }

    /// Names of streams in the order of their bytes, from a bound on.
    pub fn names_from(&self, start: Bound<&str>) -> impl Iterator<Item = &str> {
        self.names.range::<str, _>((start, Bound::Unbounded)).map(AsRef::as_ref)
    }
}

/// The records of one stream in the overlay, at least one, in the order of versions.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamRecords<'a> {
    records: &'a [StoredRecord],
    index: &'a StreamIndex,
}

impl<'a> StreamRecords<'a> {
    /// How many events there are.
    pub const fn events(&self) -> u64 {
        self.index.events
    }

    pub fn first(&self) -> &'a StoredRecord {
        self.at(*self.index.records.first().expect("a stream has at least one record"))
    }

    pub fn last(&self) -> &'a StoredRecord {
        self.at(*self.index.records.last().expect("a stream has at least one record"))
    }

    /// Records from the one that holds `version`.
    pub fn from(self, version: u64) -> impl DoubleEndedIterator<Item = &'a StoredRecord> {
        let places = &self.index.records;
        let start = places.partition_point(|&place| self.at(place).last_version() < version);
        places[start..].iter().map(move |&place| self.at(place))
    }

    /// Records up to the one that holds `version`.
    pub fn to(self, version: u64) -> impl DoubleEndedIterator<Item = &'a StoredRecord> {
        let places = &self.index.records;
        let end = places.partition_point(|&place| self.at(place).first_version <= version);
        places[..end].iter().map(move |&place| self.at(place))
    }

    fn at(&self, place: u32) -> &'a StoredRecord {
        &self.records[place as usize]
    }
}
