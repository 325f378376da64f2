//! Time: tries that are due, and consumers that take too long.

use std::cmp::Reverse;
use std::sync::Arc;

use super::Dispatch;

impl<E: Clone> Dispatch<E> {
    /// Does what is due.
    pub fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        while let Some((due, _)) = self.waiting.first()
            && *due <= now_ms
        {
            let (_, key) = self.waiting.pop_first().expect("there is a first one");
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.waiting = None;
                self.refresh(&key);
            }
        }
        while let Some(Reverse((look_at, _))) = self.leases.peek()
            && *look_at <= now_ms
        {
            let Some(Reverse((_, key))) = self.leases.pop() else { break };
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.leased = false;
            if lane.sent == 0 {
                continue;
            }
            let due = lane.since.saturating_add(self.settings.ack_timeout_ms);
            if due > now_ms {
                lane.leased = true;
                self.leases.push(Reverse((due, Arc::clone(&key))));
                continue;
            }
            let Some(&position) = lane.queue.front() else { continue };
            self.counters.timed_out += 1;
            let reason = format!("not settled within {} ms", self.settings.ack_timeout_ms);
            self.failed(position, reason, None, now_ms);
        }
    }

    /// When there may be something to do although nobody says anything; `None`: never.
    pub fn next_tick_ms(&self) -> Option<u64> {
        let retry = self.waiting.first().map(|(due, _)| *due);
        let lease = self.leases.peek().map(|Reverse((look_at, _))| *look_at);
        retry.into_iter().chain(lease).min()
    }
}
