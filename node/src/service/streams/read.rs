//! `Read` and `ReadAll`.

use reckon_api::v1;
use tokio::time::Instant;
use tonic::Status;

use super::StreamsService;
use super::pages::{PageSource, Pages};
use crate::engine::Direction;
use crate::limits;
use crate::metrics::{ReadKind, ReadObserved};
use crate::raft::Member;
use crate::service::wire;

impl StreamsService {
    pub(super) async fn read_stream(
        &self,
        request: v1::ReadRequest,
        deadline: Instant,
    ) -> Result<Pages<v1::ReadResponse>, Status> {
        wire::check_stream_id(&request.stream_id)?;
        let direction = wire::direction(request.direction)?;
        let observed = self.read_begins(ReadKind::Stream, request.consistency.as_ref());
        let fresh = self.fresh(request.consistency, deadline).await;
        let (observed, (slot, member)) = begun(observed, fresh)?;

        let (summary, next_position) = {
            let engine = member.engine().read();
            (engine.stream(&request.stream_id), engine.next_position())
        };
        let known = summary.ok_or_else(|| wire::stream_not_found(&request.stream_id));
        let (observed, summary) = begun(observed, known)?;
        let from = match (start(request.from, direction), direction) {
            (Start::First, _) => summary.first_version,
            (Start::Last, Direction::Backward) => summary.last_version,
            (Start::Last, Direction::Forward) => summary.last_version + 1,
            (Start::At(version), Direction::Forward) => version.max(summary.first_version),
            (Start::At(version), Direction::Backward) => version.min(summary.last_version),
        };
        let header = v1::ReadHeader {
            first_version: summary.first_version.cast_signed(),
            last_version: summary.last_version.cast_signed(),
            next_position,
        };
        // What came after the header was made does not belong to this answer.
        let end = match direction {
            Direction::Forward => Some(summary.last_version),
            Direction::Backward => None,
        };
        let pages = PageSource {
            member,
            limit: limit(request.limit),
            read: move |member: &Member, from, events_max| {
                let engine = member.engine().read();
                let mut page = engine.read_stream(
                    &request.stream_id,
                    from,
                    direction,
                    events_max,
                    limits::READ_PAGE_BYTES_MAX,
                );
                page.end_at(end, |event| event.version);
                page
            },
        };
        let header = v1::read_response::Message::Header(header);
        let wrap = |message| v1::ReadResponse { message: Some(message) };
        Ok(pages.stream(slot, observed, from, wrap(header), move |events| {
            wrap(v1::read_response::Message::Events(v1::EventBatch { events }))
        }))
    }

    pub(super) async fn read_store(
        &self,
        request: v1::ReadAllRequest,
        deadline: Instant,
    ) -> Result<Pages<v1::ReadAllResponse>, Status> {
        let direction = wire::direction(request.direction)?;
        let observed = self.read_begins(ReadKind::All, request.consistency.as_ref());
        let fresh = self.fresh(request.consistency, deadline).await;
        let (observed, (slot, member)) = begun(observed, fresh)?;

        let next_position = member.engine().read().next_position();
        let last = next_position.saturating_sub(1);
        let from = match (start(request.from, direction), direction) {
            (Start::First, _) => 0,
            (Start::Last, Direction::Backward) => last,
            (Start::Last, Direction::Forward) => next_position,
            (Start::At(position), Direction::Forward) => position,
            (Start::At(position), Direction::Backward) => position.min(last),
        };
        let end = match direction {
            Direction::Forward => next_position.checked_sub(1),
            Direction::Backward => None,
        };
        let include_system = request.include_system;
        let pages = PageSource {
            member,
            limit: limit(request.limit),
            read: move |member: &Member, from, events_max| {
                let engine = member.engine().read();
                let mut page = engine.read_all(
                    from,
                    direction,
                    include_system,
                    events_max,
                    limits::READ_PAGE_BYTES_MAX,
                );
                page.end_at(end, |event| event.position);
                page
            },
        };
        let header = v1::read_all_response::Message::Header(v1::ReadAllHeader { next_position });
        let wrap = |message| v1::ReadAllResponse { message: Some(message) };
        Ok(pages.stream(slot, observed, from, wrap(header), move |events| {
            wrap(v1::read_all_response::Message::Events(v1::EventBatch { events }))
        }))
    }
}

/// Goes on with a read that has begun, or lets its observer see why it ends.
fn begun<T>(observed: ReadObserved, step: Result<T, Status>) -> Result<(ReadObserved, T), Status> {
    match step {
        Ok(value) => Ok((observed, value)),
        Err(status) => {
            observed.ends(&Err::<(), _>(status.clone()));
            Err(status)
        }
    }
}

enum Start {
    First,
    Last,
    At(u64),
}

fn start(from: Option<v1::ReadFrom>, direction: Direction) -> Start {
    use v1::read_from::Kind;
    match (from.and_then(|from| from.kind), direction) {
        (Some(Kind::At(at) | Kind::TimeUs(at)), _) => Start::At(at),
        (Some(Kind::Start(_)), _) | (None, Direction::Forward) => Start::First,
        (Some(Kind::End(_)), _) | (None, Direction::Backward) => Start::Last,
    }
}

fn limit(asked: u64) -> u64 {
    if asked == 0 { u64::MAX } else { asked }
}
