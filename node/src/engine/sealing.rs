//! Sealing: the overlay is frozen where the log says so, written elsewhere, and let go of once its files are
//! part of the store.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::Engine;
use super::overlay::{IndexEntry, Overlay};
use crate::event::StoredRecord;
use crate::storage::LogPosition;

/// A frozen overlay, to be written as files, with the state as it was at that moment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sealing {
    /// Counted from 1.
    pub seal: u64,
    /// The records and the indexes over them.
    pub overlay: Arc<Overlay>,
    /// The small state, the same on every node.
    pub state: Bytes,
    /// How far this node had reclaimed what was removed. May differ between nodes.
    pub removals: Bytes,
    /// The log entry that froze the overlay: everything up to it is in the seal.
    pub applied: LogPosition,
    /// The positions of the overlay's records.
    pub positions: Range<u64>,
}

impl Sealing {
    /// The records, in the order of positions.
    pub fn records(&self) -> impl Iterator<Item = StoredRecord> + '_ {
        self.overlay.records().iter().cloned()
    }

    /// The keys and values of the run over the records, strictly ascending by key.
    pub fn index(&self) -> impl Iterator<Item = IndexEntry> + '_ {
        self.overlay.index()
    }
}

impl Engine {
    /// The oldest frozen overlay that nobody has taken yet.
    pub fn take_sealing(&mut self) -> Option<Sealing> {
        self.sealings.pop_front()
    }

    /// The number of the last seal, written or not.
    pub const fn seals(&self) -> u64 {
        self.state.seals
    }

    /// Freezes the overlay, unless there is nothing that the last seal does not have.
    pub(super) fn seal(&mut self, applied: LogPosition) {
        if !self.changed {
            return;
        }
        self.changed = false;
        self.state.seals += 1;
        let next = self.active.following(self.state.next_position);
        let overlay = Arc::new(std::mem::replace(&mut self.active, next));
        self.sealings.push_back(Sealing {
            seal: self.state.seals,
            positions: overlay.start()..overlay.end(),
            overlay: Arc::clone(&overlay),
            state: self.state.encode(),
            removals: self.removals.encode_mark(),
            applied,
        });
        // Without records there is nothing to read in it.
        if overlay.end() > overlay.start() {
            self.layers.freeze(overlay);
        }
    }
}
