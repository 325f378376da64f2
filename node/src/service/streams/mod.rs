//! `reckon.v1.Streams`: appends and reads. This file says who serves what; each duty has a file of its own.

mod append;
mod batch;
mod chunk;
mod count;
mod decide;
mod in_flight;
mod life;
mod look_up;
mod pages;
mod read;
mod scan;
mod stream_part;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use reckon_api::{Reason, v1};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use super::cluster::not_initialised;
use super::forward::{self, Forwarder};
use super::{consistency, deadline, wire};
use crate::engine::{ReadError, StateReader};
use crate::limits;
use crate::metrics::{Metrics, ReadConsistency, ReadKind, ReadObserved};
use crate::node::Node;
use crate::raft::Member;
use decide::Arrival;
use in_flight::InFlight;
use pages::Pages;

/// What bounds the service.
#[derive(Debug, Clone)]
pub struct Options {
    /// The deadline of a request that names none.
    pub request_timeout: Duration,
    pub appends_in_flight_max: usize,
    pub reads_in_flight_max: usize,
}

/// The streams service of one node.
#[derive(Debug, Clone)]
pub struct StreamsService {
    node: Node,
    forwarder: Forwarder,
    metrics: Metrics,
    request_timeout: Duration,
    appends: InFlight,
    reads: InFlight,
    watches: InFlight,
}

impl StreamsService {
    pub fn new(node: Node, forwarder: Forwarder, metrics: Metrics, options: &Options) -> Self {
        Self {
            node,
            forwarder,
            metrics,
            request_timeout: options.request_timeout,
            appends: InFlight::new("limits.appends_in_flight_max", options.appends_in_flight_max),
            reads: InFlight::new("limits.reads_in_flight_max", options.reads_in_flight_max),
            watches: InFlight::new("watches_max", limits::WATCHES_MAX),
        }
    }

    /// The member of an open store; otherwise why clients are not served.
    fn open_store(&self) -> Result<Arc<Member>, Status> {
        let member = self.node.member().ok_or_else(not_initialised)?;
        self.node.recovered().map_err(|why| Reason::NotReady.plain(why))?;
        if self.node.draining() {
            return Err(stopping());
        }
        Ok(member)
    }

    /// The checks in front of every read, and the wait until this node is fresh enough for it. The slot is held
    /// for as long as the read goes on.
    async fn fresh(
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

    fn read_begins(&self, kind: ReadKind, wanted: Option<&v1::Consistency>) -> ReadObserved {
        self.metrics.read_begins(kind, ReadConsistency::of(wanted))
    }

    fn deadline<T>(&self, request: &Request<T>) -> Instant {
        deadline::of(request.metadata(), self.request_timeout)
    }

    fn arrival<T>(&self, request: &Request<T>) -> Arrival {
        let forwarded = forward::was_forwarded(request.metadata());
        Arrival { forwarded, deadline: self.deadline(request) }
    }
}

/// Takes a look at the store where waiting for files harms nobody, and waits for it until the deadline.
async fn look<T, F>(member: &Member, deadline: Instant, look: F) -> Result<T, Status>
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

fn stopping() -> Status {
    Reason::NotReady.plain("the node is stopping; ask another one")
}

/// A formed store takes no client before the operator has latched it.
fn check_activated(member: &Member) -> Result<(), Status> {
    if member.activated() {
        return Ok(());
    }
    Err(Reason::NotActivated.plain("the store is formed but not open yet; try again in a moment"))
}

#[tonic::async_trait]
impl v1::streams_server::Streams for StreamsService {
    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let arrival = self.arrival(&request);
        self.append_one(request.into_inner(), arrival).await.map(Response::new)
    }

    type AppendBatchStream = Pages<v1::AppendBatchResponse>;

    async fn append_batch(
        &self,
        request: Request<Streaming<v1::AppendBatchRequest>>,
    ) -> Result<Response<Self::AppendBatchStream>, Status> {
        let forwarded = forward::was_forwarded(request.metadata());
        Ok(Response::new(self.answer_batch(request.into_inner(), forwarded)))
    }

    type ReadStream = Pages<v1::ReadResponse>;

    async fn read(
        &self,
        request: Request<v1::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let deadline = self.deadline(&request);
        self.read_stream(request.into_inner(), deadline).await.map(Response::new)
    }

    type ReadAllStream = Pages<v1::ReadAllResponse>;

    async fn read_all(
        &self,
        request: Request<v1::ReadAllRequest>,
    ) -> Result<Response<Self::ReadAllStream>, Status> {
        let deadline = self.deadline(&request);
        self.read_store(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn get_stream(
        &self,
        request: Request<v1::GetStreamRequest>,
    ) -> Result<Response<v1::GetStreamResponse>, Status> {
        let deadline = self.deadline(&request);
        self.describe_stream(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn list_streams(
        &self,
        request: Request<v1::ListStreamsRequest>,
    ) -> Result<Response<v1::ListStreamsResponse>, Status> {
        let deadline = self.deadline(&request);
        self.list(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn count(
        &self,
        request: Request<v1::CountRequest>,
    ) -> Result<Response<v1::CountResponse>, Status> {
        let deadline = self.deadline(&request);
        self.count_events(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn any(
        &self,
        request: Request<v1::AnyRequest>,
    ) -> Result<Response<v1::AnyResponse>, Status> {
        let deadline = self.deadline(&request);
        self.find_any(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn check_expression(
        &self,
        request: Request<v1::CheckExpressionRequest>,
    ) -> Result<Response<v1::CheckExpressionResponse>, Status> {
        self.checked_expression(request.into_inner()).await.map(Response::new)
    }

    async fn version_at(
        &self,
        request: Request<v1::VersionAtRequest>,
    ) -> Result<Response<v1::VersionAtResponse>, Status> {
        let deadline = self.deadline(&request);
        self.version_at_time(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn has_events(
        &self,
        request: Request<v1::HasEventsRequest>,
    ) -> Result<Response<v1::HasEventsResponse>, Status> {
        let deadline = self.deadline(&request);
        self.says_whether_it_has_events(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn get_event(
        &self,
        request: Request<v1::GetEventRequest>,
    ) -> Result<Response<v1::GetEventResponse>, Status> {
        let deadline = self.deadline(&request);
        self.event_by_id(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        let arrival = self.arrival(&request);
        self.delete_stream(request.into_inner(), arrival).await.map(Response::new)
    }

    async fn tombstone(
        &self,
        request: Request<v1::TombstoneRequest>,
    ) -> Result<Response<v1::TombstoneResponse>, Status> {
        let arrival = self.arrival(&request);
        self.tombstone_stream(request.into_inner(), arrival).await.map(Response::new)
    }

    async fn truncate(
        &self,
        request: Request<v1::TruncateRequest>,
    ) -> Result<Response<v1::TruncateResponse>, Status> {
        let arrival = self.arrival(&request);
        self.truncate_stream(request.into_inner(), arrival).await.map(Response::new)
    }

    type WatchStream = Pages<v1::WatchResponse>;

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let deadline = self.deadline(&request);
        self.watch_streams(request.into_inner(), deadline).await.map(Response::new)
    }
}
