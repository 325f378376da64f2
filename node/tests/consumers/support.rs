//! A store, events in it, and a consumer that does what a test says.

use std::collections::VecDeque;
use std::time::Duration;

use reckon_api::client::{Consumed, Consumption, Error, Expect, Options};
use reckon_api::v1::{self, demand, selector};
use reckon_api::{Client, Reason};

use crate::processes::{DEADLINE, NodeProcess, Store};

/// Long enough to be sure that nothing comes; nothing is asserted to come in time.
const SILENCE: Duration = Duration::from_millis(300);

/// One node that is ready, and a client of it.
pub async fn one_node() -> (Store, Client) {
    let store = Store::start(1);
    store.ready().await;
    let client = client(&store.nodes);
    (store, client)
}

pub fn client(nodes: &[NodeProcess]) -> Client {
    Client::new(Options::new(nodes.iter().map(|node| format!("127.0.0.1:{}", node.client))))
        .expect("addresses")
}

/// Appends one event to each stream named, in this order; their data are numbers from 0.
pub async fn append(client: &Client, streams: &[&str]) {
    for (number, stream) in streams.iter().enumerate() {
        let event = event("Tested", &format!("{{\"n\":{number}}}"));
        client.append_to(*stream, Expect::Any, vec![event]).await.expect("an append");
    }
}

pub fn event(event_type: &str, data: &str) -> v1::NewEvent {
    v1::NewEvent {
        event_type: event_type.to_owned(),
        data: data.to_owned().into(),
        ..v1::NewEvent::default()
    }
}

#[allow(clippy::unnecessary_wraps, reason = "as the field has it")]
pub fn selects(kind: selector::Kind) -> Option<v1::Selector> {
    Some(v1::Selector { kind: Some(kind) })
}

/// A subscription to every event, that tries again at once.
pub fn to_all(name: &str) -> v1::SubscriptionDefinition {
    v1::SubscriptionDefinition {
        name: name.to_owned(),
        selector: selects(selector::Kind::All(true)),
        retry_backoff_ms_min: 1,
        ..v1::SubscriptionDefinition::default()
    }
}

pub fn reason_of(error: &Error) -> Option<Reason> {
    match error {
        Error::Refused { reason, .. } => *reason,
        _ => None,
    }
}

pub async fn create(
    client: &Client,
    definition: v1::SubscriptionDefinition,
) -> Result<v1::CreateSubscriptionResponse, Error> {
    let definition = Some(definition);
    client.create_subscription(v1::CreateSubscriptionRequest { definition }).await
}

pub async fn update(
    client: &Client,
    definition: v1::SubscriptionDefinition,
) -> Result<v1::UpdateSubscriptionResponse, Error> {
    let definition = Some(definition);
    client.update_subscription(v1::UpdateSubscriptionRequest { definition }).await
}

pub async fn get(
    client: &Client,
    subscription: impl Into<v1::SubscriptionRef>,
) -> Result<v1::Subscription, Error> {
    let subscription = Some(subscription.into());
    client.get_subscription(v1::GetSubscriptionRequest { subscription }).await
}

