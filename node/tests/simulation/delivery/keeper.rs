//! Who looks after a subscription: creates it, looks how far it is, has parked events delivered again or forgotten, moves
//! the checkpoint back, and waits in the end until everything is done.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use reckon_api::v1;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use v1::streams_client::StreamsClient;
use v1::subscriptions_client::SubscriptionsClient;

use super::ledger::{Done, How, Ledger, Note};
use super::plan::Planned;
use super::{Around, Consumed};
use crate::client::read_all;
use crate::history::{Outcome, Seen};
use crate::network::SimulatedDial;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(2);
/// The pause before something is tried or looked at again.
const AGAIN: Duration = Duration::from_millis(200);

/// Looks after a subscription until everything is done.
pub async fn run(host: String, consumed: Consumed, around: Around, chance: StdRng) {
    let Consumed { planned, ledger, stage } = consumed;
    let dial = SimulatedDial::new(&host);
    let mut keeper = Keeper { host, planned, ledger, around, chance, dial };
    tokio::time::sleep(keeper.planned.create_after).await;
    stage.replace(format!("{} is not created", keeper.planned.name));
    keeper.create().await;
    while !keeper.around.ending.get() {
        let pause = keeper.chance.random_range(100..1_200);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        // What is refused or lost is left alone: there is a next time.
        let _ = keeper.do_something().await;
    }
    loop {
        match keeper.missing().await {
            Ok(missing) if missing.is_empty() => break,
            Ok(missing) => drop(stage.replace(format!("{}: {missing}", keeper.planned.name))),
            Err(status) => drop(stage.replace(format!("{}: {status}", keeper.planned.name))),
        }
        tokio::time::sleep(AGAIN).await;
    }
    stage.borrow_mut().clear();
}

struct Keeper {
    host: String,
    planned: Planned,
    ledger: Ledger,
    around: Around,
    chance: StdRng,
    dial: SimulatedDial,
}

