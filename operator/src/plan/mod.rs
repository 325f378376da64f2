//! The planner: from what is wanted and what was seen to the next few actions.
//!
//! Pure: it knows no Kubernetes client, no clock and no randomness; time comes in as data. It keeps no
//! memory either: every decision follows from the observation, whose few latches stand in the status. So a
//! crash between any two actions is nothing but a fresh start on the next observation.

mod deletion;
mod formation;
mod hibernation;
mod membership;
mod observed;
mod restart;
mod roles;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod verdict;

use reckon_crds::{InitialisationIntent, Operation};

pub use observed::{
    Care, Checked, ClaimView, Desired, Member, Membership, NodeView, Observed, PodView, Seen,
    SetView, ordinal, quorum,
};
pub use roles::Role;
pub use verdict::{Outcome, Verdict, reason};

/// What is to be done now, and how things stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The objects to keep applied; `None` leaves them as they are.
    pub shape: Option<Shape>,
    /// What to do, in this order. A failure ends the plan; the next observation starts a new one.
    pub actions: Vec<Action>,
    /// The operation in flight, which the status is to show.
    pub operation: Option<Operation>,
    /// How things stand.
    pub verdict: Verdict,
}

/// The numbers in the objects that depend on the state of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Pods of the `StatefulSet`.
    pub replicas: i32,
    /// Voters that an eviction must leave.
    pub available_min: i32,
}

/// One step. Each is safe to repeat, and refused by its receiver when the world has moved on.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Makes sure that we are asked before the store goes.
    AddFinalizer,
    /// Writes down which volume is going to be initialised.
    RecordIntent(InitialisationIntent),
    /// Makes the first member.
    Initialise { pod: String, cluster_id: String, volume_id: String },
    /// Writes down for ever that the store exists.
    Latch { cluster_id: String },
    /// Opens the store to clients.
    Activate { pod: String, cluster_id: String },
    /// Writes down which operation begins.
    LockOperation(Operation),
    /// Tells a node without identity which store it belongs to.
    Join { pod: String, cluster_id: String, volume_id: String, members: Vec<String> },
    /// Makes a joined node a learner.
    AddLearner { pod: String, node_id: u64, volume_id: String, seen: Seen },
    /// Makes a learner a voter.
    Promote { name: String, node_id: u64, seen: Seen },
    /// Removes a member.
    Remove { name: String, node_id: u64, seen: Seen },
    /// Hands leadership to this member.
    TransferLeader { name: String, to_node_id: u64 },
    /// Puts the role on a pod.
    Label { pod: String, uid: String, role: Role },
    /// Deletes a pod, which its `StatefulSet` makes anew.
    RestartPod { pod: String, uid: String },
    /// Lets a claim ask for more space.
    GrowClaim { claim: String, uid: String },
    /// Deletes a claim that no pod uses any more.
    DeleteClaim { claim: String, uid: String },
    /// Deletes the `StatefulSet`, and with it the pods.
    DeleteSet,
    /// Deletes the other objects.
    DeleteOwned,
    /// Lets the store go.
    RemoveFinalizer,
}

impl Action {
    /// The name of the action in metrics and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AddFinalizer => "AddFinalizer",
            Self::RecordIntent(_) => "RecordIntent",
            Self::Initialise { .. } => "Initialise",
            Self::Latch { .. } => "Latch",
            Self::Activate { .. } => "Activate",
            Self::LockOperation(_) => "LockOperation",
            Self::Join { .. } => "Join",
            Self::AddLearner { .. } => "AddLearner",
            Self::Promote { .. } => "Promote",
            Self::Remove { .. } => "Remove",
            Self::TransferLeader { .. } => "TransferLeader",
            Self::Label { .. } => "Label",
            Self::RestartPod { .. } => "RestartPod",
            Self::GrowClaim { .. } => "GrowClaim",
            Self::DeleteClaim { .. } => "DeleteClaim",
            Self::DeleteSet => "DeleteSet",
            Self::DeleteOwned => "DeleteOwned",
            Self::RemoveFinalizer => "RemoveFinalizer",
        }
    }
}

/// Decides what to do next.
pub fn plan(observed: &Observed) -> Plan {
    if observed.desired.deleting {
        if !observed.desired.protected {
            return deletion::plan(observed);
        }
        // What was deleted cannot be undeleted, but it can be kept for as long as its finalizer is there.
        let mut plan = plan_kept(observed);
        plan.verdict = Verdict { quorum: plan.verdict.quorum, ..deletion::protected() };
        return plan;
    }
    plan_kept(observed)
}

/// Decides for a store that is to stay.
fn plan_kept(observed: &Observed) -> Plan {
    if observed.desired.care == Care::Paused {
        return Plan {
            shape: None,
            actions: Vec::new(),
            operation: observed.status.operation.clone(),
            verdict: Verdict::paused(),
        };
    }
    if !observed.desired.finalizer {
        return Plan {
            shape: None,
            actions: vec![Action::AddFinalizer],
            operation: None,
            verdict: Verdict::working(reason::CREATING, "The store is being created."),
        };
    }
    let mut plan = match (observed.desired.care, observed.status.cluster_id.as_deref()) {
        (Care::Hibernation, _) => hibernation::plan(observed),
        (_, None) => formation::plan(observed),
        (_, Some(cluster_id)) => membership::plan(observed, cluster_id),
    };
    // The leader Service follows these, so they come before anything that may take long.
    plan.actions.splice(0..0, roles::plan(observed));
    plan.actions.extend(growth(observed));
    plan
}

/// Claims that ask for less than the specification says.
fn growth(observed: &Observed) -> impl Iterator<Item = Action> {
    let wanted_bytes = observed.desired.storage_bytes;
    observed
        .claims
        .iter()
        .filter(move |claim| !claim.deleting && claim.requested_bytes < wanted_bytes)
        .map(|claim| Action::GrowClaim { claim: claim.name.clone(), uid: claim.uid.clone() })
}
