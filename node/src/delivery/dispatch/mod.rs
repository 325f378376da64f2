//! The dispatch of a subscription: which of its consumers is given which event, and what becomes of it. Events, demand,
//! settlements and time go in; deliveries come out, and what is to be written down of them.
//!
//! Pure: it knows no clock (callers say what time it is, in milliseconds since any moment), no network, no store, and
//! nothing of what an event is but its position and its key.
//!
//! What it keeps to: events of a key are delivered in their order, to one consumer at a time. A consumer that takes one
//! event of a key at once never sees the next one before the first is done. Whoever takes more of them is given what
//! follows ahead, and all of that is void once something goes wrong with an event before it: then the key's epoch is
//! raised, and the events come again, perhaps to somebody else. So what a consumer says of a delivery that was taken from
//! it changes nothing.

#![deny(clippy::disallowed_methods)]

mod consumer;
mod hand_out;
mod lane;
mod progress;
mod settings;
mod settle;
#[cfg(test)]
mod tests;
mod timers;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;

use foldhash::quality::RandomState;

use consumer::Consumer;
pub use consumer::{ConsumerId, Demand};
pub use hand_out::Delivery;
use lane::Lane;
pub use progress::{Counters, ParkedEvent, Reported};
pub use settings::{Overflow, Settings};
pub use settle::Settlement;

use crate::engine::Dropped;

/// What keeps events in order: a stream's id, or what an expression gave.
pub type Key = Arc<str>;

/// An event as it is offered.
#[derive(Debug, Clone)]
pub struct Offered<E> {
    pub position: u64,
    pub key: Key,
    /// Bytes that it takes.
    pub weight: usize,
    pub event: E,
    /// How often it failed before.
    pub failures: u32,
    /// It was parked, and is to be delivered again.
    pub replayed: bool,
}

/// The buffer is full, and the subscription says that this is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferFull;

/// An event that is not done.
#[derive(Debug)]
struct Entry<E> {
    key: Key,
    weight: usize,
    event: E,
    failures: u32,
    deliveries: u32,
    replayed: bool,
    /// With whom it is, and the id of that delivery.
    flight: Option<(ConsumerId, u64)>,
}

/// The events of a subscription that are not done, and its consumers.
#[derive(Debug)]
pub struct Dispatch<E> {
    settings: Settings,
    consumers: BTreeMap<ConsumerId, Consumer>,
    /// Whose turn it is.
    turn: ConsumerId,
    entries: BTreeMap<u64, Entry<E>>,
    lanes: HashMap<Key, Lane, RandomState>,
    /// The next events of keys that are bound to nobody.
    ready: BTreeSet<u64>,
    /// Keys whose next event waits for another try, by the time of it.
    waiting: BTreeSet<(u64, Key)>,
    /// When to look at keys that are bound to somebody. A look may find that there was progress since.
    leases: BinaryHeap<Reverse<(u64, Key)>>,
    in_flight: usize,
    weight: usize,
    epoch: u64,
    /// The time as it was last told.
    now_ms: u64,
    /// Nothing below this position is without a delivery but what was replayed.
    fresh_from: u64,
    /// Everything below this position was offered.
    read_to: u64,
    /// Behind the highest position that is done.
    done_to: u64,
    /// Keys that wait behind parked events.
    held: BTreeMap<Key, u64>,
    parked: Vec<ParkedEvent<E>>,
    dropped: Vec<Dropped>,
    /// Whether the next event that is dropped belongs to the last range of `dropped`.
    dropping: bool,
    replayed: BTreeSet<u64>,
    counters: Counters,
    /// Events that are done since the last report.
    finished: u64,
}

impl<E: Clone> Dispatch<E> {
    /// Nothing was offered yet, and everything below `read_to` is done but for what will be.
    pub fn new(settings: Settings, read_to: u64) -> Self {
        Self {
            settings,
            consumers: BTreeMap::new(),
            turn: ConsumerId(0),
            entries: BTreeMap::new(),
            lanes: HashMap::default(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            leases: BinaryHeap::new(),
            in_flight: 0,
            weight: 0,
            epoch: 0,
            now_ms: 0,
            fresh_from: 0,
            read_to,
            done_to: read_to,
            held: BTreeMap::new(),
            parked: Vec::new(),
            dropped: Vec::new(),
            dropping: false,
            replayed: BTreeSet::new(),
            counters: Counters::default(),
            finished: 0,
        }
    }

    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Puts other settings in force for what comes. Consumers that are not served any more keep what they hold.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
        self.choose_served();
    }

