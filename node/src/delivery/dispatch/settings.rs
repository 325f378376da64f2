//! What a subscription's definition says of how its events are handed out.

/// How events are handed to consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Consumers that are served at once; further ones stand by.
    pub pool_size: usize,
    /// How long a consumer may take for the next event of a key.
    pub ack_timeout_ms: u64,
    /// Failures after which an event is parked.
    pub max_retries: u32,
    /// Between two tries: from this, doubled with each, at most the other.
    pub backoff_ms_min: u64,
    pub backoff_ms_max: u64,
    /// Most events that consumers hold unsettled at once.
    pub max_in_flight: usize,
    /// Most events that wait here.
    pub buffer_size: usize,
    pub strategy: Overflow,
    /// Whether later events of a key are parked behind one that is.
    pub hold_key: bool,
}

/// What happens to what comes live while the buffer is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    Block,
    DropOldest,
    DropNewest,
    Error,
}

impl Settings {
    /// The pause before an event is tried again that has failed so often; at least once.
    pub fn backoff_ms(&self, failures: u32) -> u64 {
        let doublings = failures.saturating_sub(1).min(u64::BITS - 1);
        let factor = 1_u64 << doublings;
        self.backoff_ms_min.saturating_mul(factor).min(self.backoff_ms_max.max(self.backoff_ms_min))
    }
}
