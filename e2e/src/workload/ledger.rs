//! What was sent to a store and what it answered, with the time of each answer.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use uuid::Uuid;

/// One event that was sent.
#[derive(Clone, Debug)]
pub struct Entry {
    /// To which stream.
    pub stream: String,
    /// Under which id.
    pub id: Uuid,
    /// What the store answered, if it did.
    pub acknowledged: Option<Acknowledged>,
}

/// The store's answer to an append of one event.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// When it came.
    pub at: Instant,
    /// The event's version in its stream.
    pub version: u64,
    /// The event's position in the store.
    pub position: u64,
}

/// How much was sent and answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events sent.
    pub written: u64,
    /// Events the store acknowledged.
    pub acknowledged: u64,
}

/// The record of a run. Shared by all who write.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Mutex<Vec<Entry>>,
}

impl Ledger {
    /// Notes an event before it is sent, and returns its number here.
    pub fn sent(&self, stream: &str, id: Uuid) -> usize {
        let mut entries = self.entries();
        entries.push(Entry { stream: stream.to_owned(), id, acknowledged: None });
        entries.len() - 1
    }

    /// Notes the store's answer, now.
    pub fn acknowledged(&self, entry: usize, version: u64, position: u64) {
        let at = Instant::now();
        self.entries()[entry].acknowledged = Some(Acknowledged { at, version, position });
    }

    /// How much there is so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let entries = self.entries();
        Counts {
            written: entries.len() as u64,
            acknowledged: entries.iter().filter(|it| it.acknowledged.is_some()).count() as u64,
        }
    }

    /// A copy of all entries, in the order they were sent.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Entry> {
        self.entries().clone()
    }

    /// Whether anything was acknowledged after `instant`.
    #[must_use]
    pub fn acknowledged_since(&self, instant: Instant) -> bool {
        let entries = self.entries();
        entries.iter().rev().any(|it| it.acknowledged.is_some_and(|answer| answer.at > instant))
    }

    /// The longest time without an acknowledged append that touches the time from `from` to `to`.
    #[must_use]
    pub fn longest_silence(&self, from: Instant, to: Instant) -> Duration {
        let mut answers: Vec<Instant> =
            self.entries().iter().filter_map(|it| it.acknowledged.map(|it| it.at)).collect();
        answers.sort_unstable();
        answers
            .windows(2)
            .filter(|pair| pair[1] > from && pair[0] < to)
            .map(|pair| pair[1] - pair[0])
            .max()
            .unwrap_or_default()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        // Every entry is whole at any time.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_is_between_two_answers_and_touches_the_time_asked_for() {
        let ledger = Ledger::default();
        let start = Instant::now();
        for second in [0, 10, 11, 15, 16] {
            let entry = ledger.sent("s", Uuid::now_v7());
            ledger.acknowledged(entry, 0, 0);
            ledger.entries()[entry].acknowledged.as_mut().unwrap().at =
                start + Duration::from_secs(second);
        }
        let between = |from, to| {
            ledger
                .longest_silence(start + Duration::from_secs(from), start + Duration::from_secs(to))
        };
        assert_eq!(between(10, 20), Duration::from_secs(4));
        assert_eq!(between(5, 20), Duration::from_secs(10));
        assert_eq!(between(12, 12), Duration::ZERO + Duration::from_secs(4));
        assert_eq!(between(20, 30), Duration::ZERO);
    }
}
