//! The events of a subscription, and what became of each.

use std::collections::{BTreeMap, BTreeSet};

use crate::v1::{self, demand};

/// What became of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The event's position.
    pub position: u64,
    /// How often it had been delivered.
    pub attempt: u32,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a consumer said of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Ack,
    /// Done without having been handled.
    Skip,
    /// To be tried again: why, and after how many milliseconds.
    Retry(String, Option<u64>),
    /// Put aside, and why.
    Park(String),
}

#[derive(Debug)]
struct Item {
    event: v1::Event,
    key: String,
    attempts: u32,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Delivered(u64),
    Done,
}

/// What a key has open.
#[derive(Debug, Default)]
struct Key {
    epoch: u64,
    /// Positions that were delivered and not settled.
    delivered: BTreeSet<u64>,
}

/// All of it, and the one call that is served.
#[derive(Debug)]
pub(super) struct Stock {
    pub definition: v1::SubscriptionDefinition,
    items: Vec<Item>,
    keys: BTreeMap<String, Key>,
    /// Positions that wait to be delivered.
    waiting: BTreeSet<u64>,
    /// Deliveries of the present call by their ids.
    by_id: BTreeMap<u64, u64>,
    pub call: u64,
    last_id: u64,
    key_window: usize,
    demand: u64,
    told_caught_up: bool,
    pub settled: Vec<Settled>,
    pub settle_messages: usize,
    pub demand_messages: usize,
    pub passed_over: usize,
    pub done: usize,
    pub delivered: u64,
    pub opened: u64,
    pub finished: u64,
}

impl Stock {
    pub fn new(definition: v1::SubscriptionDefinition) -> Self {
        Self {
            definition,
            items: Vec::new(),
            keys: BTreeMap::new(),
            waiting: BTreeSet::new(),
            by_id: BTreeMap::new(),
            call: 0,
            last_id: 0,
            key_window: 1,
            demand: 0,
            told_caught_up: false,
            settled: Vec::new(),
            settle_messages: 0,
            demand_messages: 0,
            passed_over: 0,
            done: 0,
            delivered: 0,
            opened: 0,
            finished: 0,
        }
    }

    pub fn offer(&mut self, key: &str, mut event: v1::Event) {
        let position = self.items.len() as u64;
        event.position = position;
        self.waiting.insert(position);
        let key = key.to_owned();
        self.items.push(Item { event, key, attempts: 0, state: State::Waiting });
        self.told_caught_up = false;
    }

    /// Begins a call, instead of the one before it.
    pub fn open(&mut self, open: &v1::OpenConsumer) -> u64 {
        self.close();
        self.opened += 1;
        self.key_window = usize::try_from(open.key_window.max(1)).unwrap_or(usize::MAX);
        self.demand = if open.pull { 0 } else { u64::MAX };
        self.call
    }

    /// Ends the present call: all that was delivered comes again.
    pub fn close(&mut self) {
        self.call += 1;
        self.last_id = 0;
        self.told_caught_up = false;
        let keys: Vec<_> = self.keys.keys().cloned().collect();
        for key in keys {
            self.take_back(&key);
        }
        // The next call may be with another leader, who knows of no epochs.
        self.keys.clear();
    }

    pub fn take_back(&mut self, key: &str) {
        self.void_from(key, 0);
    }

    /// What of a key was delivered, from a position on, is void and waits again.
    fn void_from(&mut self, key: &str, position: u64) {
        let Some(key) = self.keys.get_mut(key) else { return };
        let void = key.delivered.split_off(&position);
        if void.is_empty() {
            return;
        }
        key.epoch += 1;
        for (place, position) in void.into_iter().enumerate() {
            let item = &mut self.items[usize::try_from(position).expect("an index")];
            if let State::Delivered(id) = item.state {
                self.by_id.remove(&id);
            }
            item.state = State::Waiting;
            // Only the first of them was tried.
            item.attempts -= u32::from(place > 0);
            self.waiting.insert(position);
        }
        self.told_caught_up = false;
    }

    pub fn ask(&mut self, demand: Option<demand::Kind>) {
        self.demand_messages += 1;
        match demand {
            Some(demand::Kind::Add(more)) => self.demand += more,
            Some(demand::Kind::Set(now)) => self.demand = now,
            Some(demand::Kind::Unlimited(_)) => self.demand = u64::MAX,
            None => {}
        }
    }

    /// What can be delivered now, up to so many.
    pub fn deliver(&mut self, max: usize) -> Vec<v1::Delivery> {
        let mut held = BTreeSet::new();
        let mut chosen = Vec::new();
        for &position in &self.waiting {
            if chosen.len() == max || self.demand == 0 {
                break;
            }
            let item = &mut self.items[usize::try_from(position).expect("an index")];
            if held.contains(&item.key) {
                continue;
            }
            let key = self.keys.entry(item.key.clone()).or_default();
            if key.delivered.len() >= self.key_window {
                held.insert(item.key.clone());
                continue;
            }
            self.last_id += 1;
            self.demand -= 1;
            self.delivered += 1;
            item.attempts += 1;
            item.state = State::Delivered(self.last_id);
            key.delivered.insert(position);
            self.by_id.insert(self.last_id, position);
            chosen.push(v1::Delivery {
                event: Some(item.event.clone()),
                id: self.last_id,
                attempt: item.attempts,
                replayed: false,
                key: if item.key == item.event.stream_id {
                    String::new()
                } else {
                    item.key.clone()
                },
                epoch: key.epoch,
            });
        }
        for delivery in &chosen {
            let position = delivery.event.as_ref().map_or(0, |event| event.position);
            self.waiting.remove(&position);
        }
        chosen
    }

    /// The position to say, once, when there is nothing more to deliver.
    pub fn caught_up(&mut self) -> Option<u64> {
        let now = self.waiting.is_empty() && !self.told_caught_up;
        self.told_caught_up |= now;
        now.then_some(self.items.len() as u64)
    }

    pub fn settle(&mut self, settle: v1::Settle) {
        self.settle_messages += 1;
        for id in settle.ack {
            self.settle_one(id, Outcome::Ack);
        }
        for id in settle.skip {
            self.settle_one(id, Outcome::Skip);
        }
        for v1::Park { id, reason } in settle.park {
            self.settle_one(id, Outcome::Park(reason));
        }
        for v1::Retry { id, reason, after_ms } in settle.retry {
            self.settle_one(id, Outcome::Retry(reason, after_ms));
        }
    }

    fn settle_one(&mut self, id: u64, outcome: Outcome) {
        let Some(position) = self.by_id.remove(&id) else {
            self.passed_over += 1;
            return;
        };
        let item = &mut self.items[usize::try_from(position).expect("an index")];
        let attempt = item.attempts;
        let key = item.key.clone();
        if matches!(outcome, Outcome::Retry(..)) {
            self.void_from(&key, position);
        } else {
            item.state = State::Done;
            self.done += 1;
            if let Some(key) = self.keys.get_mut(&key) {
                key.delivered.remove(&position);
            }
        }
        self.settled.push(Settled { position, attempt, outcome });
    }
}
