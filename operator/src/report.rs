//! The fourth step: says how things stand, in the status and in events.
//!
//! The status is applied alone and whole, under the resource version it was decided on: a report can neither
//! claim the specification nor undo a latch. It is written only when something changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::runtime::events::{Event, EventType};
use reckon_crds::{Consistency, EventStore, EventStoreStatus, MemberRole, MemberStatus, condition};
use tracing::warn;

use crate::act;
use crate::controller::Context;
use crate::observe::{self, Seeing, bounded};
use crate::plan::{Action, Observed, Outcome, Plan, Verdict, reason};
use crate::requests;
use crate::resources::selector_text;

/// The longest text of a condition: what an API server says can be long.
const MESSAGE_CHARS_MAX: usize = 1_024;

/// Why a status could not be written.
pub type Error = observe::Error;

impl Error {
    /// Somebody else wrote in between, or the store is gone.
    pub fn conflict(&self) -> bool {
        matches!(self, Self::Kubernetes(kube::Error::Api(status))
            if status.is_conflict() || status.is_not_found())
    }
}

/// Writes the status that follows from what was seen, what is planned and what failed, if it is news.
pub async fn report(
    context: &Context,
    seen: &mut Seeing,
    plan: &Plan,
    failure: Option<&act::Error>,
) -> Result<(), Error> {
    if !context.leadership.holds() {
        return Ok(());
    }
    let old = seen.store.status.clone().unwrap_or_default();
    let status = status(&seen.observed, &seen.store, plan, failure);
    if seen.store.status.as_ref() == Some(&status) {
        return Ok(());
    }
    seen.store = write(context, &seen.store, &status).await?;
    announce_changes(context, &seen.store, &old, &status).await;
    Ok(())
}

/// Applies a status, if the store is still the one that was seen.
pub async fn write(
    context: &Context,
    store: &EventStore,
    status: &EventStoreStatus,
) -> Result<EventStore, Error> {
    requests::apply_status(&context.client, store, status).await
}

/// The status. Latches are taken from the store as it was last written, never from what was seen before.
pub fn status(
    observed: &Observed,
    store: &EventStore,
    plan: &Plan,
    failure: Option<&act::Error>,
) -> EventStoreStatus {
    let latches = store.status.clone().unwrap_or_default();
    let generation = store.metadata.generation;
    let members = members(observed);
    let voters_ready =
        members.iter().filter(|member| member.ready && member.role != MemberRole::Learner).count();
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let versions = observed.pods.iter().filter_map(|pod| pod.node.as_ref());
    let version = versions.map(|node| node.version.clone()).filter(|version| !version.is_empty());
    EventStoreStatus {
        observed_generation: generation,
        conditions: conditions(observed, &latches, &plan.verdict, failure, generation),
        cluster_id: latches.cluster_id,
        initialisation: latches.initialisation,
        operation: plan.operation.clone(),
        replicas: count(observed.pods.len()),
        ready_replicas: count(observed.pods.iter().filter(|pod| pod.ready).count()),
        members_ready: Some(format!("{voters_ready}/{}", observed.desired.replicas)),
        members,
        leader: observed.leader().map(|pod| pod.name.clone()),
        consistency: observed.checked.as_ref().map(|checked| checked.result),
        selector: Some(selector_text(&observed.desired.name)),
        version: version.min(),
    }
}

