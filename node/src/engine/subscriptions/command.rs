//! What is proposed to the log about subscriptions.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::state::Progress;

/// A change to subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionCommand {
    /// Registers a subscription. The same definition again changes nothing.
    Create { name: String, definition: Bytes },
    /// Puts another definition in force, if the one in force has this revision.
    Update { target: SubscriptionTarget, revision: u64, definition: Bytes },
    /// Removes it, with its progress and its journal.
    Delete { target: SubscriptionTarget },
    /// Everything below the position is done, and nothing else; what was under way is void.
    Reset { target: SubscriptionTarget, next_position: u64 },
    /// What a leader has delivered, of several subscriptions.
    Advance { advances: Vec<Advance> },
    /// Takes events out of those that are parked.
    Unpark(Unpark),
}

/// Which subscription is meant: not one that was created later under the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionTarget {
    pub name: String,
    pub id: u64,
}

/// What became of deliveries of one subscription. Passed over unless the subscription is still the one that they were
/// made for (same id, same generation), and no later leader has reported of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    pub target: SubscriptionTarget,
    pub generation: u64,
    /// In which the reporting member leads.
    pub term: u64,
    /// In the place of what is known; `None`: only what follows.
    pub progress: Option<Progress>,
    pub parked: Vec<Parked>,
    pub dropped: Vec<Dropped>,
    /// Replayed events that are done. A set, for they end in any order and are written as steps that only go up.
    pub replayed: BTreeSet<u64>,
}

/// An event that is tried no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    pub position: u64,
    pub stream_id: String,
    pub version: u64,
    pub event_type: String,
    pub key: String,
    pub reason: String,
    /// How often it was delivered.
    pub attempts: u32,
    /// Later events of its key wait behind it.
    pub holds_key: bool,
}

/// Events that the buffer's strategy dropped: so many within these positions, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    pub first_position: u64,
    pub last_position: u64,
    pub events: u64,
}

/// Takes parked events out, to be delivered again or to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpark {
    pub target: SubscriptionTarget,
    /// To be delivered again; otherwise they count as done.
    pub replay: bool,
    pub entries: Vec<UnparkedEntry>,
}

/// A parked event, as its entry in the journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnparkedEntry {
    /// The entry's version in the journal.
    pub journal_version: u64,
    /// The parked event's position.
    pub position: u64,
    /// The key that the event holds.
    pub held_key: Option<String>,
}
