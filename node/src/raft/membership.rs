//! Membership: one voter at a time, each change a compare-and-set on the membership its caller saw.
//!
//! Runs on the leader; who asks elsewhere is forwarded. `append_membership` changes one voter in one log entry
//! (Ongaro's dissertation, §4.1), so no joint configuration is left behind when the leader dies half-way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::Instant as _;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::metrics::RaftMetrics;
use openraft::raft::Precondition;
use openraft::{EntryPayload, ServerState};
use reckon_api::v1;

use super::member::Member;
use super::types::{LogId, Membership, PeerNode, StoredMembership, TypeConfig};
use super::wire;
use crate::limits;

/// Why a membership change was refused. Nothing has changed then, but for `Unknown`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    #[error("this node does not lead")]
    NotLeader,
    #[error("the membership has changed since it was looked at; read it again and decide anew")]
    Changed,
    #[error("another change is under way, or the leader is too new; try again in a moment")]
    Busy,
    #[error("node {0} is not a member")]
    UnknownMember(u64),
    #[error("learner {node_id} lags by {lag_bytes} bytes of log, the most is {maximum}")]
    Lags { node_id: u64, lag_bytes: u64, maximum: u64 },
    #[error("{0}")]
    Unsafe(String),
    #[error("{0}")]
    TransferFailed(String),
    #[error("the answer was lost; look at the membership to see whether the change took effect")]
    Unknown,
}

impl MembershipError {
    /// Whether the same request may succeed later without a new decision.
    pub const fn retryable(&self) -> bool {
        matches!(self, Self::NotLeader | Self::Busy | Self::Lags { .. } | Self::Unknown)
    }
}

impl Member {
    /// The committed membership with what the leader knows of each member's progress.
    pub fn membership(&self) -> v1::Membership {
        let metrics = self.metrics();
        describe(&metrics, |index| self.log().bytes_behind(index))
    }

    /// Adds a node that has joined as a learner.
    pub async fn add_learner(
        &self,
        node_id: u64,
        node: PeerNode,
        seen: Option<LogId>,
    ) -> Result<v1::Membership, MembershipError> {
        let current = self.current(seen)?;
        let (configs, mut nodes) = parts(&current);
        if nodes.get(&node_id) == Some(&node) {
            return Ok(self.membership());
        }
        if let Some(other) = nodes
            .iter()
            .filter(|(known_id, _)| **known_id != node_id)
            .map(|(_, known)| known)
            .find(|known| known.volume_id == node.volume_id)
        {
            return Err(MembershipError::Unsafe(format!(
                "volume {} already carries the member {}",
                node.volume_id, other.name
            )));
        }
        nodes.insert(node_id, node);
        self.append_membership(configs, nodes, &current).await
    }

    /// Makes a learner a voter, unless it lags.
    pub async fn promote(
        &self,
        node_id: u64,
        seen: Option<LogId>,
    ) -> Result<v1::Membership, MembershipError> {
        let current = self.current(seen)?;
        let (mut configs, nodes) = parts(&current);
        if !nodes.contains_key(&node_id) {
            return Err(MembershipError::UnknownMember(node_id));
        }
        let voters = single_config(&mut configs)?;
        if !voters.insert(node_id) {
            return Ok(self.membership());
        }
        let progress = self.progress_of(node_id);
        let lag_bytes = progress.lag_bytes.unwrap_or(u64::MAX);
        if lag_bytes > limits::PROMOTION_LAG_BYTES_MAX {
            return Err(MembershipError::Lags {
                node_id,
                lag_bytes,
                maximum: limits::PROMOTION_LAG_BYTES_MAX,
            });
        }
        self.append_membership(configs, nodes, &current).await
    }

    /// Removes a learner or a voter that does not lead. Refused where the voters that stay and answer would be
    /// no quorum.
    pub async fn remove(
        &self,
        node_id: u64,
        seen: Option<LogId>,
    ) -> Result<v1::Membership, MembershipError> {
        let current = self.current(seen)?;
        let (mut configs, mut nodes) = parts(&current);
        if nodes.remove(&node_id).is_none() {
            return Err(MembershipError::UnknownMember(node_id));
        }
        let voters = single_config(&mut configs)?;
        if voters.remove(&node_id) {
            if node_id == self.identity().node_id {
                return Err(MembershipError::Unsafe(
                    "the leader cannot remove itself: transfer the leadership first".to_owned(),
                ));
            }
            let answering = voters.iter().filter(|voter| self.answers(**voter)).count();
            let quorum = voters.len() / 2 + 1;
            if answering < quorum {
                return Err(MembershipError::Unsafe(format!(
                    "of the {} voters that would stay only {answering} answer, and {quorum} must",
                    voters.len()
                )));
            }
        }
        self.append_membership(configs, nodes, &current).await
    }

