//! Requests while they are watched: from their arrival to whatever end they come to.

use reckon_api::v1;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::{
    APPEND_DURATION, APPEND_FAILURES, Metrics, READ_DURATION, READ_EVENTS, READ_FAILURES,
    READS_IN_FLIGHT, reason,
};

pub(super) const OK: &str = "ok";
const REFUSED: &str = "refused";
const FAILED: &str = "failed";
const CANCELLED: &str = "cancelled";

/// Whose doing an error is.
fn outcome(status: &Status) -> &'static str {
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unauthenticated => REFUSED,
        Code::Cancelled => CANCELLED,
        _ => FAILED,
    }
}

/// An append in work.
#[derive(Debug)]
pub struct AppendObserved {
    metrics: Metrics,
    since: Instant,
    events: u64,
    bytes: u64,
    outcome: &'static str,
}

impl AppendObserved {
    pub(super) fn begin(metrics: Metrics, appends: &[v1::StreamAppend]) -> Self {
        let events = || appends.iter().flat_map(|append| &append.events);
        let bytes = events().map(|event| event.data.len() + event.metadata.len()).sum::<usize>();
        metrics.0.appends_in_flight.inc();
        Self {
            metrics,
            since: Instant::now(),
            events: events().count() as u64,
            bytes: bytes as u64,
            outcome: CANCELLED,
        }
    }

    /// The append is answered with this.
    pub fn ends<T>(mut self, answer: &Result<T, Status>) {
        let inner = &self.metrics.0;
        match answer {
            Ok(_) => {
                inner.append_events.inc_by(self.events);
                inner.append_bytes.inc_by(self.bytes);
                self.outcome = OK;
            }
            Err(status) => {
                let labels = APPEND_FAILURES.labels([reason(status)]);
                inner.append_failures.get_or_create(&labels).inc();
                self.metrics.refused(status);
                self.outcome = outcome(status);
            }
        }
    }
}

impl Drop for AppendObserved {
    fn drop(&mut self) {
        let inner = &self.metrics.0;
        inner.appends_in_flight.dec();
        let seconds = self.since.elapsed().as_secs_f64();
        if self.outcome == OK {
            inner.append_duration_ok.observe(seconds);
        } else {
            let labels = APPEND_DURATION.labels([self.outcome]);
            inner.append_duration.get_or_create(&labels).observe(seconds);
        }
    }
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadKind {
    /// The events of one stream.
    Stream,
    /// The events of all streams.
    All,
    /// What is known about one stream.
    StreamInfo,
    /// The list of streams.
    StreamList,
    /// The version that a stream was at.
    VersionAt,
    /// One event by its id.
    Event,
    /// How many events there are.
    Count,
    /// Whether there is an event of some kind.
    Any,
    /// Whether there is any event at all.
    HasEvents,
}

impl ReadKind {
    const fn label(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::All => "all",
            Self::StreamInfo => "stream_info",
            Self::StreamList => "stream_list",
            Self::VersionAt => "version_at",
            Self::Event => "event",
            Self::Count => "count",
            Self::Any => "any",
            Self::HasEvents => "has_events",
        }
    }
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadConsistency {
    /// Everything acknowledged before.
    Linearizable,
    /// Whatever is there.
    Stale,
    /// At least up to a position.
    AtLeast,
}

impl ReadConsistency {
    /// What a request asks for; linearizable when it says nothing.
    pub fn of(asked: Option<&v1::Consistency>) -> Self {
        match asked.and_then(|asked| asked.kind.as_ref()) {
            Some(v1::consistency::Kind::Stale(true)) => Self::Stale,
            Some(v1::consistency::Kind::AtLeastPosition(_)) => Self::AtLeast,
            _ => Self::Linearizable,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Linearizable => "linearizable",
            Self::Stale => "stale",
            Self::AtLeast => "at_least",
        }
    }
}

/// A read in work. It may be moved into the task that sends the answer.
#[derive(Debug)]
pub struct ReadObserved {
    metrics: Metrics,
    since: Instant,
    kind: ReadKind,
    consistency: ReadConsistency,
    outcome: &'static str,
}

impl ReadObserved {
    pub(super) fn begin(metrics: Metrics, kind: ReadKind, consistency: ReadConsistency) -> Self {
        metrics.0.reads_in_flight.get_or_create(&READS_IN_FLIGHT.labels([kind.label()])).inc();
        Self { metrics, since: Instant::now(), kind, consistency, outcome: CANCELLED }
    }

    /// So many events more were sent.
    pub fn events(&self, number: usize) {
        let labels = READ_EVENTS.labels([self.kind.label()]);
        self.metrics.0.read_events.get_or_create(&labels).inc_by(number as u64);
    }

    /// The read has ended: all was sent, or this error.
    pub fn ends<T>(mut self, answer: &Result<T, Status>) {
        match answer {
            Ok(_) => self.outcome = OK,
            Err(status) => {
                let labels = READ_FAILURES.labels([self.kind.label(), reason(status)]);
                self.metrics.0.read_failures.get_or_create(&labels).inc();
                self.metrics.refused(status);
                self.outcome = outcome(status);
            }
        }
    }
}

impl Drop for ReadObserved {
    fn drop(&mut self) {
        let inner = &self.metrics.0;
        let kind = self.kind.label();
        inner.reads_in_flight.get_or_create(&READS_IN_FLIGHT.labels([kind])).dec();
        let labels = READ_DURATION.labels([kind, self.consistency.label(), self.outcome]);
        inner.read_duration.get_or_create(&labels).observe(self.since.elapsed().as_secs_f64());
    }
}
