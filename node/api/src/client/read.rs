//! Reads that go on where they were when a connection breaks.
//!
//! A read reflects the store at the moment it was first opened. What is opened again in its middle is
//! therefore held to that moment: it may show no less (a stale read that resumes on a node which lags must
//! wait for it) and shows no more (events appended since are left out).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use super::call::within;
use super::endpoints::Target;
use super::error::Error;
use super::{Client, streams};
use crate::v1::{self, consistency, read_all_response, read_from, read_response};

impl Client {
    /// Reads one stream. Resolves once the header is there.
    pub async fn read(&self, request: v1::ReadRequest) -> Result<ReadEvents, Error> {
        self.open(request).await
    }

    /// Reads the whole store in its one global order. Resolves once the header is there.
    pub async fn read_all(&self, request: v1::ReadAllRequest) -> Result<ReadAllEvents, Error> {
        self.open(request).await
    }

    async fn open<R: Readable>(&self, request: R) -> Result<Reading<R::Header>, Error> {
        let (header, source) = self.first_message(&request).await?;
        let state = State {
            client: self.clone(),
            bound: R::bound(&header),
            limit: request.limit(),
            request,
            source: Some(source),
            delivered: 0,
            last: None,
        };
        let batches = futures::stream::unfold(Some(state), |state| async move {
            let mut state = state?;
            match state.next_batch().await {
                Ok(Some(batch)) => Some((Ok(batch), Some(state))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed();
        Ok(Reading { header, ready: Vec::new().into_iter(), batches })
    }

    /// Opens a read, retried until its header has arrived.
    async fn first_message<R: Readable>(
        &self,
        request: &R,
    ) -> Result<(R::Header, Source<R>), Error> {
        self.until_answered(|target, timeout| {
            let request = request.clone();
            async move {
                let opened = async {
                    // No deadline goes along: it would be one for the whole stream.
                    let mut messages =
                        R::send(target.channel.clone(), Request::new(request)).await?;
                    let first = messages.message().await?;
                    Ok((first, messages))
                };
                let (first, messages) = within(&target.address, timeout, opened).await?;
                match first.map(R::split) {
                    Some(Message::Header(header)) => Ok((header, Source { target, messages })),
                    _ => Err(Error::Protocol {
                        message: "a read did not open with its header".to_owned(),
                    }),
                }
            }
        })
        .await
    }
}

/// The events of one stream, opened by what the stream was when the read began.
pub type ReadEvents = Reading<v1::ReadHeader>;

/// The events of the store, opened by what the store was when the read began.
pub type ReadAllEvents = Reading<v1::ReadAllHeader>;

/// A read under way: its header, and a stream of its events. An error ends the stream; connections that
/// break are mended unseen, as long as that works within the client's deadline.
pub struct Reading<H> {
    header: H,
    /// Received and not handed out yet.
    ready: std::vec::IntoIter<v1::Event>,
    batches: BoxStream<'static, Result<Vec<v1::Event>, Error>>,
}

impl<H> Reading<H> {
    /// What the read reflects, as of its beginning.
    pub fn header(&self) -> &H {
        &self.header
    }
}

impl<H: std::fmt::Debug> std::fmt::Debug for Reading<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("header", &self.header).finish_non_exhaustive()
    }
}

impl<H: Unpin> Stream for Reading<H> {
    type Item = Result<v1::Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.ready.next() {
                return Poll::Ready(Some(Ok(event)));
            }
            match ready!(self.batches.poll_next_unpin(cx)) {
                Some(Ok(batch)) => self.ready = batch.into_iter(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// One open answer and where it comes from.
struct Source<R: Readable> {
    target: Target,
    messages: Streaming<R::Message>,
}

/// Where a read stands.
struct State<R: Readable> {
    client: Client,
    request: R,
    /// The limit of the first request; 0 is none.
    limit: u64,
    /// What the read reflects, from the first header.
    bound: Bound,
    /// None: broken, to be opened again.
    source: Option<Source<R>>,
    delivered: u64,
    /// The version or position of the last event delivered.
    last: Option<u64>,
}

/// The end of what a read may show, in versions or positions.
#[derive(Debug, Clone, Copy)]
struct Bound {
    /// The read shows nothing at or above this.
    end: u64,
    /// Positions below this one were applied where the read began.
    next_position: u64,
}

impl<R: Readable> State<R> {
    /// The next events; `None` at the end.
    async fn next_batch(&mut self) -> Result<Option<Vec<v1::Event>>, Error> {
        loop {
            let Some(source) = &mut self.source else {
                let Some(request) = self.rest() else { return Ok(None) };
                let (_, source) = self.client.first_message(&request).await?;
                self.source = Some(source);
                continue;
            };
            let silence_max = self.client.options().deadline;
            match within(&source.target.address, silence_max, source.messages.message()).await {
                Ok(None) => return Ok(None),
                Ok(Some(message)) => {
                    let Message::Events(events) = R::split(message) else {
                        return Err(Error::Protocol {
                            message: "a read carries a second header".to_owned(),
                        });
                    };
                    let events: Vec<_> = events
                        .into_iter()
                        .filter(|event| R::place(event) < self.bound.end)
                        .collect();
                    if let Some(event) = events.last() {
                        self.last = Some(R::place(event));
                        self.delivered += events.len() as u64;
                        return Ok(Some(events));
                    }
                }
                Err(error) if error.retryable() => {
                    tracing::debug!(endpoint = source.target.address, %error, "a read broke off");
                    self.client.shared.endpoints.move_on(&source.target, &error);
                    self.source = None;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The request for what is still to come; `None` when that is nothing.
    fn rest(&self) -> Option<R> {
        let mut request = self.request.clone();
        if let Some(last) = self.last {
            let next = if request.backward() { last.checked_sub(1)? } else { last + 1 };
            let limit = match self.limit {
                0 => 0,
                limit => limit.checked_sub(self.delivered).filter(|left| *left > 0)?,
            };
            request.resume(next, limit);
        } else if request.backward() && request.begins_at_end() {
            // The end has moved since; events behind it must not use up the limit.
            request.resume(self.bound.end.checked_sub(1)?, self.limit);
        }
        let is_stale = request.consistency().as_ref().is_some_and(|consistency| {
            matches!(consistency.kind, Some(consistency::Kind::Stale(true)))
        });
        if is_stale && let Some(position) = self.bound.next_position.checked_sub(1) {
            *request.consistency() =
                Some(v1::Consistency { kind: Some(consistency::Kind::AtLeastPosition(position)) });
        }
        Some(request)
    }
}

/// What an answer to a read is made of.
enum Message<H> {
    Header(H),
    Events(Vec<v1::Event>),
    /// A message that says nothing.
    Empty,
}

/// What reading a stream and reading the store have in common.
trait Readable: Clone + Send + Sync + 'static {
    type Message: Send + 'static;
    type Header: Send + 'static;

    fn send(
        channel: Channel,
        request: Request<Self>,
    ) -> impl Future<Output = Result<Streaming<Self::Message>, tonic::Status>> + Send;
    fn split(message: Self::Message) -> Message<Self::Header>;
    fn bound(header: &Self::Header) -> Bound;
    /// Where an event stands in this kind of read.
    fn place(event: &v1::Event) -> u64;
    fn limit(&self) -> u64;
    fn backward(&self) -> bool;
    /// Whether a backward read begins at the end.
    fn begins_at_end(&self) -> bool;
    fn consistency(&mut self) -> &mut Option<v1::Consistency>;
    /// Makes this the request for what follows from `next` on.
    fn resume(&mut self, next: u64, limit: u64);
}

impl Readable for v1::ReadRequest {
    type Message = v1::ReadResponse;
    type Header = v1::ReadHeader;

    async fn send(
        channel: Channel,
        request: Request<Self>,
    ) -> Result<Streaming<Self::Message>, tonic::Status> {
        streams(channel).read(request).await.map(tonic::Response::into_inner)
    }

    fn split(message: Self::Message) -> Message<Self::Header> {
        match message.message {
            Some(read_response::Message::Header(header)) => Message::Header(header),
            Some(read_response::Message::Events(batch)) => Message::Events(batch.events),
            None => Message::Empty,
        }
    }

    fn bound(header: &Self::Header) -> Bound {
        Bound {
            end: u64::try_from(header.last_version).map_or(0, |last| last.saturating_add(1)),
            next_position: header.next_position,
        }
    }

    fn place(event: &v1::Event) -> u64 {
        event.version
    }

    fn limit(&self) -> u64 {
        self.limit
    }

    fn backward(&self) -> bool {
        self.direction() == v1::Direction::Backward
    }

    fn begins_at_end(&self) -> bool {
        is_end(self.from.as_ref())
    }

    fn consistency(&mut self) -> &mut Option<v1::Consistency> {
        &mut self.consistency
    }

    fn resume(&mut self, next: u64, limit: u64) {
        self.from = Some(v1::ReadFrom { kind: Some(read_from::Kind::At(next)) });
        self.limit = limit;
    }
}

impl Readable for v1::ReadAllRequest {
    type Message = v1::ReadAllResponse;
    type Header = v1::ReadAllHeader;

    async fn send(
        channel: Channel,
        request: Request<Self>,
    ) -> Result<Streaming<Self::Message>, tonic::Status> {
        streams(channel).read_all(request).await.map(tonic::Response::into_inner)
    }

    fn split(message: Self::Message) -> Message<Self::Header> {
        match message.message {
            Some(read_all_response::Message::Header(header)) => Message::Header(header),
            Some(read_all_response::Message::Events(batch)) => Message::Events(batch.events),
            None => Message::Empty,
        }
    }

    fn bound(header: &Self::Header) -> Bound {
        Bound { end: header.next_position, next_position: header.next_position }
    }

    fn place(event: &v1::Event) -> u64 {
        event.position
    }

    fn limit(&self) -> u64 {
        self.limit
    }

    fn backward(&self) -> bool {
        self.direction() == v1::Direction::Backward
    }

    fn begins_at_end(&self) -> bool {
        is_end(self.from.as_ref())
    }

    fn consistency(&mut self) -> &mut Option<v1::Consistency> {
        &mut self.consistency
    }

    fn resume(&mut self, next: u64, limit: u64) {
        self.from = Some(v1::ReadFrom { kind: Some(read_from::Kind::At(next)) });
        self.limit = limit;
    }
}

fn is_end(from: Option<&v1::ReadFrom>) -> bool {
    matches!(from.and_then(|from| from.kind.as_ref()), None | Some(read_from::Kind::End(_)))
}
