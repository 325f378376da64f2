//! A consumer that speaks `Consume` itself, through any node, and opens the next call when one has ended. It misbehaves:
//! it leaves without a word, stands still for longer than it may, settles late, twice or not at all, and has events tried
//! again, parked and skipped.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use reckon_api::v1;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use v1::consume_request::Message as Said;
use v1::consume_response::Message as Told;
use v1::subscriptions_client::SubscriptionsClient;

use super::ledger::{Delivered, Done, How, Ledger, Note};
use super::plan::{Planned, PlannedConsumer};
use super::{Around, Consumed, now};
use crate::client::seen;
use crate::network::SimulatedDial;
use crate::trace::{self, Kind};

/// How long a consumer waits to be taken in.
const OPENING: Duration = Duration::from_secs(3);
/// How often one that is told nothing looks whether everything is over.
const LOOK: Duration = Duration::from_millis(200);

/// Consumes until everything is done.
pub async fn run(
    host: String,
    (number, own): (u64, PlannedConsumer),
    of: Consumed,
    around: Around,
    done: Rc<Cell<bool>>,
    chance: StdRng,
) {
    let Consumed { planned, ledger, .. } = of;
    let dial = SimulatedDial::new(&host);
    let channels = BTreeMap::new();
    let mut one = Consumer {
        host,
        number,
        own,
        planned,
        ledger,
        around,
        done,
        chance,
        dial,
        channels,
        calls: 0,
    };
    // Whoever comes before its subscription is refused.
    tokio::time::sleep(one.planned.create_after).await;
    while !one.done.get() {
        one.call().await;
        let pause = if one.behaves() { 20..100 } else { 0..500 };
        let pause = one.chance.random_range(pause);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

struct Consumer {
    host: String,
    number: u64,
    own: PlannedConsumer,
    planned: Planned,
    ledger: Ledger,
    around: Around,
    done: Rc<Cell<bool>>,
    chance: StdRng,
    dial: SimulatedDial,
    channels: BTreeMap<String, Channel>,
    calls: usize,
}

/// What a consumer does with a delivery, and when.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Settle(How),
    /// The call is dropped.
    Crash,
    /// Nothing is read and said for a while.
    Pause(Duration),
}

/// One call under way.
struct Call {
    number: usize,
    say: mpsc::UnboundedSender<v1::ConsumeRequest>,
    /// Deeds by the time of each.
    deeds: BTreeMap<(Instant, u64), (u64, Deed)>,
    last_deed: u64,
    /// Events that were asked for and did not come.
    wanted: u64,
}

impl Consumer {
    /// Once the faults are over everybody behaves.
    fn behaves(&self) -> bool {
        self.around.ending.get()
    }

    async fn call(&mut self) {
        // Unique over all consumers of the subscription: a note's place is.
        let number = self.ledger.notes().len();
        self.calls += 1;
        let open = v1::OpenConsumer {
            subscription: Some(v1::SubscriptionRef::named(&self.planned.name)),
            consumer: format!("{}-{}-{}", self.host, self.number, self.calls),
            key_window: Some(self.own.key_window).filter(|&window| window > 1).unwrap_or_default(),
            pull: self.own.pull,
        };
        self.ledger.note(Note::Opening {
            call: number,
            consumer: open.consumer.clone(),
            key_window: self.own.key_window,
            pull: self.own.pull,
        });
        let (say, said) = mpsc::unbounded_channel();
        let _ = say.send(wrap(Said::Open(open)));
        let mut call = Call { number, say, deeds: BTreeMap::new(), last_deed: 0, wanted: 0 };
        let mut client = self.pick();
        let opening = client.consume(UnboundedReceiverStream::new(said));
        if let Ok(Ok(answer)) = tokio::time::timeout(OPENING, opening).await {
            self.follow(&mut call, answer.into_inner()).await;
        }
    }

    fn pick(&mut self) -> SubscriptionsClient<Channel> {
        let nodes = self.around.nodes.borrow();
        let node = nodes[self.chance.random_range(0..nodes.len())].clone();
        if self.chance.random_ratio(1, 4) {
            self.channels.remove(&node);
        }
        let dial = &self.dial;
        let channel = self.channels.entry(node).or_insert_with_key(|node| dial.lasting(node));
        SubscriptionsClient::new(channel.clone())
    }

    /// Takes what comes, and does what is due, until the call is over.
    async fn follow(&mut self, call: &mut Call, mut told: Streaming<v1::ConsumeResponse>) {
        loop {
            if self.own.pull && call.wanted == 0 {
                self.ask_for_more(call);
            }
            let due = call.deeds.first_key_value().map(|((at, _), _)| *at);
            let look = Instant::now() + LOOK;
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due.unwrap_or(look).min(look)) => {
                    if self.done.get() {
                        return;
                    }
                    if due.is_some_and(|due| due <= Instant::now()) && !self.act(call).await {
                        return;
                    }
                }
                message = told.message() => match message {
                    Ok(Some(message)) => self.take(call, message.message),
                    Ok(None) => return,
                    Err(status) => {
                        tracing::debug!(host = self.host, %status, "a consumer's call ended");
                        return;
                    }
                },
            }
        }
    }

    fn take(&mut self, call: &mut Call, told: Option<Told>) {
        match told {
            Some(Told::Opened(opened)) => {
                let done = Done::of(opened.subscription.as_ref());
                self.ledger.note(Note::Opened { call: call.number, done });
            }
            Some(Told::Deliveries(deliveries)) => {
                for delivery in deliveries.deliveries {
                    self.take_delivery(call, &delivery);
                }
            }
            Some(Told::CaughtUp(_) | Told::Role(_)) | None => {}
        }
    }

    fn take_delivery(&mut self, call: &mut Call, delivery: &v1::Delivery) {
        let Some(event) = &delivery.event else { return };
        let detail = event.position << 16 | u64::from(delivery.attempt);
        trace::record(now(), &self.host, Kind::Delivered, detail);
        let delivered = Delivered {
            seen: seen(event),
            id: delivery.id,
            attempt: delivery.attempt,
            replayed: delivery.replayed,
            key: if delivery.key.is_empty() { &event.stream_id } else { &delivery.key }.clone(),
            epoch: delivery.epoch,
        };
        self.ledger.note(Note::Delivered { call: call.number, at: now(), delivery: delivered });
        call.wanted = call.wanted.saturating_sub(1);
        for (after, deed) in self.fate() {
            call.last_deed += 1;
            call.deeds.insert((Instant::now() + after, call.last_deed), (delivery.id, deed));
        }
    }

    /// What becomes of a delivery, and after how long.
    fn fate(&mut self) -> Vec<(Duration, Deed)> {
        let timeout = self.planned.ack_timeout;
        let soon = Duration::from_millis(self.chance.random_range(0..20));
        if self.behaves() {
            return vec![(soon, Deed::Settle(How::Ack))];
        }
        let late = timeout.mul_f64(self.chance.random_range(1.0..2.5));
        let settle = |after, how| (after, Deed::Settle(how));
        match self.chance.random_range(0..100) {
            0..52 => vec![settle(soon, How::Ack)],
            52..60 => vec![settle(timeout.mul_f64(self.chance.random_range(0.1..0.9)), How::Ack)],
            60..66 => vec![settle(soon, How::AckUpto)],
            66..72 => vec![settle(late, How::Ack)],
            72..76 => vec![settle(soon, How::Ack), settle(late, How::Ack)],
            76..84 => vec![settle(soon, How::Retry)],
            84..87 => vec![settle(soon, How::Retry), settle(2 * soon, How::Ack)],
            87..90 => vec![settle(soon, How::Park)],
            90..93 => vec![settle(soon, How::Skip)],
            93..96 => vec![(soon, Deed::Crash)],
            96..98 => vec![(soon, Deed::Pause(late)), settle(soon, How::Ack)],
            _ => Vec::new(),
        }
    }

    /// Does what is due; false when the call is over.
    async fn act(&mut self, call: &mut Call) -> bool {
        let Some((_, (id, deed))) = call.deeds.pop_first() else { return true };
        match deed {
            Deed::Crash => return false,
            Deed::Pause(length) => tokio::time::sleep(length).await,
            Deed::Settle(how) => {
                self.ledger.note(Note::Settled { call: call.number, id, how });
                let _ = call.say.send(wrap(Said::Settle(self.settlement(id, how))));
            }
        }
        true
    }

    fn settlement(&mut self, id: u64, how: How) -> v1::Settle {
        let none = v1::Settle::default();
        let reason = "the consumer says so".to_owned();
        match how {
            How::Ack => v1::Settle { ack: vec![id], ..none },
            How::AckUpto => v1::Settle { ack_upto: id, ..none },
            How::Skip => v1::Settle { skip: vec![id], ..none },
            How::Park => v1::Settle { park: vec![v1::Park { id, reason }], ..none },
            How::Retry => {
                let after_ms =
                    self.chance.random_ratio(1, 2).then(|| self.chance.random_range(0..200));
                v1::Settle { retry: vec![v1::Retry { id, reason, after_ms }], ..none }
            }
        }
    }

    fn ask_for_more(&mut self, call: &mut Call) {
        let events = self.chance.random_range(1..=8);
        call.wanted += events;
        self.ledger.note(Note::Demanded { call: call.number, events });
        let kind = Some(v1::demand::Kind::Add(events));
        let _ = call.say.send(wrap(Said::Demand(v1::Demand { kind })));
    }
}

fn wrap(message: Said) -> v1::ConsumeRequest {
    v1::ConsumeRequest { message: Some(message) }
}
