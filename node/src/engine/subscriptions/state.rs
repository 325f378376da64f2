//! What the store knows of one subscription.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::version_set::VersionSet;

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionState {
    /// The position of the notice of its creation: no other subscription ever has it. Every event below it was there
    /// before the subscription.
    pub id: u64,
    /// What its caller defined, in the service's own encoding: the same definition is the same bytes.
    pub definition: Bytes,
    /// From 1; raised with every change of the definition.
    pub revision: u64,
    /// Raised with every reset: what was under way before it is void.
    pub generation: u64,
    /// The last term in which a leader reported of it.
    pub term: u64,
    /// Microseconds since 1970 UTC.
    pub created_at_us: u64,
    /// Microseconds since 1970 UTC.
    pub updated_at_us: u64,
    /// `None`: nothing was reported yet, it stands where its definition lets it begin.
    pub progress: Option<Progress>,
    /// The versions of the journal's entries of events that are parked now.
    pub parked: VersionSet,
    /// The positions of parked events that were asked to be delivered again, and are not done yet.
    pub replaying: BTreeSet<u64>,
    /// Keys that wait behind parked events of theirs, and how many of those there are.
    pub held: BTreeMap<String, u64>,
    /// How many events the buffer's strategy dropped.
    pub dropped: u64,
}

/// How far a subscription has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything below this position is done, but for what is pending.
    pub next_position: u64,
    /// Events below it that are not done, ascending by position.
    pub pending: Vec<Pending>,
    /// When it was reported, microseconds since 1970 UTC.
    pub at_us: u64,
}

/// An event that is not done although later ones are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    pub position: u64,
    /// How often it failed.
    pub failures: u32,
}

impl Progress {
    /// Everything below a position is done, and nothing else.
    pub const fn upto(next_position: u64) -> Self {
        Self { next_position, pending: Vec::new(), at_us: 0 }
    }

    /// Whether an event at the position is done.
    pub fn is_done(&self, position: u64) -> bool {
        let pending = || self.pending.binary_search_by_key(&position, |p| p.position).is_ok();
        position < self.next_position && !pending()
    }
}
