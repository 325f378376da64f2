//! What stands in front of every request of a client: is this node open, is there a slot, is it fresh enough, and who
//! decides.

use std::sync::Arc;
use std::time::Duration;

use reckon_api::{Reason, v1};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tonic::{Request, Status};

use super::cluster::not_initialised;
use super::decide::Arrival;
use super::forward::{self, Forwarder};
use super::in_flight::InFlight;
use super::{consistency, deadline, wire};
use crate::engine::{ReadError, StateReader};
use crate::filter::Filter;
use crate::health;
use crate::metrics::{Metrics, ReadConsistency, ReadKind, ReadObserved};
use crate::node::Node;
use crate::raft::Member;

/// What bounds the requests of clients.
#[derive(Debug, Clone)]
pub struct Options {
    /// The deadline of a request that names none.
    pub request_timeout: Duration,
    pub appends_in_flight_max: usize,
    pub reads_in_flight_max: usize,
    /// How often the leader looks at every subscription.
    pub subscription_health_interval: Duration,
    /// How this node looks at the other members.
    pub health: health::settings::Settings,
}

/// The way in for the requests of clients. Cheap to clone; clones share their slots.
#[derive(Debug, Clone)]
pub struct Admission {
    pub(super) node: Node,
    pub(super) forwarder: Forwarder,
    pub(super) metrics: Metrics,
    pub(super) request_timeout: Duration,
    pub(super) appends: InFlight,
    pub(super) reads: InFlight,
}

impl Admission {
    pub fn new(node: Node, forwarder: Forwarder, metrics: Metrics, options: &Options) -> Self {
        Self {
            node,
            forwarder,
            metrics,
            request_timeout: options.request_timeout,
            appends: InFlight::new("limits.appends_in_flight_max", options.appends_in_flight_max),
            reads: InFlight::new("limits.reads_in_flight_max", options.reads_in_flight_max),
        }
    }

    /// The member of an open store; otherwise why clients are not served.
    pub(super) fn open_store(&self) -> Result<Arc<Member>, Status> {
        let member = self.node.member().ok_or_else(not_initialised)?;
        self.node.recovered().map_err(|why| Reason::NotReady.plain(why))?;
        if self.node.draining() {
            return Err(stopping());
        }
        Ok(member)
    }

    /// The checks in front of every read, and the wait until this node is fresh enough for it. The slot is held
    /// for as long as the read goes on.
    pub(super) async fn fresh(
        &self,
        wanted: Option<v1::Consistency>,
        deadline: Instant,
    ) -> Result<(OwnedSemaphorePermit, Arc<Member>), Status> {
        let slot = self.reads.enter()?;
        let member = self.open_store()?;
        consistency::ensure(&member, wanted, deadline).await?;
        check_activated(&member)?;
        Ok((slot, member))
    }

    pub(super) fn read_begins(
        &self,
        kind: ReadKind,
        wanted: Option<&v1::Consistency>,
    ) -> ReadObserved {
        self.metrics.read_begins(kind, ReadConsistency::of(wanted))
    }

    pub(super) fn deadline<T>(&self, request: &Request<T>) -> Instant {
        deadline::of(request.metadata(), self.request_timeout)
    }

    pub(super) fn arrival<T>(&self, request: &Request<T>) -> Arrival {
        let forwarded = forward::was_forwarded(request.metadata());
        Arrival { forwarded, deadline: self.deadline(request) }
    }

    /// Compiles a filter where it may take its time.
    pub(super) async fn compiled(
        &self,
        filter: Option<v1::Filter>,
    ) -> Result<Option<Arc<Filter>>, Status> {
        if filter.as_ref().is_none_or(|filter| filter.terms.is_empty()) {
            return Ok(None);
        }
        let offload = &self.node.environment().offload;
        offload.run(move || wire::filter(filter.as_ref())).await
    }

    /// Counts a refusal by which the node protects itself.
    pub(super) fn observed_refusal<T>(&self, answer: Result<T, Status>) -> Result<T, Status> {
        answer.inspect_err(|status| self.metrics.refused(status))
    }
}

/// Takes a look at the store where waiting for files harms nobody, and waits for it until the deadline.
pub(super) async fn look<T, F>(member: &Member, deadline: Instant, look: F) -> Result<T, Status>
where
    F: FnOnce(&StateReader) -> Result<T, ReadError> + Send + 'static,
    T: Send + 'static,
{
    let reader = member.reader();
    let looking = member.offload().run(move || look(&reader));
    match tokio::time::timeout_at(deadline, looking).await {
        Ok(found) => found.map_err(wire::read_failed),
        Err(_elapsed) => Err(Reason::DeadlineExceeded.plain(
            "the deadline passed before the answer was found; ask for less, or give it longer",
        )),
    }
}

/// How long a leader that is not there, or not any more, is left alone.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(20);

pub(super) fn stopping() -> Status {
    Reason::NotReady.plain("the node is stopping; ask another one")
}

/// A formed store takes no client before the operator has latched it.
pub(super) fn check_activated(member: &Member) -> Result<(), Status> {
    if member.activated() {
        return Ok(());
    }
    Err(Reason::NotActivated.plain("the store is formed but not open yet; try again in a moment"))
}
