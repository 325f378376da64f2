//! What is in memory: the records above everything that is in files. Nothing here waits for a disk.

use std::sync::Arc;

use super::StateReader;
use crate::engine::Engine;
use crate::engine::head::Head;
use crate::engine::overlay::Overlay;
use crate::event::{RecordView, StoredRecord};

/// What memory says of a stream to whoever has read it up to a version and a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecentStream {
    /// Nothing has happened to it behind the position.
    Unchanged,
    /// All that comes next is in memory.
    InMemory,
    /// Files have to be read.
    InFiles,
}

/// Records in the order of positions, and where the next one begins.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    pub records: Vec<RecordView>,
    pub next_position: u64,
}

impl StateReader {
    /// The position from which on everything is in memory.
    pub fn memory_start(&self) -> u64 {
        self.engine.read().layers.sealed_end()
    }

    /// Records from a position on, at most so many; none: that was the last. `None`: the position lies below what is in
    /// memory.
    pub fn recent_records(&self, from: u64, records_max: usize) -> Option<Recent> {
        let engine = self.engine.read();
        if from < engine.layers.sealed_end() {
            return None;
        }
        let overlay = match engine.layers.frozen().iter().find(|frozen| frozen.end() > from) {
            Some(frozen) => Arc::clone(frozen),
            None => return Some(recent_in(&engine.active, from, records_max)),
        };
        drop(engine);
        Some(recent_in(&overlay, from, records_max))
    }

    /// Where what comes next of a stream is, for whoever has read all of it below a version and below a position.
    pub fn recent_stream(&self, stream_id: &str, version: u64, position: u64) -> RecentStream {
        let engine = self.engine.read();
        let Some(head) = engine.recent_head(stream_id) else {
            return if position >= engine.layers.sealed_end() {
                RecentStream::Unchanged
            } else {
                RecentStream::InFiles
            };
        };
        let from = version.max(head.first_version);
        let is_in_memory = from >= head.next_version
            || engine.recent_version(stream_id).is_some_and(|first| first <= from);
        if is_in_memory { RecentStream::InMemory } else { RecentStream::InFiles }
    }
}

impl Engine {
    /// The newest head of a stream that was changed in memory.
    fn recent_head(&self, stream_id: &str) -> Option<&Head> {
        let frozen = self.layers.frozen().iter().rev();
        let mut newest_first = std::iter::once(&self.active).chain(frozen.map(AsRef::as_ref));
        newest_first.find_map(|overlay| overlay.head_here(stream_id))
    }

    /// The first version of a stream that is in memory.
    fn recent_version(&self, stream_id: &str) -> Option<u64> {
        let frozen = self.layers.frozen().iter().map(AsRef::as_ref);
        frozen.chain([&self.active]).find_map(|overlay| overlay.first_version_here(stream_id))
    }
}

fn recent_in(overlay: &Overlay, from: u64, records_max: usize) -> Recent {
    let records = overlay.records_behind(from);
    let records = &records[..records.len().min(records_max)];
    Recent {
        next_position: records.last().map_or(from, StoredRecord::end_position),
        records: records.iter().map(|stored| stored.record.clone()).collect(),
    }
}
