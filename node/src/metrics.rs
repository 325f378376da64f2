//! Every Prometheus metric of a node, named once.
//!
//! Each has the constant label `store`, and label values come from closed sets: never a stream id, never text
//! that a caller chose. The reference in `METRICS.md` is made from the definitions below.
//!
//! Must not know where the numbers come from; whoever has them calls the handle.

mod definition;
mod health;
mod observed;
mod subscriptions;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use reckon_api::{Reason, v1};
use tonic::{Code, Status};

use crate::health::memory::MemoryUsage;
use definition::{Definition, Labels};
pub use health::HealthMetrics;
pub use observed::{AppendObserved, ReadConsistency, ReadKind, ReadObserved};
pub use subscriptions::{FollowerObserved, SubscriptionMetrics, SubscriptionsView};

const BUILD_INFO: Definition = Definition::gauge(
    "reckon_build_info",
    &["version"],
    "Always 1; the label says which version of Reckon runs",
);
const START_TIME: Definition = Definition::gauge(
    "reckon_start_time_seconds",
    &[],
    "When the process started, in seconds since 1970 UTC",
);
const STORE_INFO: Definition = Definition::gauge(
    "reckon_store_info",
    &["cluster_id", "node_id"],
    "Always 1, from the moment the node belongs to a store; the labels say to which, and as which node",
);
const APPENDS_IN_FLIGHT: Definition =
    Definition::gauge("reckon_appends_in_flight", &[], "Appends in work now");
const APPEND_DURATION: Definition = Definition::histogram(
    "reckon_append_duration_seconds",
    &["outcome"],
    "Time from the arrival of an append to its answer; outcome is ok, refused (the caller's doing), failed \
     (the store's doing) or cancelled (the caller left)",
);
const APPEND_EVENTS: Definition =
    Definition::counter("reckon_append_events_total", &[], "Events acknowledged");
const APPEND_BYTES: Definition = Definition::counter(
    "reckon_append_bytes_total",
    &[],
    "Bytes of data and metadata of the events acknowledged",
);
const APPEND_FAILURES: Definition = Definition::counter(
    "reckon_append_failures_total",
    &["reason"],
    "Appends answered with an error, by its reason",
);
const READS_IN_FLIGHT: Definition =
    Definition::gauge("reckon_reads_in_flight", &["kind"], "Reads in work now");
const READ_DURATION: Definition = Definition::histogram(
    "reckon_read_duration_seconds",
    &["kind", "consistency", "outcome"],
    "Time from the arrival of a read to the end of its answer; outcome as for appends",
);
const READ_EVENTS: Definition =
    Definition::counter("reckon_read_events_total", &["kind"], "Events sent to readers");
const READ_FAILURES: Definition = Definition::counter(
    "reckon_read_failures_total",
    &["kind", "reason"],
    "Reads answered with an error, by its reason",
);
const REFUSALS: Definition = Definition::counter(
    "reckon_refusals_total",
    &["reason"],
    "Requests refused to protect the node, whatever they asked: too many, too little memory or disk",
);
const RAFT_TERM: Definition = Definition::gauge("reckon_raft_term", &[], "The current term");
const RAFT_ROLE: Definition = Definition::gauge(
    "reckon_raft_role",
    &["role"],
    "1 for the role the node has now (leader, follower, candidate, learner), 0 for the others",
);
const RAFT_COMMIT: Definition =
    Definition::gauge("reckon_raft_commit_index", &[], "The last log index known to be committed");
const RAFT_APPLIED: Definition =
    Definition::gauge("reckon_raft_applied_index", &[], "The last log index applied to the state");
const RAFT_LEADER_CHANGES: Definition = Definition::counter(
    "reckon_raft_leader_changes_total",
    &[],
    "How often this node saw another leader than before",
);
const MEMBERS: Definition = Definition::gauge(
    "reckon_members",
    &["role"],
    "Members of the store by role (voter, learner), as this node knows them",
);
const LOG_FSYNC_DURATION: Definition = Definition::histogram(
    "reckon_log_fsync_duration_seconds",
    &[],
    "Time of one sync of the log to stable storage",
);
const LOG_BYTES: Definition =
    Definition::gauge("reckon_log_bytes", &[], "Bytes of the log's files on disk");
