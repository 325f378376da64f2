//! How the node and its store are: what it answers to probes of its own port, how much memory it uses, whether the other
//! members answer, and whether all of them agree.
//!
//! It looks and changes nothing: what is to be done about it is for others to decide.

pub mod checker;
pub mod http;
pub mod judgement;
pub mod memory;
pub mod probe;
pub mod prober;
pub mod raft;
pub mod roster;
pub mod settings;
pub mod standing;

use std::sync::Arc;

use reckon_api::v1;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::node::Node;
use crate::raft::Member;
use crate::raft::network::Connections;
use crate::supervise::supervise;
use checker::Checker;
use prober::Prober;
use settings::{Settings, SettingsError};

/// A cheap handle to what looks at the other members.
#[derive(Debug, Clone)]
pub struct Health {
    pub prober: Prober,
    pub checker: Checker,
    settings: Arc<watch::Sender<Settings>>,
}

impl Health {
    /// Starts the prober and the checker beside Raft, where users' load does not make others look failed. They begin when
    /// this node is a member.
    pub fn start(node: &Node, metrics: &Metrics, settings: Settings) -> Self {
        let (sender, settings) = watch::channel(settings);
        let counted = metrics.health();
        // Apart from Raft's: a call that is given up here must not cost it a connection.
        let connections = Connections::new(Arc::clone(&node.environment().dial));
        let prober =
            Prober::new(node.clone(), connections.clone(), counted.clone(), settings.clone());
        let checker = Checker::new(node.clone(), connections, counted.clone(), settings);
        let probing = prober.clone();
        node.consensus().spawn(supervise("prober", metrics.clone(), move || probing.clone().run()));
        let checking = checker.clone();
        let check = supervise("checker", metrics.clone(), move || checking.clone().run());
        node.consensus().spawn(check);
        Self { prober, checker, settings: Arc::new(sender) }
    }

    /// What is in force.
    pub fn settings(&self) -> Settings {
        *self.settings.borrow()
    }

    /// Changes what is in force, from the next probe and check on.
    pub fn configure(
        &self,
        request: &v1::ConfigureHealthRequest,
    ) -> Result<Settings, SettingsError> {
        let mut outcome = Ok(self.settings());
        let is_new = self.settings.send_if_modified(|settings| {
            outcome = settings.changed_by(request);
            let Ok(changed) = outcome else { return false };
            std::mem::replace(settings, changed) != changed
        });
        if is_new {
            tracing::info!(settings = ?self.settings(), "health is looked at differently from now on");
        }
        outcome
    }
}

/// Waits for the time of the next round, or until other settings are in force; false: the node takes no more work.
async fn next_round(node: &Node, settings: &mut watch::Receiver<Settings>, at: Instant) -> bool {
    tokio::select! {
        () = tokio::time::sleep_until(at) => true,
        // Without anybody who could change them the node is on its way out.
        changed = settings.changed() => changed.is_ok(),
        () = node.drained() => false,
    }
}

/// The member that this node is, once it is one.
async fn member_of(node: &Node) -> Option<Arc<Member>> {
    let mut member = node.watch_member();
    let member = member.wait_for(Option::is_some).await.ok()?;
    member.clone()
}
