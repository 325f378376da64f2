//! The third step: does what the plan says, in its order, and stops at the first failure.
//!
//! Decides nothing. Every action carries what it was decided on (a UID, a resource version, a membership) and
//! is refused by its receiver when that no longer holds; before each the lease is checked.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use reckon_api::{Reason, v1};
use reckon_crds::EventStoreStatus;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use tracing::info;

use crate::controller::{Context, KIND};
use crate::nodes::Address;
use crate::observe::{self, Seeing, bounded};
use crate::plan::{Action, Plan, Seen, Shape};
use crate::report;
use crate::requests::{self, Namespaced};
use crate::resources::{self, FINALIZER, Inputs, LABEL_ROLE, Names, Objects};

/// Objects that did not change are applied again after this time, to undo what others did to them.
const REAPPLY_AFTER: Duration = Duration::from_mins(1);

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("{action}: {source}")]
    Kubernetes { action: &'static str, source: observe::Error },
    /// The node refused or did not answer.
    #[error("{action}: {} ({})", source.message(), Reason::of(source).map_or("no reason", Reason::as_str))]
    Node { action: &'static str, source: Box<tonic::Status> },
    /// The pod to speak to is not there any more.
    #[error("{action}: no node to speak to")]
    NoNode { action: &'static str },
    /// The lease ran out.
    #[error("the lease is not held any more")]
    NotLeading,
    /// The objects cannot be made from the specification.
    #[error(transparent)]
    Objects(#[from] resources::Error),
}

impl Error {
    /// Whether the same may succeed later without anybody's help.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Kubernetes {
                source: observe::Error::Kubernetes(kube::Error::Api(status)),
                ..
            } => !status.is_forbidden() && !status.is_invalid(),
            Self::Kubernetes { .. } | Self::NoNode { .. } | Self::NotLeading => true,
            // A node refuses what does not fit its state now; states change.
            Self::Node { source, .. } => {
                !matches!(Reason::of(source), Some(Reason::Fenced | Reason::Damaged))
            }
            Self::Objects(_) => false,
        }
    }

    /// The world moved on since the plan was made: no failure, only a reason to look again.
    pub fn conflict(&self) -> bool {
        match self {
            Self::Kubernetes {
                source: observe::Error::Kubernetes(kube::Error::Api(status)),
                ..
            } => status.is_conflict() || status.is_not_found(),
            Self::Node { source, .. } => Reason::of(source) == Some(Reason::MembershipChanged),
            Self::NoNode { .. } | Self::NotLeading => true,
            Self::Kubernetes { .. } | Self::Objects(_) => false,
        }
    }
}

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Done {
    /// How many actions were done.
    pub count: usize,
    /// The pods' template, or their number, is another than what was seen.
    pub reshaped: bool,
    /// The store is gone.
    pub gone: bool,
}

/// What was applied last and when, by the UID of what it was made for, so that what is at rest costs the API server
/// nothing.
#[derive(Debug)]
pub struct Applied<O> {
    objects: Mutex<HashMap<String, (O, Instant)>>,
}

impl<O> Default for Applied<O> {
    fn default() -> Self {
        Self { objects: Mutex::default() }
    }
}

impl<O: PartialEq> Applied<O> {
    /// Forgets what was made for something that is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Whether the same was applied not long ago.
    pub fn fresh(&self, uid: &str, objects: &O) -> bool {
        self.lock()
            .get(uid)
            .is_some_and(|(applied, when)| applied == objects && when.elapsed() < REAPPLY_AFTER)
    }

