//! How a client is set up, and the defaults with their reasons.

use std::time::Duration;

/// How a [`Client`](super::Client) reaches its store. Start from [`Options::new`] and change what differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where nodes listen for clients, each `host:port`. At least one; one name that stands for several
    /// nodes (a Kubernetes Service) is fine.
    pub endpoints: Vec<String>,
    /// The time for a call with all its attempts; for a stream, the time without progress.
    pub deadline: Duration,
    /// The time for one attempt, sent along with it.
    pub attempt_timeout: Duration,
    /// The time for looking up a name and connecting.
    pub connect_timeout: Duration,
    /// A connection is pinged after this much silence and given up after as much again without an answer.
    pub keepalive_interval: Duration,
    /// The wait after the first round of failures; it doubles from round to round.
    pub backoff_first: Duration,
    /// The longest wait between two rounds.
    pub backoff_max: Duration,
}

impl Options {
    /// Longer than the worst failover by several times, and short enough for a person who waits.
    pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(10);
    /// A server holds an append up to a second over an election; this leaves a second for the append itself.
    pub const ATTEMPT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
    /// A node in the same cluster answers in milliseconds, also when its name is looked up first.
    pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
    /// Notices a cut connection in about the time a new leader needs.
    pub const KEEPALIVE_INTERVAL_DEFAULT: Duration = Duration::from_millis(500);
    /// Well below an election, so that the first wait costs little.
    pub const BACKOFF_FIRST_DEFAULT: Duration = Duration::from_millis(50);
    /// Low enough that a new leader is found within a second.
    pub const BACKOFF_MAX_DEFAULT: Duration = Duration::from_secs(1);

    /// The default options for these endpoints.
    pub fn new<S: Into<String>>(endpoints: impl IntoIterator<Item = S>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            deadline: Self::DEADLINE_DEFAULT,
            attempt_timeout: Self::ATTEMPT_TIMEOUT_DEFAULT,
            connect_timeout: Self::CONNECT_TIMEOUT_DEFAULT,
            keepalive_interval: Self::KEEPALIVE_INTERVAL_DEFAULT,
            backoff_first: Self::BACKOFF_FIRST_DEFAULT,
            backoff_max: Self::BACKOFF_MAX_DEFAULT,
        }
    }
}

/// Why no client could be made. A retry never helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The list of endpoints is empty.
    #[error("no endpoint is given: name at least one as host:port")]
    NoEndpoint,
    /// An endpoint cannot be understood.
    #[error("the endpoint `{endpoint}` is not of the form host:port")]
    InvalidEndpoint {
        /// The text that was given.
        endpoint: String,
    },
}

impl OptionsError {
    /// Whether the same options may do later.
    pub const fn retryable(&self) -> bool {
        false
    }
}
