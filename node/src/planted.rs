//! Known bugs that the simulation puts back, one at a time, to show that it would catch them. Built only with the feature
//! `planted-bugs`.

use std::sync::atomic::{AtomicU8, Ordering};

/// A bug of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Planted {
    /// A vote is answered at once, and is written behind the entries that follow it.
    VoteBehindLog = 1,
    /// A purge leaves no mark in the log.
    PurgeMarkLost = 2,
    /// A leader reads without proof that it still leads.
    ReadWithoutReadIndex = 3,
    /// A source goes on behind some events without handing them out.
    SourceSkips = 4,
    /// A subscription's checkpoint counts what consumers hold as done.
    InFlightIsDone = 5,
    /// A new leader delivers from the checkpoint on, and nothing that was pending before it.
    PendingForgotten = 6,
    /// Some new events wake nobody.
    WakeForgotten = 7,
    /// An event that is tried again comes behind the others of its key.
    RetryOvertaken = 8,
    /// What is decided of a subscription after its caller has gone is not told to those who deliver.
    RefreshLost = 9,
}

static PLANTED: AtomicU8 = AtomicU8::new(0);

/// From here on the nodes of this process have the bug.
pub fn plant(bug: Planted) {
    PLANTED.store(bug as u8, Ordering::SeqCst);
}

/// Whether the nodes of this process have the bug.
pub fn has(bug: Planted) -> bool {
    PLANTED.load(Ordering::SeqCst) == bug as u8
}
