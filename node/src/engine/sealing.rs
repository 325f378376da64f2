//! Sealing: the overlay is frozen where the log says so, written elsewhere, and let go of once its files are
//! part of the store.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::layers::Frozen;
use super::overlay::Overlay;
use super::removals::{Removal, Removals};
use super::{Engine, Layer};

/// The place of an entry in Raft's log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    pub term: u64,
    pub index: u64,
}

/// A frozen overlay, to be written as files, with the state as it was at that moment.
#[derive(Debug, Clone)]
pub struct Sealing {
    /// Counted from 1.
    pub seal: u64,
    /// The records and the indexes over them.
    pub overlay: Arc<Overlay>,
    /// The small state, the same on every node.
    pub state: Bytes,
    /// What was removed and is not reclaimed on this node.
    pub removals: Arc<Removals>,
    /// The log entry that froze the overlay: everything up to it is in the seal.
    pub applied: LogPosition,
    /// The positions of the overlay's records.
    pub positions: Range<u64>,
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

    /// Reads the layers up to `seal` from these from now on, and lets go of the frozen overlays that are in
    /// them. Also after a merge, which makes other layers of the same seals.
    pub fn sealed(&mut self, seal: u64, layers: Vec<Arc<dyn Layer>>) {
        self.layers.seal(seal, layers);
    }

    /// What was removed and whose bytes are still there, for a rewrite of files to leave out.
    pub fn removals(&self) -> &Arc<Removals> {
        &self.removals
    }

    /// Reads layers that were rewritten without the events in `reclaimed` below `position`, and forgets these
    /// removals. Reads that go on with the old layers keep the old removals.
    pub fn reclaimed(
        &mut self,
        seal: u64,
        layers: Vec<Arc<dyn Layer>>,
        reclaimed: &BTreeMap<String, Removal>,
        position: u64,
    ) {
        self.removals = Arc::new(self.removals.without(reclaimed, position));
        self.layers.seal(seal, layers);
    }

    /// Begins a new overlay. The old one stays readable until its files are.
    pub(super) fn freeze(&mut self, applied: LogPosition) {
        self.state.seals += 1;
        let seal = self.state.seals;
        let next = Overlay::starting_at(self.state.next_position);
        let overlay = Arc::new(std::mem::replace(&mut self.active, next));
        self.sealings.push_back(Sealing {
            seal,
            positions: overlay.positions(),
            overlay: Arc::clone(&overlay),
            state: self.state.encode(),
            removals: Arc::clone(&self.removals),
            applied,
        });
        self.layers.freeze(Frozen { seal, overlay });
    }
}