pub async fn delete(
    client: &Client,
    subscription: impl Into<v1::SubscriptionRef>,
    type_name: &str,
) -> Result<v1::DeleteSubscriptionResponse, Error> {
    let (subscription, r#type) = (Some(subscription.into()), type_name.to_owned());
    client.delete_subscription(v1::DeleteSubscriptionRequest { subscription, r#type }).await
}

pub async fn exists(client: &Client, name: &str) -> bool {
    let subscription = Some(name.into());
    let request = v1::ExistsSubscriptionRequest { subscription };
    client.subscription_exists(request).await.expect("an answer").exists
}

pub async fn reset(client: &Client, name: &str, kind: v1::start_from::Kind) {
    let to = Some(v1::StartFrom { kind: Some(kind) });
    let request = v1::ResetSubscriptionRequest { subscription: Some(name.into()), to };
    client.reset_subscription(request).await.expect("a reset");
}

/// The checkpoint's position after that.
pub async fn ack_upto(client: &Client, name: &str, upto: v1::ack_request::Upto) -> u64 {
    let request = v1::AckRequest { subscription: Some(name.into()), upto: Some(upto) };
    let answer = client.ack_subscription(request).await.expect("an ack");
    answer.checkpoint.expect("a checkpoint").next_position
}

pub async fn health(client: &Client) -> Vec<v1::SubscriptionHealth> {
    let request = v1::SubscriptionHealthRequest::default();
    client.subscription_health(request).await.expect("an answer").subscriptions
}

/// A consumer, one delivery at a time.
pub struct Tested {
    pub consumption: Consumption,
    waiting: VecDeque<v1::Delivery>,
    pub caught_up: Option<u64>,
    pub standby: bool,
}

impl Tested {
    pub async fn open(client: &Client, open: v1::OpenConsumer) -> Self {
        let consumption = client.consume(open).await.expect("a consumer");
        let standby = consumption.opened().standby;
        Self { consumption, waiting: VecDeque::new(), caught_up: None, standby }
    }

    /// Is pushed what there is, one event of a key at a time.
    pub async fn of(client: &Client, name: &str) -> Self {
        Self::open(client, opens(name)).await
    }

    /// The next delivery, however long it takes.
    pub async fn next(&mut self) -> v1::Delivery {
        let next = tokio::time::timeout(DEADLINE, self.try_next());
        next.await.expect("a delivery in time").expect("a consumer that is open")
    }

    pub async fn try_next(&mut self) -> Result<v1::Delivery, Error> {
        loop {
            if let Some(delivery) = self.waiting.pop_front() {
                return Ok(delivery);
            }
            match self.consumption.next().await? {
                Some(Consumed::Deliveries(deliveries)) => self.waiting.extend(deliveries),
                Some(Consumed::CaughtUp { next_position }) => self.caught_up = Some(next_position),
                Some(Consumed::Standby(standby)) => self.standby = standby,
                None => panic!("nobody asked for the end"),
            }
        }
    }

    /// Returns when something is known that is told without a delivery.
    pub async fn until(&mut self, mut known: impl FnMut(&Self) -> bool) {
        while !known(self) {
            match self.consumption.next().await.expect("a consumer that is open") {
                Some(Consumed::Deliveries(deliveries)) => self.waiting.extend(deliveries),
                Some(Consumed::CaughtUp { next_position }) => self.caught_up = Some(next_position),
                Some(Consumed::Standby(standby)) => self.standby = standby,
                None => panic!("nobody asked for the end"),
            }
        }
    }

    /// Takes so many events, acknowledges each, and says which they were: stream and version.
    pub async fn take(&mut self, events: usize) -> Vec<(String, u64)> {
        let mut taken = Vec::new();
        for _ in 0..events {
            let delivery = self.next().await;
            self.ack(&delivery);
            taken.push(of(&delivery));
        }
        taken
    }

    /// Nothing comes.
    pub async fn is_silent(&mut self) {
        let next = tokio::time::timeout(SILENCE, self.try_next());
        if let Ok(Ok(delivery)) = next.await {
            panic!("{:?} was delivered", of(&delivery));
        }
    }

    pub fn ack(&self, delivery: &v1::Delivery) {
        self.consumption.settle(v1::Settle { ack: vec![delivery.id], ..v1::Settle::default() });
    }

    pub fn retry(&self, delivery: &v1::Delivery, reason: &str, after_ms: Option<u64>) {
        let retry = vec![v1::Retry { id: delivery.id, reason: reason.to_owned(), after_ms }];
        self.consumption.settle(v1::Settle { retry, ..v1::Settle::default() });
    }

    pub fn park(&self, delivery: &v1::Delivery, reason: &str) {
        let park = vec![v1::Park { id: delivery.id, reason: reason.to_owned() }];
        self.consumption.settle(v1::Settle { park, ..v1::Settle::default() });
    }

    pub fn demand(&self, kind: demand::Kind) {
        self.consumption.demand(kind);
    }

    /// Leaves; what was said is written down when this returns.
    pub async fn leave(mut self) {
        self.consumption.finish();
        let ending = async { while self.consumption.next().await.expect("an end").is_some() {} };
        tokio::time::timeout(DEADLINE, ending).await.expect("an end in time");
    }
}

pub fn opens(name: &str) -> v1::OpenConsumer {
    v1::OpenConsumer {
        subscription: Some(v1::SubscriptionRef::named(name)),
        ..v1::OpenConsumer::default()
    }
}

/// Stream and version.
pub fn of(delivery: &v1::Delivery) -> (String, u64) {
    let event = delivery.event.as_ref().expect("an event");
    (event.stream_id.clone(), event.version)
}

pub fn events(list: &[(&str, u64)]) -> Vec<(String, u64)> {
    list.iter().map(|(stream, version)| ((*stream).to_owned(), *version)).collect()
}

pub async fn read_stream(client: &Client, stream_id: &str) -> Vec<v1::Event> {
    let stream_id = stream_id.to_owned();
    let request = v1::ReadRequest { stream_id, ..v1::ReadRequest::default() };
    let read = client.read(request).await.expect("a read");
    futures::TryStreamExt::try_collect(read).await.expect("events")
}
