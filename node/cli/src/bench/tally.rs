//! How operations ended: counts, failures by reason, and latencies in histograms (HDR, three significant digits).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use reckon_api::client::Error;

/// Latencies above this are counted as this, in microseconds: no deadline is longer.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Clients are spread over so many locks.
const SHARDS: usize = 16;

/// What happened in some time.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Events acknowledged or received.
    pub events: u64,
    /// Of each kind of operation.
    pub kinds: Vec<Kind>,
}

/// Operations of one kind.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Of those that succeeded, in microseconds.
    pub latencies: Histogram<u64>,
    /// How many failed, by reason.
    pub failures: BTreeMap<String, u64>,
}

impl Tally {
    pub fn new(kinds: usize) -> Self {
        let latencies = Histogram::new_with_max(LATENCY_US_MAX, 3)
            .expect("the bounds are within what a histogram takes");
        Self { events: 0, kinds: vec![Kind { latencies, failures: BTreeMap::new() }; kinds] }
    }

    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        for (kind, more) in self.kinds.iter_mut().zip(&other.kinds) {
            kind.latencies.add(&more.latencies).expect("the bounds are the same");
            for (reason, number) in &more.failures {
                *kind.failures.entry(reason.clone()).or_default() += number;
            }
        }
    }

    /// Nothing has succeeded.
    pub fn is_empty(&self) -> bool {
        self.events == 0 && self.operations() == 0
    }

    /// Operations that succeeded.
    pub fn operations(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.latencies.len()).sum()
    }

    /// Operations that failed.
    pub fn failures(&self) -> u64 {
        self.kinds.iter().flat_map(|kind| kind.failures.values()).sum()
    }

    /// The latencies of all kinds together.
    pub fn latencies(&self) -> Histogram<u64> {
        let mut kinds = self.kinds.iter().map(|kind| &kind.latencies);
        let first = kinds.next().expect("a workload has a kind").clone();
        kinds.fold(first, |mut sum, kind| {
            sum.add(kind).expect("the bounds are the same");
            sum
        })
    }
}

/// Counts what the clients do.
pub struct Recorder {
    events: AtomicU64,
    shards: Vec<Mutex<Tally>>,
    last_error: Mutex<Option<Error>>,
    kinds: usize,
}

impl Recorder {
    pub fn new(kinds: usize) -> Self {
        Self {
            events: AtomicU64::new(0),
            shards: (0..SHARDS).map(|_| Mutex::new(Tally::new(kinds))).collect(),
            last_error: Mutex::new(None),
            kinds,
        }
    }

    /// Where events are counted.
    pub fn events(&self) -> &AtomicU64 {
        &self.events
    }

    /// An operation of a kind ended, after so long.
    pub fn ended(&self, client: u64, kind: usize, took: Duration, how: Result<(), Error>) {
        let mut tally = locked(&self.shards[client as usize % SHARDS]);
        let kind = &mut tally.kinds[kind];
        match how {
            Ok(()) => {
                let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                kind.latencies.saturating_record(us);
            }
            Err(error) => {
                *kind.failures.entry(reason(&error)).or_default() += 1;
                drop(tally);
                *locked(&self.last_error) = Some(error);
            }
        }
    }

    /// What happened since this was asked last.
    pub fn take(&self) -> Tally {
        let mut sum = Tally::new(self.kinds);
        sum.events = self.events.swap(0, Ordering::Relaxed);
        for shard in &self.shards {
            let mut tally = locked(shard);
            sum.add(&tally);
            for kind in &mut tally.kinds {
                kind.latencies.reset();
                kind.failures.clear();
            }
        }
        sum
    }

    pub fn last_error(&self) -> Option<Error> {
        locked(&self.last_error).clone()
    }
}

fn reason(error: &Error) -> String {
    error.reason().map_or_else(|| "OTHER".to_owned(), |reason| reason.as_str().to_owned())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A count is whole at any moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Error {
        Error::Protocol { message: "no".to_owned() }
    }

    #[test]
    fn what_was_taken_is_counted_no_second_time() {
        let recorder = Recorder::new(2);
        recorder.events().fetch_add(7, Ordering::Relaxed);
        recorder.ended(0, 0, Duration::from_micros(100), Ok(()));
        recorder.ended(17, 1, Duration::from_micros(300), Ok(()));
        recorder.ended(17, 1, Duration::from_micros(900), Err(refused()));
        let tally = recorder.take();
        assert_eq!((tally.events, tally.operations(), tally.failures()), (7, 2, 1));
        assert_eq!(tally.kinds[1].failures["OTHER"], 1);
        assert_eq!((tally.latencies().min(), tally.latencies().max()), (100, 300));
        assert!(recorder.take().is_empty());
    }

    #[test]
    fn a_latency_beyond_the_histogram_counts_as_its_end() {
        let recorder = Recorder::new(1);
        recorder.ended(0, 0, Duration::MAX, Ok(()));
        assert!(recorder.take().latencies().max() >= LATENCY_US_MAX);
    }
}