    /// The keys that wait behind parked events, as the store has them; what was parked here and is not in there yet
    /// comes on top.
    pub fn set_held(&mut self, held: impl IntoIterator<Item = (Key, u64)>) {
        self.held = held.into_iter().collect();
        for parked in self.parked.iter().filter(|parked| parked.holds_key) {
            *self.held.entry(Arc::clone(&parked.key)).or_default() += 1;
        }
    }

    /// Takes a consumer in. `key_window`: most unsettled events of one key that it takes, at least 1.
    pub fn attach(&mut self, id: ConsumerId, demand: Demand, key_window: usize) {
        self.consumers.insert(id, Consumer::new(demand, key_window.max(1)));
        self.choose_served();
    }

    /// Lets a consumer go. What it holds comes again at once; nobody says that it failed.
    pub fn detach(&mut self, id: ConsumerId) {
        let Some(consumer) = self.consumers.remove(&id) else { return };
        let mut keys = BTreeSet::new();
        for position in consumer.in_flight.into_values() {
            let Some(entry) = self.entries.get_mut(&position) else { continue };
            entry.flight = None;
            self.in_flight -= 1;
            keys.insert(Arc::clone(&entry.key));
        }
        for key in keys {
            self.epoch += 1;
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            (lane.sent, lane.bound, lane.epoch) = (0, None, self.epoch);
            // What was ready for the consumer went with it.
            lane.ready = lane.ready.filter(|(_, of)| of.is_none());
            self.refresh(&key);
        }
        self.choose_served();
    }

    /// Changes what a consumer wants.
    pub fn demand(&mut self, id: ConsumerId, change: impl FnOnce(&mut Demand)) {
        if let Some(consumer) = self.consumers.get_mut(&id) {
            change(&mut consumer.demand);
        }
    }

    /// Whether a consumer is served; otherwise it stands by.
    pub fn is_served(&self, id: ConsumerId) -> bool {
        self.consumers.get(&id).is_some_and(|consumer| consumer.served)
    }

    /// How many consumers there are, served or not.
    pub fn consumers(&self) -> impl Iterator<Item = (ConsumerId, bool)> {
        self.consumers.iter().map(|(&id, consumer)| (id, consumer.served))
    }

    /// What the served consumers want and do not have; `None`: as much as there is.
    pub fn wanted(&self) -> Option<u64> {
        let served = self.consumers.values().filter(|consumer| consumer.served);
        served.map(|consumer| consumer.demand).try_fold(0_u64, |sum, demand| match demand {
            Demand::Events(events) => Some(sum.saturating_add(events)),
            Demand::Unlimited => None,
        })
    }

    /// Events that wait here: not in flight.
    pub fn buffered(&self) -> usize {
        self.entries.len() - self.in_flight
    }

    /// How many events may be offered before the strategy has to decide.
    pub fn room(&self) -> usize {
        self.settings.buffer_size.saturating_sub(self.buffered())
    }

    /// Bytes of all events that are not done.
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// Goes on as another one, which has no consumers, with the consumers of this one. What they hold is void.
    pub fn restart_as(&mut self, other: Self) {
        let mut consumers = std::mem::take(&mut self.consumers);
        for consumer in consumers.values_mut() {
            consumer.in_flight.clear();
            consumer.ready.clear();
        }
        // Of no key may an epoch be lower than one that somebody saw.
        let epoch = self.epoch + 1;
        let (turn, counters) = (self.turn, self.counters);
        *self = Self { consumers, turn, epoch, counters, ..other };
        for lane in self.lanes.values_mut() {
            lane.epoch = epoch;
        }
        self.choose_served();
    }

    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Everything below this position was offered.
    pub const fn read_to(&self) -> u64 {
        self.read_to
    }

    /// Everything below the position was offered.
    pub fn set_read_to(&mut self, position: u64) {
        self.read_to = self.read_to.max(position);
    }