/// The members; without a leader, as they were known last, none of them ready.
pub(crate) fn members(observed: &Observed) -> Vec<MemberStatus> {
    let Some(membership) = &observed.membership else {
        let mut members = observed.status.members.clone();
        for member in &mut members {
            member.ready =
                observed.pod_of(member.node_id).is_some_and(|pod| pod.ready && !pod.deleting);
            if member.role == MemberRole::Leader {
                member.role = MemberRole::Follower;
            }
        }
        return members;
    };
    let mut members: Vec<MemberStatus> = membership
        .members
        .iter()
        .map(|member| {
            let pod = observed.pod_of(member.node_id);
            let node = pod.and_then(|pod| pod.node.as_ref());
            MemberStatus {
                node_id: member.node_id,
                name: member.name.clone(),
                role: match () {
                    () if member.node_id == membership.leader_id => MemberRole::Leader,
                    () if member.voter => MemberRole::Follower,
                    () => MemberRole::Learner,
                },
                ready: pod.is_some_and(|pod| pod.ready && !pod.deleting),
                volume_id: Some(member.volume_id.clone()).filter(|id| !id.is_empty()),
                version: node.map(|node| node.version.clone()).filter(|text| !text.is_empty()),
            }
        })
        .collect();
    members.sort_by_key(|member| member.node_id);
    members
}

/// The conditions. A failure to act shows in `Ready` and `Reconciling`; whatever the plan hoped for is not so.
fn conditions(
    observed: &Observed,
    latches: &EventStoreStatus,
    verdict: &Verdict,
    failure: Option<&act::Error>,
    generation: Option<i64>,
) -> Vec<Condition> {
    let (why, message) = match failure {
        Some(failure) => ("ReconcileFailed", failure.to_string()),
        None => (verdict.reason, verdict.message.clone()),
    };
    let message = message.as_str();
    let outcome = match (failure, verdict.outcome) {
        (Some(failure), _) if !failure.retryable() => Outcome::Stalled,
        (Some(_), Outcome::Settled) => Outcome::Working,
        (_, outcome) => outcome,
    };
    let text = |flag: bool| if flag { "True" } else { "False" };
    // A store that is left alone keeps its word, as far as it can be seen.
    let ready = match outcome {
        Outcome::Settled => "True",
        Outcome::Paused => latches
            .conditions
            .iter()
            .find(|one| one.type_ == condition::READY)
            .map_or("Unknown", |one| match one.status.as_str() {
                "True" => text(observed.leader().is_some()),
                _ => "False",
            }),
        Outcome::Working | Outcome::Stalled => "False",
    };
    let (initialised, initialised_why, initialised_message) = match &latches.cluster_id {
        Some(id) => ("True", "Initialised", format!("The store is {id}.")),
        None => ("False", "NotInitialised", "The store does not exist yet.".to_owned()),
    };
    let (quorum, quorum_why, quorum_message) = match verdict.quorum {
        Some(true) => ("True", "LeaderElected", "A majority of voters has a leader."),
        Some(false) => ("False", reason::NO_QUORUM, "No leader: appends are refused."),
        None => ("Unknown", "NotAsked", "The members were not asked."),
    };
    let (consistent, consistent_why, consistent_message) = match &observed.checked {
        None => ("Unknown", "NotChecked", "Nobody leads who could have checked."),
        Some(checked) => {
            let (status, why) = match checked.result {
                Consistency::Healthy => ("True", "MembersAgree"),
                Consistency::Degraded => ("True", "Degraded"),
                Consistency::NoQuorum => ("Unknown", reason::NO_QUORUM),
                Consistency::SplitBrain => ("False", reason::SPLIT_BRAIN),
            };
            (status, why, checked.message.as_str())
        }
    };
    let list = [
        (condition::READY, ready, why, message),
        (condition::RECONCILING, text(outcome == Outcome::Working), why, message),
        (condition::STALLED, text(outcome == Outcome::Stalled), why, message),
        (condition::INITIALISED, initialised, initialised_why, initialised_message.as_str()),
        (condition::QUORUM, quorum, quorum_why, quorum_message),
        (condition::CONSISTENT, consistent, consistent_why, consistent_message),
    ];
    let before = &latches.conditions;
    list.into_iter()
        .map(|(type_, status, reason, message)| Condition {
            observed_generation: generation,
            ..condition_since(before, observed.now, type_, status, reason, message)
        })
        .collect()
}

