//! The small mutable state: all that is neither an event nor an index over events. It fits in one
//! transaction of the catalogue.

use std::collections::BTreeMap;

use super::outcome::{Outcome, Refusal};
use crate::limits::VOLUME_ID_BYTES_MAX;

/// The first id that is given out: the member that initialises the store is 1.
const FIRST_ALLOCATED_NODE_ID: u64 = 2;

/// Counters and switches of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SmallState {
    /// The position that the next event takes.
    pub next_position: u64,
    /// The newest group's time, microseconds since 1970 UTC; never decreases.
    pub epoch_us: u64,
    /// Whether clients are served.
    pub activated: bool,
    /// Events in streams that are not the server's own.
    pub events: u64,
    /// Streams that are not the server's own.
    pub streams: u64,
    next_node_id: u64,
    node_ids: BTreeMap<String, u64>,
}

impl Default for SmallState {
    fn default() -> Self {
        Self {
            next_position: 0,
            epoch_us: 0,
            activated: false,
            events: 0,
            streams: 0,
            next_node_id: FIRST_ALLOCATED_NODE_ID,
            node_ids: BTreeMap::new(),
        }
    }
}

impl SmallState {
    /// Gives out the next node id, or the one that the volume has. An id is never given to two volumes.
    pub fn allocate_node_id(&mut self, volume_id: &str) -> Outcome {
        if volume_id.is_empty() || volume_id.len() > VOLUME_ID_BYTES_MAX {
            return Outcome::Refused(Refusal::InvalidVolumeId { bytes: volume_id.len() });
        }
        if let Some(&node_id) = self.node_ids.get(volume_id) {
            return Outcome::NodeIdAllocated(node_id);
        }
        let node_id = self.next_node_id;
        self.next_node_id += 1;
        self.node_ids.insert(volume_id.to_owned(), node_id);
        Outcome::NodeIdAllocated(node_id)
    }
}