    /// Takes an event in. Positions ascend, but for those that are replayed or were pending before.
    pub fn offer(&mut self, offered: Offered<E>) -> Result<(), BufferFull> {
        let Offered { position, key, weight, event, failures, replayed } = offered;
        if let Some(entry) = self.entries.get_mut(&position) {
            // After a reset it comes as it is and because it was asked for: once is enough for both.
            entry.replayed |= replayed;
            return Ok(());
        }
        if !replayed && self.held.contains_key(&key) {
            self.done_to = self.done_to.max(position + 1);
            self.park_event(position, key, event, 0, KEY_IS_HELD.to_owned());
            return Ok(());
        }
        let restored = failures > 0 || replayed || position < self.done_to;
        if !restored && self.room() == 0 {
            let strategy = self.settings.strategy;
            match strategy {
                // Whoever offers more than there is room for knows why.
                Overflow::Block => {}
                Overflow::Error => return Err(BufferFull),
                Overflow::DropOldest if self.drop_oldest() => {}
                // All that waits was delivered before: it may not be dropped any more.
                Overflow::DropNewest | Overflow::DropOldest => {
                    self.done_to = self.done_to.max(position + 1);
                    self.note_dropped(position);
                    return Ok(());
                }
            }
        }
        let entry = Entry {
            key: Arc::clone(&key),
            weight,
            event,
            failures,
            deliveries: failures,
            replayed,
            flight: None,
        };
        self.weight += weight;
        self.entries.insert(position, entry);
        let epoch = self.epoch;
        let lane = self.lanes.entry(Arc::clone(&key)).or_insert_with(|| Lane::new(epoch));
        let last = lane.queue.back().is_none_or(|&last| last < position);
        if replayed || !last {
            let entries = &self.entries;
            lane.insert_replayed(position, |at| {
                entries.get(&at).is_some_and(|entry| entry.replayed || !replayed)
            });
        } else {
            lane.queue.push_back(position);
        }
        self.refresh(&key);
        Ok(())
    }

    /// Drops the oldest event that was never delivered; false when there is none.
    fn drop_oldest(&mut self) -> bool {
        let fresh = self.entries.range(self.fresh_from..);
        let oldest = fresh.into_iter().find(|(_, entry)| entry.deliveries == 0 && !entry.replayed);
        let Some(position) = oldest.map(|(&position, _)| position) else { return false };
        self.fresh_from = position + 1;
        self.finish(position);
        self.note_dropped(position);
        true
    }

    fn note_dropped(&mut self, position: u64) {
        self.counters.dropped += 1;
        match self.dropped.last_mut() {
            Some(last) if self.dropping => {
                last.last_position = position;
                last.events += 1;
            }
            _ => self.dropped.push(Dropped {
                first_position: position,
                last_position: position,
                events: 1,
            }),
        }
        self.dropping = true;
    }

    /// Takes an event out that is done, whichever way.
    fn finish(&mut self, position: u64) -> Option<Entry<E>> {
        let entry = self.entries.remove(&position)?;
        self.weight -= entry.weight;
        self.finished += 1;
        if let Some((consumer, id)) = entry.flight {
            self.in_flight -= 1;
            if let Some(consumer) = self.consumers.get_mut(&consumer) {
                consumer.in_flight.remove(&id);
            }
        }
        if entry.replayed {
            // After a reset it may lie ahead of what was read: that it is done says nothing of what is before it.
            self.replayed.insert(position);
        } else {
            self.done_to = self.done_to.max(position + 1);
        }
        if let Some(lane) = self.lanes.get_mut(&entry.key) {
            lane.remove(position);
            self.refresh(&entry.key);
        }
        Some(entry)
    }

    /// Puts the next event of a key where it belongs: among what is ready, for anybody or for whom the key is bound to,
    /// or among what waits, or nowhere. A key without events goes.
    fn refresh(&mut self, key: &Key) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let waits_until = lane.next_waits_until(self.now_ms);
        if lane.waiting != waits_until {
            let before = std::mem::replace(&mut lane.waiting, waits_until);
            if let Some(before) = before {
                self.waiting.remove(&(before, Arc::clone(key)));
            }
            if let Some(until) = waits_until {
                self.waiting.insert((until, Arc::clone(key)));
            }
        }
        let ready = match (lane.next(), lane.bound) {
            _ if waits_until.is_some() => None,
            (Some(next), None) => Some((next, None)),
            (Some(next), Some(bound)) => {
                let window = self.consumers.get(&bound).map_or(0, |consumer| consumer.key_window);
                (lane.sent < window && lane.takes_more()).then_some((next, Some(bound)))
            }
            (None, _) => None,
        };
        if lane.ready != ready {
            let before = std::mem::replace(&mut lane.ready, ready);
            if let Some((position, of)) = before {
                match of {
                    None => self.ready.remove(&position),
                    Some(of) => self
                        .consumers
                        .get_mut(&of)
                        .is_some_and(|consumer| consumer.ready.remove(&position)),
                };
            }
            if let Some((position, of)) = ready {
                match of {
                    None => self.ready.insert(position),
                    Some(of) => self
                        .consumers
                        .get_mut(&of)
                        .is_some_and(|consumer| consumer.ready.insert(position)),
                };
            }
        }
        if lane.queue.is_empty() {
            self.lanes.remove(key);
        }
    }

    /// The consumers that came first are served.
    fn choose_served(&mut self) {
        for (place, consumer) in self.consumers.values_mut().enumerate() {
            consumer.served = place < self.settings.pool_size;
        }
    }
}

/// Why an event is parked that was never tried.
const KEY_IS_HELD: &str = "an earlier event of the key is parked";
