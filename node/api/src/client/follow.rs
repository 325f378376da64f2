//! Following the store: events from anywhere on, and then whatever comes.
//!
//! A call that breaks is opened again, on whichever node answers, at exactly the first place that was not seen: nothing
//! is lost or seen twice at the seam. Places are positions, but for whoever follows one stream: those are versions.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use tonic::{Request, Streaming};

use super::call::within;
use super::endpoints::Target;
use super::error::Error;
use super::{Client, subscriptions};
use crate::v1::{self, follow_response::Message, read_from, selector};

/// A stream selector of this name means every event.
const EVERY_STREAM: &str = "$all";

impl Client {
    /// Follows what the request chooses: the events there are, then whatever comes.
    pub fn follow(&self, mut request: v1::FollowRequest) -> Following {
        if let Some(v1::Selector { kind: Some(kind) }) = &mut request.selector
            && matches!(kind, selector::Kind::Stream(stream) if stream == EVERY_STREAM)
        {
            *kind = selector::Kind::All(true);
        }
        let state =
            State { client: self.clone(), request, source: None, caught_up: false, over: false };
        let items = futures::stream::unfold(state, |mut state| async move {
            if state.over {
                return None;
            }
            let item = state.next_item().await;
            state.over = item.as_ref().is_err_and(|error| !error.retryable());
            Some((item, state))
        })
        .boxed();
        Following { items }
    }
}

/// What a follower sees.
#[derive(Debug, Clone, PartialEq)]
pub enum Followed {
    /// The next events, in the store's order; never none.
    Events(Vec<v1::Event>),
    /// Everything there was has been seen. Said each time the follower reaches the end after having seen events, and
    /// once at the start if there were none.
    CaughtUp {
        /// The first position that has not been looked at.
        next_position: u64,
    },
}

/// A stream that ends only with an error that a retry cannot help. After any other error it goes on when
/// it is polled again, from where it was.
pub struct Following {
    items: BoxStream<'static, Result<Followed, Error>>,
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following").finish_non_exhaustive()
    }
}

impl Stream for Following {
    type Item = Result<Followed, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.poll_next_unpin(cx)
    }
}

struct State {
    client: Client,
    /// The next request to open: it says where to go on.
    request: v1::FollowRequest,
    source: Option<(Target, Streaming<v1::FollowResponse>)>,
    /// The end was reached and said, and nothing came since.
    caught_up: bool,
    over: bool,
}

impl State {
    async fn next_item(&mut self) -> Result<Followed, Error> {
        loop {
            if self.source.is_none() {
                self.settle_end().await?;
                self.source = Some(self.open().await?);
            }
            let (target, messages) = self.source.as_mut().expect("it was just opened");
            let error = match messages.message().await {
                Ok(Some(message)) => match message.message {
                    Some(message) => match self.seen(message) {
                        Some(followed) => return Ok(followed),
                        None => continue,
                    },
                    None => continue,
                },
                Ok(None) => Error::ended(&target.address),
                Err(status) => Error::of_status(&target.address, &status),
            };
            if let Some((target, _)) = self.source.take() {
                self.client.broke_off(&target, error).await?;
            }
        }
    }

    /// Takes note of where a message leads to, and says what there is to tell of it.
    fn seen(&mut self, message: Message) -> Option<Followed> {
        match message {
            Message::Header(header) => {
                self.goes_on_at_position(header.from_position);
                None
            }
            Message::Events(v1::EventBatch { events }) => {
                let last = events.last()?;
                let next = if self.stream().is_some() { last.version } else { last.position } + 1;
                self.goes_on_at(next);
                self.caught_up = false;
                Some(Followed::Events(events))
            }
            Message::CaughtUp(v1::CaughtUp { next_position }) => {
                self.goes_on_at_position(next_position);
                let said = std::mem::replace(&mut self.caught_up, true);
                (!said).then_some(Followed::CaughtUp { next_position })
            }
        }
    }

    /// The one stream that is followed.
    fn stream(&self) -> Option<&str> {
        match self.request.selector.as_ref()?.kind.as_ref()? {
            selector::Kind::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    fn goes_on_at(&mut self, place: u64) {
        self.request.from = Some(v1::ReadFrom { kind: Some(read_from::Kind::At(place)) });
    }

    /// A position says nothing to whoever goes by versions: the version behind the last event does, or, before there was
    /// one, what was asked for.
    fn goes_on_at_position(&mut self, position: u64) {
        if self.stream().is_none() {
            self.goes_on_at(position);
        }
    }

    /// A stream's end is another one after each event, and no answer says which version it was. So it is asked for
    /// before the first call, that a second one may begin where the first one did.
    async fn settle_end(&mut self) -> Result<(), Error> {
        let from = self.request.from.as_ref().and_then(|from| from.kind.as_ref());
        if let (Some(stream), Some(read_from::Kind::End(_))) = (self.stream(), from) {
            let request = v1::GetStreamRequest { stream_id: stream.to_owned(), consistency: None };
            let last_version = self.client.get_stream(request).await?.last_version;
            self.goes_on_at(u64::try_from(last_version).map_or(0, |last| last + 1));
        }
        Ok(())
    }

    /// Opens the call, retried within the client's deadline.
    async fn open(&self) -> Result<(Target, Streaming<v1::FollowResponse>), Error> {
        self.client
            .until_answered(|target, timeout| {
                let request = self.request.clone();
                async move {
                    // No deadline goes along: following has no end.
                    let mut subscriptions = subscriptions(target.channel.clone());
                    let opening = subscriptions.follow(Request::new(request));
                    let messages = within(&target.address, timeout, opening).await?.into_inner();
                    Ok((target, messages))
                }
            })
            .await
    }
}
