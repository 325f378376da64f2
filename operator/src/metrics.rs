//! Every metric of the operator, named once.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// The metrics of one operator process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Result, Counter>,
    errors: Family<Reason, Counter>,
    actions: Family<Step, Counter>,
    reconcile_seconds: Histogram,
    stores: Family<Condition, Gauge>,
    subscriptions: Family<Condition, Gauge>,
    leading: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Result {
    kind: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Step {
    kind: &'static str,
    action: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Condition {
    condition: &'static str,
    status: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let reconciles = Family::default();
        let errors = Family::default();
        let actions = Family::default();
        let reconcile_seconds = Histogram::new(exponential_buckets(0.005, 2.0, 13));
        let stores = Family::default();
        let subscriptions = Family::default();
        let leading = Gauge::default();
        let mut registry = Registry::with_prefix("reckon_operator");
        registry.register(
            "reconciles",
            "Reconciles done, by kind of resource and result",
            Family::clone(&reconciles),
        );
        registry.register(
            "errors",
            "Reconciles failed, by kind of resource and reason",
            Family::clone(&errors),
        );
        registry.register(
            "actions",
            "Actions done, by kind of resource, action and result",
            Family::clone(&actions),
        );
        registry.register(
            "reconcile_seconds",
            "How long a reconcile took",
            reconcile_seconds.clone(),
        );
        registry.register(
            "stores",
            "EventStores, by condition and its status",
            Family::clone(&stores),
        );
        registry.register(
            "subscriptions",
            "Subscriptions, by condition and its status",
            Family::clone(&subscriptions),
        );
        registry.register("leading", "Whether this replica holds the lease", leading.clone());
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The build that runs", Info::new(version));
        Self {
            registry,
            reconciles,
            errors,
            actions,
            reconcile_seconds,
            stores,
            subscriptions,
            leading,
        }
    }
}

impl Metrics {
    /// Counts a reconcile, with the reason if it failed.
    pub fn reconciled(&self, kind: &'static str, took: Duration, failed: Option<&'static str>) {
        let result = if failed.is_some() { "error" } else { "ok" };
        self.reconciles.get_or_create(&Result { kind, result }).inc();
        self.reconcile_seconds.observe(took.as_secs_f64());
        if let Some(reason) = failed {
            self.errors.get_or_create(&Reason { kind, reason }).inc();
        }
    }

    /// Counts an action.
    pub fn acted(&self, kind: &'static str, action: &'static str, done: bool) {
        let result = if done { "ok" } else { "error" };
        self.actions.get_or_create(&Step { kind, action, result }).inc();
    }

    /// Sets how many stores have a condition in a status.
    pub fn set_stores(&self, condition: &'static str, status: &'static str, stores: usize) {
        let stores = i64::try_from(stores).unwrap_or(i64::MAX);
        self.stores.get_or_create(&Condition { condition, status }).set(stores);
    }

    /// Sets how many subscriptions have a condition in a status.
    pub fn set_subscriptions(&self, condition: &'static str, status: &'static str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.subscriptions.get_or_create(&Condition { condition, status }).set(count);
    }

    /// Sets whether this replica holds the lease.
    pub fn set_leading(&self, leading: bool) {
        self.leading.set(i64::from(leading));
    }

    /// All metrics in the text format of `OpenMetrics`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a string cannot fail");
        text
    }
}
