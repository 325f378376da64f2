//! The status of an `EventStore`: what the operator saw last, and its few latches.
//!
//! Everything but the latches (`clusterID`, `initialisation`, `operation`) can be rebuilt by looking.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// The types of conditions.
pub mod condition {
    /// The summary: the resource is as its specification says; a store serves appends.
    pub const READY: &str = "Ready";
    /// kstatus: the operator is working towards the specification.
    pub const RECONCILING: &str = "Reconciling";
    /// kstatus: the operator cannot go on without a person.
    pub const STALLED: &str = "Stalled";
    /// The store was formed; it never will be again.
    pub const INITIALISED: &str = "Initialised";
    /// A majority of voters is up and has a leader.
    pub const QUORUM: &str = "Quorum";
    /// The members agree with each other, as the leader's checks found last.
    pub const CONSISTENT: &str = "Consistent";
    /// The store has the subscription as its specification says.
    pub const REGISTERED: &str = "Registered";
    /// The deployment of the subscription's sink is as its specification says, and its pods are ready.
    pub const SINK_READY: &str = "SinkReady";
    /// The subscription's events reach somebody who settles them. Says nothing of the specification, so
    /// `Ready` does not follow it.
    pub const DELIVERING: &str = "Delivering";
}

/// What the operator knows of a store.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EventStoreStatus {
    /// The generation of the specification that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// What is true of the store now, one entry per type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The store's identity. A latch: once set the store is never initialised again.
    #[serde(default, rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,

    /// Which volume is being initialised, written before it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialisation: Option<InitialisationIntent>,

    /// The one operation in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,

    /// How many pods there are.
    #[serde(default)]
    pub replicas: i32,

    /// How many of the pods are ready.
    #[serde(default)]
    pub ready_replicas: i32,

    /// Voters that are ready of voters that are wanted, such as `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members_ready: Option<String>,

    /// The members of the store by its committed membership, never by its pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["nodeID".into()]))]
    pub members: Vec<MemberStatus>,

    /// The pod of the leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,

    /// Whether the members agree with each other, as the leader's checks found last. Absent while nobody leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<Consistency>,

    /// The label selector of the pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// The version that the nodes run; the oldest while they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What the checks of a store's members find.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// All members answer and agree.
    Healthy,
    /// The store serves; something is amiss or not finished.
    Degraded,
    /// Too few voters answer.
    NoQuorum,
    /// There are two histories.
    SplitBrain,
}

/// The decision which volume becomes the first member, recorded before it is acted on.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct InitialisationIntent {
    /// The pod that is told.
    pub pod: String,
    /// Its UID when the decision was made.
    #[serde(rename = "podUID")]
    pub pod_uid: String,
    /// The UID of the claim of its volume.
    #[serde(rename = "volumeClaimUID")]
    pub volume_claim_uid: String,
    /// The id that the node itself gave its volume.
    #[serde(rename = "volumeID")]
    pub volume_id: String,
    /// The identity that the store is to have.
    #[serde(rename = "clusterID")]
    pub cluster_id: String,
}

/// An operation that takes several steps; its target stays as it was when it began.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// What is being done.
    #[serde(rename = "type")]
    pub kind: OperationKind,
    /// The number of voters this operation leads to.
    pub target: i32,
    /// The member it is about.
    #[serde(default, rename = "nodeID", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::node_id")]
    pub node_id: Option<u64>,
    /// The pod it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The pod's UID when the operation began.
    #[serde(default, rename = "podUID", skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// When it began.
    #[schemars(schema_with = "schema::time")]
    pub started_at: Time,
    /// When it should be over; afterwards the store is reported as stalled, and the operation goes on.
    #[schemars(schema_with = "schema::time")]
    pub deadline: Time,
}

/// The operations that the operator does one at a time.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// Nodes join, catch up as learners and become voters, until `target` voters are there.
    ScaleUp,
    /// The members of the highest ordinals give up their vote and their pods go, until `target` are left.
    ScaleDown,
    /// A member whose volume is lost is removed; its pod joins anew under another id.
    ReplaceMember,
    /// A pod is replaced by one of the newest template.
    RestartPod,
}

/// A member of the store.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// The node's id, never used twice.
    #[serde(rename = "nodeID")]
    #[schemars(schema_with = "schema::node_id")]
    pub node_id: u64,
    /// The name it joined under, which is its pod's.
    pub name: String,
    /// What it does in the store.
    pub role: MemberRole,
    /// Whether its pod is ready and speaks for this member.
    pub ready: bool,
    /// The id of the volume that holds this member.
    #[serde(default, rename = "volumeID", skip_serializing_if = "Option::is_none")]
    pub volume_id: Option<String>,
    /// The version it runs, when it could be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What a member does in the store.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRole {
    /// Orders the appends.
    Leader,
    /// Votes, and follows the leader.
    Follower,
    /// Follows without a vote.
    Learner,
}
