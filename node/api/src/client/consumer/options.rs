//! How a consumer behaves, and the defaults with their reasons.

use std::time::Duration;

/// How a [`Consumer`](super::Consumer) behaves. Start from the default and change what differs. Where a number has to be
/// at least 1, 0 counts as 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// What people see of it; need not be unique.
    pub name: String,
    /// Handlers that run at once, each for another key.
    pub concurrency: usize,
    /// The most events that are asked for ahead: those that were asked for, wait here, or run. There are fewer while
    /// handlers are slow, so that none is held until its ack timeout.
    pub window: usize,
    /// Events of one key that the server sends ahead.
    pub key_window: u32,
    /// How long running handlers are waited for at the end; then they are dropped, and their events come again.
    pub drain_timeout: Duration,
    /// Ends after so many events have been settled, retries included.
    pub limit: Option<u64>,
    /// Ends when all that the store has was delivered, and what came here is settled. What is to be tried again later
    /// is not waited for.
    pub until_caught_up: bool,
}

impl ConsumerOptions {
    /// Handlers mostly wait for something else; sixteen at once hide most of that and trouble nobody.
    pub const CONCURRENCY_DEFAULT: usize = 16;
    /// As many as a subscription has in flight by default: at 100,000 events a second they last for 10 ms, several
    /// times as long as asking for more takes.
    pub const WINDOW_DEFAULT: usize = 1000;
    /// Enough that one key can go as fast as a connection does.
    pub const KEY_WINDOW_DEFAULT: u32 = 64;
    /// Below the 30 seconds that Kubernetes gives a pod to end.
    pub const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(25);
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            concurrency: Self::CONCURRENCY_DEFAULT,
            window: Self::WINDOW_DEFAULT,
            key_window: Self::KEY_WINDOW_DEFAULT,
            drain_timeout: Self::DRAIN_TIMEOUT_DEFAULT,
            limit: None,
            until_caught_up: false,
        }
    }
}
