//! The resource `EventStore`: what a user asks for, with every default and every rule in the schema.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, Toleration, TopologySpreadConstraint};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;
use crate::status::EventStoreStatus;

/// Longest name of an `EventStore`: a `StatefulSet` labels its pods with its name and a hash of eleven
/// characters, and a label ends at 63.
pub const NAME_LENGTH_MAX: usize = 52;

/// How many voters a store has unless its user says otherwise.
pub const REPLICAS_DEFAULT: i32 = 3;

/// A replicated event store.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "reckon.dev",
    version = "v1alpha1",
    kind = "EventStore",
    plural = "eventstores",
    shortname = "evs",
    category = "reckon",
    namespaced,
    status = "EventStoreStatus",
    derive = "PartialEq",
    doc = "A replicated event store: an odd number of nodes that keep one ordered log of events.",
    annotation("helm.sh/resource-policy", "keep"),
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Members",
        type_ = "string",
        json_path = ".status.membersReady",
        description = "Voters that are ready, of those wanted"
    ),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    cel,
    validation = Rule::new("size(self.metadata.name) <= 52")
        .message("metadata.name must have at most 52 characters: pods, Services and labels are named after it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must start with a letter and consist of lower-case letters, digits and '-': Services are named after it")
)]
#[serde(rename_all = "camelCase")]
pub struct EventStoreSpec {
    /// How many nodes vote and keep the log. One tolerates no failure, three one, five two, seven three.
    #[serde(default = "replicas_default")]
    #[schemars(range(min = 1, max = 7))]
    #[x_kube(
        validation = Rule::new("self in [1, 3, 5, 7]")
            .message("replicas must be 1, 3, 5 or 7: an even number of voters tolerates no more failures than one fewer")
    )]
    pub replicas: i32,

    /// The image of the nodes. Absent: the one that came with the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// The volumes of the nodes.
    pub storage: Storage,

    /// What each node may use of CPU and memory.
    #[serde(default = "Resources::of_a_node")]
    pub resources: Resources,

    /// The configuration of the nodes, as in their configuration file. What the operator decides
    /// (formation, discovery, the data folder) it overrides.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schemars(schema_with = "schema::free_form")]
    pub config: serde_json::Map<String, serde_json::Value>,

    /// Labels and annotations for the pods.
    #[serde(default, skip_serializing_if = "PodMetadata::is_empty")]
    pub pod_metadata: PodMetadata,

    /// Where the pods may run.
    #[serde(default)]
    pub scheduling: Scheduling,

    /// Who may reach the nodes. Absent: whom the cluster's own policies let; no `NetworkPolicy` is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkAccess>,

    /// What the Services of the store carry besides.
    #[serde(default, skip_serializing_if = "Services::is_empty")]
    pub services: Services,

    /// While true the operator reports but changes nothing.
    #[serde(default)]
    pub paused: bool,

    /// While true the store has no pods; its volumes, its configuration and its identity are kept. Events cannot be
    /// read meanwhile.
    #[serde(default)]
    pub hibernate: bool,

    /// Any change of this text replaces the pods one after the other, as a new image would. A time is a good value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub restart: Option<String>,

    /// While true the store cannot be deleted: the API server refuses, if the chart's policy is installed, and the operator
    /// keeps a store going whose deletion was accepted nevertheless.
    #[serde(default)]
    pub deletion_protection: bool,
}

fn replicas_default() -> i32 {
    REPLICAS_DEFAULT
}

/// The volumes of a store's nodes: one per node, made by a storage class.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0")
        .message("storage.size can grow but never shrink: a volume cannot give space back"),
    validation = Rule::new("quantity(self.size).isGreaterThan(quantity('0'))")
        .message("storage.size must be greater than zero"),
    validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
        .message("storage.storageClassName is immutable: make a new store and copy the events")
)]
pub struct Storage {
    /// The size of each node's volume. It can grow, never shrink.
    #[schemars(schema_with = "schema::volume_size")]
    pub size: Quantity,

    /// The class that makes the volumes; immutable. Absent: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,

    /// What becomes of the volume claims when the store is deleted or a node is removed from it.
    #[serde(default)]
    pub reclaim_policy: ReclaimPolicy,
}

/// What becomes of a volume claim that is no longer used.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReclaimPolicy {
    /// The claim stays; a store of the same name adopts it.
    #[default]
    Retain,
    /// The claim is deleted once its pod is gone.
    Delete,
}

/// Compute resources of a container.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler sets aside.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::quantities")]
    pub requests: BTreeMap<String, Quantity>,

    /// What it may use at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

impl Resources {
    /// What an idle node needs; a loaded one deserves more.
    pub fn of_a_node() -> Self {
        Self::requesting("100m", "128Mi")
    }

    /// So much set aside, and no limits.
    pub(crate) fn requesting(cpu: &str, memory: &str) -> Self {
        let requests = [("cpu", cpu), ("memory", memory)];
        Self {
            requests: requests
                .into_iter()
                .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
                .collect(),
            limits: BTreeMap::new(),
        }
    }
}

/// Labels and annotations for pods, beside those the operator sets.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PodMetadata {
    /// Labels; those that the operator sets itself win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,

    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl PodMetadata {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }
}

/// Where the pods of a store may run.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// Labels that a Kubernetes node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints that the pods tolerate, as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::tolerations")]
    pub tolerations: Vec<Toleration>,

    /// Affinity as in a pod; it replaces what `antiAffinity` would make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_form")]
    pub affinity: Option<Affinity>,

    /// Whether two nodes of the store may share a Kubernetes node when there is no other place.
    #[serde(default)]
    pub anti_affinity: AntiAffinity,

    /// How the pods are spread, as in a pod; without a `labelSelector` over the pods of the store. Absent: evenly over zones
    /// where possible. An empty list: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::topology_spread_constraints")]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,

    /// The class that says whose pods go first when there is no room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

/// Who may reach the nodes of a store, beside each other, the operator, and the sinks of the store's subscriptions.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkAccess {
    /// Who may use the clients' port, as the `from` of a `NetworkPolicy`. Absent: every pod of the namespace. An empty list:
    /// nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::network_peers")]
    pub clients: Option<Vec<NetworkPolicyPeer>>,

    /// Who may collect metrics, likewise. Absent: everybody, as probes come from addresses that have no labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::network_peers")]
    pub metrics: Option<Vec<NetworkPolicyPeer>>,
}

/// What the Services of a store carry, beside what the operator sets.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Services {
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Services {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.annotations.is_empty()
    }
}

/// How firmly the nodes of a store are kept apart.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AntiAffinity {
    /// Apart where possible.
    #[default]
    Preferred,
    /// Apart, or not at all: a pod without a place stays pending.
    Required,
}
