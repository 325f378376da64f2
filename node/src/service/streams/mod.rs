//! `reckon.v1.Streams`: appends and reads. This file says who serves what; each duty has a file of its own.

mod append;
mod batch;
mod chunk;
mod count;
mod life;
mod look_up;
mod pages;
mod read;
mod scan;
mod stream_part;
#[cfg(test)]
mod tests;
mod watch;

use reckon_api::v1;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use v1::streams_client::StreamsClient;

use super::admission::Admission;
use super::answer::Pages;
use super::forward;
use crate::limits;
use crate::service::in_flight::InFlight;

/// The streams service of one node.
#[derive(Debug, Clone)]
pub struct StreamsService {
    admission: Admission,
    watches: InFlight,
}

impl StreamsService {
    pub fn new(admission: Admission) -> Self {
        Self { admission, watches: InFlight::new("watches_max", limits::WATCHES_MAX) }
    }
}

/// The same service on the leader.
fn client(channel: Channel) -> StreamsClient<Channel> {
    StreamsClient::new(channel)
        .max_decoding_message_size(limits::CLIENT_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::CLIENT_MESSAGE_BYTES_MAX)
}

#[tonic::async_trait]
impl v1::streams_server::Streams for StreamsService {
    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let arrival = self.admission.arrival(&request);
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
        let deadline = self.admission.deadline(&request);
        self.read_stream(request.into_inner(), deadline).await.map(Response::new)
    }

    type ReadAllStream = Pages<v1::ReadAllResponse>;

    async fn read_all(
        &self,
        request: Request<v1::ReadAllRequest>,
    ) -> Result<Response<Self::ReadAllStream>, Status> {
        let deadline = self.admission.deadline(&request);
        self.read_store(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn get_stream(
        &self,
        request: Request<v1::GetStreamRequest>,
    ) -> Result<Response<v1::GetStreamResponse>, Status> {
        let deadline = self.admission.deadline(&request);
        self.describe_stream(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn list_streams(
        &self,
        request: Request<v1::ListStreamsRequest>,
    ) -> Result<Response<v1::ListStreamsResponse>, Status> {
        let deadline = self.admission.deadline(&request);
        self.list(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn count(
        &self,
        request: Request<v1::CountRequest>,
    ) -> Result<Response<v1::CountResponse>, Status> {
        let deadline = self.admission.deadline(&request);
        self.count_events(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn any(
        &self,
        request: Request<v1::AnyRequest>,
    ) -> Result<Response<v1::AnyResponse>, Status> {
        let deadline = self.admission.deadline(&request);
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
        let deadline = self.admission.deadline(&request);
        self.version_at_time(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn has_events(
        &self,
        request: Request<v1::HasEventsRequest>,
    ) -> Result<Response<v1::HasEventsResponse>, Status> {
        let deadline = self.admission.deadline(&request);
        self.says_whether_it_has_events(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn get_event(
        &self,
        request: Request<v1::GetEventRequest>,
    ) -> Result<Response<v1::GetEventResponse>, Status> {
        let deadline = self.admission.deadline(&request);
        self.event_by_id(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        let arrival = self.admission.arrival(&request);
        self.delete_stream(request.into_inner(), arrival).await.map(Response::new)
    }

    async fn tombstone(
        &self,
        request: Request<v1::TombstoneRequest>,
    ) -> Result<Response<v1::TombstoneResponse>, Status> {
        let arrival = self.admission.arrival(&request);
        self.tombstone_stream(request.into_inner(), arrival).await.map(Response::new)
    }

    async fn truncate(
        &self,
        request: Request<v1::TruncateRequest>,
    ) -> Result<Response<v1::TruncateResponse>, Status> {
        let arrival = self.admission.arrival(&request);
        self.truncate_stream(request.into_inner(), arrival).await.map(Response::new)
    }

    type WatchStream = Pages<v1::WatchResponse>;

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let deadline = self.admission.deadline(&request);
        self.watch_streams(request.into_inner(), deadline).await.map(Response::new)
    }
}
