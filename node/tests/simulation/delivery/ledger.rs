//! What consumers, keepers and followers were told and said, in the order in which it happened.

use std::cell::{Ref, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use reckon_api::v1;

use crate::history::Seen;

/// Everything about one subscription. A note's place says what was known before it.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Rc<RefCell<Vec<Note>>>);

/// One thing that was said or told. `call` names a call of `Consume`; `since`, the place of a note, when something was
/// asked that this answers.
#[derive(Debug, Clone)]
pub enum Note {
    /// A consumer begins a call.
    Opening {
        call: usize,
        consumer: String,
        key_window: u32,
        pull: bool,
    },
    /// It was taken in, and told how far the subscription is.
    Opened {
        call: usize,
        done: Done,
    },
    /// It pulls, and asked for so many more.
    Demanded {
        call: usize,
        events: u64,
    },
    Delivered {
        call: usize,
        at: Duration,
        delivery: Delivered,
    },
    Settled {
        call: usize,
        id: u64,
        how: How,
    },
    /// A keeper looks at the subscription.
    Looking,
    Looked {
        since: usize,
        done: Done,
    },
    /// What is parked: positions and keys.
    Listed {
        since: usize,
        parked: Vec<(u64, String)>,
    },
    Replaying {
        positions: Vec<u64>,
    },
    Discarding {
        positions: Vec<u64>,
    },
    Resetting {
        to: u64,
    },
    /// The reset of `since` was certainly done.
    Reset {
        since: usize,
    },
    /// Everything below the position that can be read was there when the run was quiet, and has to be done by now.
    Quiet {
        head: u64,
    },
}

/// An event as a consumer was given it.
#[derive(Debug, Clone)]
pub struct Delivered {
    pub seen: Seen,
    pub id: u64,
    pub attempt: u32,
    pub replayed: bool,
    pub key: String,
    pub epoch: u64,
}

/// What a consumer said became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Ack,
    /// It, and every delivery before it.
    AckUpto,
    Skip,
    Retry,
    Park,
}

/// A checkpoint.
#[derive(Debug, Clone, Default)]
pub struct Done {
    pub next_position: u64,
    pub pending: BTreeSet<u64>,
}

impl Done {
    /// What the store says of a subscription.
    pub fn of(subscription: Option<&v1::Subscription>) -> Self {
        let checkpoint = subscription.and_then(|it| it.checkpoint.clone()).unwrap_or_default();
        let pending = checkpoint.pending.into_iter().collect();
        Self { next_position: checkpoint.next_position, pending }
    }

    /// Whether an event at the position is done.
    pub fn has(&self, position: u64) -> bool {
        position < self.next_position && !self.pending.contains(&position)
    }
}

impl Ledger {
    /// Writes it down; gives its place.
    pub fn note(&self, note: Note) -> usize {
        let mut notes = self.0.borrow_mut();
        notes.push(note);
        notes.len() - 1
    }

    pub fn notes(&self) -> Ref<'_, Vec<Note>> {
        self.0.borrow()
    }
}

/// What one follower was told.
#[derive(Debug, Clone, Default)]
pub struct FollowerLedger(Rc<RefCell<Vec<FollowerNote>>>);

#[derive(Debug, Clone)]
pub enum FollowerNote {
    /// It was told that everything from this position on comes.
    Opened {
        from_position: u64,
    },
    Told(Seen),
    /// Everything below the position was there and was told.
    CaughtUp {
        next_position: u64,
    },
    /// As for subscriptions.
    Quiet {
        head: u64,
    },
}

impl FollowerLedger {
    pub fn note(&self, note: FollowerNote) {
        self.0.borrow_mut().push(note);
    }

    pub fn notes(&self) -> Ref<'_, Vec<FollowerNote>> {
        self.0.borrow()
    }
}
