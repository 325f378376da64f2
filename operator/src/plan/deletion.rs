//! The end of a store: pods first, then what they used, then the name.

use reckon_crds::ReclaimPolicy;

use super::verdict::{Verdict, reason};
use super::{Action, Observed, Plan};

/// Takes the store down, one stage per observation.
pub fn plan(observed: &Observed) -> Plan {
    let verdict = Verdict::working(reason::DELETING, "The store is being deleted.");
    let actions = if observed.desired.finalizer { stage(observed) } else { Vec::new() };
    Plan { shape: None, actions, operation: observed.status.operation.clone(), verdict }
}

/// Nothing is taken down while the specification protects the store.
pub fn protected() -> Verdict {
    Verdict::stalled(
        reason::DELETION_PROTECTED,
        "The store was deleted while spec.deletionProtection is set: it is kept. Set it to false to let it go.",
    )
}

fn stage(observed: &Observed) -> Vec<Action> {
    if observed.set.as_ref().is_some_and(|set| !set.deleting) {
        return vec![Action::DeleteSet];
    }
    if observed.set.is_some() || !observed.pods.is_empty() {
        return Vec::new();
    }
    if observed.desired.reclaim_policy == ReclaimPolicy::Delete && !observed.claims.is_empty() {
        return observed
            .claims
            .iter()
            .filter(|claim| !claim.deleting)
            .map(|claim| Action::DeleteClaim { claim: claim.name.clone(), uid: claim.uid.clone() })
            .collect();
    }
    vec![Action::DeleteOwned, Action::RemoveFinalizer]
}
