//! Following the store: everything from a position on, and then whatever comes.
//!
//! A follower reads to the end and asks again after an interval. It continues at the position that the
//! answer reflects, so nothing is lost or seen twice where one read ends and the next begins.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};

use super::Client;
use super::error::Error;
use super::read::ReadAllEvents;
use crate::v1::{self, read_from};

impl Client {
    /// Follows what a read of the store would deliver, from a position on (inclusive). Where the read begins, its
    /// direction, its limit and its consistency are not looked at.
    pub fn follow(&self, from: u64, read: v1::ReadAllRequest) -> Following {
        let read = v1::ReadAllRequest {
            direction: v1::Direction::Forward.into(),
            limit: 0,
            consistency: None,
            ..read
        };
        let state = State {
            client: self.clone(),
            next: from,
            read,
            reading: None,
            caught_up: false,
            over: false,
        };
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
    /// The next event.
    Event(Box<v1::Event>),
    /// Everything there was has been seen; `next_position` is where the follower goes on. Said each time
    /// the follower reaches the end after having seen events, and once at the start if there were none.
    CaughtUp {
        /// The first position that has not been seen.
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
    /// The first position that was not seen.
    next: u64,
    read: v1::ReadAllRequest,
    reading: Option<ReadAllEvents>,
    /// The end was reached and said, and nothing came since.
    caught_up: bool,
    over: bool,
}

impl State {
    async fn next_item(&mut self) -> Result<Followed, Error> {
        loop {
            if self.reading.is_none() {
                if self.caught_up {
                    tokio::time::sleep(self.client.options().follow_interval).await;
                }
                let from = v1::ReadFrom { kind: Some(read_from::Kind::At(self.next)) };
                let request = v1::ReadAllRequest { from: Some(from), ..self.read.clone() };
                self.reading = Some(self.client.read_all(request).await?);
            }
            let reading = self.reading.as_mut().expect("it was just opened");
            match reading.next().await {
                Some(Ok(event)) => {
                    self.next = event.position + 1;
                    self.caught_up = false;
                    return Ok(Followed::Event(Box::new(event)));
                }
                Some(Err(error)) => {
                    self.reading = None;
                    return Err(error);
                }
                None => {
                    self.next = self.next.max(reading.header().next_position);
                    self.reading = None;
                    if !self.caught_up {
                        self.caught_up = true;
                        return Ok(Followed::CaughtUp { next_position: self.next });
                    }
                }
            }
        }
    }
}