impl Keeper {
    async fn create(&mut self) {
        loop {
            let request =
                v1::CreateSubscriptionRequest { definition: Some(self.planned.definition()) };
            let created = self.ask(|mut node| {
                let request = timed(request.clone());
                async move { node.create(request).await }
            });
            match created.await {
                Ok(_) => return,
                Err(status) => tracing::debug!(host = self.host, %status, "not created"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn do_something(&mut self) -> Result<(), Status> {
        match self.chance.random_range(0..10) {
            0..4 => self.look().await.map(drop),
            4..6 => {
                let positions = self.some_parked().await?;
                if positions.is_empty() { Ok(()) } else { self.replay(positions).await }
            }
            6 => {
                let positions = self.some_parked().await?;
                if positions.is_empty() { Ok(()) } else { self.discard(positions).await }
            }
            7 if self.planned.resets => self.reset().await,
            _ => self.list().await.map(drop),
        }
    }

    /// How far the subscription is.
    async fn look(&mut self) -> Result<Done, Status> {
        let since = self.ledger.note(Note::Looking);
        let request = v1::GetSubscriptionRequest { subscription: self.named() };
        let got = self.ask(|mut node| {
            let request = timed(request.clone());
            async move { node.get(request).await }
        });
        let done = Done::of(got.await?.subscription.as_ref());
        self.ledger.note(Note::Looked { since, done: done.clone() });
        Ok(done)
    }

    /// What is parked: positions and keys.
    async fn list(&mut self) -> Result<Vec<(u64, String)>, Status> {
        let since = self.ledger.note(Note::Looking);
        let mut parked = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListParkedRequest {
                subscription: self.named(),
                page_token: page_token.clone(),
                ..v1::ListParkedRequest::default()
            };
            let page = self.ask(|mut node| {
                let request = timed(request.clone());
                async move { node.list_parked(request).await }
            });
            let page = page.await?;
            parked.extend(page.events.into_iter().map(|event| (event.position, event.key)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        self.ledger.note(Note::Listed { since, parked: parked.clone() });
        Ok(parked)
    }

    async fn some_parked(&mut self) -> Result<Vec<u64>, Status> {
        let mut positions: Vec<_> = self.list().await?.into_iter().map(|(at, _)| at).collect();
        positions.retain(|_| self.chance.random());
        Ok(positions)
    }

    async fn replay(&mut self, positions: Vec<u64>) -> Result<(), Status> {
        self.ledger.note(Note::Replaying { positions: positions.clone() });
        let request = v1::ReplayParkedRequest { subscription: self.named(), positions };
        let replayed = self.ask(|mut node| {
            let request = timed(request.clone());
            async move { node.replay_parked(request).await }
        });
        replayed.await.map(drop)
    }

    async fn discard(&mut self, positions: Vec<u64>) -> Result<(), Status> {
        self.ledger.note(Note::Discarding { positions: positions.clone() });
        let request =
            v1::DiscardParkedRequest { subscription: self.named(), positions, all: false };
        let discarded = self.ask(|mut node| {
            let request = timed(request.clone());
            async move { node.discard_parked(request).await }
        });
        discarded.await.map(drop)
    }

    /// Moves the checkpoint back, never forward: what is gone over then would be missing, also what is pending.
    async fn reset(&mut self) -> Result<(), Status> {
        let Done { next_position, pending } = self.look().await?;
        let now = pending.first().copied().unwrap_or(next_position);
        if now < self.planned.start {
            // A reset may also go behind where the subscription began, but nothing in there is planned for.
            return Ok(());
        }
        let to = self.chance.random_range(self.planned.start..=now);
        let since = self.ledger.note(Note::Resetting { to });
        let to = Some(v1::StartFrom { kind: Some(v1::start_from::Kind::Position(to)) });
        let request = v1::ResetSubscriptionRequest { subscription: self.named(), to };
        let reset = self.ask(|mut node| {
            let request = timed(request);
            async move { node.reset(request).await }
        });
        reset.await?;
        self.ledger.note(Note::Reset { since });
        Ok(())
    }

    /// What is not done yet of all that is there to be done, in a store that is quiet.
    async fn missing(&mut self) -> Result<String, Status> {
        if self.around.history.pending() {
            return Ok("clients have not ended".to_owned());
        }
        let Some((head, events)) = contents(&self.around, &self.host, &mut self.chance).await
        else {
            return Ok("the store cannot be read".to_owned());
        };
        let done = self.look().await?;
        let there: BTreeSet<_> =
            events.iter().filter(|seen| self.planned.takes(seen)).map(|it| it.position).collect();
        let undone: Vec<_> = there.iter().filter(|&&position| !done.has(position)).collect();
        if !undone.is_empty() {
            return Ok(format!("{undone:?} of {} events are not done", there.len()));
        }
        let parked: BTreeSet<_> = self.list().await?.into_iter().map(|(at, _)| at).collect();
        let mut replaying = self.replaying();
        replaying.retain(|position| there.contains(position) && !parked.contains(position));
        if !replaying.is_empty() {
            return Ok(format!("{replaying:?} were to be delivered again, and were not"));
        }
        self.ledger.note(Note::Quiet { head });
        Ok(String::new())
    }

    /// Events that were to be delivered again, and of which nobody has said since that they are done.
    fn replaying(&self) -> BTreeSet<u64> {
        let mut replaying = BTreeSet::new();
        let mut deliveries = BTreeMap::new();
        for note in self.ledger.notes().iter() {
            match note {
                Note::Replaying { positions } => replaying.extend(positions),
                Note::Discarding { positions } => {
                    replaying.retain(|position| !positions.contains(position));
                }
                Note::Delivered { call, delivery, .. } => {
                    deliveries.insert((*call, delivery.id), delivery.seen.position);
                }
                Note::Settled { call, id, how: How::Ack | How::Skip | How::Park } => {
                    if let Some(position) = deliveries.get(&(*call, *id)) {
                        replaying.remove(position);
                    }
                }
                Note::Settled { call, id, how: How::AckUpto } => {
                    for (_, position) in deliveries.range((*call, 0)..=(*call, *id)) {
                        replaying.remove(position);
                    }
                }
                _ => {}
            }
        }
        replaying
    }

    #[allow(clippy::unnecessary_wraps, reason = "as the field has it")]
    fn named(&self) -> Option<v1::SubscriptionRef> {
        Some(v1::SubscriptionRef::named(&self.planned.name))
    }

    /// Asks any node, once.
    async fn ask<T, F>(
        &mut self,
        call: impl FnOnce(SubscriptionsClient<Channel>) -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let channel = any(&self.around, &self.dial, &mut self.chance);
        answer(call(SubscriptionsClient::new(channel))).await
    }
}

/// Every event that can be read, and the position behind them, if any node answers.
pub async fn contents(
    around: &Around,
    host: &str,
    chance: &mut StdRng,
) -> Option<(u64, Vec<Seen>)> {
    let mut client = StreamsClient::new(any(around, &SimulatedDial::new(host), chance));
    let reading = async {
        let pages = client.read_all(timed(v1::ReadAllRequest::default())).await?;
        read_all(pages.into_inner()).await
    };
    match tokio::time::timeout(CALL, reading).await {
        Ok(Ok(Outcome::All { next_position, events })) => Some((next_position, events)),
        _ => None,
    }
}

fn any(around: &Around, dial: &SimulatedDial, chance: &mut StdRng) -> Channel {
    let nodes = around.nodes.borrow();
    dial.client_port(&nodes[chance.random_range(0..nodes.len())])
}

async fn answer<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(CALL, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_elapsed) => Err(Status::deadline_exceeded("no answer in time")),
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}
