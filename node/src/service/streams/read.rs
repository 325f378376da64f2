//! `Read` and `ReadAll`.

use reckon_api::v1;
use tokio::time::Instant;
use tonic::Status;

use super::StreamsService;
use super::pages::{PageSource, Pages};
use crate::engine::{AllRead, Direction, Page, Refusal, StreamRead, StreamState};
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

        let reader = member.reader();
        // Asked in this order, so that what is known of the stream reflects the position.
        let next_position = reader.next_position();
        let known = match reader.stream(&request.stream_id) {
            Ok(StreamState::Unknown) => Err(wire::stream_not_found(&request.stream_id)),
            Ok(StreamState::Live(summary)) => Ok(summary),
            Ok(StreamState::Deleted(_)) => Err(wire::refusal_status(&Refusal::StreamDeleted {
                stream_id: request.stream_id.clone(),
            })),
            Ok(StreamState::Tombstoned(_)) => {
                Err(wire::refusal_status(&Refusal::StreamTombstoned {
                    stream_id: request.stream_id.clone(),
                }))
            }
            Err(error) => Err(wire::read_failed(error)),
        };
        let (observed, summary) = begun(observed, known)?;
        let last_version = summary.last_version.unwrap_or_default();
        let from = match (start(request.from, direction), direction) {
            (Start::First, _) => summary.first_version,
            (Start::Last, Direction::Backward) => last_version,
            (Start::Last, Direction::Forward) => last_version + 1,
            (Start::At(version), Direction::Forward) => version.max(summary.first_version),
            (Start::At(version), Direction::Backward) => version.min(last_version),
        };
        let header = v1::ReadHeader {
            first_version: summary.first_version.cast_signed(),
            last_version: last_version.cast_signed(),
            next_position,
        };
        let pages = PageSource {
            member,
            limit: limit(request.limit),
            read: move |member: &Member, from, events_max| {
                member.reader().read_stream(&StreamRead {
                    from,
                    // What came after the header was made does not belong to this answer.
                    last: last_version,
                    direction,
                    events_max,
                    ..StreamRead::of(&request.stream_id)
                })
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
        let include_system = request.include_system;
        let pages = PageSource {
            member,
            limit: limit(request.limit),
            read: move |member: &Member, from, events_max| {
                if next_position == 0 {
                    return Ok(Page::default());
                }
                member.reader().read_all(&AllRead {
                    from,
                    // What came after the header was made does not belong to this answer.
                    last,
                    direction,
                    include_system,
                    events_max,
                    ..AllRead::default()
                })
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
