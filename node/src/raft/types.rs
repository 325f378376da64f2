//! The types that openraft is instantiated with.

use std::fmt;

use bytes::Bytes;
use openraft::impls::leader_id_std;
use openraft::type_config::alias::{EntryOf, LogIdOf, StoredMembershipOf, VoteOf};

use super::runtime::Runtime;
use crate::engine::Outcome;

openraft::declare_raft_types!(
    /// One leader per term at most (`leader_id_std`), so that a term and an index name one entry.
    pub TypeConfig:
        D = Group,
        R = GroupOutcome,
        NodeId = u64,
        Node = PeerNode,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = Runtime,
);

/// A group of commands exactly as the proposer encoded it: the same bytes go to disk, to peers and to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group(pub Bytes);

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group of {} bytes", self.0.len())
    }
}

/// What apply decided for each command of a group, in order. Empty for blank and membership entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupOutcome(pub Vec<Outcome>);

/// Where a member is reached, and which volume it lives on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerNode {
    /// The pod's name in Kubernetes; otherwise what the node calls itself.
    pub name: String,
    /// `host:port` of the peer service.
    pub peer_address: String,
    /// `host:port` of the client service.
    pub client_address: String,
    /// The volume the member was given its id for.
    pub volume_id: String,
}

/// A Raft log entry.
pub type Entry = EntryOf<TypeConfig>;
/// The place of an entry: term and index.
pub type LogId = LogIdOf<TypeConfig>;
/// A Raft vote: term, candidate, and whether a quorum granted it.
pub type Vote = VoteOf<TypeConfig>;
/// A membership and the place it was logged at.
pub type StoredMembership = StoredMembershipOf<TypeConfig>;
/// Voters and learners.
pub type Membership = openraft::Membership<u64, PeerNode>;
/// The payload of an entry.
pub type Payload = openraft::EntryPayload<Group, u64, PeerNode>;
