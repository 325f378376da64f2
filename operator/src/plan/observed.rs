//! What the planner decides on: the store as Kubernetes and its own nodes showed it, as plain data.
//!
//! Knows no client. Whoever fills these in vouches for two things: everything was read live, and a node's
//! view is there only if the pod UID in it is the live pod's.

use k8s_openapi::jiff::Timestamp;
use reckon_crds::{Consistency, EventStoreStatus, ReclaimPolicy};

/// A store, wanted and seen, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// When this was seen.
    pub now: Timestamp,
    /// What the user wants.
    pub desired: Desired,
    /// The status as it stood, with its latches.
    pub status: EventStoreStatus,
    /// The `StatefulSet`, if there is one.
    pub set: Option<SetView>,
    /// The pods of the store, in the order of their ordinals.
    pub pods: Vec<PodView>,
    /// The volume claims of the store, also those that no pod uses.
    pub claims: Vec<ClaimView>,
    /// The committed membership as the leader sees it; absent without a leader.
    pub membership: Option<Membership>,
    /// What the leader's checks found last; absent without a leader, and when it knows nothing of checks.
    pub checked: Option<Checked>,
}

/// What a node found when it compared what all members say of themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub result: Consistency,
    /// What is amiss, for people.
    pub message: String,
}

/// What the user wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The name of the `EventStore`.
    pub name: String,
    /// Its UID, which becomes the cluster id of a new store.
    pub uid: String,
    /// How many voters are wanted.
    pub replicas: i32,
    /// What is to be done with it.
    pub care: Care,
    /// The store is not to go, whatever is deleted.
    pub protected: bool,
    /// The store is being deleted.
    pub deleting: bool,
    /// Our finalizer is on it.
    pub finalizer: bool,
    /// What becomes of claims that are no longer used.
    pub reclaim_policy: ReclaimPolicy,
    /// The wanted size of each volume, in bytes; 0 when it could not be read.
    pub storage_bytes: u128,
}

/// What is to be done with a store that is to stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Care {
    /// It is to be as specified.
    #[default]
    Full,
    /// Nothing is to be changed.
    Paused,
    /// There are to be no pods, and everything else is to be kept.
    Hibernation,
}

/// The `StatefulSet` of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetView {
    /// How many pods it is to have.
    pub replicas: i32,
    /// The revision new pods get; absent while its controller has not seen the latest template.
    pub update_revision: Option<String>,
    /// It is being deleted.
    pub deleting: bool,
}

/// A pod of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    pub name: String,
    pub uid: String,
    pub ordinal: i32,
    /// Kubernetes holds it to be ready.
    pub ready: bool,
    pub deleting: bool,
    /// The revision of its template.
    pub revision: Option<String>,
    /// The value of its role label.
    pub role_label: Option<String>,
    /// Why it does not come up, in the words of Kubernetes, when that is known.
    pub trouble: Option<String>,
    /// What the node in it says of itself.
    pub node: Option<NodeView>,
}

/// A volume claim of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimView {
    pub name: String,
    pub uid: String,
    pub ordinal: i32,
    pub deleting: bool,
    /// The UID of the `EventStore` it was made for.
    pub made_for: Option<String>,
    /// Bytes it asks for.
    pub requested_bytes: u128,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeView {
    pub volume_id: String,
    /// 0 without an identity.
    pub node_id: u64,
    /// Empty without an identity.
    pub cluster_id: String,
    pub leader: bool,
    pub term: u64,
    pub activated: bool,
    /// Joined, state loaded, not fenced.
    pub ready: bool,
    pub version: String,
    pub client_address: String,
    pub peer_address: String,
    /// The voters as this node last knew them.
    pub voters_known: usize,
}

/// The committed membership of a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    /// Where in the log it stands: what a change is compared against.
    pub seen: Seen,
    pub leader_id: u64,
    /// A change in two steps is under way.
    pub joint: bool,
    pub members: Vec<Member>,
}

/// The token of a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    pub log_term: u64,
    pub log_index: u64,
}

/// A member of a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    pub node_id: u64,
    pub voter: bool,
    /// The pod it joined from.
    pub name: String,
    pub volume_id: String,
    pub client_address: String,
    /// Bytes of log it lacks, if the leader knows.
    pub lag_bytes: Option<u64>,
    /// How long ago it last answered the leader, if the leader knows.
    pub last_ack_age_ms: Option<u64>,
}

impl Observed {
    /// The pod of this name.
    pub fn pod(&self, name: &str) -> Option<&PodView> {
        self.pods.iter().find(|pod| pod.name == name)
    }

    /// The claim of this ordinal.
    pub fn claim(&self, ordinal: i32) -> Option<&ClaimView> {
        self.claims.iter().find(|claim| claim.ordinal == ordinal)
    }

    /// The ordinal in a pod's name, if it is a pod of this store.
    pub fn ordinal(&self, pod: &str) -> Option<i32> {
        ordinal(&self.desired.name, pod)
    }

    /// Every cluster id that some node reports, each once, sorted.
    pub fn cluster_ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = self
            .pods
            .iter()
            .filter_map(|pod| pod.node.as_ref())
            .map(|node| node.cluster_id.as_str())
            .filter(|id| !id.is_empty())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The pod whose live node is this member.
    pub fn pod_of(&self, node_id: u64) -> Option<&PodView> {
        self.speakers().find(|(_, node)| node.node_id == node_id).map(|(pod, _)| pod)
    }

    /// Pods whose node belongs to the store that is latched. Ids mean nothing outside of it.
    fn speakers(&self) -> impl Iterator<Item = (&PodView, &NodeView)> {
        self.pods
            .iter()
            .filter_map(|pod| Some((pod, pod.node.as_ref()?)))
            .filter(|(_, node)| self.status.cluster_id.as_deref() == Some(node.cluster_id.as_str()))
    }

    /// The pod of the leader: the node of the highest term that says it leads.
    pub fn leader(&self) -> Option<&PodView> {
        self.speakers()
            .filter(|(_, node)| node.leader)
            .max_by_key(|(_, node)| node.term)
            .map(|(pod, _)| pod)
    }
}

impl Membership {
    /// The voters.
    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.voter)
    }

    /// The learners.
    pub fn learners(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.voter)
    }

    /// The member of this id.
    pub fn member(&self, node_id: u64) -> Option<&Member> {
        self.members.iter().find(|member| member.node_id == node_id)
    }
}

/// The ordinal in the name of a pod of this store.
pub fn ordinal(store: &str, pod: &str) -> Option<i32> {
    pod.strip_prefix(store)?.strip_prefix('-')?.parse().ok().filter(|ordinal| *ordinal >= 0)
}

/// How many of `voters` must agree.
pub const fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}
