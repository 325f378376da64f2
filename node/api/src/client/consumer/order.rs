//! Which delivery may run next: one at a time for each key, in the order in which they came, and none that is void.
//!
//! Pure: deliveries and results go in, deliveries to run come out. Knows no clock, no network and no handler.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::v1;

/// A queue that has grown beyond this many events is not kept for another key: most keys need room for a few.
const QUEUE_KEPT_MAX: usize = 8;

/// The deliveries that one consumer holds, by their keys.
#[derive(Debug)]
pub(super) struct KeyOrder {
    lanes: Vec<Lane>,
    /// Lanes that no key has.
    free: Vec<usize>,
    by_key: HashMap<Arc<str>, usize>,
    /// Lanes whose first delivery may run, in the order in which they became so.
    ready: VecDeque<usize>,
    /// Counts calls: results of an earlier one concern nobody any more.
    call: u64,
    queued: usize,
    /// Of this call.
    running: usize,
    /// Deliveries of this call.
    received: u64,
    /// Most deliveries that can be on their way at any time.
    window: u64,
    /// Lanes that were retried, each with the number of the last delivery that the server may have sent before it knew.
    fences: VecDeque<(u64, usize)>,
}

/// One key.
#[derive(Debug, Default)]
struct Lane {
    key: Option<Arc<str>>,
    queued: VecDeque<v1::Delivery>,
    runs: bool,
    /// Deliveries of a lower epoch are void.
    epoch: u64,
    /// Fences that still stand; until none does the epoch has to be remembered.
    fences: usize,
}

/// A delivery that was given out to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    lane: usize,
    call: u64,
    epoch: u64,
    /// The delivery's id.
    pub id: u64,
}

impl KeyOrder {
    /// With `window`, the most deliveries that are asked for and have not come at any time.
    pub fn new(window: usize) -> Self {
        Self {
            lanes: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            ready: VecDeque::new(),
            call: 0,
            queued: 0,
            running: 0,
            received: 0,
            window: window as u64,
            fences: VecDeque::new(),
        }
    }

    /// Deliveries of this call that wait or run.
    pub fn held(&self) -> usize {
        self.queued + self.running
    }

    /// Whether a delivery may run now.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes a delivery that came; one that is void is dropped.
    pub fn push(&mut self, delivery: v1::Delivery) {
        self.received += 1;
        while let Some(&(last, lane)) = self.fences.front()
            && last < self.received
        {
            self.fences.pop_front();
            self.lanes[lane].fences -= 1;
            self.release(lane);
        }
        let index = self.lane_of(&delivery);
        let lane = &mut self.lanes[index];
        if delivery.epoch < lane.epoch {
            return;
        }
        let is_ready = !lane.runs && !lane.queued.is_empty();
        if delivery.epoch > lane.epoch {
            lane.epoch = delivery.epoch;
            self.queued -= lane.queued.len();
            lane.queued.clear();
        }
        lane.queued.push_back(delivery);
        self.queued += 1;
        if !lane.runs && !is_ready {
            self.ready.push_back(index);
        }
    }

    /// Gives out a delivery to be run. Its key waits until [`Self::finish`].
    pub fn take(&mut self) -> Option<(Ticket, v1::Delivery)> {
        let index = self.ready.pop_front()?;
        let lane = &mut self.lanes[index];
        let delivery = lane.queued.pop_front().expect("a lane is ready while something waits");
        lane.runs = true;
        self.queued -= 1;
        self.running += 1;
        let ticket =
            Ticket { lane: index, call: self.call, epoch: delivery.epoch, id: delivery.id };
        Some((ticket, delivery))
    }

    /// A delivery has been run. With `retry`, what waits behind it in its key is void, and so is what is on its way.
    /// False: the delivery itself had become void meanwhile, and nobody wants to know its result.
    pub fn finish(&mut self, ticket: Ticket, retry: bool) -> bool {
        let lane = &mut self.lanes[ticket.lane];
        lane.runs = false;
        let mut valid = false;
        if ticket.call == self.call {
            self.running -= 1;
            valid = ticket.epoch == lane.epoch;
            if valid && retry {
                lane.epoch = ticket.epoch.saturating_add(1);
                self.queued -= lane.queued.len();
                lane.queued.clear();
                lane.fences += 1;
                self.fences.push_back((self.received + self.window, ticket.lane));
            }
        }
        if lane.queued.is_empty() {
            self.release(ticket.lane);
        } else {
            self.ready.push_back(ticket.lane);
        }
        valid
    }

    /// The call has broken: what waits is void, and what runs is nobody's any more, but holds its key until it ends.
    pub fn disconnected(&mut self) {
        self.call += 1;
        (self.queued, self.running, self.received) = (0, 0, 0);
        self.ready.clear();
        self.fences.clear();
        for index in 0..self.lanes.len() {
            let lane = &mut self.lanes[index];
            lane.queued.clear();
            lane.fences = 0;
            lane.epoch = 0;
            self.release(index);
        }
    }

    /// The lane of a delivery's key, a new one if there is none.
    fn lane_of(&mut self, delivery: &v1::Delivery) -> usize {
        let key = match (delivery.key.as_str(), &delivery.event) {
            ("", Some(event)) => event.stream_id.as_str(),
            (key, _) => key,
        };
        if let Some(&index) = self.by_key.get(key) {
            return index;
        }
        let key: Arc<str> = key.into();
        let index = self.free.pop().unwrap_or_else(|| {
            self.lanes.push(Lane::default());
            self.lanes.len() - 1
        });
        let lane = &mut self.lanes[index];
        lane.key = Some(key.clone());
        lane.epoch = delivery.epoch;
        self.by_key.insert(key, index);
        index
    }

    /// Gives a lane up if nothing has to be remembered of its key.
    fn release(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        if lane.runs || !lane.queued.is_empty() || lane.fences > 0 {
            return;
        }
        if let Some(key) = lane.key.take() {
            if lane.queued.capacity() > QUEUE_KEPT_MAX {
                lane.queued = VecDeque::new();
            }
            self.by_key.remove(&key);
            self.free.push(index);
        }
    }
}

#[cfg(test)]
mod tests;
