//! Consumers of a subscription, and followers: how fast events come, and how soon.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt as _;
use reckon_api::client::{Appender, Consumed, Consumption, Error, Followed, Following};
use reckon_api::{Client, v1};
use tokio::sync::{Mutex, OnceCell, watch};
use tokio::time::Instant;

use super::load::{Since, Workload};
use super::payload::{Payload, PayloadArgs};
use super::share;
use crate::failure::Failure;

/// Which subscription is consumed, and how.
#[derive(Debug, clap::Args)]
pub struct ConsumeArgs {
    /// The subscription, which has to be there.
    #[arg(long, default_value = "bench")]
    subscription: String,
    /// Events that each consumer asks for ahead.
    #[arg(long, default_value = "1000")]
    window: NonZeroU32,
    /// Events of one key that each consumer takes ahead.
    #[arg(long, default_value = "64")]
    key_window: NonZeroU32,
    /// Each consumer has a subscription of its own, whose name ends in its number, from 0.
    #[arg(long)]
    numbered: bool,
}

impl ConsumeArgs {
    /// As many consumers as there are clients of the load.
    pub fn workload(self, clients: Vec<Client>, consumers: u32) -> Consumes {
        let consumers = (0..consumers).map(|_| Mutex::new(None)).collect();
        Consumes { args: self, clients, consumers }
    }
}

/// Consumers that acknowledge what they are given: an operation is a message of deliveries.
pub struct Consumes {
    args: ConsumeArgs,
    clients: Vec<Client>,
    consumers: Vec<Mutex<Option<Consumption>>>,
}

impl Workload for Consumes {
    const KINDS: &'static [&'static str] = &["deliveries"];

    async fn operate(
        &self,
        client: u64,
        _number: u64,
        events: &AtomicU64,
    ) -> (usize, Result<Since, Error>) {
        let mut slot = self.consumers[client as usize % self.consumers.len()].lock().await;
        let ended = self.take(&mut slot, client, events).await;
        if ended.is_err() {
            *slot = None;
        }
        (0, ended.map(|()| Since::Due))
    }
}

impl Consumes {
    async fn take(
        &self,
        slot: &mut Option<Consumption>,
        client: u64,
        events: &AtomicU64,
    ) -> Result<(), Error> {
        let consumption = match slot {
            Some(consumption) => consumption,
            slot @ None => {
                let mut name = self.args.subscription.clone();
                if self.args.numbered {
                    name.push_str(&client.to_string());
                }
                let open = v1::OpenConsumer {
                    subscription: Some(name.into()),
                    consumer: format!("bench-{client}"),
                    key_window: self.args.key_window.get(),
                    pull: true,
                };
                let consumption = share(&self.clients, client).consume(open).await?;
                consumption.demand(v1::demand::Kind::Add(self.args.window.get().into()));
                slot.insert(consumption)
            }
        };
        loop {
            match consumption.next().await? {
                Some(Consumed::Deliveries(deliveries)) => {
                    let ack: Vec<u64> = deliveries.iter().map(|delivery| delivery.id).collect();
                    let number = ack.len() as u64;
                    consumption.settle(v1::Settle { ack, ..v1::Settle::default() });
                    consumption.demand(v1::demand::Kind::Add(number));
                    events.fetch_add(number, Ordering::Relaxed);
                    return Ok(());
                }
                Some(Consumed::CaughtUp { .. } | Consumed::Standby(_)) => {}
                None => return Ok(()),
            }
        }
    }
}

/// What is followed.
#[derive(Debug, clap::Args)]
pub struct FollowArgs {
    /// Follow a stream each, of so many that `append` filled, instead of the whole store.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    streams: Option<u64>,
    /// What the names of the streams begin with.
    #[arg(long, default_value = "bench")]
    prefix: String,
    /// Begin at the end.
    #[arg(long)]
    end: bool,
}

impl FollowArgs {
    /// As many followers as there are clients of the load.
    pub fn workload(self, clients: Vec<Client>, followers: u32) -> Follows {
        let followers = (0..followers).map(|_| Mutex::new(None)).collect();
        Follows { args: self, clients, followers }
    }
}

/// Followers: an operation is a message of events.
pub struct Follows {
    args: FollowArgs,
    clients: Vec<Client>,
    followers: Vec<Mutex<Option<Following>>>,
}