/// A condition that has been in its status since it was first seen in it.
pub(crate) fn condition_since(
    before: &[Condition],
    now: Timestamp,
    type_: &str,
    status: &str,
    reason: &str,
    message: &str,
) -> Condition {
    let before = before.iter().find(|one| one.type_ == type_ && one.status == status);
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
        last_transition_time: before
            .map_or_else(|| whole_seconds(now), |before| before.last_transition_time.clone()),
        observed_generation: None,
    }
}

/// A moment as Kubernetes keeps it.
pub(crate) fn whole_seconds(moment: Timestamp) -> Time {
    Time(Timestamp::from_second(moment.as_second()).unwrap_or(moment))
}

/// Publishes the event that goes with an action, if people care for it.
pub async fn announce(context: &Context, store: &EventStore, action: &Action) {
    let (reason, note) = match action {
        Action::Initialise { pod, cluster_id, .. } => {
            ("Initialised", format!("Pod {pod} is the first member of store {cluster_id}."))
        }
        Action::Activate { .. } => ("Activated", "The store is open to clients.".to_owned()),
        Action::AddLearner { pod, node_id, .. } => {
            ("MemberAdded", format!("Pod {pod} learns as member {node_id}."))
        }
        Action::Promote { name, node_id, .. } => {
            ("MemberPromoted", format!("Member {node_id} ({name}) votes."))
        }
        Action::Remove { name, node_id, .. } => {
            ("MemberRemoved", format!("Member {node_id} ({name}) is removed."))
        }
        Action::TransferLeader { name, to_node_id } => {
            ("LeaderTransferred", format!("Member {to_node_id} ({name}) leads."))
        }
        Action::RestartPod { pod, .. } => ("PodRestarted", format!("Pod {pod} is replaced.")),
        Action::GrowClaim { claim, .. } => ("VolumeGrown", format!("Claim {claim} asks for more.")),
        Action::DeleteClaim { claim, .. } => {
            ("VolumeDeleted", format!("Claim {claim} is deleted."))
        }
        _ => return,
    };
    publish(context, store, EventType::Normal, reason, action.name(), note).await;
}

/// Publishes what changed from one status to the next.
async fn announce_changes(
    context: &Context,
    store: &EventStore,
    old: &EventStoreStatus,
    new: &EventStoreStatus,
) {
    if let Some(leader) = &new.leader
        && old.leader.as_ref() != Some(leader)
    {
        let note = format!("Pod {leader} leads.");
        publish(context, store, EventType::Normal, "LeaderElected", "Observe", note).await;
    }
    let find = |status: &EventStoreStatus, name: &str| {
        status.conditions.iter().find(|one| one.type_ == name).cloned()
    };
    let (before, now) = (find(old, condition::READY), find(new, condition::READY));
    let Some(now) = now else { return };
    let changed = before.is_none_or(|before| before.reason != now.reason);
    let stalled = find(new, condition::STALLED).is_some_and(|one| one.status == "True");
    let refused = now.reason == reason::SCALE_REFUSED || now.reason == reason::NO_QUORUM;
    if changed && (stalled || refused) {
        publish(context, store, EventType::Warning, &now.reason, "Plan", now.message).await;
    } else if changed && now.status == "True" {
        let reason = if now.reason == reason::READY { "Ready" } else { now.reason.as_str() };
        publish(context, store, EventType::Normal, reason, "Observe", now.message).await;
    }
}

/// Publishes an event about an object. That it is lost is no reason to stop.
pub(crate) async fn publish<K: Resource<DynamicType = ()>>(
    context: &Context,
    about: &K,
    type_: EventType,
    reason: &str,
    action: &str,
    note: String,
) {
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: action.to_owned(),
        secondary: None,
    };
    let reference = about.object_ref(&());
    let publishing = context.recorder.publish(&event, &reference);
    if let Err(error) = bounded(publishing).await {
        warn!(%error, reason, "an event could not be published");
    }
}
