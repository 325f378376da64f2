//! Look-ups: streams by name, all of them by pages, their versions by time, events by id, and expressions.

use std::sync::Arc;
use std::time::Duration;

use reckon_api::v1;
use tokio::time::Instant;
use tonic::Status;

use super::StreamsService;
use crate::engine::{Listing, StateReader, StreamPage};
use crate::filter::StreamNameFilter;
use crate::limits;
use crate::metrics::ReadKind;
use crate::raft::Member;
use crate::service::admission;
use crate::service::wire;

impl StreamsService {
    pub(super) async fn describe_stream(
        &self,
        request: v1::GetStreamRequest,
        deadline: Instant,
    ) -> Result<v1::GetStreamResponse, Status> {
        let v1::GetStreamRequest { stream_id, consistency } = request;
        wire::check_stream_id(&stream_id)?;
        self.looked_up(ReadKind::StreamInfo, consistency, deadline, move |reader| {
            let state = reader.stream(&stream_id).map_err(wire::read_failed)?;
            let stream = Some(wire::stream_info(&stream_id, &state));
            Ok(v1::GetStreamResponse { stream })
        })
        .await
    }

    pub(super) async fn version_at_time(
        &self,
        request: v1::VersionAtRequest,
        deadline: Instant,
    ) -> Result<v1::VersionAtResponse, Status> {
        let v1::VersionAtRequest { stream_id, time_us, consistency } = request;
        wire::check_stream_id(&stream_id)?;
        self.looked_up(ReadKind::VersionAt, consistency, deadline, move |reader| {
            let state = reader.stream(&stream_id).map_err(wire::read_failed)?;
            wire::live(&stream_id, &state)?;
            let version = reader.version_at(&stream_id, time_us).map_err(wire::read_failed)?;
            Ok(v1::VersionAtResponse { version: version.map_or(-1, u64::cast_signed) })
        })
        .await
    }

    pub(super) async fn event_by_id(
        &self,
        request: v1::GetEventRequest,
        deadline: Instant,
    ) -> Result<v1::GetEventResponse, Status> {
        let event_id = wire::event_id(&request.event_id)?;
        self.looked_up(ReadKind::Event, request.consistency, deadline, move |reader| {
            let found = reader.event(event_id).map_err(wire::read_failed)?;
            let found = found.ok_or_else(|| wire::event_not_found(event_id))?;
            Ok(v1::GetEventResponse { event: Some(wire::event(&found)) })
        })
        .await
    }

    pub(super) async fn list(
        &self,
        request: v1::ListStreamsRequest,
        deadline: Instant,
    ) -> Result<v1::ListStreamsResponse, Status> {
        let after = wire::page_token(&request.page_token)?;
        let consistency = request.consistency;
        let streams_max = match request.page_size as usize {
            0 => limits::LIST_PAGE_STREAMS_MAX,
            asked => asked.min(limits::LIST_PAGE_STREAMS_MAX),
        };
        let v1::ListStreamsRequest { include_system, include_deleted, .. } = request;
        let offload = &self.admission.node.environment().offload;
        let names = offload.run(move || wire::stream_names(&request)).await?;
        let wanted = Arc::new(Wanted { names, include_system, include_deleted, streams_max });
        let observed = self.admission.read_begins(ReadKind::StreamList, consistency.as_ref());
        let answer = match self.admission.fresh(consistency, deadline).await {
            Ok((_slot, member)) => wanted.page(&member, after, deadline).await,
            Err(status) => Err(status),
        };
        observed.ends(&answer);
        answer.map(wire::list_response)
    }

    pub(super) async fn checked_expression(
        &self,
        request: v1::CheckExpressionRequest,
    ) -> Result<v1::CheckExpressionResponse, Status> {
        let _slot = self.admission.reads.enter()?;
        let offload = &self.admission.node.environment().offload;
        offload.run(move || wire::checked_expression(&request.expression)).await
    }

    /// One look at a store that is fresh enough.
    async fn looked_up<T, F>(
        &self,
        kind: ReadKind,
        consistency: Option<v1::Consistency>,
        deadline: Instant,
        look: F,
    ) -> Result<T, Status>
    where
        F: FnOnce(&StateReader) -> Result<T, Status> + Send + 'static,
        T: Send + 'static,
    {
        let observed = self.admission.read_begins(kind, consistency.as_ref());
        let answer = match self.admission.fresh(consistency, deadline).await {
            Ok((_slot, member)) => {
                admission::look(&member, deadline, |reader| Ok(look(reader))).await.flatten()
            }
            Err(status) => Err(status),
        };
        observed.ends(&answer);
        answer
    }
}

/// Which streams a listing wants.
struct Wanted {
    names: StreamNameFilter,
    include_system: bool,
    include_deleted: bool,
    streams_max: usize,
}

impl Wanted {
    /// A page behind a name. Passes over names that are not wanted until the deadline; a page may be short then, or
    /// empty, and says where to go on.
    async fn page(
        self: Arc<Self>,
        member: &Member,
        after: Option<String>,
        deadline: Instant,
    ) -> Result<StreamPage, Status> {
        let mut next_after = after;
        loop {
            let wanted = Arc::clone(&self);
            let page = admission::look(member, deadline, move |reader| {
                reader.list_streams(&Listing {
                    after: next_after.as_deref(),
                    prefix: wanted.names.literal_prefix(),
                    include_system: wanted.include_system,
                    include_deleted: wanted.include_deleted,
                    accepts: Some(&|name| wanted.names.matches(name)),
                    streams_max: wanted.streams_max,
                })
            });
            let page = page.await?;
            let go_on = page.streams.is_empty() && page.next_after.is_some();
            if !go_on || Instant::now() + ANSWER_TIME >= deadline {
                return Ok(page);
            }
            next_after = page.next_after;
        }
    }
}

/// What is left of a deadline for the answer to arrive in.
const ANSWER_TIME: Duration = Duration::from_millis(200);
