//! Subscriptions as the log has them: their definitions, how far each has come, and which of its events are parked. All
//! of it is replicated, so nothing about a subscription lives on one node.
//!
//! What a definition says is none of the engine's business: it keeps the bytes. It decides what must be decided in one
//! order: which definition is in force, and that what a leader reports of its deliveries is of this subscription and not
//! of one that was deleted or reset meanwhile.
//!
//! Definitions and progress are part of the small state. What happened to a subscription is told by events of the
//! server's own stream `$subscriptions`; what was parked and dropped, by those of the subscription's journal, a stream
//! of its own, which holds as many as there are.

mod apply;
mod codec;
mod command;
mod journal;
mod state;
mod version_set;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;

pub use command::{
    Advance, Dropped, Parked, SubscriptionCommand, SubscriptionTarget, Unpark, UnparkedEntry,
};
pub(super) use journal::SUBSCRIPTION_NOTICE_TYPES;
pub use journal::{
    JournalEntry, SUBSCRIPTIONS_STREAM, SubscriptionChange, SubscriptionNotice, journal_stream,
};
pub use state::{Pending, Progress, SubscriptionState};
pub use version_set::VersionSet;

/// Every subscription of the store, by name. Cheap to clone: states are shared until they change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscriptions {
    by_name: BTreeMap<String, Arc<SubscriptionState>>,
    /// Raised by every change of a definition, and by every reset and replay: by it the leader notices that there is
    /// something to do. Not by progress, which the leader itself reports.
    changes: u64,
}

impl Subscriptions {
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Raised by everything that whoever delivers has to know of.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    pub fn get(&self, name: &str) -> Option<&Arc<SubscriptionState>> {
        self.by_name.get(name)
    }

    /// All of them, in the order of the bytes of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<SubscriptionState>)> {
        self.by_name.iter().map(|(name, state)| (name.as_str(), state))
    }

    /// Those whose names come behind a name.
    pub fn after(&self, name: &str) -> impl Iterator<Item = (&str, &Arc<SubscriptionState>)> {
        let range = (Bound::Excluded(name), Bound::Unbounded);
        self.by_name.range::<str, _>(range).map(|(name, state)| (name.as_str(), state))
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut SubscriptionState> {
        self.by_name.get_mut(name).map(Arc::make_mut)
    }

    fn insert(&mut self, name: String, state: SubscriptionState) {
        match self.by_name.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(Arc::new(state));
            }
            Entry::Occupied(mut entry) => *entry.get_mut() = Arc::new(state),
        }
    }
}
