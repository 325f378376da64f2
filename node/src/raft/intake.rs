//! Whether this member, and the store, can take more entries.
//!
//! A disk that is full in the middle of a write ends a node, and a full disk on a majority ends a store. So room is
//! looked at before: the leader stops admitting appends while it and its followers can still finish what is under
//! way, and a follower with too little room refuses entries while it still votes and answers heartbeats.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::state_machine::SharedEngine;
use crate::limits;

/// What bounds the intake.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Memory for applied events that are not sealed yet, in bytes.
    pub unsealed_bytes_max: u64,
    /// Size of a log file, in bytes: what the disk must have left for the next one.
    pub log_file_bytes: u64,
}

impl Options {
    /// Room that a follower keeps free: the next log file, which may be needed for a mere vote, and some more.
    const fn follower_reserve(self) -> u64 {
        self.log_file_bytes.saturating_add(limits::DISK_MARGIN_BYTES)
    }

    /// Room that the leader keeps free: with equal disks it stops before its followers must.
    const fn leader_reserve(self) -> u64 {
        self.follower_reserve().saturating_mul(2)
    }
}

/// Why nothing more can be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// This member holds as much in memory as it may until some of it is sealed.
    #[error("{unsealed_bytes} bytes are held in memory, the most is {maximum}")]
    Memory { unsealed_bytes: u64, maximum: u64 },
    /// This member's disk has too little room.
    #[error("the disk has {available} bytes left, and {reserve} are kept back")]
    Disk { available: u64, reserve: u64 },
    /// Too many followers have no room for a majority to take anything.
    #[error("{full} of {voters} voters have no room left")]
    Followers { full: usize, voters: usize },
}

impl Full {
    /// Always: sealing and a person with a larger disk make room.
    pub const fn retryable(self) -> bool {
        true
    }
}

/// Room that nobody has looked at yet: as much as there can be.
const UNKNOWN: u64 = u64::MAX;

/// A member's view of the room there is. Shared by the proposer, the peer service and the network.
#[derive(Debug)]
pub struct Intake {
    engine: SharedEngine,
    options: Options,
    unsealed_bytes: AtomicU64,
    disk_available: AtomicU64,
    full_peers: Mutex<BTreeSet<u64>>,
}

impl Intake {
    /// Assumes room until told otherwise.
    pub fn new(engine: SharedEngine, options: Options) -> Arc<Self> {
        let disk_available = AtomicU64::new(UNKNOWN);
        let unsealed_bytes = AtomicU64::new(0);
        let full_peers = Mutex::default();
        Arc::new(Self { engine, options, unsealed_bytes, disk_available, full_peers })
    }

    /// How many bytes the disk has left.
    pub fn set_disk_available(&self, bytes: u64) {
        self.disk_available.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that the disk had left when it was last looked at; `None`: it could not be looked at yet.
    pub fn disk_available(&self) -> Option<u64> {
        Some(self.disk_available.load(Ordering::Relaxed)).filter(|&bytes| bytes != UNKNOWN)
    }

    /// What a follower said last of its room.
    pub fn set_peer_full(&self, node_id: u64, full: bool) {
        let mut peers = self.full_peers.lock();
        let changed = if full { peers.insert(node_id) } else { peers.remove(&node_id) };
        if changed {
            tracing::warn!(node_id, full, "a follower's room for entries has changed");
        }
    }

    /// Whether this member can write more entries that a leader sends.
    pub fn take(&self) -> Result<(), Full> {
        self.check(self.options.follower_reserve())
    }

    /// Whether the leader may admit another append. `voters` are all voters with this member, by id; they are asked
    /// for only when a follower is full.
    pub fn admit(&self, voters: impl FnOnce() -> BTreeSet<u64>) -> Result<(), Full> {
        self.check(self.options.leader_reserve())?;
        let full_peers = self.full_peers.lock();
        if full_peers.is_empty() {
            return Ok(());
        }
        let voters = voters();
        let full = voters.intersection(&full_peers).count();
        if full > (voters.len() - 1) / 2 {
            return Err(Full::Followers { full, voters: voters.len() });
        }
        Ok(())
    }

    fn check(&self, reserve: u64) -> Result<(), Full> {
        let unsealed_bytes = self.unsealed_bytes();
        let maximum = self.options.unsealed_bytes_max;
        if unsealed_bytes > maximum {
            return Err(Full::Memory { unsealed_bytes, maximum });
        }
        let available = self.disk_available.load(Ordering::Relaxed);
        if available < reserve {
            return Err(Full::Disk { available, reserve });
        }
        Ok(())
    }

    /// As much as the engine held when nobody was changing it last: an append must not wait while a group is applied.
    fn unsealed_bytes(&self) -> u64 {
        if let Some(engine) = self.engine.try_read() {
            self.unsealed_bytes.store(engine.overlay_bytes(), Ordering::Relaxed);
        }
        self.unsealed_bytes.load(Ordering::Relaxed)
    }
}
