//! Metrics of subscriptions: by their type, never by their name.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Gauge64;
use super::definition::{Definition, Labels};
use crate::delivery::dispatch::Counters;
use crate::delivery::selector::SelectorKind;

const SUBSCRIPTIONS: Definition = Definition::gauge(
    "reckon_subscriptions",
    &["type"],
    "Registered subscriptions; this and the others of subscriptions are told by the leader, 0 elsewhere",
);
const CONSUMERS: Definition = Definition::gauge(
    "reckon_subscription_consumers",
    &["type"],
    "Connected consumers, those that stand by included",
);
const EVENTS: Definition = Definition::counter(
    "reckon_subscription_events_total",
    &["type", "outcome"],
    "What became of events: delivered, redelivered (counted as delivered too), acknowledged, skipped, retried, \
     parked, dropped, timed_out (not settled in time), late (settled by a consumer that did not hold it any more)",
);
const LAG_EVENTS: Definition = Definition::gauge(
    "reckon_subscription_lag_events",
    &["type"],
    "Events that are not done, over all subscriptions, as of the last look",
);
const LAG_SECONDS: Definition = Definition::gauge(
    "reckon_subscription_lag_seconds_max",
    &["type"],
    "Age of the oldest event that is not done, of the subscription that lags most",
);
const IN_FLIGHT: Definition = Definition::gauge(
    "reckon_subscription_in_flight",
    &["type"],
    "Events with consumers that are not settled",
);
const BUFFERED: Definition = Definition::gauge(
    "reckon_subscription_buffered",
    &["type"],
    "Events that are read ahead of consumers",
);
const BUFFER_WARNINGS: Definition = Definition::gauge(
    "reckon_subscription_buffer_warnings",
    &["type"],
    "Subscriptions whose buffer is fuller than their warning threshold",
);
const PARKED: Definition =
    Definition::gauge("reckon_subscription_parked", &["type"], "Events that are parked");
const STALLED: Definition = Definition::gauge(
    "reckon_subscriptions_stalled",
    &["type"],
    "Subscriptions that lag and settle nothing",
);
const FAILURES: Definition = Definition::counter(
    "reckon_subscription_failures_total",
    &["type"],
    "How often a subscription's work ended with a fault; it begins again with its next consumer",
);

const FOLLOWERS: Definition =
    Definition::gauge("reckon_followers", &[], "Followers on this node, whether it leads or not");

/// These metrics, in the order of the reference.
pub(super) const ALL: [&Definition; 12] = [
    &SUBSCRIPTIONS,
    &CONSUMERS,
    &EVENTS,
    &LAG_EVENTS,
    &LAG_SECONDS,
    &IN_FLIGHT,
    &BUFFERED,
    &BUFFER_WARNINGS,
    &PARKED,
    &STALLED,
    &FAILURES,
    &FOLLOWERS,
];

type ByType = Family<Labels<1>, Gauge64>;

/// What is counted of subscriptions. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct SubscriptionMetrics {
    subscriptions: ByType,
    consumers: ByType,
    events: Family<Labels<2>, Counter>,
    lag_events: ByType,
    lag_seconds: ByType,
    in_flight: ByType,
    buffered: ByType,
    buffer_warnings: ByType,
    parked: ByType,
    stalled: ByType,
    failures: Family<Labels<1>, Counter>,
    followers: Gauge64,
}

/// All subscriptions of one type at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubscriptionsView {
    pub subscriptions: u64,
    pub consumers: u64,
    pub lag_events: u64,
    pub lag_seconds_max: u64,
    pub in_flight: u64,
    pub buffered: u64,
    pub buffer_warnings: u64,
    pub parked: u64,
    pub stalled: u64,
}

impl SubscriptionMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            subscriptions: SUBSCRIPTIONS.register(registry, Family::default()),
            consumers: CONSUMERS.register(registry, Family::default()),
            events: EVENTS.register(registry, Family::default()),
            lag_events: LAG_EVENTS.register(registry, Family::default()),
            lag_seconds: LAG_SECONDS.register(registry, Family::default()),
            in_flight: IN_FLIGHT.register(registry, Family::default()),
            buffered: BUFFERED.register(registry, Family::default()),
            buffer_warnings: BUFFER_WARNINGS.register(registry, Family::default()),
            parked: PARKED.register(registry, Family::default()),
            stalled: STALLED.register(registry, Family::default()),
            failures: FAILURES.register(registry, Family::default()),
            followers: FOLLOWERS.register(registry, Gauge64::default()),
        }
    }

    /// The subscriptions of a type, as they are now.
    pub fn view(&self, kind: SelectorKind, view: SubscriptionsView) {
        let of_kind = SUBSCRIPTIONS.labels([kind.as_str()]);
        for (family, value) in [
            (&self.subscriptions, view.subscriptions),
            (&self.consumers, view.consumers),
            (&self.lag_events, view.lag_events),
            (&self.lag_seconds, view.lag_seconds_max),
            (&self.in_flight, view.in_flight),
            (&self.buffered, view.buffered),
            (&self.buffer_warnings, view.buffer_warnings),
            (&self.parked, view.parked),
            (&self.stalled, view.stalled),
        ] {
            family.get_or_create(&of_kind).set(value);
        }
    }

    /// Counts what happened to a subscription's events between two moments.
    pub fn count(&self, kind: SelectorKind, before: &Counters, now: &Counters) {
        for (outcome, before, now) in [
            ("delivered", before.delivered, now.delivered),
            ("redelivered", before.redelivered, now.redelivered),
            ("acknowledged", before.acknowledged, now.acknowledged),
            ("skipped", before.skipped, now.skipped),
            ("retried", before.retried, now.retried),
            ("parked", before.parked, now.parked),
            ("dropped", before.dropped, now.dropped),
            ("timed_out", before.timed_out, now.timed_out),
            ("late", before.late, now.late),
        ] {
            if now > before {
                let labels = EVENTS.labels([kind.as_str(), outcome]);
                self.events.get_or_create(&labels).inc_by(now - before);
            }
        }
    }

    /// A follower is there, until what is returned is dropped.
    pub fn follower(&self) -> FollowerObserved {
        self.followers.inc();
        FollowerObserved(self.followers.clone())
    }

    /// The work of a subscription ended with a fault.
    pub fn failed(&self, kind: SelectorKind) {
        self.failures.get_or_create(&FAILURES.labels([kind.as_str()])).inc();
    }
}

/// A follower that counts for as long as this is kept.
#[derive(Debug)]
pub struct FollowerObserved(Gauge64);

impl Drop for FollowerObserved {
    fn drop(&mut self) {
        self.0.dec();
    }
}
