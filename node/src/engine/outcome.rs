//! What apply decides for a command. The same on every node.

use std::sync::Arc;

use super::refusal::Refusal;
use super::subscriptions::SubscriptionState;

/// What the engine decided for one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The events of the append are in the store, since now or since its first try.
    Appended(Appended),
    /// The stream is deleted, since now or before.
    Deleted(Removed),
    /// The stream is tombstoned, since now or before.
    Tombstoned(Removed),
    /// The stream begins where it was asked to, or later already.
    Truncated(Removed),
    /// The subscription as it is since; or, when it was deleted, as it was. `changed`: it was not like that before.
    Subscription { state: Arc<SubscriptionState>, changed: bool },
    /// What was reported of deliveries is noted, as far as it still concerns anybody.
    SubscriptionsAdvanced,
    /// So many events are not parked any more.
    Unparked { events: u64 },
    /// Nothing was changed.
    Refused(Refusal),
    /// The store is open to clients.
    Activated,
    /// The volume's node id.
    NodeIdAllocated(u64),
    /// Everything below the position is in this seal, counted from 1, once it is written: the one that the command's
    /// group ends with, or the last one if nothing was decided since.
    Sealed { seal: u64, position: u64 },
}

/// Where the events of an append stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Per stream, in the order of the request: the version of its last event in the request.
    pub last_versions: Vec<u64>,
    pub first_position: u64,
    pub last_position: u64,
    /// When the leader took the append, microseconds since 1970 UTC.
    pub epoch_us: u64,
}

/// What is left of a stream after a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// The first version that can be read; one past the last when none can.
    pub first_version: u64,
    /// The version of the last event that the stream had; `None`: it never had one.
    pub last_version: Option<u64>,
    /// The position of the notice of the removal. When there was nothing to remove: of the stream's last notice,
    /// or of its last event if there is no notice.
    pub position: u64,
}
