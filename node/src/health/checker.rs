//! The consistency checker: asks every member how it is, side by side, and keeps what is judged of the answers.
//!
//! Every node checks for itself. What answers mean is decided in [`super::judgement`].

use std::sync::Arc;

use reckon_api::v1::{self, CheckKind, ConsistencyResult};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

use super::judgement::{self, Asked, Asking, CHECKS, Observer};
use super::settings::Settings;
use crate::limits;
use crate::metrics::HealthMetrics;
use crate::node::Node;
use crate::raft::Member;
use crate::raft::network::Connections;

/// What was found by all checks.
pub type Report = Arc<v1::ConsistencyReport>;

/// A cheap handle to the checker of a node.
#[derive(Debug, Clone)]
pub struct Checker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    node: Node,
    metrics: HealthMetrics,
    settings: watch::Receiver<Settings>,
    connections: Connections,
    /// Members are asked by one check at a time, whoever wants it.
    turn: Mutex<()>,
    last: watch::Sender<Option<Report>>,
}

impl Checker {
    pub(super) fn new(
        node: Node,
        connections: Connections,
        metrics: HealthMetrics,
        settings: watch::Receiver<Settings>,
    ) -> Self {
        let (turn, last) = (Mutex::default(), watch::Sender::new(None));
        let shared = Shared { node, metrics, settings, connections, turn, last };
        Self { shared: Arc::new(shared) }
    }

    /// Checks until the node stops taking work.
    pub(super) async fn run(self) {
        let Some(member) = super::member_of(&self.shared.node).await else { return };
        let mut settings = self.shared.settings.clone();
        loop {
            let began = Instant::now();
            let interval = settings.borrow_and_update().consistency_interval;
            self.check(&member, &CHECKS).await;
            if !super::next_round(&self.shared.node, &mut settings, began + interval).await {
                return;
            }
        }
    }

    /// Asks all members now. A report of all checks becomes the last one.
    pub async fn check(&self, member: &Member, wanted: &[CheckKind]) -> Report {
        let _one_at_a_time = self.shared.turn.lock().await;
        let (at_us, began) = ((self.shared.node.environment().clock)(), Instant::now());
        let membership = member.membership();
        let asked = self.ask(member, &membership).await;
        let took = began.elapsed();
        let duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let identity = member.identity();
        let observer = Observer {
            node_id: identity.node_id,
            cluster_id: identity.cluster_id.clone(),
            epoch: identity.epoch,
        };
        let when = Asking { at_us, duration_us };
        let report = judgement::judge(&observer, &membership, &asked, wanted, when);
        let report = Arc::new(report);
        if wanted == CHECKS {
            self.shared.metrics.checked(report.result(), took);
            self.keep(&report);
        }
        report
    }

    fn keep(&self, report: &Report) {
        let before = self.shared.last.send_replace(Some(Arc::clone(report)));
        let first = before.is_none();
        let was = before.as_ref().map(|before| before.result()).unwrap_or_default();
        let is_news = before.is_none_or(|before| judgement::differs(&before, report));
        if !is_news {
            return;
        }
        let (result, why) = (report.result(), reasons(report));
        if result == ConsistencyResult::SplitBrain && was != result {
            self.shared.metrics.split_brain();
        }
        match result {
            ConsistencyResult::SplitBrain => {
                tracing::error!(why, "the store has split: there are two histories");
            }
            ConsistencyResult::NoQuorum => tracing::warn!(why, "the store has no quorum"),
            ConsistencyResult::Degraded => tracing::info!(why, "the store is degraded"),
            _ if first => {}
            _ => tracing::info!("the store is healthy again"),
        }
    }

    /// The answers of all members, this one included whether it is a member yet or not.
    async fn ask(&self, member: &Member, membership: &v1::Membership) -> Vec<Asked> {
        let own = member.identity().node_id;
        let mut members = membership.members.clone();
        if !members.iter().any(|known| known.node_id == own) {
            members.push(v1::Member { node_id: own, ..v1::Member::default() });
        }
        let asking = members.into_iter().map(|other| async move {
            let answer = if other.node_id == own {
                Ok(self.shared.node.brief_status())
            } else {
                self.ask_one(&other.peer_address).await
            };
            Asked { member: other, answer }
        });
        futures::future::join_all(asking).await
    }

    async fn ask_one(&self, address: &str) -> Result<v1::StatusResponse, String> {
        let connections = &self.shared.connections;
        let said = |status: tonic::Status| status.message().to_owned();
        let mut peer = connections.control(address).map_err(said)?;
        let limit = limits::CONSISTENCY_ANSWER_TIMEOUT;
        let answer = match timeout(limit, peer.status(v1::StatusRequest {})).await {
            Ok(answer) => answer.map(tonic::Response::into_inner).map_err(said),
            Err(_elapsed) => Err(format!("it did not answer within {} ms", limit.as_millis())),
        };
        if answer.is_err() {
            connections.drop_control(address);
        }
        answer
    }

    /// The last report of all checks, and those that follow.
    pub fn reports(&self) -> watch::Receiver<Option<Report>> {
        self.shared.last.subscribe()
    }
}

/// What is amiss, in the words of the checks.
fn reasons(report: &v1::ConsistencyReport) -> String {
    let amiss = report.checks.iter().filter(|check| check.status() != ConsistencyResult::Healthy);
    amiss.map(|check| check.message.as_str()).collect::<Vec<_>>().join("; ")
}