    /// Hands leadership to a voter without lag that answered lately, and returns when it is seen to lead.
    /// `to` of 0 picks the most up-to-date one.
    pub async fn transfer_leader(&self, to: u64) -> Result<(u64, u64), MembershipError> {
        let metrics = self.metrics();
        if metrics.state != ServerState::Leader {
            return Err(MembershipError::NotLeader);
        }
        let own = self.identity().node_id;
        if to == own {
            return Ok((own, metrics.current_term));
        }
        let members = self.membership().members;
        let fit = |member: &v1::Member| {
            member.voter
                && member.node_id != own
                && member.lag_bytes.is_some_and(|lag| lag <= limits::TRANSFER_LAG_BYTES_MAX)
                && self.answers(member.node_id)
        };
        let chosen = if to == 0 {
            members.iter().filter(|member| fit(member)).min_by_key(|member| member.lag_bytes)
        } else {
            members.iter().find(|member| member.node_id == to && fit(member))
        };
        let Some(chosen) = chosen.map(|member| member.node_id) else {
            return Err(MembershipError::TransferFailed(
                "no other voter is up to date and answers; the leadership stays".to_owned(),
            ));
        };
        self.raft()
            .trigger()
            .transfer_leader(chosen)
            .await
            .map_err(|_fatal| MembershipError::Unknown)?;
        let seen = self
            .raft()
            .wait(Some(limits::TRANSFER_TIMEOUT))
            .metrics(|metrics| metrics.current_leader.is_some_and(|id| id != own), "a new leader")
            .await;
        match seen {
            Ok(metrics) => Ok((metrics.current_leader.unwrap_or_default(), metrics.current_term)),
            Err(_) => Err(MembershipError::TransferFailed(format!(
                "node {chosen} did not take over within {} s",
                limits::TRANSFER_TIMEOUT.as_secs()
            ))),
        }
    }

    fn current(&self, seen: Option<LogId>) -> Result<StoredMembership, MembershipError> {
        let metrics = self.metrics();
        if metrics.state != ServerState::Leader {
            return Err(MembershipError::NotLeader);
        }
        let current = metrics.committed_membership_config.as_ref().clone();
        if seen.is_some() && *current.log_id() != seen {
            return Err(MembershipError::Changed);
        }
        Ok(current)
    }

    async fn append_membership(
        &self,
        configs: Vec<BTreeSet<u64>>,
        nodes: BTreeMap<u64, PeerNode>,
        current: &StoredMembership,
    ) -> Result<v1::Membership, MembershipError> {
        let membership = Membership::new(configs, nodes)
            .map_err(|error| MembershipError::Unsafe(error.to_string()))?;
        // The new membership was made from `current`: if another change came first, this one would undo it.
        let unchanged =
            Precondition::LastMembershipLogId { last_membership_log_id: *current.log_id() };
        match self.raft().append_membership(membership, EntryPayload::Blank, [unchanged]).await {
            Ok(_) => Ok(self.membership()),
            Err(RaftError::APIError(ClientWriteError::PreconditionFailed(_))) => {
                Err(MembershipError::Changed)
            }
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                Err(MembershipError::NotLeader)
            }
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                ChangeMembershipError::InProgress(_)
                | ChangeMembershipError::UncommittedLeaderLog(_),
            ))) => Err(MembershipError::Busy),
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) => {
                Err(MembershipError::Unsafe(error.to_string()))
            }
            Err(_) => Err(MembershipError::Unknown),
        }
    }

    fn progress_of(&self, node_id: u64) -> v1::Member {
        self.membership()
            .members
            .into_iter()
            .find(|member| member.node_id == node_id)
            .unwrap_or_default()
    }

    /// Whether a member answered within the last two election timeouts; this node always does.
    fn answers(&self, node_id: u64) -> bool {
        node_id == self.identity().node_id
            || self
                .progress_of(node_id)
                .last_ack_age_ms
                .is_some_and(|age| Duration::from_millis(age) <= self.answer_age_max())
    }
}

fn parts(membership: &StoredMembership) -> (Vec<BTreeSet<u64>>, BTreeMap<u64, PeerNode>) {
    let nodes = membership.nodes().map(|(id, node)| (*id, node.clone())).collect();
    (membership.get_joint_config().clone(), nodes)
}

fn single_config(configs: &mut [BTreeSet<u64>]) -> Result<&mut BTreeSet<u64>, MembershipError> {
    match configs {
        [voters] => Ok(voters),
        _ => Err(MembershipError::Unsafe(
            "a change in two steps is under way; it must finish first".to_owned(),
        )),
    }
}

/// The membership in the words of the protocol.
pub fn describe(
    metrics: &RaftMetrics<TypeConfig>,
    bytes_behind: impl Fn(Option<u64>) -> u64,
) -> v1::Membership {
    let stored = &metrics.committed_membership_config;
    let voters: BTreeSet<u64> = stored.voter_ids().collect();
    let leads = metrics.state == ServerState::Leader;
    let members = stored
        .nodes()
        .map(|(id, node)| {
            let own = *id == metrics.id;
            let matched = match &metrics.replication {
                _ if own => metrics.last_log_index,
                Some(replication) => {
                    replication.get(id).and_then(|matched| matched.as_ref().map(LogId::index))
                }
                None => None,
            };
            let ack_age = match &metrics.heartbeat {
                _ if own => Some(Duration::ZERO),
                Some(acks) => {
                    acks.get(id).and_then(|at| at.as_ref().map(|instant| instant.elapsed()))
                }
                None => None,
            };
            v1::Member {
                node_id: *id,
                voter: voters.contains(id),
                leader: metrics.current_leader == Some(*id),
                peer_address: node.peer_address.clone(),
                client_address: node.client_address.clone(),
                name: node.name.clone(),
                volume_id: node.volume_id.clone(),
                matched_index: leads.then_some(matched).flatten(),
                lag_bytes: leads.then(|| if own { 0 } else { bytes_behind(matched) }),
                last_ack_age_ms: leads
                    .then(|| ack_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
                    .flatten(),
            }
        })
        .collect();
    let at = stored.log_id().as_ref().map(wire::log_id_to_wire).unwrap_or_default();
    v1::Membership {
        log_term: at.term,
        log_index: at.index,
        members,
        joint: stored.get_joint_config().len() > 1,
    }
}
