//! The overlay: what was applied since the last seal, in memory. Records stay the bytes that arrived; over
//! them lie the same indexes that a sealed run has. Knows nothing of commands and decides nothing.
//!
//! Hash maps here are looked up, and sorted before anything is made of their contents, so that their random
//! order cannot reach a result.

mod index;
mod layer;

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use foldhash::quality::RandomState;

pub use self::index::IndexEntry;
use super::head::Head;
use crate::event::{EventView, StoredRecord, is_system_stream};

/// Memory per event, record, stream, index key and index entry besides the group's own bytes. Hash maps and
/// vectors may just have doubled, and every allocation has a few bytes of its own: an estimate for
/// back-pressure, on the high side.
const EVENT_INDEX_BYTES: u64 = 56;
const RECORD_INDEX_BYTES: u64 = 168;
const STREAM_INDEX_BYTES: u64 = 352;
const KEY_INDEX_BYTES: u64 = 104;
const ENTRY_INDEX_BYTES: u64 = 8;

/// Hashes with a random seed, so that nobody can choose names that collide, and faster than the standard library does.
type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;

/// Records of a range of positions, without holes, and the indexes over them.
#[derive(Debug, Default)]
pub struct Overlay {
    /// The position of the first record, or of the next one while there is none.
    start: u64,
    /// In the order of positions. Indexes hold places in here.
    records: Vec<StoredRecord>,
    streams: HashMap<Arc<str>, StreamIndex>,
    /// The keys of `streams` in the order of their bytes.
    names: BTreeSet<Arc<str>>,
    ids: HashMap<[u8; 16], IdPlace>,
    types: Postings,
    tags: Postings,
    causations: Postings,
    correlations: Postings,
    created: Vec<u32>,
    bytes: u64,
}

/// A stream that was changed in this overlay.
#[derive(Debug)]
struct StreamIndex {
    head: Head,
    /// The records of the stream, in the order of versions. Empty if only its head was changed.
    records: Vec<u32>,
}

/// Where the event with an id stands: the record's place, and the event's number in it.
#[derive(Debug, Clone, Copy)]
struct IdPlace {
    record: u32,
    index: u32,
}

type Postings = HashMap<Box<str>, Places>;

/// Places of records, ascending. Most ids of correlations and causations have one only.
#[derive(Debug)]
enum Places {
    One([u32; 1]),
    Many(Vec<u32>),
}

impl Places {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(place) => place,
            Self::Many(places) => places,
        }
    }

    fn push(&mut self, place: u32) {
        match self {
            Self::One([first]) => *self = Self::Many(vec![*first, place]),
            Self::Many(places) => places.push(place),
        }
    }
}

impl Overlay {
    /// An empty overlay whose first record will take this position.
    pub(super) fn starting_at(position: u64) -> Self {
        Self { start: position, ..Self::default() }
    }

    /// An empty overlay behind this one, with room for as much: growing step by step means to copy all of it each time.
    pub(super) fn following(&self, position: u64) -> Self {
        let mut next = Self::starting_at(position);
        next.records.reserve(self.records.len());
        next.ids.reserve(self.ids.len());
        next
    }

    /// Takes in a record whose ids are all new and whose position and version continue without a gap, with the
    /// head that its stream has now. `creates`: the stream is new, or was deleted.
    pub(super) fn push(&mut self, stored: StoredRecord, head: Head, creates: bool) {
        debug_assert_eq!(self.end(), stored.first_position, "positions have no gap");
        let place =
            u32::try_from(self.records.len()).expect("memory holds fewer than 2^32 records");
        self.bytes += RECORD_INDEX_BYTES;
        for (index, event) in (0..).zip(stored.record.events()) {
            self.index_event(place, index, &event);
        }
        self.set_head(stored.record.stream_id(), head);
        if let Some(stream) = self.streams.get_mut(stored.record.stream_id()) {
            stream.records.push(place);
        }
        if creates {
            self.created.push(place);
        }
        self.records.push(stored);
    }

    /// Notes what is known of a stream now.
    pub(super) fn set_head(&mut self, stream_id: &str, head: Head) {
        if let Some(stream) = self.streams.get_mut(stream_id) {
            stream.head = head;
            return;
        }
        let name: Arc<str> = stream_id.into();
        self.bytes += STREAM_INDEX_BYTES + name.len() as u64;
        self.names.insert(Arc::clone(&name));
        self.streams.insert(name, StreamIndex { head, records: Vec::new() });
    }

    /// Counts bytes that records of the overlay keep in memory: a record holds its whole group.
    pub(super) const fn add_record_bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Memory in use, in bytes: groups exactly, indexes by estimate.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The records, in the order of positions.
    pub fn records(&self) -> &[StoredRecord] {
        &self.records
    }

    /// The position of the first record, or of the next one while there is none.
    pub(super) const fn start(&self) -> u64 {
        self.start
    }

    /// The position behind the last record.
    pub(super) fn end(&self) -> u64 {
        self.records.last().map_or(self.start, StoredRecord::end_position)
    }

    /// The head of a stream that was changed here.
    pub(super) fn head_here(&self, stream_id: &str) -> Option<&Head> {
        self.streams.get(stream_id).map(|stream| &stream.head)
    }

    /// The first version of a stream of which there are events here.
    pub(super) fn first_version_here(&self, stream_id: &str) -> Option<u64> {
        let first = self.stream_records(stream_id).first()?;
        Some(self.record(*first).first_version)
    }

    /// The records of which an event lies at the position or further on, in order.
    pub(super) fn records_behind(&self, position: u64) -> &[StoredRecord] {
        let start = self.records.partition_point(|stored| stored.end_position() <= position);
        &self.records[start..]
    }

    /// Heads of streams that were changed here, in the order of their names' bytes, from `name` on.
    pub(super) fn heads_from(
        &self,
        name: &str,
        include_system: bool,
        heads_max: usize,
    ) -> Vec<(String, Head)> {
        let names = self.names.range::<str, _>((Bound::Included(name), Bound::Unbounded));
        let own = |name: &&Arc<str>| include_system || !is_system_stream(name);
        let heads = names.filter(own).filter_map(|name| Some((name, self.head_here(name)?)));
        heads.take(heads_max).map(|(name, head)| (name.to_string(), *head)).collect()
    }

    fn index_event(&mut self, place: u32, index: u32, event: &EventView<'_>) {
        self.bytes += EVENT_INDEX_BYTES;
        self.ids.insert(event.event_id.into_bytes(), IdPlace { record: place, index });
        let bytes = &mut self.bytes;
        add(&mut self.types, event.event_type, place, bytes);
        for tag in event.tags.iter() {
            add(&mut self.tags, tag, place, bytes);
        }
        if let Some(id) = event.causation_id {
            add(&mut self.causations, id, place, bytes);
        }
        if let Some(id) = event.correlation_id {
            add(&mut self.correlations, id, place, bytes);
        }
    }
}

/// Notes that the record at `place` has the key; once, however many of its events do.
fn add(postings: &mut Postings, key: &str, place: u32, bytes: &mut u64) {
    if let Some(places) = postings.get_mut(key) {
        if places.as_slice().last() != Some(&place) {
            places.push(place);
            *bytes += ENTRY_INDEX_BYTES;
        }
        return;
    }
    postings.insert(key.into(), Places::One([place]));
    *bytes += KEY_INDEX_BYTES + key.len() as u64;
}
