//! Everything about a node that a person may set, as one typed tree.
//!
//! Defaults are overridden by a YAML file, that by `RECKON_*` variables, and those by flags. The names of
//! variables, the JSON Schema, the limits and the reference in `CONFIGURATION.md` all come from the types
//! below: a field added here is complete.
//!
//! Must not know what the settings are used for.

mod args;
mod checks;
mod environment;
mod layers;
mod reference;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits;
pub use args::ConfigArgs;
pub use layers::{ConfigError, Problem};

/// The port of clients.
const CLIENT_PORT: u16 = 7430;
/// The port of peers.
const PEER_PORT: u16 = 7431;
/// The port of metrics and probes.
const HTTP_PORT: u16 = 7432;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// The configuration of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which node this is, and where it keeps its data.
    pub node: NodeConfig,
    /// The addresses the node listens on.
    pub listen: ListenConfig,
    /// The addresses under which others reach the node.
    pub advertise: AdvertiseConfig,
    /// How a store comes into being.
    pub formation: FormationConfig,
    /// How the node finds its peers.
    pub discovery: DiscoveryConfig,
    /// The timing of elections.
    pub raft: RaftConfig,
    /// The files of Raft's log.
    pub log: LogConfig,
    /// The files that events are sealed into.
    pub storage: StorageConfig,
    /// What the node takes on at most.
    pub limits: LimitsConfig,
    /// How subscriptions are looked after.
    pub subscriptions: SubscriptionsConfig,
    /// How the members of a store look at each other.
    pub health: HealthConfig,
    /// What the node writes about itself.
    pub logging: LoggingConfig,
    /// How the node stops.
    pub shutdown: ShutdownConfig,
}

/// Which node this is, and where it keeps its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// The name of the node, for people. Empty: the host's name.
    pub name: String,
    /// The UID of the pod the node runs in, by which an operator knows that it speaks to the pod it means.
    /// Empty outside Kubernetes.
    pub pod_uid: String,
    /// The folder that holds everything the node keeps. It is made when it is not there.
    pub data_dir: PathBuf,
    /// The name of the store, for people: the label `store` of every metric.
    #[schemars(length(min = 1, max = 253))]
    pub store_name: String,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            pod_uid: String::new(),
            data_dir: PathBuf::from("/data"),
            store_name: "reckon".to_owned(),
        }
    }
}

/// The addresses the node listens on, as `ip:port`. Port 0 lets the system choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListenConfig {
    /// For clients: gRPC, with health and reflection.
    pub client: SocketAddr,
    /// For the other nodes of the store: gRPC.
    pub peer: SocketAddr,
    /// For metrics and probes: HTTP.
    pub http: SocketAddr,
}

impl Default for ListenConfig {
    fn default() -> Self {
        let everywhere = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        Self {
            client: everywhere(CLIENT_PORT),
            peer: everywhere(PEER_PORT),
            http: everywhere(HTTP_PORT),
        }
    }
}

/// The addresses under which others reach the node, as `host:port`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdvertiseConfig {
    /// For clients. Empty: the address listened on, or `node.name` and its port when that is any address.
    pub client: String,
    /// For the other nodes. Empty: the address listened on, or `node.name` and its port when that is any
    /// address.
    pub peer: String,
}

/// Who makes the store out of empty nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FormationMode {
    /// An operator, or a person by hand: the node waits to be initialised or added.
    #[default]
    Operator,
    /// The nodes themselves, once `formation.expect` of them have found each other.
    Expect,
}

/// How a store comes into being.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FormationConfig {
    /// Who makes the store: `operator` or `expect`.
    pub mode: FormationMode,
    /// How many nodes make the store in mode `expect`: 1, 3, 5 or 7. 0: not set.
    #[schemars(range(max = 7))]
    pub expect: u32,
    /// The id that a store made in mode `expect` is given, a UUID. Absent: a random one.
    #[schemars(length(min = 1))]
    pub cluster_id: Option<String>,
}

/// How a node finds its peers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DiscoveryMode {
    /// It does not look: an operator tells it.
    #[default]
    None,
    /// By the DNS records of a headless Service.
    Dns,
    /// By a list in the configuration.
    Static,
}

/// How the node finds its peers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiscoveryConfig {
    /// How to look: `none`, `dns` or `static`.
    pub mode: DiscoveryMode,
    /// What to ask in mode `dns`.
    pub dns: DnsConfig,
    /// The peer addresses of all nodes, this one included, as `host:port`, in mode `static`.
    #[serde(rename = "static")]
    pub fixed: Vec<String>,
}