const OVERLAY_BYTES: Definition = Definition::gauge(
    "reckon_overlay_bytes",
    &[],
    "Bytes of applied events held in memory until they are sealed",
);
const TASK_RESTARTS: Definition = Definition::counter(
    "reckon_task_restarts_total",
    &["task"],
    "How often a background task failed and was begun again",
);
const MEMORY_RATIO: Definition = Definition::gauge(
    "reckon_memory_usage_ratio",
    &[],
    "Memory in use as a part of the container's limit, or of the machine's memory where there is no limit; \
     inactive file cache does not count",
);

/// All metrics but those of health and subscriptions, in the order of the reference.
const ALL: &[&Definition] = &[
    &BUILD_INFO,
    &START_TIME,
    &STORE_INFO,
    &APPENDS_IN_FLIGHT,
    &APPEND_DURATION,
    &APPEND_EVENTS,
    &APPEND_BYTES,
    &APPEND_FAILURES,
    &READS_IN_FLIGHT,
    &READ_DURATION,
    &READ_EVENTS,
    &READ_FAILURES,
    &REFUSALS,
    &RAFT_TERM,
    &RAFT_ROLE,
    &RAFT_COMMIT,
    &RAFT_APPLIED,
    &RAFT_LEADER_CHANGES,
    &MEMBERS,
    &LOG_FSYNC_DURATION,
    &LOG_BYTES,
    &OVERLAY_BYTES,
    &TASK_RESTARTS,
    &MEMORY_RATIO,
];

/// The label that every metric has.
const STORE_LABEL: &str = "store";

/// What stands for a reason when an error carries none of ours.
const NO_REASON: &str = "OTHER";

/// The part a node has in Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaftRole {
    /// It takes the writes.
    Leader,
    /// It votes and follows a leader.
    Follower,
    /// It stands for election.
    Candidate,
    /// It follows and does not vote.
    Learner,
}

impl RaftRole {
    const ALL: [Self; 4] = [Self::Leader, Self::Follower, Self::Candidate, Self::Learner];

    const fn label(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
        }
    }
}

/// What Raft looks like from this node at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftView {
    /// The current term.
    pub term: u64,
    /// What this node is in it.
    pub role: RaftRole,
    /// The leader's node id, if one is known.
    pub leader: Option<u64>,
    /// The last log index known to be committed.
    pub commit_index: u64,
    /// The last log index applied.
    pub applied_index: u64,
    /// The number of voters.
    pub voters: usize,
    /// The number of learners.
    pub learners: usize,
}

/// The handle through which everything is counted. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

type Gauge64 = Gauge<u64, AtomicU64>;
type HistogramFamily<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

