//! A consumer as the dispatch sees it.

use std::collections::{BTreeMap, BTreeSet};

/// Names a consumer; later ones have higher numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u64);

/// How many events a consumer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    Events(u64),
    Unlimited,
}

impl Demand {
    /// So many more.
    pub const fn add(&mut self, events: u64) {
        if let Self::Events(wanted) = self {
            *wanted = wanted.saturating_add(events);
        }
    }

    pub(super) const fn wants(self) -> bool {
        !matches!(self, Self::Events(0))
    }

    pub(super) const fn take_one(&mut self) {
        if let Self::Events(wanted) = self {
            *wanted -= 1;
        }
    }
}

/// What the dispatch keeps of a consumer.
#[derive(Debug)]
pub(super) struct Consumer {
    pub demand: Demand,
    /// Most unsettled events of one key.
    pub key_window: usize,
    pub served: bool,
    /// The positions of what it holds, by the ids of the deliveries.
    pub in_flight: BTreeMap<u64, u64>,
    /// The next events of keys that are bound to it, as far as its window for them has room.
    pub ready: BTreeSet<u64>,
    last_id: u64,
}

impl Consumer {
    pub const fn new(demand: Demand, key_window: usize) -> Self {
        Self {
            demand,
            key_window,
            served: false,
            in_flight: BTreeMap::new(),
            ready: BTreeSet::new(),
            last_id: 0,
        }
    }

    /// Whether it may be given another event.
    pub const fn wants(&self) -> bool {
        self.served && self.demand.wants()
    }

    /// Notes that it was given the event at a position; the id of the delivery.
    pub fn take(&mut self, position: u64) -> u64 {
        self.demand.take_one();
        self.last_id += 1;
        self.in_flight.insert(self.last_id, position);
        self.last_id
    }
}
