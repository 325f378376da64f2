//! `Follow`: events from anywhere on, then live, without a registration.
//!
//! A follower is a stream that is polled, and reads when its reader asks for more: no channel, and for a reader that is
//! slow no more than the page that it has not taken and, while it catches up, the one behind it. How slow it may be is
//! then a matter of HTTP/2's flow control alone.

use std::sync::Arc;

use futures::stream;
use reckon_api::v1;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::Status;
use v1::follow_response::Message;

use super::SubscriptionsService;
use crate::delivery::interests::Registered;
use crate::delivery::selector::{Selector, SelectorKind};
use crate::delivery::source::{Source, Start};
use crate::engine::{Direction, StateReader};
use crate::limits;
use crate::metrics::FollowerObserved;
use crate::node::Node;
use crate::raft::Member;
use crate::service::answer::Pages;
use crate::service::{admission, consistency, wire};

impl SubscriptionsService {
    pub(super) async fn follow_events(
        &self,
        request: v1::FollowRequest,
        deadline: Instant,
    ) -> Result<Pages<v1::FollowResponse>, Status> {
        let slot = self.admission.observed_refusal(self.followers.enter())?;
        let from = wire::start(request.from, Direction::Forward)?;
        let v1::FollowRequest { selector, filter, include_system, .. } = request;
        let offload = &self.admission.node.environment().offload;
        let compiled = offload
            .run(move || Selector::compile("", selector.as_ref(), None, filter.as_ref()))
            .await
            .map_err(wire::selector_refused)?;
        let selector = Arc::new(compiled.including_system(include_system));
        let member = self.admission.open_store()?;
        consistency::ensure(&member, request.consistency, deadline).await?;
        admission::check_activated(&member)?;

        // Before anything is read, so that nothing comes unseen between the last page and the first wait.
        let registered = self.interests.register(selector.interest());
        let start = begin(from, &selector);
        let opened = admission::look(&member, deadline, move |reader| {
            let mut source = Source::new(selector, start);
            let from_position = source.begin(reader)?;
            Ok(Ok((source, from_position)))
        });
        let (source, from_position) = opened.await.flatten()?;
        let follower = Follower {
            node: self.admission.node.clone(),
            member,
            source: Some(SourceState::Idle(source)),
            registered,
            is_caught_up: false,
            next: Step::Header { from_position },
            _slot: slot,
            _observed: self.admission.metrics.subscriptions().follower(),
        };
        Ok(Box::pin(stream::unfold(follower, Follower::message)))
    }
}

/// Where a follower begins; `at` is a version only for whoever asks for one stream by its name.
fn begin(from: wire::Start, selector: &Selector) -> Start {
    match from {
        wire::Start::First => Start::Beginning,
        wire::Start::Last => Start::End,
        wire::Start::At(version) if selector.kind() == SelectorKind::Stream => {
            Start::Version(version)
        }
        wire::Start::At(position) => Start::Position(position),
        wire::Start::Time(time_us) => Start::Time(time_us),
    }
}

/// One who follows.
struct Follower {
    node: Node,
    member: Arc<Member>,
    /// `None` while a page is waited for.
    source: Option<SourceState>,
    registered: Registered,
    /// Whether it was told that there is no more than what it was given.
    is_caught_up: bool,
    next: Step,
    _slot: OwnedSemaphorePermit,
    _observed: FollowerObserved,
}

/// The source of a follower between two pages.
enum SourceState {
    Idle(Source),
    /// Reads the next page while the one before it is sent.
    ReadsAhead(JoinHandle<(Source, Result<Page, Status>)>),
}

/// What a follower does when it is asked for its next message.
#[derive(Debug, Clone, Copy)]
enum Step {
    Header { from_position: u64 },
    Read,
    TellCaughtUp { next_position: u64 },
    Wait,
    End,
}

/// Some events as clients get them.
struct Page {
    events: Vec<v1::Event>,
    caught_up: bool,
    next_position: u64,
}

impl Follower {
    /// The next message, as soon as there is one; `None`: the answer has ended.
    async fn message(mut self) -> Option<(Result<v1::FollowResponse, Status>, Self)> {
        let message = match self.step().await {
            Ok(Some(message)) => Ok(v1::FollowResponse { message: Some(message) }),
            Ok(None) => return None,
            Err(status) => {
                self.next = Step::End;
                Err(status)
            }
        };
        Some((message, self))
    }

    async fn step(&mut self) -> Result<Option<Message>, Status> {
        loop {
            match self.next {
                Step::Header { from_position } => {
                    self.next = Step::Read;
                    return Ok(Some(Message::Header(v1::FollowHeader { from_position })));
                }
                Step::Wait => {
                    tokio::select! {
                        biased;
                        () = self.node.drained() => return Err(admission::stopping()),
                        () = self.registered.woken() => self.next = Step::Read,
                    }
                }
                Step::Read => {
                    if self.node.draining() {
                        return Err(admission::stopping());
                    }
                    let Page { events, caught_up, next_position } = self.page().await?;
                    if caught_up {
                        self.next = Step::TellCaughtUp { next_position };
                    }
                    if !events.is_empty() {
                        self.is_caught_up = false;
                        return Ok(Some(Message::Events(v1::EventBatch { events })));
                    }
                    if !caught_up {
                        // Looking for the next wanted event must let others run.
                        tokio::task::yield_now().await;
                    }
                }
                Step::TellCaughtUp { next_position } => {
                    self.next = Step::Wait;
                    if !self.is_caught_up {
                        self.is_caught_up = true;
                        return Ok(Some(Message::CaughtUp(v1::CaughtUp { next_position })));
                    }
                }
                Step::End => return Ok(None),
            }
        }
    }

    /// Reads here what is new and in memory, and elsewhere what may take a while; of that, also the next page.
    async fn page(&mut self) -> Result<Page, Status> {
        let reading = match self.source.take().expect("a page puts back what it took") {
            SourceState::ReadsAhead(reading) => reading,
            SourceState::Idle(mut source) => {
                let reader = self.member.reader();
                if !source.selector().is_costly() && source.is_short_and_in_memory(&reader) {
                    let page = Page::read(&mut source, &reader, limits::LIVE_PAGE_EVENTS_MAX);
                    self.source = Some(SourceState::Idle(source));
                    return page;
                }
                self.read_elsewhere(source)
            }
        };
        let (source, page) = match reading.await {
            Ok(read) => read,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            // The runtime is being dropped, and the follower with it.
            Err(_never_read) => std::future::pending().await,
        };
        self.source = Some(match &page {
            Ok(page) if !page.caught_up => SourceState::ReadsAhead(self.read_elsewhere(source)),
            _ => SourceState::Idle(source),
        });
        page
    }

    /// Begins to read a page now, whether or not it is waited for.
    fn read_elsewhere(&self, mut source: Source) -> JoinHandle<(Source, Result<Page, Status>)> {
        let member = Arc::clone(&self.member);
        tokio::spawn(async move {
            let reader = member.reader();
            let read = move || {
                let page = Page::read(&mut source, &reader, limits::READ_PAGE_EVENTS_MAX);
                (source, page)
            };
            member.offload().run(read).await
        })
    }
}

impl Page {
    fn read(source: &mut Source, reader: &StateReader, events_max: usize) -> Result<Self, Status> {
        let page = source
            .page(reader, events_max, limits::READ_PAGE_BYTES_MAX)
            .map_err(wire::read_failed)?;
        Ok(Self {
            events: page.events.iter().map(wire::event).collect(),
            caught_up: page.caught_up,
            next_position: source.next_position(),
        })
    }
}
