//! How a store comes into being, exactly once.
//!
//! Intent, `Initialise`, latch, `Activate`: no client write is accepted before the last, so whatever is lost
//! before the latch held nothing. After the latch this module is never asked again.

use reckon_crds::InitialisationIntent;

use super::verdict::{Verdict, reason};
use super::{Action, NodeView, Observed, Plan, PodView, Shape, quorum};

/// Plans for a store that has no cluster id yet.
pub fn plan(observed: &Observed) -> Plan {
    let (actions, verdict) = step(observed);
    let replicas = replicas(observed);
    let available_min = super::membership::available_min(observed.desired.replicas, 0);
    Plan {
        shape: Some(Shape { replicas, available_min }),
        actions: actions.into_iter().collect(),
        operation: None,
        verdict,
    }
}

/// As many pods as are wanted, one for every volume that an earlier store of this name left, whose contents
/// must be seen before anything is decided, and the one whose initialisation has begun.
fn replicas(observed: &Observed) -> i32 {
    let kept = observed.claims.iter().filter(|claim| kept(observed, claim.ordinal));
    let intended = observed.status.initialisation.as_ref();
    let intended = intended.and_then(|intent| observed.ordinal(&intent.pod));
    let needed = kept.map(|claim| claim.ordinal).chain(intended).map(|ordinal| ordinal + 1);
    needed.fold(observed.desired.replicas, i32::max)
}

/// Whether the claim of this ordinal was made for an earlier store of this name.
fn kept(observed: &Observed, ordinal: i32) -> bool {
    observed
        .claim(ordinal)
        .is_some_and(|claim| claim.made_for.as_deref() != Some(observed.desired.uid.as_str()))
}

fn step(observed: &Observed) -> (Option<Action>, Verdict) {
    let ids = observed.cluster_ids();
    if ids.len() > 1 {
        return (None, several(&ids));
    }
    match (&observed.status.initialisation, ids.first()) {
        (Some(intent), Some(id)) if intent.cluster_id == *id => latch(id),
        (Some(intent), Some(id)) => (None, several(&[id, intent.cluster_id.as_str()])),
        (Some(intent), None) => carry_out(observed, intent),
        (None, Some(id)) => adopt(observed, id),
        (None, None) => choose(observed),
    }
}

/// Initialises the recorded volume, or starts again if that volume is gone.
fn carry_out(observed: &Observed, intent: &InitialisationIntent) -> (Option<Action>, Verdict) {
    let pod = observed.pod(&intent.pod);
    let claim = pod.and_then(|pod| observed.claim(pod.ordinal));
    let node = pod.and_then(|pod| pod.node.as_ref());
    match (claim, node) {
        (Some(claim), _) if claim.uid != intent.volume_claim_uid => choose(observed),
        (Some(_), Some(node)) if node.volume_id != intent.volume_id => choose(observed),
        (Some(_), Some(node)) => (
            Some(Action::Initialise {
                pod: intent.pod.clone(),
                cluster_id: intent.cluster_id.clone(),
                volume_id: node.volume_id.clone(),
            }),
            initialising(&intent.pod),
        ),
        _ => (None, waiting(&format!("Waiting for pod {} to be initialised.", intent.pod))),
    }
}

/// Picks the volume that becomes the first member and records the choice.
fn choose(observed: &Observed) -> (Option<Action>, Verdict) {
    let silent = silent_kept(observed);
    if !silent.is_empty() {
        return (
            None,
            Verdict::working(
                reason::ADOPTING,
                format!(
                    "Volumes of an earlier store exist; waiting for {} to tell what they hold.",
                    silent.join(", ")
                ),
            ),
        );
    }
    let candidate = observed.pods.iter().find_map(|pod| {
        let node = pod.node.as_ref().filter(|node| node.node_id == 0 && !pod.deleting)?;
        let claim = observed.claim(pod.ordinal).filter(|claim| !claim.deleting)?;
        Some(InitialisationIntent {
            pod: pod.name.clone(),
            pod_uid: pod.uid.clone(),
            volume_claim_uid: claim.uid.clone(),
            volume_id: node.volume_id.clone(),
            cluster_id: observed.desired.uid.clone(),
        })
    });
    match candidate {
        Some(intent) => {
            let verdict = initialising(&intent.pod);
            (Some(Action::RecordIntent(intent)), verdict)
        }
        None => (None, waiting("Waiting for the first node to answer.")),
    }
}

/// Takes over the volumes of an earlier store once all of them, or a majority of its voters, agree on who
/// they are.
fn adopt(observed: &Observed, id: &str) -> (Option<Action>, Verdict) {
    let agreeing: Vec<&NodeView> = observed
        .pods
        .iter()
        .filter_map(|pod| pod.node.as_ref())
        .filter(|node| node.cluster_id == id)
        .collect();
    let voters = agreeing.iter().map(|node| node.voters_known).max().unwrap_or(0);
    let majority = voters > 0 && agreeing.len() >= quorum(voters);
    let silent = silent_kept(observed);
    if silent.is_empty() || majority {
        return latch(id);
    }
    let message = format!("Adopting the volumes of store {id}; waiting for {}.", silent.join(", "));
    (None, Verdict::working(reason::ADOPTING, message))
}

/// Pods on kept volumes that have not answered yet.
fn silent_kept(observed: &Observed) -> Vec<String> {
    let claims = observed.claims.iter().filter(|claim| kept(observed, claim.ordinal));
    claims
        .filter(|claim| {
            let pod: Option<&PodView> =
                observed.pods.iter().find(|pod| pod.ordinal == claim.ordinal);
            pod.is_none_or(|pod| pod.node.is_none())
        })
        .map(|claim| format!("{}-{}", observed.desired.name, claim.ordinal))
        .collect()
}

fn latch(id: &str) -> (Option<Action>, Verdict) {
    let message = "The first member exists; its identity is being recorded.";
    (
        Some(Action::Latch { cluster_id: id.to_owned() }),
        Verdict::working(reason::INITIALISING, message),
    )
}

fn initialising(pod: &str) -> Verdict {
    Verdict::working(reason::INITIALISING, format!("Pod {pod} is becoming the first member."))
}

fn waiting(message: &str) -> Verdict {
    Verdict::working(reason::WAITING_FOR_PODS, message)
}

/// Nothing may happen while volumes of different stores are mounted.
pub(super) fn several(ids: &[&str]) -> Verdict {
    Verdict::stalled(
        reason::SEVERAL_STORES,
        format!(
            "The volumes belong to different stores ({}). Delete the claims of those that are not wanted.",
            ids.join(", ")
        ),
    )
}
