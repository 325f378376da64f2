//! Waits between rounds of attempts: they double up to a cap, half of each by chance, so that clients that
//! failed together do not come back together.

use std::time::Duration;

use rand::RngExt as _;

/// The waits of one call.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, max: Duration) -> Self {
        Self { next: first.min(max), max }
    }

    /// The next wait: between half of and the whole of the current step.
    pub(super) fn next(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.max);
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}
