//! `reckon.v1.Streams`: appends and reads.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use reckon_api::{Reason, v1};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use v1::streams_client::StreamsClient;

use super::cluster::not_initialised;
use super::forward::{Decider, Forwarder, deadline_exceeded};
use super::{consistency, deadline, proposed, wire};
use crate::engine::{Direction, Outcome, Page};
use crate::limits;
use crate::metrics::{Metrics, ReadConsistency, ReadKind, ReadObserved};
use crate::node::Node;
use crate::raft::Member;
use crate::raft::proposer::ProposeError;

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

    async fn append_within(
        &self,
        request: Request<v1::AppendRequest>,
        deadline: Instant,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let member = self.open_store()?;
        let _slot = self.appends.enter()?;
        let command = wire::append_command(request.get_ref(), &*self.node.environment().new_id)?;
        loop {
            let leader = match self.forwarder.decider(&member, &request, deadline).await? {
                Decider::Leader(leader) => leader,
                Decider::Here => {
                    check_activated(&member)?;
                    let proposing = member.proposer().propose(command.clone());
                    let answer = tokio::time::timeout_at(deadline, proposing)
                        .await
                        .map_err(|_elapsed| deadline_exceeded())?;
                    if answer == Err(ProposeError::NotLeader) && Instant::now() < deadline {
                        // Certainly not appended: whoever leads now may have it.
                        tokio::time::sleep(LEADER_POLL).await;
                        continue;
                    }
                    return match proposed(answer)? {
                        Outcome::Appended(appended) => {
                            Ok(Response::new(wire::append_response(request.get_ref(), &appended)))
                        }
                        other => Err(unexpected(&other)),
                    };
                }
            };
            let mut client = StreamsClient::new(leader.channel.clone())
                .max_decoding_message_size(limits::CLIENT_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(limits::CLIENT_MESSAGE_BYTES_MAX);
            let append = |request| async move { client.append(request).await };
            let message = request.into_inner();
            let lost = Reason::OutcomeUnknown;
            return self.forwarder.send(&leader, message, deadline, lost, append).await;
        }
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
}

/// How often a request looks for the leader while leadership moves.
const LEADER_POLL: Duration = Duration::from_millis(5);

fn unexpected(outcome: &Outcome) -> Status {
    Reason::Internal.plain(format!("an append was asked, {outcome:?} came"))
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
        let deadline = deadline::of(request.metadata(), self.request_timeout);
        let observed = self.metrics.append_begins(&request.get_ref().appends);
        let answer = self.append_within(request, deadline).await;
        observed.ends(&answer);
        answer
    }

    type ReadStream = Pages<v1::ReadResponse>;

    async fn read(
        &self,
        request: Request<v1::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let deadline = deadline::of(request.metadata(), self.request_timeout);
        let request = request.into_inner();
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
        Ok(Response::new(pages.stream(slot, observed, from, wrap(header), move |events| {
            wrap(v1::read_response::Message::Events(v1::EventBatch { events }))
        })))
    }

    type ReadAllStream = Pages<v1::ReadAllResponse>;

    async fn read_all(
        &self,
        request: Request<v1::ReadAllRequest>,
    ) -> Result<Response<Self::ReadAllStream>, Status> {
        let deadline = deadline::of(request.metadata(), self.request_timeout);
        let request = request.into_inner();
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
        Ok(Response::new(pages.stream(slot, observed, from, wrap(header), move |events| {
            wrap(v1::read_all_response::Message::Events(v1::EventBatch { events }))
        })))
    }

    async fn get_stream(
        &self,
        request: Request<v1::GetStreamRequest>,
    ) -> Result<Response<v1::GetStreamResponse>, Status> {
        let deadline = deadline::of(request.metadata(), self.request_timeout);
        let request = request.into_inner();
        wire::check_stream_id(&request.stream_id)?;
        let observed = self.read_begins(ReadKind::StreamInfo, request.consistency.as_ref());
        let answer = self.fresh(request.consistency, deadline).await.map(|(_slot, member)| {
            let summary = member.engine().read().stream(&request.stream_id);
            let stream = wire::stream_info(&request.stream_id, summary.as_ref());
            Response::new(v1::GetStreamResponse { stream: Some(stream) })
        });
        observed.ends(&answer);
        answer
    }

    async fn list_streams(
        &self,
        request: Request<v1::ListStreamsRequest>,
    ) -> Result<Response<v1::ListStreamsResponse>, Status> {
        let deadline = deadline::of(request.metadata(), self.request_timeout);
        let request = request.into_inner();
        let observed = self.read_begins(ReadKind::StreamList, request.consistency.as_ref());
        let streams_max = match request.page_size as usize {
            0 => limits::LIST_PAGE_STREAMS_MAX,
            asked => asked.min(limits::LIST_PAGE_STREAMS_MAX),
        };
        let after = (!request.page_token.is_empty()).then_some(request.page_token.as_str());
        let answer = self.fresh(request.consistency, deadline).await.map(|(_slot, member)| {
            let page = member.engine().read().list_streams(
                after,
                &request.prefix,
                request.include_system,
                streams_max,
            );
            Response::new(wire::list_response(&page))
        });
        observed.ends(&answer);
        answer
    }

    type AppendBatchStream = Pages<v1::AppendBatchResponse>;

    async fn append_batch(
        &self,
        _request: Request<Streaming<v1::AppendBatchRequest>>,
    ) -> Result<Response<Self::AppendBatchStream>, Status> {
        Err(not_served())
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

/// A streamed answer.
pub type Pages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Reads page after page; between pages it holds a position and nothing else.
struct PageSource<R> {
    member: Arc<Member>,
    limit: u64,
    read: R,
}

impl<R> PageSource<R>
where
    R: Fn(&Member, u64, usize) -> Page + Send + Sync + 'static,
{
    /// Streams the header, then batches of events. The slot is held until the stream ends or is dropped.
    fn stream<T: Send + 'static>(
        self,
        slot: OwnedSemaphorePermit,
        observed: ReadObserved,
        from: u64,
        header: T,
        batch: impl Fn(Vec<v1::Event>) -> T + Send + Sync + 'static,
    ) -> Pages<T> {
        let (sender, receiver) = mpsc::channel(limits::READ_PAGES_AHEAD_MAX);
        tokio::spawn(async move {
            let _slot = slot;
            // A receiver that is gone means that the caller is; there is nobody to tell.
            if sender.send_timeout(Ok(header), limits::READ_STALL_MAX).await.is_err() {
                return;
            }
            let mut cursor = Some(from);
            let mut left = self.limit;
            while let Some(at) = cursor.filter(|_| left > 0) {
                let events_max =
                    limits::READ_PAGE_EVENTS_MAX.min(usize::try_from(left).unwrap_or(usize::MAX));
                let page = (self.read)(&self.member, at, events_max);
                cursor = page.next;
                left -= page.events.len() as u64;
                if page.events.is_empty() {
                    // A page of excluded events alone still has to let others run.
                    tokio::task::yield_now().await;
                    if sender.is_closed() {
                        return;
                    }
                    continue;
                }
                observed.events(page.events.len());
                let events = page.events.iter().map(wire::event).collect();
                if sender.send_timeout(Ok(batch(events)), limits::READ_STALL_MAX).await.is_err() {
                    return;
                }
            }
            observed.ends(&Ok(()));
        });
        Box::pin(ReceiverStream::new(receiver))
    }
}

/// A cap on requests of one kind in flight.
#[derive(Debug, Clone)]
struct InFlight {
    limit: &'static str,
    maximum: usize,
    slots: Arc<Semaphore>,
}

impl InFlight {
    fn new(limit: &'static str, maximum: usize) -> Self {
        Self { limit, maximum, slots: Arc::new(Semaphore::new(maximum)) }
    }

    fn enter(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.slots).try_acquire_owned().map_err(|_full| {
            Reason::TooManyRequests.status(
                format!("{} requests are in flight on this node, which is the most", self.maximum),
                [("limit", self.limit.to_owned()), ("maximum", self.maximum.to_string())],
            )
        })
    }
}