/// What to ask DNS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DnsConfig {
    /// The DNS name of the headless Service; a name without a final dot is also looked for in the search
    /// domains.
    pub service: String,
    /// The name of the peer port in the Service, for SRV records. Without such records the Service's own
    /// addresses are taken, with the port of `listen.peer`.
    #[schemars(length(min = 1, max = 15))]
    pub port_name: String,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self { service: String::new(), port_name: "peer".to_owned() }
    }
}

/// The timing of elections. All nodes of a store should have the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RaftConfig {
    /// The shortest silence of the leader after which a follower stands for election, in milliseconds.
    #[schemars(range(min = 100, max = 60_000))]
    pub election_timeout_ms_min: u64,
    /// The longest, in milliseconds; each follower waits a random time between the two.
    #[schemars(range(min = 100, max = 60_000))]
    pub election_timeout_ms_max: u64,
    /// The time between two heartbeats of the leader, in milliseconds: at most a third of the shortest
    /// election timeout, so that one lost heartbeat costs no election.
    #[schemars(range(min = 10, max = 10_000))]
    pub heartbeat_ms: u64,
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self { election_timeout_ms_min: 500, election_timeout_ms_max: 1000, heartbeat_ms: 150 }
    }
}

/// The files of Raft's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// The size of one log file, in bytes. It is reserved on the disk when the file is made.
    #[schemars(range(min = 16 * MIB, max = GIB))]
    pub file_bytes: u64,
    /// Memory for the newest entries, from which followers and the state are fed, in bytes. Entries that are
    /// not yet on disk or not yet applied stay in memory beyond it.
    #[schemars(range(min = MIB, max = 16 * GIB))]
    pub cache_bytes: u64,
    /// How much of the log is kept behind the last checkpoint, in bytes: a member that was away for less is fed
    /// from it, one that was away for longer is given the checkpoint.
    #[schemars(range(max = 1024 * GIB))]
    pub retain_bytes: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { file_bytes: 64 * MIB, cache_bytes: 64 * MIB, retain_bytes: 128 * MIB }
    }
}

/// The files that events are sealed into. They never change once they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Applied events, with the indexes over them, that the leader has sealed into files when they take more
    /// memory than this, in bytes. At most an eighth of the memory that the node may use.
    #[schemars(range(min = 64 * KIB, max = GIB))]
    pub seal_bytes: u64,
    /// The longest time that applied events wait to be sealed, in milliseconds: a restart replays what was not.
    #[schemars(range(min = 1000, max = 86_400_000))]
    pub checkpoint_interval_ms: u64,
    /// Memory for blocks, filters and indexes of sealed files, in bytes. At most an eighth of the memory that the
    /// node may use.
    #[schemars(range(min = MIB, max = 1024 * GIB))]
    pub cache_bytes: u64,
    /// How fast a member fetches sealed files from another one, in bytes per second, so that clients keep most of
    /// the leader's disk and network.
    #[schemars(range(min = MIB, max = 1024 * GIB))]
    pub fetch_bytes_per_second_max: u64,
    /// The longest time that removed events stay in sealed files, in milliseconds.
    #[schemars(range(min = 1000, max = 31_536_000_000_u64))]
    pub reclaim_after_ms: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            seal_bytes: 64 * MIB,
            checkpoint_interval_ms: 60_000,
            cache_bytes: 64 * MIB,
            fetch_bytes_per_second_max: 32 * MIB,
            reclaim_after_ms: 3_600_000,
        }
    }
}

