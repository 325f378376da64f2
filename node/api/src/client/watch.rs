//! Watching what happens to streams.
//!
//! A watch that breaks is opened again, on whichever node answers, behind the last notice that was seen: every
//! notice has a position, so nothing is lost or seen twice at the seam.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use tonic::{Request, Streaming};

use super::call::within;
use super::endpoints::Target;
use super::error::Error;
use super::{Client, streams};
use crate::v1::{self, watch_response::Message};

impl Client {
    /// Watches from a position on, then live. Without a position: from the store's end as it is at the first answer.
    pub fn watch(&self, request: v1::WatchRequest) -> Watching {
        let state = State { client: self.clone(), request, source: None, over: false };
        let items = futures::stream::unfold(state, |mut state| async move {
            if state.over {
                return None;
            }
            let item = state.next_item().await;
            state.over = item.as_ref().is_err_and(|error| !error.retryable());
            Some((item, state))
        })
        .boxed();
        Watching { items }
    }
}

/// What a watcher sees.
#[derive(Debug, Clone, PartialEq)]
pub enum Watched {
    /// Something happened.
    Notice(Box<v1::Notice>),
    /// Everything that happened before this position has been seen.
    CaughtUp {
        /// The first position that has not been looked at.
        next_position: u64,
    },
}

/// A stream that ends only with an error that a retry cannot help. After any other error it goes on when it is
/// polled again, from where it was.
pub struct Watching {
    items: BoxStream<'static, Result<Watched, Error>>,
}

impl std::fmt::Debug for Watching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watching").finish_non_exhaustive()
    }
}

impl Stream for Watching {
    type Item = Result<Watched, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.poll_next_unpin(cx)
    }
}

struct State {
    client: Client,
    /// The next request to open: it says where to go on.
    request: v1::WatchRequest,
    source: Option<(Target, Streaming<v1::WatchResponse>)>,
    over: bool,
}

impl State {
    async fn next_item(&mut self) -> Result<Watched, Error> {
        loop {
            if self.source.is_none() {
                self.source = Some(self.open().await?);
            }
            let (target, messages) = self.source.as_mut().expect("it was just opened");
            let error = match messages.message().await {
                Ok(Some(message)) => match message.message {
                    Some(Message::Header(header)) => {
                        // From here on a watch that had no position has one.
                        self.goes_on_at(header.from_position);
                        continue;
                    }
                    Some(Message::Notice(notice)) => {
                        self.goes_on_at(notice.position + 1);
                        return Ok(Watched::Notice(Box::new(notice)));
                    }
                    Some(Message::CaughtUp(v1::CaughtUp { next_position })) => {
                        self.goes_on_at(next_position);
                        return Ok(Watched::CaughtUp { next_position });
                    }
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

    fn goes_on_at(&mut self, position: u64) {
        self.request.from_position = Some(position);
    }

    /// Opens the watch, retried within the client's deadline.
    async fn open(&self) -> Result<(Target, Streaming<v1::WatchResponse>), Error> {
        self.client
            .until_answered(|target, timeout| {
                let request = self.request.clone();
                async move {
                    // No deadline goes along: a watch has no end.
                    let mut streams = streams(target.channel.clone());
                    let opening = streams.watch(Request::new(request));
                    let messages = within(&target.address, timeout, opening).await?.into_inner();
                    Ok((target, messages))
                }
            })
            .await
    }
}
