//! What is known of streams: one, or all of them by pages.

use reckon_api::v1;
use tokio::time::Instant;
use tonic::Status;

use super::StreamsService;
use crate::engine::Listing;
use crate::limits;
use crate::metrics::ReadKind;
use crate::service::wire;

impl StreamsService {
    pub(super) async fn describe_stream(
        &self,
        request: v1::GetStreamRequest,
        deadline: Instant,
    ) -> Result<v1::GetStreamResponse, Status> {
        wire::check_stream_id(&request.stream_id)?;
        let observed = self.read_begins(ReadKind::StreamInfo, request.consistency.as_ref());
        let answer = self
            .fresh(request.consistency, deadline)
            .await
            .map(|(_slot, member)| (member, request.stream_id));
        let answer = answer.and_then(|(member, stream_id)| {
            let state = member.reader().stream(&stream_id).map_err(wire::read_failed)?;
            let stream = wire::stream_info(&stream_id, state.summary());
            Ok(v1::GetStreamResponse { stream: Some(stream) })
        });
        observed.ends(&answer);
        answer
    }

    pub(super) async fn list(
        &self,
        request: v1::ListStreamsRequest,
        deadline: Instant,
    ) -> Result<v1::ListStreamsResponse, Status> {
        let observed = self.read_begins(ReadKind::StreamList, request.consistency.as_ref());
        let streams_max = match request.page_size as usize {
            0 => limits::LIST_PAGE_STREAMS_MAX,
            asked => asked.min(limits::LIST_PAGE_STREAMS_MAX),
        };
        let after = (!request.page_token.is_empty()).then_some(request.page_token.as_str());
        let answer = self.fresh(request.consistency, deadline).await.map(|(_slot, member)| {
            member.reader().list_streams(&Listing {
                after,
                prefix: &request.prefix,
                include_system: request.include_system,
                streams_max,
                ..Listing::default()
            })
        });
        let answer =
            answer.and_then(|page| Ok(wire::list_response(&page.map_err(wire::read_failed)?)));
        observed.ends(&answer);
        answer
    }
}
