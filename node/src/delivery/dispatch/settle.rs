//! Settling: what a consumer says became of its deliveries.

use std::sync::Arc;

use super::{ConsumerId, Dispatch, Entry, Key};

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    Ack,
    /// Done, without having been handled.
    Skip,
    /// It failed. `after_ms`: not to be tried before; `None`: as the subscription says.
    Retry {
        reason: String,
        after_ms: Option<u64>,
    },
    Park {
        reason: String,
    },
}

impl<E: Clone> Dispatch<E> {
    /// Settles a delivery; false when it is not the consumer's any more.
    pub fn settle(
        &mut self,
        consumer: ConsumerId,
        id: u64,
        settlement: Settlement,
        now_ms: u64,
    ) -> bool {
        let held = self.consumers.get(&consumer).and_then(|it| it.in_flight.get(&id).copied());
        let Some(position) = held else {
            self.counters.late += 1;
            return false;
        };
        match settlement {
            Settlement::Ack => {
                self.counters.acknowledged += 1;
                self.progressed(position, now_ms);
            }
            Settlement::Skip => {
                self.counters.skipped += 1;
                self.progressed(position, now_ms);
            }
            Settlement::Park { reason } => self.park(position, reason, now_ms),
            Settlement::Retry { reason, after_ms } => {
                self.failed(position, reason, after_ms, now_ms);
            }
        }
        self.counters.settled_at_ms = Some(now_ms);
        true
    }

    /// Acknowledges every delivery of the consumer up to an id.
    pub fn ack_upto(&mut self, consumer: ConsumerId, id: u64, now_ms: u64) {
        let Some(held) = self.consumers.get(&consumer) else { return };
        let ids: Vec<u64> = held.in_flight.range(..=id).map(|(&id, _)| id).collect();
        for id in ids {
            self.settle(consumer, id, Settlement::Ack, now_ms);
        }
    }

    /// Everything up to a position, inclusive, is done, whoever holds it.
    pub fn ack_everything_upto(&mut self, position: u64, now_ms: u64) {
        let done: Vec<u64> = self.entries.range(..=position).map(|(&at, _)| at).collect();
        for position in done {
            self.counters.acknowledged += 1;
            self.progressed(position, now_ms);
        }
        self.finished += 1;
        self.done_to = self.done_to.max(position + 1);
        self.read_to = self.read_to.max(position + 1);
        self.counters.settled_at_ms = Some(now_ms);
    }

    /// Takes an event out that is done, and gives its consumer the full time for the next one of the key.
    fn progressed(&mut self, position: u64, now_ms: u64) {
        if let Some(entry) = self.finish(position)
            && let Some(lane) = self.lanes.get_mut(&entry.key)
        {
            lane.since = now_ms;
        }
    }

    /// An event failed: it is tried again later, or parked. What its consumer was given of the key behind it is void.
    pub(super) fn failed(
        &mut self,
        position: u64,
        reason: String,
        after_ms: Option<u64>,
        now_ms: u64,
    ) {
        let Some(entry) = self.entries.get_mut(&position) else { return };
        entry.failures += 1;
        let failures = entry.failures;
        let key = Arc::clone(&entry.key);
        self.now_ms = now_ms;
        self.take_back_from(&key, position);
        if failures > self.settings.max_retries {
            self.park(position, reason, now_ms);
            return;
        }
        self.counters.retried += 1;
        let pause_ms = after_ms.unwrap_or_else(|| self.settings.backoff_ms(failures));
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.put_off(position, now_ms.saturating_add(pause_ms));
            #[cfg(feature = "planted-bugs")]
            if crate::planted::has(crate::planted::Planted::RetryOvertaken)
                && let Some(place) = lane.place_of(position)
            {
                lane.queue.remove(place);
                lane.queue.push_back(position);
            }
        }
        self.refresh(&key);
    }

    /// Takes everything of a key back that is in flight, from an event on.
    pub(super) fn take_back_from(&mut self, key: &Key, position: u64) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let place = lane.place_of(position).unwrap_or(0).min(lane.sent);
        for position in lane.queue.range(place..lane.sent) {
            let Some(entry) = self.entries.get_mut(position) else { continue };
            let Some((consumer, id)) = entry.flight.take() else { continue };
            self.in_flight -= 1;
            if let Some(consumer) = self.consumers.get_mut(&consumer) {
                consumer.in_flight.remove(&id);
            }
        }
        self.epoch += 1;
        lane.sent = place;
        lane.epoch = self.epoch;
        if place == 0 {
            lane.bound = None;
        }
        self.refresh(key);
    }

    /// Parks an event, and what has to wait behind it.
    fn park(&mut self, position: u64, reason: String, now_ms: u64) {
        let Some(entry) = self.finish(position) else { return };
        let Entry { key, event, deliveries, replayed, .. } = entry;
        if replayed {
            // That it was parked again says so.
            self.replayed.remove(&position);
        }
        self.park_event(position, Arc::clone(&key), event, deliveries, reason);
        if self.settings.hold_key {
            self.park_behind(&key);
        } else if let Some(lane) = self.lanes.get_mut(&key) {
            lane.since = now_ms;
        }
    }

    /// Parks every event of a key: an earlier one is parked, and holds the key.
    fn park_behind(&mut self, key: &Key) {
        let Some(first) = self.lanes.get(key).and_then(|lane| lane.queue.front().copied()) else {
            return;
        };
        self.take_back_from(key, first);
        let waiting: Vec<u64> =
            self.lanes.get(key).map_or(Vec::new(), |lane| lane.queue.iter().copied().collect());
        for position in waiting {
            if let Some(Entry { event, deliveries, .. }) = self.finish(position) {
                self.replayed.remove(&position);
                let reason = super::KEY_IS_HELD.to_owned();
                self.park_event(position, Arc::clone(key), event, deliveries, reason);
            }
        }
    }
}
