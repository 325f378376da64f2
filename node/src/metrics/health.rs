//! Metrics of health and consistency: how members answer, and whether they agree.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use reckon_api::v1::{ConsistencyResult, HealthState};

use super::definition::{Definition, Labels};
use super::{BUCKETS, Gauge64, HistogramFamily, REQUEST_SECONDS_MIN};

const PROBE_DURATION: Definition = Definition::histogram(
    "reckon_probe_duration_seconds",
    &["outcome"],
    "Time of a probe of another member; outcome is answered or failed",
);
const PROBED_MEMBERS: Definition = Definition::gauge(
    "reckon_probed_members",
    &["state"],
    "Other members by the state that this node's probes found them in: healthy, suspect, failed or unknown",
);
const STATE_CHANGES: Definition = Definition::counter(
    "reckon_member_state_changes_total",
    &["state"],
    "How often another member came into a state, as this node's probes found it",
);
const CONSISTENCY: Definition = Definition::gauge(
    "reckon_consistency",
    &["result"],
    "1 for the result of the last consistency check (healthy, degraded, no_quorum, split_brain), 0 for the others",
);
const CHECK_DURATION: Definition = Definition::histogram(
    "reckon_consistency_check_duration_seconds",
    &[],
    "Time of a consistency check: until all members have answered or were given up",
);
const SPLIT_BRAINS: Definition = Definition::counter(
    "reckon_split_brains_total",
    &[],
    "How often this node saw the store split; anything but 0 needs a person",
);

/// These metrics, in the order of the reference.
pub(super) const ALL: [&Definition; 6] = [
    &PROBE_DURATION,
    &PROBED_MEMBERS,
    &STATE_CHANGES,
    &CONSISTENCY,
    &CHECK_DURATION,
    &SPLIT_BRAINS,
];

/// What is counted of health and consistency. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct HealthMetrics {
    probe_duration: HistogramFamily<1>,
    probed_members: Family<Labels<1>, Gauge64>,
    state_changes: Family<Labels<1>, Counter>,
    consistency: Family<Labels<1>, Gauge64>,
    check_duration: Histogram,
    split_brains: Counter,
}

impl HealthMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let buckets = || Histogram::new(exponential_buckets(REQUEST_SECONDS_MIN, 2.0, BUCKETS));
        Self {
            probe_duration: PROBE_DURATION
                .register(registry, Family::new_with_constructor(buckets)),
            probed_members: PROBED_MEMBERS.register(registry, Family::default()),
            state_changes: STATE_CHANGES.register(registry, Family::default()),
            consistency: CONSISTENCY.register(registry, Family::default()),
            check_duration: CHECK_DURATION.register(registry, buckets()),
            split_brains: SPLIT_BRAINS.register(registry, Counter::default()),
        }
    }

    /// A probe came to its end.
    pub fn probed(&self, answered: bool, took_us: u64) {
        let outcome = if answered { "answered" } else { "failed" };
        let took = Duration::from_micros(took_us).as_secs_f64();
        self.probe_duration.get_or_create(&PROBE_DURATION.labels([outcome])).observe(took);
    }

    /// So many members are in a state now.
    pub fn members(&self, state: HealthState, number: usize) {
        let labels = PROBED_MEMBERS.labels([state_label(state)]);
        self.probed_members.get_or_create(&labels).set(number as u64);
    }

    /// A member came into a state.
    pub fn state_changed(&self, to: HealthState) {
        self.state_changes.get_or_create(&STATE_CHANGES.labels([state_label(to)])).inc();
    }

    /// All members were asked, with this result.
    pub fn checked(&self, result: ConsistencyResult, took: Duration) {
        for (one, label) in RESULTS {
            let gauge = self.consistency.get_or_create(&CONSISTENCY.labels([label]));
            gauge.set(u64::from(one == result));
        }
        self.check_duration.observe(took.as_secs_f64());
    }

    /// The store is seen to be split that was not before.
    pub fn split_brain(&self) {
        self.split_brains.inc();
    }

    /// How often the store was seen to split.
    pub fn split_brains(&self) -> u64 {
        self.split_brains.get()
    }
}

const fn state_label(state: HealthState) -> &'static str {
    match state {
        HealthState::Unknown => "unknown",
        HealthState::Healthy => "healthy",
        HealthState::Suspect => "suspect",
        HealthState::Failed => "failed",
    }
}

const RESULTS: [(ConsistencyResult, &str); 4] = [
    (ConsistencyResult::Healthy, "healthy"),
    (ConsistencyResult::Degraded, "degraded"),
    (ConsistencyResult::NoQuorum, "no_quorum"),
    (ConsistencyResult::SplitBrain, "split_brain"),
];
