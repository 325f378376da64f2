//! The prober: asks every other member at a steady pace whether it is there, and keeps what it heard.
//!
//! Each node probes for itself: that two of them see different things says where a network is cut. What outcomes mean is
//! decided in [`super::roster`].

use std::sync::Arc;

use parking_lot::Mutex;
use reckon_api::v1::{self, HealthState};
use tokio::sync::watch;
use tokio::time::Instant;

use super::probe::Probes;
use super::roster::{Outcome, Roster};
use super::settings::Settings;
use super::standing::Change;
use crate::metrics::HealthMetrics;
use crate::node::Node;
use crate::raft::Member;
use crate::raft::network::Connections;

/// A cheap handle to the prober of a node.
#[derive(Debug, Clone)]
pub struct Prober {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    node: Node,
    metrics: HealthMetrics,
    settings: watch::Receiver<Settings>,
    probes: Probes,
    roster: Mutex<Roster>,
    /// How many notices there have been.
    noticed: watch::Sender<u64>,
}

/// No other member has this id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("member {0} is no other member of the store that this node could probe")]
pub struct NoSuchMember(pub u64);

impl NoSuchMember {
    /// It may be added later, but that is another store then.
    pub const fn retryable(self) -> bool {
        false
    }
}

impl Prober {
    pub(super) fn new(
        node: Node,
        connections: Connections,
        metrics: HealthMetrics,
        settings: watch::Receiver<Settings>,
    ) -> Self {
        let probes = Probes { connections, environment: node.environment().clone() };
        let (roster, noticed) = (Mutex::default(), watch::Sender::new(0));
        Self { shared: Arc::new(Shared { node, metrics, settings, probes, roster, noticed }) }
    }

    /// Probes until the node stops taking work.
    pub(super) async fn run(self) {
        let Some(member) = super::member_of(&self.shared.node).await else { return };
        let mut settings = self.shared.settings.clone();
        loop {
            let began = Instant::now();
            let now = *settings.borrow_and_update();
            self.probe(&member, others(&member), now.probe_type).await;
            if !super::next_round(&self.shared.node, &mut settings, began + now.probe_interval)
                .await
            {
                return;
            }
        }
    }

    /// Probes all other members, or one, now.
    pub async fn probe_now(
        &self,
        member: &Member,
        kind: v1::ProbeType,
        node_id: Option<u64>,
    ) -> Result<Vec<v1::ProbeResult>, NoSuchMember> {
        let mut others = others(member);
        if let Some(node_id) = node_id {
            others.retain(|other| other.node_id == node_id);
            if others.is_empty() {
                return Err(NoSuchMember(node_id));
            }
        }
        let in_force = self.shared.settings.borrow().probe_type;
        let kind = if kind == v1::ProbeType::Unspecified { in_force } else { kind };
        Ok(self.probe(member, others, kind).await)
    }

    /// Probes these members side by side, and takes in each outcome as it comes.
    async fn probe(
        &self,
        member: &Member,
        others: Vec<v1::Member>,
        kind: v1::ProbeType,
    ) -> Vec<v1::ProbeResult> {
        self.follow(member);
        let own = member.identity();
        let probing = others.into_iter().map(|other| async move {
            let settings = *self.shared.settings.borrow();
            let outcome = self.shared.probes.probe(own, &other, kind, settings.probe_timeout).await;
            // A member that takes connections and answers no call is failed if calls are asked of it: what another kind
            // of probe finds must not make it healthy in between.
            if kind == settings.probe_type {
                self.take(&other, &outcome, settings.probe_failures);
            }
            v1::ProbeResult {
                node_id: other.node_id,
                name: other.name,
                r#type: kind.into(),
                answered: outcome.answer.is_ok(),
                latency_us: outcome.took_us,
                error: outcome.answer.err().unwrap_or_default(),
                state: self.shared.roster.lock().state(other.node_id).into(),
            }
        });
        futures::future::join_all(probing).await
    }

    fn follow(&self, member: &Member) {
        let now_us = (self.shared.node.environment().clock)();
        let mut roster = self.shared.roster.lock();
        roster.follow(others(member), now_us);
        self.count(&roster);
    }

    fn take(&self, other: &v1::Member, outcome: &Outcome, failures_max: u32) {
        self.shared.metrics.probed(outcome.answer.is_ok(), outcome.took_us);
        let mut roster = self.shared.roster.lock();
        let Some(change) = roster.take(other.node_id, outcome, failures_max) else { return };
        self.count(&roster);
        let noticed = roster.noticed();
        drop(roster);
        self.shared.metrics.state_changed(change.to);
        if change.is_news() {
            tell(other, change, outcome);
            self.shared.noticed.send_replace(noticed);
        }
    }

    fn count(&self, roster: &Roster) {
        for state in STATES {
            self.shared.metrics.members(state, roster.count(state));
        }
    }

    /// How the members are.
    pub fn view(&self, member: &Member) -> v1::HealthResponse {
        self.view_and_number(member).0
    }

    /// The same, and the number of the last notice that is in it.
    pub fn view_and_number(&self, member: &Member) -> (v1::HealthResponse, u64) {
        let settings = *self.shared.settings.borrow();
        let roster = self.shared.roster.lock();
        let view = v1::HealthResponse {
            node_id: member.identity().node_id,
            members: roster.members(),
            settings: Some(settings.to_message()),
            notices: roster.notices().cloned().collect(),
        };
        (view, roster.noticed())
    }

    /// Tells of each new notice: its number.
    pub fn noticed(&self) -> watch::Receiver<u64> {
        self.shared.noticed.subscribe()
    }

    /// The notices behind the one of this number; `None`: some of them are forgotten.
    pub fn notices_behind(&self, number: u64) -> Option<Vec<v1::HealthNotice>> {
        self.shared.roster.lock().notices_behind(number)
    }
}

const STATES: [HealthState; 4] =
    [HealthState::Unknown, HealthState::Healthy, HealthState::Suspect, HealthState::Failed];

fn others(member: &Member) -> Vec<v1::Member> {
    let own = member.identity().node_id;
    let members = member.membership().members.into_iter();
    members.filter(|other| other.node_id != own).collect()
}

fn tell(other: &v1::Member, change: Change, outcome: &Outcome) {
    let (member, name) = (other.node_id, other.name.as_str());
    match (change.to, &outcome.answer) {
        (HealthState::Failed, Err(why)) => {
            tracing::warn!(member, name, why, "a member has failed");
        }
        (_, Err(why)) => tracing::info!(member, name, why, "a member is suspected to have failed"),
        (_, Ok(())) => tracing::info!(member, name, "a member answers again"),
    }
}