    /// Remembers what was applied now.
    pub fn note(&self, uid: String, objects: O) {
        self.lock().insert(uid, (objects, Instant::now()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (O, Instant)>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does what the plan says.
pub async fn act(context: &Context, seen: &mut Seeing, plan: &Plan) -> Result<Done, Error> {
    let mut done = Done::default();
    if let Some(shape) = plan.shape {
        done.reshaped = apply_objects(context, seen, shape).await?;
    }
    for action in &plan.actions {
        if !context.leadership.holds() {
            return Err(Error::NotLeading);
        }
        let outcome = one(context, seen, action).await;
        context.metrics.acted(KIND, action.name(), outcome.is_ok());
        outcome?;
        info!(store = seen.store.name_any(), namespace = seen.store.namespace(), ?action, "done");
        report::announce(context, &seen.store, action).await;
        done.count += 1;
        done.gone |= matches!(action, Action::RemoveFinalizer);
    }
    Ok(done)
}

/// Applies the objects. Whether the `StatefulSet` is another than what was seen.
async fn apply_objects(context: &Context, seen: &Seeing, shape: Shape) -> Result<bool, Error> {
    let objects = Objects::build(Inputs {
        store: &seen.store,
        shape,
        node_image: &context.node_image,
        template_size: seen.template_size.as_ref(),
    })?;
    let uid = seen.store.uid().unwrap_or_default();
    let exists = seen.observed.set.as_ref().is_some_and(|set| set.replicas == shape.replicas);
    if exists && context.applied.fresh(&uid, &objects) {
        return Ok(false);
    }
    if !context.leadership.holds() {
        return Err(Error::NotLeading);
    }
    apply(context, seen, &objects.service_account).await?;
    apply(context, seen, &objects.configuration).await?;
    apply(context, seen, &objects.peers).await?;
    apply(context, seen, &objects.clients).await?;
    apply(context, seen, &objects.leader).await?;
    apply(context, seen, &objects.budget).await?;
    match &objects.network_policy {
        Some(policy) => drop(apply(context, seen, policy).await?),
        None => delete_policy(context, seen, "Apply").await?,
    }
    let set = apply(context, seen, &objects.set).await?;
    context.applied.note(uid, objects);
    Ok(set.metadata.generation != seen.set_generation)
}

async fn apply<K>(context: &Context, seen: &Seeing, object: &K) -> Result<K, Error>
where
    K: Namespaced + Serialize,
{
    let applied = requests::apply(&context.client, &namespace(seen), object).await;
    kubernetes("Apply", applied)
}

async fn one(context: &Context, seen: &mut Seeing, action: &Action) -> Result<(), Error> {
    let name = action.name();
    match action {
        Action::RecordIntent(intent) => {
            let intent = Some(intent.clone());
            latch(context, seen, name, |status| status.initialisation = intent).await
        }
        Action::Latch { cluster_id } => {
            let cluster_id = Some(cluster_id.clone());
            latch(context, seen, name, |status| status.cluster_id = cluster_id).await
        }
        Action::LockOperation(operation) => {
            let operation = Some(operation.clone());
            latch(context, seen, name, |status| status.operation = operation).await
        }
        Action::Initialise { .. }
        | Action::Activate { .. }
        | Action::Join { .. }
        | Action::AddLearner { .. }
        | Action::Promote { .. }
        | Action::Remove { .. }
        | Action::TransferLeader { .. } => {
            node(context, seen, action).await.map_err(|failure| match failure {
                Some(source) => Error::Node { action: name, source: Box::new(source) },
                None => Error::NoNode { action: name },
            })
        }
        Action::AddFinalizer => {
            let mut finalizers = seen.store.finalizers().to_vec();
            finalizers.push(FINALIZER.to_owned());
            set_finalizers(context, seen, name, finalizers).await
        }
        Action::RemoveFinalizer => {
            let mut finalizers = seen.store.finalizers().to_vec();
            finalizers.retain(|finalizer| finalizer != FINALIZER);
            set_finalizers(context, seen, name, finalizers).await
        }
        Action::Label { pod, uid, role } => {
            let patch =
                json!({ "metadata": { "uid": uid, "labels": { LABEL_ROLE: role.label() } } });
            merge::<Pod>(context, seen, name, pod, patch).await.map(drop)
        }
        Action::RestartPod { pod, uid } => delete::<Pod>(context, seen, name, pod, Some(uid)).await,
        Action::GrowClaim { claim, uid } => {
            let size = &seen.store.spec.storage.size;
            let patch = json!({
                "metadata": { "uid": uid },
                "spec": { "resources": { "requests": { "storage": size } } },
            });
            merge::<PersistentVolumeClaim>(context, seen, name, claim, patch).await.map(drop)
        }
        Action::DeleteClaim { claim, uid } => {
            delete::<PersistentVolumeClaim>(context, seen, name, claim, Some(uid)).await
        }
        Action::DeleteSet => {
            let set = seen.store.name_any();
            delete::<StatefulSet>(context, seen, name, &set, None).await
        }
        Action::DeleteOwned => delete_owned(context, seen, name).await,
    }
}

/// Changes a latch in the status, if nobody changed the store since it was seen.
async fn latch(
    context: &Context,
    seen: &mut Seeing,
    action: &'static str,
    change: impl FnOnce(&mut EventStoreStatus),
) -> Result<(), Error> {
    let mut status = seen.store.status.clone().unwrap_or_default();
    change(&mut status);
    let written = report::write(context, &seen.store, &status).await;
    seen.store = kubernetes(action, written)?;
    Ok(())
}

/// Speaks to a node. `Err(None)`: there is none to speak to.
async fn node(
    context: &Context,
    seen: &Seeing,
    action: &Action,
) -> Result<(), Option<tonic::Status>> {
    let nodes = &context.nodes;
    match action {
        Action::Initialise { pod, cluster_id, volume_id } => {
            let request = v1::InitialiseRequest {
                cluster_id: cluster_id.clone(),
                volume_id: volume_id.clone(),
                ..v1::InitialiseRequest::default()
            };
            nodes.initialise(seen.address(pod).ok_or(None)?, request).await.map(drop)
        }
        Action::Activate { pod, cluster_id } => {
            let request = v1::ActivateRequest { cluster_id: cluster_id.clone() };
            nodes.activate(seen.address(pod).ok_or(None)?, request).await.map(drop)
        }
        Action::Join { pod, cluster_id, volume_id, members } => {
            let request = v1::JoinRequest {
                cluster_id: cluster_id.clone(),
                volume_id: volume_id.clone(),
                members: members.clone(),
            };
            nodes.join(seen.address(pod).ok_or(None)?, request).await.map(drop)
        }
        Action::AddLearner { pod, node_id, volume_id, seen: token } => {
            let joined = seen.observed.pod(pod).and_then(|pod| pod.node.as_ref()).ok_or(None)?;
            let request = v1::AddLearnerRequest {
                node_id: *node_id,
                seen: Some(wire(*token)),
                peer_address: joined.peer_address.clone(),
                client_address: joined.client_address.clone(),
                name: pod.clone(),
                volume_id: volume_id.clone(),
            };
            nodes.add_learner(speaker(seen)?, request).await.map(drop)
        }
        Action::Promote { node_id, seen: token, .. } => {
            let request = v1::PromoteRequest { node_id: *node_id, seen: Some(wire(*token)) };
            nodes.promote(speaker(seen)?, request).await.map(drop)
        }
        Action::Remove { node_id, seen: token, .. } => {
            let request = v1::RemoveRequest { node_id: *node_id, seen: Some(wire(*token)) };
            nodes.remove(speaker(seen)?, request).await.map(drop)
        }
        Action::TransferLeader { to_node_id, .. } => {
            let request = v1::TransferLeaderRequest { to_node_id: *to_node_id };
            nodes.transfer_leader(speaker(seen)?, request).await.map(drop)
        }
        _ => Ok(()),
    }
    .map_err(Some)
}

/// The node to send changes to: the leader, else any member, which forwards.
fn speaker(seen: &Seeing) -> Result<&Address, Option<tonic::Status>> {
    let observed = &seen.observed;
    let mut members = observed.membership.iter().flat_map(|membership| &membership.members);
    observed
        .leader()
        .or_else(|| members.find_map(|member| observed.pod_of(member.node_id)))
        .and_then(|pod| seen.address(&pod.name))
        .ok_or(None)
}

fn wire(seen: Seen) -> v1::MembershipToken {
    v1::MembershipToken { log_term: seen.log_term, log_index: seen.log_index }
}

async fn set_finalizers(
    context: &Context,
    seen: &mut Seeing,
    action: &'static str,
    finalizers: Vec<String>,
) -> Result<(), Error> {
    let changed = requests::set_finalizers(&context.client, &seen.store, finalizers).await;
    seen.store = kubernetes(action, changed)?;
    Ok(())
}

/// Patches an object. A UID or a resource version in the patch is a precondition.
async fn merge<K: Namespaced>(
    context: &Context,
    seen: &Seeing,
    action: &'static str,
    name: &str,
    patch: serde_json::Value,
) -> Result<K, Error> {
    let merged = requests::merge(&context.client, &namespace(seen), name, patch).await;
    kubernetes(action, merged)
}

/// What the garbage collector would delete as well, only later.
async fn delete_owned(context: &Context, seen: &Seeing, action: &'static str) -> Result<(), Error> {
    let name = seen.store.name_any();
    let (peers, leader) = (Names::peers(&name), Names::leader(&name));
    delete::<PodDisruptionBudget>(context, seen, action, &name, None).await?;
    delete_policy(context, seen, action).await?;
    for service in [&name, &peers, &leader] {
        delete::<Service>(context, seen, action, service, None).await?;
    }
    delete::<ConfigMap>(context, seen, action, &Names::configuration(&name), None).await?;
    delete::<ServiceAccount>(context, seen, action, &name, None).await
}

/// Deletes the network policy that was made for this store, and none that somebody else gave the same name.
async fn delete_policy(
    context: &Context,
    seen: &Seeing,
    action: &'static str,
) -> Result<(), Error> {
    let name = Names::network_policy(&seen.store.name_any());
    let policies = requests::api::<NetworkPolicy>(&context.client, &namespace(seen));
    let policy = kubernetes(action, bounded(policies.get_opt(&name)).await)?;
    let ours = |policy: &NetworkPolicy| {
        let mut owners = policy.owner_references().iter();
        owners.any(|owner| Some(&owner.uid) == seen.store.uid().as_ref())
    };
    match policy.filter(ours).and_then(|policy| policy.uid()) {
        Some(uid) => delete::<NetworkPolicy>(context, seen, action, &name, Some(&uid)).await,
        None => Ok(()),
    }
}

/// Deletes an object: the one that was seen, if a UID says which.
async fn delete<K: Namespaced>(
    context: &Context,
    seen: &Seeing,
    action: &'static str,
    name: &str,
    uid: Option<&String>,
) -> Result<(), Error> {
    let deleted = requests::delete::<K>(&context.client, &namespace(seen), name, uid).await;
    kubernetes(action, deleted)
}

fn namespace(seen: &Seeing) -> String {
    seen.store.namespace().unwrap_or_default()
}

fn kubernetes<T>(action: &'static str, outcome: Result<T, observe::Error>) -> Result<T, Error> {
    outcome.map_err(|source| Error::Kubernetes { action, source })
}
