//! Which subscriptions and followers a run has, and how their consumers are.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use reckon_api::v1;

use crate::client::{EVENT_TYPES, type_of};
use crate::history::Seen;

/// Everybody to whom a run delivers.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub subscriptions: Vec<Planned>,
    pub followers: Vec<PlannedFollower>,
}

/// One subscription.
#[derive(Debug, Clone)]
pub struct Planned {
    pub name: String,
    pub choice: Choice,
    pub order: Order,
    /// Events below this position are none of its.
    pub start: u64,
    pub pool_size: u32,
    pub hold_key: bool,
    pub ack_timeout: Duration,
    pub max_retries: u32,
    pub max_in_flight: u32,
    pub buffer_size: u32,
    pub consumers: Vec<PlannedConsumer>,
    /// When it is created, after clients have begun.
    pub create_after: Duration,
    /// Whether its keeper moves the checkpoint back now and then.
    pub resets: bool,
}

/// One consumer.
#[derive(Debug, Clone)]
pub struct PlannedConsumer {
    pub key_window: u32,
    pub pull: bool,
}

/// One follower.
#[derive(Debug, Clone)]
pub struct PlannedFollower {
    pub choice: Choice,
    /// A position, or for one stream a version.
    pub from: u64,
}

/// Which events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    All,
    Stream(String),
    Type(&'static str),
}

/// By what events are kept in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    OfStreams,
    OfTypes,
}

impl Choice {
    /// Whether an event is of this choice.
    pub fn takes(&self, seen: &Seen) -> bool {
        let chosen = match self {
            Self::All => true,
            Self::Stream(stream) => seen.stream == *stream,
            Self::Type(name) => type_of(seen.id) == *name,
        };
        chosen && !seen.stream.starts_with('$')
    }

    /// The choice in the words of the protocol.
    pub fn selector(&self) -> v1::Selector {
        use v1::selector::Kind;
        let kind = match self {
            Self::All => Kind::All(true),
            Self::Stream(stream) => Kind::Stream(stream.clone()),
            Self::Type(name) => Kind::EventType((*name).to_owned()),
        };
        v1::Selector { kind: Some(kind) }
    }
}

impl Order {
    /// The key of an event.
    pub fn key(self, seen: &Seen) -> &str {
        match self {
            Self::OfStreams => &seen.stream,
            Self::OfTypes => type_of(seen.id),
        }
    }
}

impl Planned {
    /// Whether an event is this subscription's.
    pub fn takes(&self, seen: &Seen) -> bool {
        seen.position >= self.start && self.choice.takes(seen)
    }

    /// Its definition in the words of the protocol.
    pub fn definition(&self) -> v1::SubscriptionDefinition {
        let start = v1::StartFrom { kind: Some(v1::start_from::Kind::Position(self.start)) };
        v1::SubscriptionDefinition {
            name: self.name.clone(),
            selector: Some(self.choice.selector()),
            start_from: (self.start > 0).then_some(start),
            pool_size: self.pool_size,
            key_expression: match self.order {
                Order::OfStreams => String::new(),
                Order::OfTypes => "event.event_type".to_owned(),
            },
            ack_timeout_ms: self.ack_timeout.as_millis() as u64,
            max_retries: Some(self.max_retries),
            retry_backoff_ms_min: 10,
            retry_backoff_ms_max: 60,
            max_in_flight: self.max_in_flight,
            buffer_size: self.buffer_size,
            hold_key: self.hold_key,
            ..v1::SubscriptionDefinition::default()
        }
    }
}

impl PlannedFollower {
    /// Whether an event is this follower's.
    pub fn takes(&self, seen: &Seen) -> bool {
        let place =
            if matches!(self.choice, Choice::Stream(_)) { seen.version } else { seen.position };
        place >= self.from && self.choice.takes(seen)
    }
}

impl Plan {
    /// Draws who there is in a run with so many streams.
    pub fn draw(chance: &mut StdRng, streams: usize) -> Self {
        let stream = format!("stream-{}", chance.random_range(0..streams));
        let kinds = [
            ("all", Choice::All, Order::OfStreams, false),
            ("one", Choice::Stream(stream.clone()), Order::OfStreams, false),
            ("typed", Choice::Type(EVENT_TYPES[1]), Order::OfTypes, false),
            ("held", Choice::All, Order::OfStreams, true),
        ];
        let mut subscriptions: Vec<_> = kinds
            .into_iter()
            .map(|(name, choice, order, hold_key)| {
                let pool_size = if chance.random() { 1 } else { 3 };
                Planned {
                    name: format!("{name}-{}", chance.random_range(0..100)),
                    choice,
                    order,
                    start: if chance.random_ratio(1, 4) { chance.random_range(1..60) } else { 0 },
                    pool_size,
                    hold_key,
                    ack_timeout: Duration::from_millis(chance.random_range(200..=800)),
                    max_retries: chance.random_range(2..=3),
                    max_in_flight: if chance.random_ratio(1, 3) { 4 } else { 1_000 },
                    buffer_size: if chance.random_ratio(1, 3) { 4 } else { 1_000 },
                    consumers: (0..chance.random_range(1..=pool_size + 1))
                        .map(|_| PlannedConsumer {
                            key_window: if chance.random() {
                                1
                            } else {
                                chance.random_range(2..=4)
                            },
                            pull: chance.random_ratio(1, 3),
                        })
                        .collect(),
                    create_after: Duration::from_millis(chance.random_range(0..6_000)),
                    resets: chance.random_ratio(1, 4),
                }
            })
            .collect();
        // A few in each run, so that it takes little longer.
        while subscriptions.len() > 2 {
            subscriptions.remove(chance.random_range(0..subscriptions.len()));
        }
        let mut followers = vec![PlannedFollower { choice: Choice::All, from: 0 }];
        let from = chance.random_range(1..40);
        followers.push(match chance.random_range(0..3) {
            0 => PlannedFollower { choice: Choice::Stream(stream), from: from / 4 },
            1 => PlannedFollower { choice: Choice::Type(EVENT_TYPES[0]), from },
            _ => PlannedFollower { choice: Choice::All, from },
        });
        Self { subscriptions, followers }
    }
}
