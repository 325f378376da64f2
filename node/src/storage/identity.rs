//! Who the volume belongs to: written once, read at every start, never changed.
//!
//! A node that loses its volume must come back as somebody else, and a node that keeps it must come back as
//! the same one; so the identity lives on the volume and nowhere else.

use serde::{Deserialize, Serialize};

/// The layout of the data folder that this program reads and writes.
pub const FORMAT_VERSION: u32 = 2;

/// What a volume was given when its node was initialised or joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The node's id in Raft, from 1, never used for another volume.
    pub node_id: u64,
    /// The store the volume belongs to.
    pub cluster_id: String,
    /// The store's epoch, from 1; it grows when a store is restored or recovered without its quorum.
    pub epoch: u64,
    /// The layout of the data folder when it was given, [`FORMAT_VERSION`] or older.
    pub format_version: u32,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { node_id, cluster_id, epoch, .. } = self;
        write!(f, "node {node_id} of store {cluster_id} in epoch {epoch}")
    }
}
