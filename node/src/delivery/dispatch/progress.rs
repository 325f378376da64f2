//! What is to be written down: how far the subscription has come, and what was parked, dropped and replayed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Dispatch, Key};
use crate::engine::{Dropped, Pending, Progress};
use crate::limits::SUBSCRIPTION_PENDING_MAX;

/// An event that is tried no more.
#[derive(Debug, Clone)]
pub struct ParkedEvent<E> {
    pub position: u64,
    pub key: Key,
    pub event: E,
    pub reason: String,
    /// How often it was delivered.
    pub attempts: u32,
    /// Later events of its key wait behind it.
    pub holds_key: bool,
}

/// What happened, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub delivered: u64,
    /// Of those, not for the first time.
    pub redelivered: u64,
    pub acknowledged: u64,
    pub skipped: u64,
    pub retried: u64,
    pub parked: u64,
    pub dropped: u64,
    /// Deliveries that were not settled in time.
    pub timed_out: u64,
    /// Settlements of deliveries that were not the consumer's any more.
    pub late: u64,
    /// When a consumer last settled something.
    pub settled_at_ms: Option<u64>,
}

/// What has to be written down since the last time.
#[derive(Debug, Clone)]
pub struct Reported<E> {
    pub progress: Progress,
    pub parked: Vec<ParkedEvent<E>>,
    pub dropped: Vec<Dropped>,
    pub replayed: BTreeSet<u64>,
}

impl<E: Clone> Dispatch<E> {
    /// Parks an event that is not offered: nobody can say whether it is wanted.
    pub fn park_unoffered(&mut self, position: u64, key: Key, event: E, reason: String) {
        self.done_to = self.done_to.max(position + 1);
        self.park_event(position, key, event, 0, reason);
    }

    pub(super) fn park_event(
        &mut self,
        position: u64,
        key: Key,
        event: E,
        attempts: u32,
        reason: String,
    ) {
        self.counters.parked += 1;
        let holds_key = self.settings.hold_key;
        if holds_key {
            *self.held.entry(Arc::clone(&key)).or_default() += 1;
        }
        self.parked.push(ParkedEvent { position, key, event, reason, attempts, holds_key });
    }

    /// How far the subscription has come: the lowest position behind everything that is done, and what before it is
    /// not. So no event that is done is delivered again, unless more of them are pending before it than are kept.
    pub fn progress(&self) -> Progress {
        let unfinished = self.entries.iter().filter(|(_, entry)| !entry.replayed);
        #[cfg(feature = "planted-bugs")]
        let unfinished = unfinished.filter(|(_, entry)| {
            use crate::planted::{Planted, has};
            !(has(Planted::InFlightIsDone) && entry.flight.is_some())
        });
        let mut unfinished = unfinished.peekable();
        let Some(&(&first, _)) = unfinished.peek() else {
            return Progress::upto(self.read_to.max(self.done_to));
        };
        let mut progress = Progress::upto(self.done_to.max(first));
        for (&position, entry) in unfinished {
            if position >= progress.next_position {
                break;
            }
            if progress.pending.len() == SUBSCRIPTION_PENDING_MAX {
                progress.next_position = position;
                break;
            }
            progress.pending.push(Pending { position, failures: entry.failures });
        }
        progress
    }

    /// What has to be written down. What was parked, dropped and replayed is handed over: give it back with
    /// [`Self::unreported`] if it could not be written.
    pub fn report(&mut self) -> Reported<E> {
        self.dropping = false;
        self.finished = 0;
        Reported {
            progress: self.progress(),
            parked: std::mem::take(&mut self.parked),
            dropped: std::mem::take(&mut self.dropped),
            replayed: std::mem::take(&mut self.replayed),
        }
    }

    /// Takes back what could not be written.
    pub fn unreported(&mut self, reported: Reported<E>) {
        let Reported { parked, dropped, replayed, .. } = reported;
        self.parked.splice(0..0, parked);
        self.dropped.splice(0..0, dropped);
        self.replayed.extend(replayed);
        self.finished += 1;
    }

    /// Whether something was parked, dropped or replayed that is not written down.
    pub fn has_unreported(&self) -> bool {
        !(self.parked.is_empty() && self.dropped.is_empty() && self.replayed.is_empty())
    }

    /// How many events are done since the last report.
    pub const fn unreported_events(&self) -> u64 {
        self.finished
    }

    /// How many positions were gone through since this was written down, when all of it is done.
    pub fn passed_over(&self, written: &Progress) -> u64 {
        if self.entries.is_empty() { self.read_to.saturating_sub(written.next_position) } else { 0 }
    }

    /// A replayed event that is not there any more is done.
    pub fn replay_is_done(&mut self, position: u64) {
        self.replayed.insert(position);
    }

    /// Whether an event that is to be delivered again is in here, or has ended and that is not written down.
    pub fn has_replay(&self, position: u64) -> bool {
        self.entries.get(&position).is_some_and(|entry| entry.replayed)
            || self.replayed.contains(&position)
            || self.parked.iter().any(|parked| parked.position == position)
    }

    /// How many parked events wait to be written down.
    pub fn unreported_parked(&self) -> usize {
        self.parked.len()
    }
}
