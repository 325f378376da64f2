//! How many events to hold: as many as keep the handlers busy, and no more than they get to soon.
//!
//! What is held longer than the subscription's ack timeout is taken away and counts as tried. So the number begins with
//! one event for each handler; it doubles while handlers go without, and falls to what they do in a short time when they
//! become slow (Little's law: what is held is the rate times the wait).
//!
//! Pure: time comes in as data.

use std::time::Duration;

use tokio::time::Instant;

/// The longest that an event is to wait, if the ack timeout allows so much.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The shortest such wait: below it a round trip to the server would show.
const WAIT_MIN: Duration = Duration::from_millis(10);

/// The part of the ack timeout that an event may wait.
const ACK_TIMEOUT_DIVISOR: u32 = 8;

/// How long handlers are watched before their rate is judged.
const INTERVAL: Duration = Duration::from_millis(100);

/// The number of events to hold, as handlers are now.
#[derive(Debug)]
pub(super) struct Pace {
    concurrency: usize,
    window: usize,
    wait_max: Duration,
    hold: usize,
    /// Handlers that have ended since then.
    ended: u32,
    since: Instant,
}

impl Pace {
    /// For so many handlers at once, and at most `window` events.
    pub fn new(concurrency: usize, window: usize, now: Instant) -> Self {
        let hold = concurrency.min(window);
        Self { concurrency, window, wait_max: WAIT_MAX, hold, ended: 0, since: now }
    }

    /// The subscription's ack timeout has become known.
    pub fn ack_timeout(&mut self, timeout: Duration) {
        self.wait_max = match timeout {
            Duration::ZERO => WAIT_MAX,
            timeout => (timeout / ACK_TIMEOUT_DIVISOR).clamp(WAIT_MIN, WAIT_MAX),
        };
    }

    /// A handler has ended.
    pub fn ended(&mut self) {
        self.ended += 1;
    }

    /// How many events to hold, of which so many are here, and the others asked for.
    pub fn hold(&mut self, held: usize, now: Instant) -> usize {
        let elapsed = now.saturating_duration_since(self.since);
        let soon = self.ended_within(self.wait_max, elapsed);
        if held < self.concurrency {
            // Handlers go without; that they would do more is shown by what they have done.
            if soon > self.hold {
                self.hold = (self.hold * 2).min(self.window);
            }
        } else if held > self.concurrency && elapsed >= INTERVAL {
            self.hold = self.hold.min(soon).max(self.concurrency.min(self.window));
        }
        if elapsed >= INTERVAL {
            self.ended = 0;
            self.since = now;
        }
        self.hold
    }

    /// How many handlers end within a time, if they go on as they did since they have been watched.
    fn ended_within(&self, time: Duration, elapsed: Duration) -> usize {
        // However short it was: at least a microsecond, lest nothing is divided by.
        let elapsed = elapsed.as_micros().max(1);
        usize::try_from(u128::from(self.ended) * time.as_micros() / elapsed).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_one_event_for_each_handler_and_doubles_while_they_go_without() {
        let now = Instant::now();
        let mut pace = Pace::new(16, 100, now);
        assert_eq!([pace.hold(0, now), pace.hold(16, now)], [16, 16]);
        pace.ended();
        assert_eq!([pace.hold(3, now), pace.hold(16, now), pace.hold(15, now)], [32, 32, 64]);
        assert_eq!(pace.hold(0, now), 100);
        assert_eq!(Pace::new(16, 5, now).hold(5, now), 5);
    }

    #[test]
    fn a_trickle_of_events_does_not_make_it_bold() {
        let mut now = Instant::now();
        let mut pace = Pace::new(4, 1000, now);
        for _ in 0..100 {
            pace.ended();
            now += Duration::from_millis(500);
            assert_eq!(pace.hold(0, now), 4);
        }
    }

    #[test]
    fn it_falls_to_what_handlers_do_in_a_short_time() {
        let mut now = Instant::now();
        let mut pace = Pace::new(4, 1000, now);
        pace.ended();
        while pace.hold(0, now) < 1000 {}
        pace.ack_timeout(Duration::from_secs(30));
        for _ in 1..50 {
            pace.ended();
        }
        assert_eq!(pace.hold(900, now), 1000, "there was no time yet to judge");
        now += INTERVAL;
        assert_eq!(pace.hold(900, now), 500);
        // Then they hang.
        now += INTERVAL;
        assert_eq!(pace.hold(500, now), 4);
    }

    #[test]
    fn a_short_ack_timeout_leaves_little_time_to_wait() {
        let mut now = Instant::now();
        let mut pace = Pace::new(1, 1000, now);
        pace.ended();
        while pace.hold(0, now) < 1000 {}
        pace.ack_timeout(Duration::from_millis(400));
        for _ in 1..50 {
            pace.ended();
        }
        now += INTERVAL;
        assert_eq!(pace.hold(900, now), 25);
    }
}
