//! What can go wrong in a call, and whether the caller may try again.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::Reason;

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The request is wrong in a way that can be seen without asking a server.
    #[error("{message}")]
    InvalidRequest {
        /// A sentence that says what is wrong.
        message: String,
    },
    /// A server refused the request.
    #[error("{message}")]
    Refused {
        /// The gRPC status code.
        code: Code,
        /// Why, if the server is a Reckon node.
        reason: Option<Reason>,
        /// The server's sentence.
        message: String,
        /// The values the reason speaks of.
        metadata: HashMap<String, String>,
        /// How long the server asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The server was not reached, or the connection broke before the answer was complete.
    #[error("{endpoint} is not reachable: {message}")]
    Unreachable {
        /// The endpoint, `host:port`.
        endpoint: String,
        /// What the transport said.
        message: String,
    },
    /// The server did not answer within the time of one attempt.
    #[error("{endpoint} did not answer within {} ms", timeout.as_millis())]
    TimedOut {
        /// The endpoint, `host:port`.
        endpoint: String,
        /// The time it had.
        timeout: Duration,
    },
    /// The deadline passed, whatever was tried.
    #[error("gave up after {} ms and {attempts} attempts; the last one: {last}", deadline.as_millis())]
    GaveUp {
        /// The time that was allowed.
        deadline: Duration,
        /// How many attempts were made in it.
        attempts: u32,
        /// How the last attempt failed.
        last: Box<Error>,
    },
    /// The server's answer is not what the protocol says.
    #[error("the server broke the protocol: {message}")]
    Protocol {
        /// What was wrong with the answer.
        message: String,
    },
}

/// What kind of end a failed call came to, coarse enough for an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A server looked at the request and said no.
    Refused,
    /// The request could not have been right.
    Usage,
    /// No server was there to say anything, or none that could.
    Unavailable,
}

impl Error {
    /// Whether the same request may succeed when it is sent again later, unchanged. For an append that
    /// holds only with the same event ids.
    pub fn retryable(&self) -> bool {
        match self {
            Self::InvalidRequest { .. } | Self::Protocol { .. } => false,
            Self::Refused { reason: Some(reason), .. } => reason.retryable(),
            // A status that no Reckon node made: a proxy's, or one of the transport.
            Self::Refused { code, reason: None, .. } => *code == Code::Unavailable,
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::GaveUp { .. } => true,
        }
    }

    /// The reason a server gave: this failure's, or that of the last attempt.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused { reason, .. } => *reason,
            Self::GaveUp { last, .. } => last.reason(),
            _ => None,
        }
    }

    /// A value the reason speaks of, such as `actual` for `WRONG_EXPECTED_VERSION`.
    pub fn value(&self, name: &str) -> Option<&str> {
        match self {
            Self::Refused { metadata, .. } => metadata.get(name).map(String::as_str),
            Self::GaveUp { last, .. } => last.value(name),
            _ => None,
        }
    }

    /// What kind of end the call came to.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::InvalidRequest { .. } => Outcome::Usage,
            error if error.retryable() => Outcome::Unavailable,
            _ => Outcome::Refused,
        }
    }

    /// How long to leave the server alone before the next attempt, if it said so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Where the server thinks the leader is.
    pub(super) fn leader_hint(&self) -> Option<&str> {
        match self {
            Self::Refused { reason: Some(Reason::NotLeader), metadata, .. } => {
                metadata.get("leader").map(String::as_str).filter(|leader| !leader.is_empty())
            }
            _ => None,
        }
    }

    /// A call that has no end of its own was ended by the server at `endpoint`.
    pub(super) fn ended(endpoint: &str) -> Self {
        Self::Unreachable {
            endpoint: endpoint.to_owned(),
            message: "the call was ended".to_owned(),
        }
    }

    /// Reads a status that an attempt at `endpoint` ended with.
    pub(super) fn of_status(endpoint: &str, status: &Status) -> Self {
        let reason = Reason::of(status);
        let of_transport = std::error::Error::source(status).is_some()
            || matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled);
        if reason.is_none() && of_transport {
            return Self::Unreachable { endpoint: endpoint.to_owned(), message: deepest(status) };
        }
        Self::Refused {
            code: status.code(),
            reason,
            message: status.message().to_owned(),
            metadata: status.get_details_error_info().map(|info| info.metadata).unwrap_or_default(),
            retry_after: status.get_details_retry_info().and_then(|info| info.retry_delay),
        }
    }
}

/// The innermost cause of a transport's error: "transport error" says nothing, "connection refused" does.
fn deepest(status: &Status) -> String {
    let mut cause: &dyn std::error::Error = match std::error::Error::source(status) {
        Some(source) => source,
        None => return status.message().to_owned(),
    };
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
