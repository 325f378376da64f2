//! `reckon.v1.Streams`: appends and reads. This file says who serves what; each duty has a file of its own.

mod append;
mod batch;
mod in_flight;
mod look_up;
mod pages;
mod read;

use std::sync::Arc;
use std::time::Duration;

use reckon_api::{Reason, v1};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use super::cluster::not_initialised;
use super::forward::{self, Forwarder};
use super::{consistency, deadline};
use crate::metrics::{Metrics, ReadConsistency, ReadKind, ReadObserved};
use crate::node::Node;
use crate::raft::Member;
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
        }
    }

    /// The member of an open store; otherwise why clients are not served.
    fn open_store(&self) -> Result<Arc<Member>, Status> {
        let member = self.node.member().ok_or_else(not_initialised)?;
        self.node.recovered().map_err(|why| Reason::NotReady.plain(why))?;
        if self.node.draining() {
            return Err(Reason::NotReady.plain("the node is stopping; ask another one"));
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
}

/// A formed store takes no client before the operator has latched it.
fn check_activated(member: &Member) -> Result<(), Status> {
    if member.engine().read().activated() {
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
        let deadline = self.deadline(&request);
        let forwarded = forward::was_forwarded(request.metadata());
        self.append_one(request.into_inner(), forwarded, deadline).await.map(Response::new)
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
        _request: Request<v1::CountRequest>,
    ) -> Result<Response<v1::CountResponse>, Status> {
        Err(not_served())
    }

    async fn any(
        &self,
        _request: Request<v1::AnyRequest>,
    ) -> Result<Response<v1::AnyResponse>, Status> {
        Err(not_served())
    }

    async fn check_expression(
        &self,
        _request: Request<v1::CheckExpressionRequest>,
    ) -> Result<Response<v1::CheckExpressionResponse>, Status> {
        Err(not_served())
    }

    async fn version_at(
        &self,
        _request: Request<v1::VersionAtRequest>,
    ) -> Result<Response<v1::VersionAtResponse>, Status> {
        Err(not_served())
    }

    async fn has_events(
        &self,
        _request: Request<v1::HasEventsRequest>,
    ) -> Result<Response<v1::HasEventsResponse>, Status> {
        Err(not_served())
    }

    async fn get_event(
        &self,
        _request: Request<v1::GetEventRequest>,
    ) -> Result<Response<v1::GetEventResponse>, Status> {
        Err(not_served())
    }

    async fn delete(
        &self,
        _request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        Err(not_served())
    }

    async fn tombstone(
        &self,
        _request: Request<v1::TombstoneRequest>,
    ) -> Result<Response<v1::TombstoneResponse>, Status> {
        Err(not_served())
    }

    async fn truncate(
        &self,
        _request: Request<v1::TruncateRequest>,
    ) -> Result<Response<v1::TruncateResponse>, Status> {
        Err(not_served())
    }

    type WatchStream = Pages<v1::WatchResponse>;

    async fn watch(
        &self,
        _request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(not_served())
    }
}

/// Placeholder until the call is served.
fn not_served() -> Status {
    Reason::Internal.plain("this call is not served yet")
}