impl Workload for Follows {
    const KINDS: &'static [&'static str] = &["events"];

    async fn operate(
        &self,
        client: u64,
        _number: u64,
        events: &AtomicU64,
    ) -> (usize, Result<Since, Error>) {
        let mut slot = self.followers[client as usize % self.followers.len()].lock().await;
        let following = slot.get_or_insert_with(|| {
            let stream = |streams| super::payload::stream(&self.args.prefix, client, streams);
            let kind = self.args.streams.map(stream).map(v1::selector::Kind::Stream);
            let from = self.args.end.then_some(v1::read_from::Kind::End(true));
            share(&self.clients, client).follow(v1::FollowRequest {
                selector: kind.map(|kind| v1::Selector { kind: Some(kind) }),
                from: from.map(|kind| v1::ReadFrom { kind: Some(kind) }),
                ..v1::FollowRequest::default()
            })
        });
        loop {
            match following.next().await {
                Some(Ok(Followed::Events(arrived))) => {
                    events.fetch_add(arrived.len() as u64, Ordering::Relaxed);
                    return (0, Ok(Since::Due));
                }
                Some(Ok(Followed::CaughtUp { .. })) => {}
                Some(Err(error)) => return (0, Err(error)),
                None => return (0, Ok(Since::Due)),
            }
        }
    }
}

/// What is appended, and who waits for it.
#[derive(Debug, clap::Args)]
pub struct DeliverArgs {
    #[command(flatten)]
    payload: PayloadArgs,
    /// Deliver to a consumer of this subscription, which acknowledges, instead of to a follower.
    #[arg(long)]
    subscription: Option<String>,
}

impl DeliverArgs {
    pub fn workload(self, clients: Vec<Client>) -> Result<Delivers, Failure> {
        Ok(Delivers {
            appenders: clients.iter().map(Client::appender).collect(),
            subscription: self.subscription,
            payload: Payload::new(self.payload)?,
            clients,
            arrived: OnceCell::new(),
        })
    }
}

/// Appends whose events are waited for where they are delivered: an operation counts from when its append was
/// acknowledged until its event has arrived.
pub struct Delivers {
    clients: Vec<Client>,
    appenders: Vec<Appender>,
    subscription: Option<String>,
    payload: Payload,
    /// Every event below this position has arrived.
    arrived: OnceCell<watch::Receiver<u64>>,
}

impl Workload for Delivers {
    const KINDS: &'static [&'static str] = &["delivery"];

    async fn operate(
        &self,
        client: u64,
        number: u64,
        events: &AtomicU64,
    ) -> (usize, Result<Since, Error>) {
        let mut arrived = match self.arrived.get_or_try_init(|| self.listen()).await {
            Ok(arrived) => arrived.clone(),
            Err(error) => return (0, Err(error)),
        };
        let append = v1::StreamAppend {
            stream_id: self.payload.stream(number),
            expectation: None,
            events: vec![self.payload.event(number)],
        };
        let request = v1::AppendRequest { appends: vec![append], condition: None };
        let appended = match share(&self.appenders, client).append(request).await {
            Ok(appended) => appended,
            Err(error) => return (0, Err(error)),
        };
        let acknowledged = Instant::now();
        // Whoever listens ends only with this program.
        let _ = arrived.wait_for(|arrived| *arrived > appended.last_position).await;
        events.fetch_add(1, Ordering::Relaxed);
        (0, Ok(Since::At(acknowledged)))
    }
}

impl Delivers {
    /// Begins to take what is delivered from now on.
    async fn listen(&self) -> Result<watch::Receiver<u64>, Error> {
        let (tell, arrived) = watch::channel(0);
        let tell = Arc::new(tell);
        let client = &self.clients[0];
        let end = Some(v1::ReadFrom { kind: Some(v1::read_from::Kind::End(true)) });
        match &self.subscription {
            None => {
                let mut following =
                    client.follow(v1::FollowRequest { from: end, ..v1::FollowRequest::default() });
                // Where it begins is settled once it has been told so.
                let first = following.next().await;
                first.transpose()?;
                tokio::spawn(async move {
                    while let Some(Ok(followed)) = following.next().await {
                        if let Followed::Events(events) = followed
                            && let Some(last) = events.last()
                        {
                            tell.send_replace(last.position + 1);
                        }
                    }
                });
            }
            Some(subscription) => {
                let open = v1::OpenConsumer {
                    subscription: Some(subscription.as_str().into()),
                    key_window: 64,
                    ..v1::OpenConsumer::default()
                };
                let mut consumption = client.consume(open).await?;
                tokio::spawn(async move {
                    while let Ok(Some(consumed)) = consumption.next().await {
                        let Consumed::Deliveries(deliveries) = consumed else { continue };
                        let ack = deliveries.iter().map(|delivery| delivery.id).collect();
                        consumption.settle(v1::Settle { ack, ..v1::Settle::default() });
                        let positions = deliveries.iter().filter_map(|it| it.event.as_ref());
                        if let Some(last) = positions.map(|event| event.position).max() {
                            tell.send_if_modified(|arrived| {
                                let further = last + 1 > *arrived;
                                *arrived = (*arrived).max(last + 1);
                                further
                            });
                        }
                    }
                });
            }
        }
        Ok(arrived)
    }
}