/// What the node takes on at most. More is refused with a reason, never queued without bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// The time a request may take that names no deadline of its own, in milliseconds.
    #[schemars(range(min = 100, max = 600_000))]
    pub request_timeout_ms: u64,
    /// Appends in work at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub appends_in_flight_max: usize,
    /// Reads in work at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub reads_in_flight_max: usize,
    /// Applied events held in memory until they are sealed into files, in bytes. Above it, or above a quarter of
    /// the memory that the node may use, appends are refused.
    #[schemars(range(min = 16 * MIB, max = 1024 * GIB))]
    pub unsealed_bytes_max: u64,
    /// Commands that share one entry of the log and one sync of the disk, in bytes. A larger command makes a
    /// group of its own.
    #[schemars(range(min = 4 * KIB, max = 8 * MIB))]
    pub group_bytes_max: usize,
    /// Commands that share one entry of the log, by number.
    #[schemars(range(min = 1, max = 65_536))]
    pub group_commands_max: usize,
    /// Groups on their way through Raft at once. While as many are, commands gather for the next one: more groups are
    /// smaller groups, and each costs several switches between threads on every member.
    #[schemars(range(min = 1, max = 1024))]
    pub groups_in_flight_max: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            request_timeout_ms: 5000,
            appends_in_flight_max: 4096,
            reads_in_flight_max: 1024,
            unsealed_bytes_max: GIB,
            group_bytes_max: (512 * KIB) as usize,
            group_commands_max: 1024,
            groups_in_flight_max: 2,
        }
    }
}

/// How subscriptions are looked after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SubscriptionsConfig {
    /// How often the leader looks at the health of every subscription, in milliseconds. It tells metrics and the log, and
    /// changes nothing.
    #[schemars(range(min = 1_000, max = 86_400_000))]
    pub health_interval_ms: u64,
}

impl Default for SubscriptionsConfig {
    fn default() -> Self {
        Self { health_interval_ms: 60_000 }
    }
}

/// What a member is probed by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeType {
    /// A TCP connection to its peer port.
    Ping,
    /// The process answers a call.
    #[default]
    Rpc,
    /// It reads an event through the state machine.
    #[serde(alias = "deep")]
    Store,
}

/// How the members of a store look at each other. What stands here can be changed while the node runs; see `HEALTH.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthConfig {
    /// The time between two probes of a member, in milliseconds.
    #[schemars(range(min = limits::PROBE_INTERVAL_MS_MIN, max = limits::PROBE_INTERVAL_MS_MAX))]
    pub probe_interval_ms: u64,
    /// After which a probe has failed, in milliseconds. One that takes longer than the interval delays the next.
    #[schemars(range(min = limits::PROBE_TIMEOUT_MS_MIN, max = limits::PROBE_TIMEOUT_MS_MAX))]
    pub probe_timeout_ms: u64,
    /// How many failed probes in a row make a member failed.
    #[schemars(range(min = limits::PROBE_FAILURES_MIN, max = limits::PROBE_FAILURES_MAX))]
    pub probe_failures: u32,
    /// What members are probed by: `ping`, `rpc` or `store` (also called `deep`).
    pub probe_type: ProbeType,
    /// The time between two checks of whether all members agree, in milliseconds.
    #[schemars(range(min = limits::CONSISTENCY_INTERVAL_MS_MIN, max = limits::CONSISTENCY_INTERVAL_MS_MAX))]
    pub consistency_interval_ms: u64,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            probe_interval_ms: 2_000,
            probe_timeout_ms: 1_000,
            probe_failures: 3,
            probe_type: ProbeType::default(),
            consistency_interval_ms: 5_000,
        }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line, for programs.
    Json,
}

/// What the node writes about itself, to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoggingConfig {
    /// From which level on: `error`, `warn`, `info`, `debug` or `trace`, also per module as in
    /// `info,reckon_node::raft=debug`.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

impl Default for LoggingConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// How the node stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// The time that requests in work get to finish after SIGTERM, in milliseconds. Kubernetes kills the pod
    /// when its termination grace period is over, which should be longer.
    #[schemars(range(max = 600_000))]
    pub drain_ms: u64,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { drain_ms: 10_000 }
    }
}

impl Config {
    /// The address under which clients reach this node, as `host:port`.
    pub fn advertised_client(&self) -> String {
        self.advertised(&self.advertise.client, self.listen.client)
    }

    /// The address under which the other nodes reach this node, as `host:port`.
    pub fn advertised_peer(&self) -> String {
        self.advertised(&self.advertise.peer, self.listen.peer)
    }

    fn advertised(&self, stated: &str, listen: SocketAddr) -> String {
        if !stated.is_empty() {
            stated.to_owned()
        } else if listen.ip().is_unspecified() {
            format!("{}:{}", self.node.name, listen.port())
        } else {
            listen.to_string()
        }
    }

    /// The effective values as YAML, which reads back as the same configuration.
    pub fn dump(&self) -> Result<String, ConfigError> {
        serde_saphyr::to_string(self).map_err(|source| ConfigError::Dump(source.to_string()))
    }
}

#[cfg(test)]
mod tests;
