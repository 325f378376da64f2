//! Handing out: the next event for whoever wants one.

use std::cmp::Reverse;
use std::ops::Bound;
use std::sync::Arc;

use super::{ConsumerId, Dispatch, Key};

/// An event for a consumer.
#[derive(Debug, Clone)]
pub struct Delivery<E> {
    pub consumer: ConsumerId,
    /// Ascending for each consumer, from 1.
    pub id: u64,
    pub position: u64,
    pub event: E,
    /// How often the event was delivered, this time included.
    pub attempt: u32,
    pub replayed: bool,
    pub key: Key,
    /// Of the key.
    pub epoch: u64,
}

impl<E: Clone> Dispatch<E> {
    /// The next delivery; `None`: nobody wants what is ready, or nothing is.
    pub fn next(&mut self, now_ms: u64) -> Option<Delivery<E>> {
        self.now_ms = now_ms;
        if self.in_flight >= self.settings.max_in_flight {
            return None;
        }
        let anybodys = self.ready.first().copied();
        let (consumer, position) = self.in_turn(anybodys)?;
        self.turn = consumer;
        Some(self.deliver(consumer, position, now_ms))
    }

    /// The consumer behind the one that had the last turn who wants an event that is there for it.
    fn in_turn(&self, anybodys: Option<u64>) -> Option<(ConsumerId, u64)> {
        let behind = self.consumers.range((Bound::Excluded(self.turn), Bound::Unbounded));
        let around = behind.chain(self.consumers.range(..=self.turn));
        around.filter(|(_, consumer)| consumer.wants()).find_map(|(&id, consumer)| {
            let own = consumer.ready.first().copied();
            Some((id, own.into_iter().chain(anybodys).min()?))
        })
    }

    fn deliver(&mut self, to: ConsumerId, position: u64, now_ms: u64) -> Delivery<E> {
        let entry = self.entries.get_mut(&position).expect("what is ready is not done");
        let consumer = self.consumers.get_mut(&to).expect("whose turn it is is there");
        let id = consumer.take(position);
        entry.flight = Some((to, id));
        entry.deliveries += 1;
        self.in_flight += 1;
        self.dropping = false;
        self.counters.delivered += 1;
        self.counters.redelivered += u64::from(entry.deliveries > 1);
        let (key, event) = (Arc::clone(&entry.key), entry.event.clone());
        let (attempt, replayed) = (entry.deliveries, entry.replayed);
        let lane = self.lanes.get_mut(&key).expect("every event has a lane");
        lane.sent += 1;
        lane.bound = Some(to);
        lane.sent_epoch = lane.epoch;
        if lane.sent == 1 {
            lane.since = now_ms;
            if !lane.leased {
                lane.leased = true;
                let look_at = now_ms.saturating_add(self.settings.ack_timeout_ms);
                self.leases.push(Reverse((look_at, Arc::clone(&key))));
            }
        }
        let epoch = lane.epoch;
        self.refresh(&key);
        Delivery { consumer: to, id, position, event, attempt, replayed, key, epoch }
    }
}
