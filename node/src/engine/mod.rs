//! The state machine: committed groups of commands in, outcomes out, and reads of what is there.
//!
//! A pure function of the groups applied: it knows no clock (the proposer stamps time), no randomness, no
//! `async` and no network. So every node that applied the same log holds the same state. Apply changes only
//! the overlay and a small state; what lies below, frozen overlays and sealed files, it only reads.

#![deny(clippy::disallowed_methods)]

mod append;
mod apply;
mod candidates;
mod command;
mod condition;
mod error;
mod expectation;
mod files;
mod group;
mod head;
mod layer;
mod layers;
mod lifecycle;
mod notice;
mod outcome;
mod overlay;
mod page;
mod prefetch;
mod query;
mod reader;
mod refusal;
mod removals;
mod sealed_layer;
mod sealing;
mod select;
mod small_state;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::RwLock;

pub use crate::storage::LogPosition;
pub use command::{Command, CorruptCommand, StreamAppend};
pub use error::{ApplyError, ReadError};
pub use expectation::Expectation;
pub use files::OpenError;
pub use group::{CorruptGroup, Group, commands_in, encode_group};
pub use head::{Head, StreamStatus};
pub use layer::{EventPlace, Layer, Posting};
use layers::Layers;
pub use notice::{NOTICES_STREAM, Notice, StreamChange, StreamNotice};
pub use outcome::{Appended, Outcome, Removed};
pub use overlay::{IndexEntry, Overlay};
pub use page::{Direction, Page, RecordedEvent, StreamPage, StreamSummary};
pub use prefetch::prefetch;
pub use query::{AppendCondition, Query, QueryItem};
pub use reader::{
    AllRead, Counted, Found, Listing, NoticePage, Recent, RecentStream, StateReader, StreamRead,
    StreamState, Totals,
};
pub use refusal::Refusal;
pub use removals::{Reclaimable, Removal, Removals};
pub use sealing::Sealing;
pub use select::{Select, SelectError};
pub use small_state::CorruptState;
use small_state::SmallState;
pub use subscriptions::{
    Advance, Dropped, JournalEntry, Parked, Pending, Progress, SUBSCRIPTIONS_STREAM,
    SubscriptionChange, SubscriptionCommand, SubscriptionNotice, SubscriptionState,
    SubscriptionTarget, Subscriptions, Unpark, UnparkedEntry, VersionSet, journal_stream,
};

/// The engine as it is shared: apply writes, reads take bounded pages through a [`StateReader`].
pub type SharedEngine = Arc<RwLock<Engine>>;

/// The store's state on one node.
#[derive(Debug, Default)]
pub struct Engine {
    /// What was applied since the last seal.
    active: Overlay,
    layers: Layers,
    removals: Arc<Removals>,
    state: SmallState,
    /// Whether anything was decided that the last seal does not have, be it that something was refused: the log
    /// behind a seal can go only when there is a newer one.
    changed: bool,
    /// Frozen overlays that nobody has taken yet to write them.
    sealings: VecDeque<Sealing>,
    /// A group could not be applied in full: the state is not the log's any more.
    poisoned: bool,
}

impl Engine {
    /// The position that the next event takes; every position below it was assigned.
    pub const fn next_position(&self) -> u64 {
        self.state.next_position
    }

    /// The newest group's time, microseconds since 1970 UTC; 0 before the first.
    pub const fn epoch_us(&self) -> u64 {
        self.state.epoch_us
    }

    /// How many events can be read, those of the server's own streams left out.
    pub const fn events(&self) -> u64 {
        self.state.events
    }

    /// How many streams exist, the server's own left out.
    pub const fn streams(&self) -> u64 {
        self.state.streams
    }

    /// Whether the store is open to clients.
    pub const fn activated(&self) -> bool {
        self.state.activated
    }

    /// The subscriptions of the store.
    pub const fn subscriptions(&self) -> &Subscriptions {
        &self.state.subscriptions
    }

    /// Whether anything was decided that the last seal does not have.
    pub const fn has_changed(&self) -> bool {
        self.changed
    }

    /// Memory that unsealed events and their indexes take, in bytes, frozen overlays among them; an estimate on
    /// the high side.
    pub fn overlay_bytes(&self) -> u64 {
        self.active_bytes() + self.layers.frozen_bytes()
    }

    /// Memory that the overlay takes which a seal would freeze now, in bytes.
    pub const fn active_bytes(&self) -> u64 {
        self.active.bytes()
    }

    /// Every layer, from the lowest positions up.
    fn ascending(&self) -> impl DoubleEndedIterator<Item = &dyn Layer> {
        self.layers.ascending().chain([&self.active as &dyn Layer])
    }

    /// The stream's head; `None`: its name was never used.
    fn head(&self, stream_id: &str) -> Result<Option<Head>, ReadError> {
        match self.active.head_here(stream_id) {
            Some(head) => Ok(Some(*head)),
            None => self.layers.head(stream_id),
        }
    }

    /// The first version of a stream that can be read.
    fn first_readable(&self, stream_id: &str) -> Result<u64, ReadError> {
        Ok(self.head(stream_id)?.map_or(0, |head| head.first_version))
    }
}