#[derive(Debug)]
struct Inner {
    registry: Registry,
    store_info: Family<[(&'static str, String); 2], Gauge64>,
    appends_in_flight: Gauge64,
    append_duration: HistogramFamily<1>,
    /// The one of appends that went well: looking it up by its label costs more than counting does.
    append_duration_ok: Histogram,
    append_events: Counter,
    append_bytes: Counter,
    append_failures: Family<Labels<1>, Counter>,
    reads_in_flight: Family<Labels<1>, Gauge64>,
    read_duration: HistogramFamily<3>,
    read_events: Family<Labels<1>, Counter>,
    read_failures: Family<Labels<2>, Counter>,
    refusals: Family<Labels<1>, Counter>,
    raft_term: Gauge64,
    raft_role: Family<Labels<1>, Gauge64>,
    raft_commit: Gauge64,
    raft_applied: Gauge64,
    raft_leader_changes: Counter,
    last_leader: Mutex<Option<u64>>,
    members: Family<Labels<1>, Gauge64>,
    log_fsync_duration: Histogram,
    log_bytes: Gauge64,
    overlay_bytes: Gauge64,
    task_restarts: Family<Labels<1>, Counter>,
    health: HealthMetrics,
    subscriptions: SubscriptionMetrics,
}

impl Metrics {
    /// Metrics of a node of this store, all at nothing. The process counts as started now.
    pub fn new(store: &str) -> Self {
        let label = (Cow::Borrowed(STORE_LABEL), Cow::Owned(store.to_owned()));
        let mut registry = Registry::with_labels(std::iter::once(label));

        let build: Family<Labels<1>, Gauge64> =
            BUILD_INFO.register(&mut registry, Family::default());
        build.get_or_create(&BUILD_INFO.labels([env!("CARGO_PKG_VERSION")])).set(1);
        let started: Gauge<f64, AtomicU64> = START_TIME.register(&mut registry, Gauge::default());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        started.set(since.as_secs_f64());
        registry.register_collector(Box::new(MemoryCollector));

        let requests = || Histogram::new(exponential_buckets(REQUEST_SECONDS_MIN, 2.0, BUCKETS));
        let append_duration: HistogramFamily<1> =
            APPEND_DURATION.register(&mut registry, Family::new_with_constructor(requests));
        let ok = APPEND_DURATION.labels([observed::OK]);
        let append_duration_ok = append_duration.get_or_create(&ok).clone();
        let inner = Inner {
            store_info: STORE_INFO.register(&mut registry, Family::default()),
            appends_in_flight: APPENDS_IN_FLIGHT.register(&mut registry, Gauge::default()),
            append_duration_ok,
            append_duration,
            append_events: APPEND_EVENTS.register(&mut registry, Counter::default()),
            append_bytes: APPEND_BYTES.register(&mut registry, Counter::default()),
            append_failures: APPEND_FAILURES.register(&mut registry, Family::default()),
            reads_in_flight: READS_IN_FLIGHT.register(&mut registry, Family::default()),
            read_duration: READ_DURATION
                .register(&mut registry, Family::new_with_constructor(requests)),
            read_events: READ_EVENTS.register(&mut registry, Family::default()),
            read_failures: READ_FAILURES.register(&mut registry, Family::default()),
            refusals: REFUSALS.register(&mut registry, Family::default()),
            raft_term: RAFT_TERM.register(&mut registry, Gauge::default()),
            raft_role: RAFT_ROLE.register(&mut registry, Family::default()),
            raft_commit: RAFT_COMMIT.register(&mut registry, Gauge::default()),
            raft_applied: RAFT_APPLIED.register(&mut registry, Gauge::default()),
            raft_leader_changes: RAFT_LEADER_CHANGES.register(&mut registry, Counter::default()),
            last_leader: Mutex::new(None),
            members: MEMBERS.register(&mut registry, Family::default()),
            log_fsync_duration: LOG_FSYNC_DURATION.register(
                &mut registry,
                Histogram::new(exponential_buckets(FSYNC_SECONDS_MIN, 2.0, BUCKETS)),
            ),
            log_bytes: LOG_BYTES.register(&mut registry, Gauge::default()),
            overlay_bytes: OVERLAY_BYTES.register(&mut registry, Gauge::default()),
            task_restarts: TASK_RESTARTS.register(&mut registry, Family::default()),
            health: HealthMetrics::new(&mut registry),
            subscriptions: SubscriptionMetrics::new(&mut registry),
            registry,
        };
        Self(Arc::new(inner))
    }

    /// Everything counted, in the text format of `OpenMetrics` 1.0.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.0.registry).expect("a string takes everything");
        out
    }

    /// The reference of all metrics, as Markdown.
    pub fn reference() -> String {
        definition::reference(&[ALL, &health::ALL, &subscriptions::ALL].concat())
    }

    /// The node belongs to a store from now on.
    pub fn joined(&self, cluster_id: &str, node_id: u64) {
        let values = [cluster_id.to_owned(), node_id.to_string()];
        self.0.store_info.get_or_create(&STORE_INFO.labels(values)).set(1);
    }

    /// An append has arrived. What is returned must see its end; dropped before, it counts as cancelled.
    pub fn append_begins(&self, appends: &[v1::StreamAppend]) -> AppendObserved {
        AppendObserved::begin(self.clone(), appends)
    }

    /// A read has arrived. What is returned must see its end; dropped before, it counts as cancelled.
    pub fn read_begins(&self, kind: ReadKind, consistency: ReadConsistency) -> ReadObserved {
        ReadObserved::begin(self.clone(), kind, consistency)
    }

    /// A request was answered with this error: counted if the node refused it to protect itself. Appends and
    /// reads that are observed count themselves.
    pub fn refused(&self, status: &Status) {
        if status.code() == Code::ResourceExhausted {
            self.0.refusals.get_or_create(&REFUSALS.labels([reason(status)])).inc();
        }
    }

    /// What Raft looks like now.
    pub fn raft(&self, view: &RaftView) {
        let inner = &self.0;
        inner.raft_term.set(view.term);
        for role in RaftRole::ALL {
            let gauge = inner.raft_role.get_or_create(&RAFT_ROLE.labels([role.label()]));
            gauge.set(u64::from(role == view.role));
        }
        inner.raft_commit.set(view.commit_index);
        inner.raft_applied.set(view.applied_index);
        for (role, number) in [("voter", view.voters), ("learner", view.learners)] {
            inner.members.get_or_create(&MEMBERS.labels([role])).set(number as u64);
        }
        // A time without a leader is no change of its own: the next leader may be the old one.
        if let Some(leader) = view.leader
            && inner.last_leader.lock().replace(leader) != Some(leader)
        {
            inner.raft_leader_changes.inc();
        }
    }

    /// A background task failed and is begun again.
    pub fn restarted(&self, task: &'static str) {
        self.0.task_restarts.get_or_create(&TASK_RESTARTS.labels([task])).inc();
    }

    /// What is counted of health and consistency.
    pub fn health(&self) -> &HealthMetrics {
        &self.0.health
    }

    /// What is counted of subscriptions.
    pub fn subscriptions(&self) -> &SubscriptionMetrics {
        &self.0.subscriptions
    }

    /// The log was synced to stable storage, which took this long.
    pub fn fsynced(&self, took: Duration) {
        self.0.log_fsync_duration.observe(took.as_secs_f64());
    }

    /// The size of the log's files, in bytes.
    pub fn log_bytes(&self, bytes: u64) {
        self.0.log_bytes.set(bytes);
    }

    /// The size of what was applied and not sealed yet, in bytes.
    pub fn overlay_bytes(&self, bytes: u64) {
        self.0.overlay_bytes.set(bytes);
    }
}

/// The upper bound of the first bucket of requests; each further bucket is twice as wide, the last 8 s.
const REQUEST_SECONDS_MIN: f64 = 0.000_25;
/// The same for syncs of the disk; the last is 3 s.
const FSYNC_SECONDS_MIN: f64 = 0.000_1;
const BUCKETS: u16 = 16;

/// The reason of an error as a label: one of ours, whatever the error says.
fn reason(status: &Status) -> &'static str {
    Reason::of(status).map_or(NO_REASON, Reason::as_str)
}

/// Reads the memory in use when somebody asks; between two questions it costs nothing.
#[derive(Debug)]
struct MemoryCollector;

impl Collector for MemoryCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        // A system that does not say is no reason to hold back the other metrics.
        let Some(ratio) = MemoryUsage::now().map(MemoryUsage::ratio) else { return Ok(()) };
        let gauge = ConstGauge::new(ratio);
        let described = encoder.encode_descriptor(
            MEMORY_RATIO.name,
            MEMORY_RATIO.help,
            None,
            gauge.metric_type(),
        )?;
        gauge.encode(described)
    }
}

#[cfg(test)]
mod tests;
