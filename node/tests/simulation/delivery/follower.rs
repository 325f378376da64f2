//! A follower that goes on where it was when its call ends. Now and then it is slow, or leaves by itself.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use reckon_api::v1;
use tokio::time::Instant;
use tonic::Streaming;
use v1::follow_response::Message as Told;
use v1::subscriptions_client::SubscriptionsClient;

use super::ledger::FollowerNote as Note;
use super::plan::Choice;
use super::{Around, Followed, keeper, now};
use crate::client::seen;
use crate::network::SimulatedDial;
use crate::trace::{self, Kind};

/// How long a follower waits for its call to begin.
const OPENING: Duration = Duration::from_secs(3);
/// How often one that is told nothing looks whether everything is over.
const LOOK: Duration = Duration::from_millis(200);
/// How often the quiet store is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const HOST: &str = "followers";

/// Follows until it was told everything that there is when the run is quiet.
pub async fn run(followed: Followed, around: Around, chance: StdRng) {
    let dial = SimulatedDial::new(HOST);
    let next = followed.planned.from;
    let (last, until, looked) = (None, None, None);
    let mut one = Follower { followed, around, chance, dial, next, last, until, looked };
    while !one.is_done().await {
        one.call().await;
        let pause = one.chance.random_range(0..300);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    one.followed.stage.borrow_mut().clear();
}

struct Follower {
    followed: Followed,
    around: Around,
    chance: StdRng,
    dial: SimulatedDial,
    /// Where it goes on: a position, or a version of its one stream.
    next: u64,
    /// The position of the last event that it was told.
    last: Option<u64>,
    /// The last of its events in the quiet store, and when that was looked at.
    until: Option<u64>,
    looked: Option<Instant>,
}

impl Follower {
    async fn call(&mut self) {
        let nodes = self.around.nodes.borrow().clone();
        let node = &nodes[self.chance.random_range(0..nodes.len())];
        let mut client = SubscriptionsClient::new(self.dial.lasting(node));
        let request = v1::FollowRequest {
            selector: Some(self.followed.planned.choice.selector()),
            from: Some(v1::ReadFrom { kind: Some(v1::read_from::Kind::At(self.next)) }),
            ..v1::FollowRequest::default()
        };
        let opening = tokio::time::timeout(OPENING, client.follow(request)).await;
        if let Ok(Ok(told)) = opening {
            self.listen(told.into_inner()).await;
        }
    }

    async fn listen(&mut self, mut told: Streaming<v1::FollowResponse>) {
        loop {
            match tokio::time::timeout(LOOK, told.message()).await {
                Ok(Ok(Some(message))) => self.take(message.message),
                Ok(Ok(None) | Err(_)) => return,
                Err(_silence) => {}
            }
            if self.is_done().await {
                return;
            }
            // In the end nobody calls anew: who sleeps although there is more would be woken by that.
            if !self.around.ending.get() {
                match self.chance.random_range(0..100) {
                    0 => return,
                    1..4 => {
                        let pause = self.chance.random_range(0..2_000);
                        tokio::time::sleep(Duration::from_millis(pause)).await;
                    }
                    _ => {}
                }
            }
        }
    }

    fn take(&mut self, told: Option<Told>) {
        let ledger = self.followed.ledger.clone();
        let of_stream = matches!(self.followed.planned.choice, Choice::Stream(_));
        match told {
            Some(Told::Header(v1::FollowHeader { from_position })) => {
                ledger.note(Note::Opened { from_position });
            }
            Some(Told::Events(batch)) => {
                for event in &batch.events {
                    trace::record(now(), HOST, Kind::Delivered, event.position);
                    self.next = if of_stream { event.version } else { event.position } + 1;
                    self.last = Some(event.position);
                    ledger.note(Note::Told(seen(event)));
                }
            }
            Some(Told::CaughtUp(v1::CaughtUp { next_position })) => {
                if !of_stream {
                    self.next = self.next.max(next_position);
                }
                ledger.note(Note::CaughtUp { next_position });
            }
            None => {}
        }
    }

    /// Whether it was told the last event of its choice in the store, which is quiet.
    async fn is_done(&mut self) -> bool {
        if !self.around.ending.get() || self.around.history.pending() {
            return false;
        }
        // What was asked long ago may still take effect: it is looked again until nothing is missing.
        if self.looked.is_none_or(|at| at.elapsed() >= LOOK_AGAIN) {
            let Some((head, events)) = keeper::contents(&self.around, HOST, &mut self.chance).await
            else {
                return false;
            };
            let planned = &self.followed.planned;
            let last = events.iter().rfind(|seen| planned.takes(seen));
            self.until = last.map(|seen| seen.position);
            self.looked = Some(Instant::now());
            self.followed.ledger.note(Note::Quiet { head });
        }
        let done = self.last >= self.until;
        *self.followed.stage.borrow_mut() = format!(
            "a follower of {:?} was told up to {:?}, and {:?} is there",
            self.followed.planned.choice, self.last, self.until
        );
        done
    }
}
