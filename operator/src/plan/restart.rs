//! Which pod is replaced next when their template changed: the dead, the starting and the unready first, then
//! followers, the leader last after it handed over. No pod that takes part is touched until the one before
//! takes part again.

use reckon_crds::{Operation, OperationKind};

use super::membership::Store;
use super::verdict::{Outcome, Verdict, reason};
use super::{Action, Observed, PodView};

/// Plans the replacement of pods of a store whose members are as wanted. Adds to `actions`, and says which
/// operation is in flight and how things stand.
pub(super) fn plan(store: &Store<'_>, actions: &mut Vec<Action>) -> (Option<Operation>, Verdict) {
    let Some(pod) = next(store) else {
        let verdict = standing(store);
        let operation = store.observed.status.operation.clone();
        // The restart lasts until the new pod takes part.
        let restarting = operation
            .filter(|operation| operation.kind == OperationKind::RestartPod)
            .filter(|_| verdict.outcome != Outcome::Settled);
        return (restarting, verdict);
    };
    let operation = operation(store, pod);
    let verdict = Verdict::working(
        reason::ROLLING_UPDATE,
        format!("Pod {} is being replaced by one of the newest template.", pod.name),
    );
    if store.observed.status.operation.as_ref() != Some(&operation) {
        actions.push(Action::LockOperation(operation.clone()));
        return (Some(operation), verdict);
    }
    let single = store.membership.voters().count() == 1;
    if !single && !store.quorum_despite(pod) {
        let verdict = Verdict::working(
            reason::ROLLING_UPDATE,
            format!("Replacing pod {} would cost the quorum: waiting for the others.", pod.name),
        );
        return (Some(operation), verdict);
    }
    let leads = pod.node.as_ref().is_some_and(|node| node.node_id == store.membership.leader_id);
    if leads && !single {
        actions.extend(store.heir(|_| true).map(|heir| Action::TransferLeader {
            name: heir.name.clone(),
            to_node_id: heir.node_id,
        }));
    } else {
        actions.push(Action::RestartPod { pod: pod.name.clone(), uid: pod.uid.clone() });
    }
    (Some(operation), verdict)
}

/// Pods of an old template that cannot harm anybody by going, because they do not take part: a template that
/// cannot start must not stand in the way of the one that repairs it.
pub(super) fn broken_pods(observed: &Observed) -> Vec<Action> {
    observed
        .pods
        .iter()
        .filter(|pod| outdated(observed, pod) && !pod.ready && pod.node.is_none())
        .filter(|pod| {
            let member = observed
                .membership
                .as_ref()
                .and_then(|known| known.members.iter().find(|member| member.name == pod.name));
            member.is_none_or(|member| {
                member.last_ack_age_ms.is_none_or(|age| age > super::membership::ACK_AGE_MS_MAX)
            })
        })
        .map(|pod| Action::RestartPod { pod: pod.name.clone(), uid: pod.uid.clone() })
        .collect()
}

/// The pod to replace next, when every member takes part.
fn next<'a>(store: &Store<'a>) -> Option<&'a PodView> {
    if !store.all_take_part() {
        return None;
    }
    let leader_id = store.membership.leader_id;
    store.observed.pods.iter().filter(|pod| outdated(store.observed, pod)).min_by_key(|pod| {
        let leads = pod.node.as_ref().is_some_and(|node| node.node_id == leader_id);
        (pod.node.is_some(), pod.ready, leads, -pod.ordinal)
    })
}

fn outdated(observed: &Observed, pod: &PodView) -> bool {
    let newest = observed.set.as_ref().and_then(|set| set.update_revision.as_ref());
    !pod.deleting && newest.is_some() && pod.revision.as_ref() != newest
}

fn operation(store: &Store<'_>, pod: &PodView) -> Operation {
    if let Some(current) = &store.observed.status.operation
        && current.kind == OperationKind::RestartPod
        && current.pod_uid.as_deref() == Some(pod.uid.as_str())
    {
        return current.clone();
    }
    let node_id = pod.node.as_ref().map(|node| node.node_id).filter(|node_id| *node_id != 0);
    store.begin(OperationKind::RestartPod, node_id, Some(pod.name.clone()), Some(pod.uid.clone()))
}

/// How a store stands that needs nothing.
fn standing(store: &Store<'_>) -> Verdict {
    let observed = store.observed;
    let silent = store.membership.members.iter().filter(|member| !store.takes_part(member));
    let silent: Vec<&str> = silent.map(|member| member.name.as_str()).collect();
    let total = store.membership.voters().count();
    if !silent.is_empty() {
        let rolling =
            observed.pods.iter().any(|pod| outdated(observed, pod)) || pod_was_replaced(observed);
        let troubles = troubles(observed, &silent);
        let waiting =
            format!("Waiting for {} of {total} members: {}.", silent.len(), silent.join(", "));
        return match (rolling, troubles.is_empty()) {
            // No other pod is touched before this one takes part, so a template that does not start ends with it.
            (true, false) => Verdict::stalled(
                reason::ROLLOUT_PAUSED,
                format!(
                    "The new template does not come up, and no further pod is given it. {troubles}"
                ),
            ),
            (true, true) => Verdict::working(reason::ROLLING_UPDATE, waiting),
            (false, _) => Verdict::working(
                reason::MEMBERS_UNREADY,
                format!("{waiting} {troubles}").trim_end().to_owned(),
            ),
        };
    }
    if observed.leader().is_none_or(|pod| pod.node.as_ref().is_some_and(|node| !node.activated)) {
        return Verdict::working(reason::INITIALISING, "The store is being opened to clients.");
    }
    let unready: Vec<&str> =
        observed.pods.iter().filter(|pod| !pod.ready).map(|pod| pod.name.as_str()).collect();
    if !unready.is_empty() {
        return Verdict::working(
            reason::MEMBERS_UNREADY,
            format!("Waiting for pods to be ready: {}.", unready.join(", ")),
        );
    }
    if observed.set.as_ref().is_none_or(|set| set.update_revision.is_none()) {
        return Verdict::working(reason::CREATING, "The objects are being made.");
    }
    let leaving = observed.pods.iter().filter(|pod| pod.ordinal >= store.target).count();
    if leaving > 0 || observed.set.as_ref().is_some_and(|set| set.replicas != store.target) {
        return Verdict::working(reason::SCALING_DOWN, "Pods that are no members any more leave.");
    }
    Verdict::settled(format!("All {total} members are up."))
}

/// Why these pods do not come up, as far as Kubernetes says.
fn troubles(observed: &Observed, pods: &[&str]) -> String {
    let pods = pods.iter().filter_map(|name| observed.pod(name));
    let troubles = pods.filter_map(|pod| Some(format!("{}: {}.", pod.name, pod.trouble.as_ref()?)));
    troubles.collect::<Vec<_>>().join(" ")
}

/// Whether the pod of the restart in flight is gone already and its successor not yet up.
fn pod_was_replaced(observed: &Observed) -> bool {
    observed
        .status
        .operation
        .as_ref()
        .is_some_and(|operation| operation.kind == OperationKind::RestartPod)
}
