//! What Raft shows of itself, carried over to metrics and probes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openraft::ServerState;

use super::http::Probes;
use crate::limits;
use crate::metrics::{Metrics, RaftRole, RaftView};
use crate::node::Node;
use crate::raft::Member;

/// Answers the probes of the HTTP port from what was seen last, so that a probe never waits for Raft.
#[derive(Debug, Clone)]
pub struct NodeProbes {
    node: Node,
    core_answers: Arc<AtomicBool>,
}

impl NodeProbes {
    /// Assumes that Raft is well until it has been asked.
    pub fn new(node: Node) -> Self {
        Self { node, core_answers: Arc::new(AtomicBool::new(true)) }
    }
}

impl Probes for NodeProbes {
    fn live(&self) -> Result<(), String> {
        if self.core_answers.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err("raft's core does not answer".to_owned())
    }

    fn ready(&self) -> Result<(), String> {
        self.node.ready()
    }
}

/// Looks at Raft at a steady pace, for ever.
pub async fn observe(node: Node, probes: NodeProbes, metrics: Metrics) {
    let mut joined = false;
    loop {
        if let Some(member) = node.member() {
            if !joined {
                let identity = member.identity();
                metrics.joined(&identity.cluster_id, identity.node_id);
                joined = true;
            }
            carry_over(&member, &metrics);
            let answers = node.live().await;
            if let Err(why) = &answers {
                tracing::error!(why, "raft is not well");
            }
            probes.core_answers.store(answers.is_ok(), Ordering::Relaxed);
        }
        tokio::time::sleep(limits::RAFT_OBSERVATION_INTERVAL).await;
    }
}

fn carry_over(member: &Member, metrics: &Metrics) {
    let raft = member.metrics();
    metrics.raft(&RaftView {
        term: raft.current_term,
        role: match raft.state {
            ServerState::Leader => RaftRole::Leader,
            ServerState::Candidate => RaftRole::Candidate,
            ServerState::Follower => RaftRole::Follower,
            ServerState::Learner | ServerState::Shutdown => RaftRole::Learner,
        },
        leader: raft.current_leader,
        commit_index: raft.local_committed.as_ref().map(openraft::LogId::index).unwrap_or_default(),
        applied_index: raft.last_applied.as_ref().map(openraft::LogId::index).unwrap_or_default(),
        voters: raft.membership_config.voter_ids().count(),
        learners: raft.membership_config.membership().learner_ids().count(),
    });
    metrics.log_bytes(member.log().bytes_on_disk());
    metrics.overlay_bytes(member.engine().read().overlay_bytes());
}
