//! A lane: the unfinished events of one key, in their order.

use std::collections::VecDeque;

use super::consumer::ConsumerId;

/// The events of a key. Those in front are with a consumer, to whom the key is bound for as long.
#[derive(Debug)]
pub(super) struct Lane {
    /// Positions. Replayed events stand before all that was not sent.
    pub queue: VecDeque<u64>,
    /// How many in front are in flight.
    pub sent: usize,
    /// Who holds them; nobody while there are none.
    pub bound: Option<ConsumerId>,
    /// Raised whenever what is in flight is taken back.
    pub epoch: u64,
    /// The epoch of what is in flight.
    pub sent_epoch: u64,
    /// Events that failed, and when each may be tried again.
    pub not_before: Vec<(u64, u64)>,
    /// When the lane is to be looked at again, as it stands among those that wait.
    pub waiting: Option<u64>,
    /// Since when the consumer has had the first event in flight, or the one before it done.
    pub since: u64,
    /// Whether there is an entry for the lane among the leases.
    pub leased: bool,
    /// What of the lane stands in a set of what is ready: the position, and in whose set.
    pub ready: Option<(u64, Option<ConsumerId>)>,
}

impl Lane {
    pub const fn new(epoch: u64) -> Self {
        Self {
            queue: VecDeque::new(),
            sent: 0,
            bound: None,
            epoch,
            sent_epoch: epoch,
            not_before: Vec::new(),
            waiting: None,
            since: 0,
            leased: false,
            ready: None,
        }
    }

    /// Whether another event may be sent beside those in flight. What was taken back from their consumer comes again
    /// with a higher epoch, which makes all that it holds of the key void: not before it has settled what it may keep.
    pub const fn takes_more(&self) -> bool {
        self.sent == 0 || self.sent_epoch == self.epoch
    }

    /// The next event to be sent.
    pub fn next(&self) -> Option<u64> {
        self.queue.get(self.sent).copied()
    }

    /// When the next event may be sent, if that is not now.
    pub fn next_waits_until(&self, now_ms: u64) -> Option<u64> {
        let next = self.next()?;
        let (_, until) = self.not_before.iter().find(|(position, _)| *position == next)?;
        Some(*until).filter(|until| *until > now_ms)
    }

    /// An event may not be sent again before a time.
    pub fn put_off(&mut self, position: u64, until_ms: u64) {
        self.not_before.retain(|(at, _)| *at != position);
        self.not_before.push((position, until_ms));
    }

    pub fn place_of(&self, position: u64) -> Option<usize> {
        // Mostly it is the first one.
        self.queue.iter().position(|&at| at == position)
    }

    /// Takes a position out; whether it was the first one in flight.
    pub fn remove(&mut self, position: u64) -> bool {
        let Some(place) = self.place_of(position) else { return false };
        self.queue.remove(place);
        self.not_before.retain(|(at, _)| *at != position);
        if place < self.sent {
            self.sent -= 1;
            if self.sent == 0 {
                self.bound = None;
            }
        }
        place == 0
    }

    /// Puts a replayed event before everything that was not sent, but for replayed ones with lower positions.
    pub fn insert_replayed(&mut self, position: u64, is_replayed: impl Fn(u64) -> bool) {
        let unsent = self.queue.iter().skip(self.sent);
        let before = unsent.take_while(|&&at| at < position && is_replayed(at)).count();
        self.queue.insert(self.sent + before, position);
    }
}
