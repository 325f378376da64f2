//! The first step: looks at Kubernetes and at the nodes, live, and turns it into plain data.
//!
//! Decides nothing. What a node says counts only if it speaks for the pod that is there now.

use std::net::IpAddr;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use reckon_api::v1;
use reckon_crds::{Consistency, EventStore};

use crate::controller::Context;
use crate::nodes::Address;
use crate::plan::{
    Care, Checked, ClaimView, Desired, Member, Membership, NodeView, Observed, PodView, Seen,
    SetView, ordinal,
};
use crate::resources::{
    FINALIZER, LABEL_ROLE, LABEL_STORE, LABEL_STORE_UID, Names, bytes, selector_text,
};

/// How long one request to the API server may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The label that a `StatefulSet` puts on its pods.
const LABEL_REVISION: &str = "controller-revision-hash";

/// Why a store could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused.
    #[error(transparent)]
    Kubernetes(#[from] kube::Error),
    /// The API server did not answer in time.
    #[error("the API server did not answer within {REQUEST_TIMEOUT:?}")]
    Timeout,
}

impl Error {
    /// Whether the same may succeed later without anybody's help.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Kubernetes(kube::Error::Api(status)) => !status.is_forbidden(),
            Self::Kubernetes(_) | Self::Timeout => true,
        }
    }
}

/// A store as it was seen: for the planner, and as the objects that acting and reporting need.
#[derive(Debug)]
pub struct Seeing {
    pub store: EventStore,
    pub observed: Observed,
    /// Where the pods are.
    pub addresses: Vec<Address>,
    /// The size in the claim template of the `StatefulSet` that exists.
    pub template_size: Option<Quantity>,
    /// The generation of the `StatefulSet` that exists.
    pub set_generation: Option<i64>,
}

impl Seeing {
    /// Where a pod is.
    pub fn address(&self, pod: &str) -> Option<&Address> {
        self.addresses.iter().find(|address| address.pod == pod)
    }
}

/// Bounds a request to the API server.
pub async fn bounded<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::Timeout),
    }
}

/// Looks at a store; `None` if it is gone.
pub async fn observe(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<Seeing>, Error> {
    let client = &context.client;
    let stores: Api<EventStore> = Api::namespaced(client.clone(), namespace);
    let Some(store) = bounded(stores.get_opt(name)).await? else {
        return Ok(None);
    };
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let pod_list = ListParams::default().labels(&selector_text(name));
    let claim_list = ListParams::default().labels(&format!("{LABEL_STORE}={name}"));
    let (set, pods, claims) = tokio::try_join!(
        bounded(sets.get_opt(name)),
        bounded(pods.list(&pod_list)),
        bounded(claims.list(&claim_list)),
    )?;
    let addresses: Vec<Address> = pods.iter().filter_map(|pod| address(pod, namespace)).collect();
    let answers = join_all(addresses.iter().map(|address| context.nodes.status(address))).await;
    let cluster_id = store.status.as_ref().and_then(|status| status.cluster_id.clone());
    let (membership, checked) = tokio::join!(
        membership(context, cluster_id.as_deref(), &addresses, &answers),
        checked(context, cluster_id.as_deref(), &addresses, &answers),
    );

    let node = |uid: &str| {
        let position = addresses.iter().position(|address| address.uid == uid)?;
        answers[position].as_ref().map(node_view)
    };
    let mut pods: Vec<PodView> =
        pods.iter().filter_map(|pod| pod_view(name, pod, node(&pod.uid()?))).collect();
    pods.sort_by_key(|pod| pod.ordinal);
    let mut claims: Vec<ClaimView> =
        claims.iter().filter_map(|claim| claim_view(name, claim)).collect();
    claims.sort_by_key(|claim| claim.ordinal);
    let template_size = set.as_ref().and_then(template_size);
    let set_generation = set.as_ref().and_then(|set| set.metadata.generation);
    let observed = Observed {
        now: Timestamp::now(),
        desired: desired(&store),
        status: store.status.clone().unwrap_or_default(),
        set: set.as_ref().map(set_view),
        pods,
        claims,
        membership,
        checked,
    };
    Ok(Some(Seeing { store, observed, addresses, template_size, set_generation }))
}

/// Asks the node that says it leads what its checks found last. Nodes that know of no checks are no failure.
async fn checked(
    context: &Context,
    cluster_id: Option<&str>,
    addresses: &[Address],
    answers: &[Option<v1::StatusResponse>],
) -> Option<Checked> {
    let (address, _) = leader(cluster_id?, addresses, answers)?;
    let report = context.nodes.consistency(address).await.ok()?;
    let result = match report.result() {
        v1::ConsistencyResult::Unknown => return None,
        v1::ConsistencyResult::Healthy => Consistency::Healthy,
        v1::ConsistencyResult::Degraded => Consistency::Degraded,
        v1::ConsistencyResult::NoQuorum => Consistency::NoQuorum,
        v1::ConsistencyResult::SplitBrain => Consistency::SplitBrain,
    };
    let amiss = report.checks.iter().filter(|check| check.status() == report.result());
    let amiss: Vec<&str> = amiss.map(|check| check.message.as_str()).collect();
    Some(Checked { result, message: amiss.join("; ") })
}

/// Those of this store that answered.
fn ours<'a>(
    cluster_id: &'a str,
    addresses: &'a [Address],
    answers: &'a [Option<v1::StatusResponse>],
) -> impl Iterator<Item = (&'a Address, &'a v1::StatusResponse)> {
    addresses.iter().zip(answers).filter_map(move |(address, answer)| {
        let answer = answer.as_ref()?;
        (answer.node_id != 0 && answer.cluster_id == cluster_id).then_some((address, answer))
    })
}

/// The node of the highest term that says it leads.
fn leader<'a>(
    cluster_id: &'a str,
    addresses: &'a [Address],
    answers: &'a [Option<v1::StatusResponse>],
) -> Option<(&'a Address, &'a v1::StatusResponse)> {
    ours(cluster_id, addresses, answers)
        .filter(|(_, answer)| answer.role() == v1::Role::Leader)
        .max_by_key(|(_, answer)| answer.term)
}

/// Asks for the members: the node that says it leads, or all of this store at once.
async fn membership(
    context: &Context,
    cluster_id: Option<&str>,
    addresses: &[Address],
    answers: &[Option<v1::StatusResponse>],
) -> Option<Membership> {
    let cluster_id = cluster_id?;
    if let Some((address, _)) = leader(cluster_id, addresses, answers)
        && let Ok(members) = context.nodes.members(address).await
    {
        return accept(cluster_id, members);
    }
    let mut asked: FuturesUnordered<_> = ours(cluster_id, addresses, answers)
        .map(|(address, _)| context.nodes.members(address))
        .collect();
    while let Some(answer) = asked.next().await {
        if let Some(membership) = answer.ok().and_then(|members| accept(cluster_id, members)) {
            return Some(membership);
        }
    }
    None
}

/// The membership, if it is that of our store and its leader is known.
fn accept(cluster_id: &str, answer: v1::MembersResponse) -> Option<Membership> {
    let known = answer.cluster_id == cluster_id && answer.leader_id != 0;
    let membership = answer.membership.filter(|_| known)?;
    Some(Membership {
        seen: Seen { log_term: membership.log_term, log_index: membership.log_index },
        leader_id: answer.leader_id,
        joint: membership.joint,
        members: membership.members.into_iter().map(member).collect(),
    })
}

fn member(member: v1::Member) -> Member {
    Member {
        node_id: member.node_id,
        voter: member.voter,
        name: member.name,
        volume_id: member.volume_id,
        client_address: member.client_address,
        lag_bytes: member.lag_bytes,
        last_ack_age_ms: member.last_ack_age_ms,
    }
}

fn node_view(status: &v1::StatusResponse) -> NodeView {
    let members = status.membership.as_ref().map(|membership| membership.members.as_slice());
    NodeView {
        volume_id: status.volume_id.clone(),
        node_id: status.node_id,
        cluster_id: status.cluster_id.clone(),
        leader: status.role() == v1::Role::Leader,
        term: status.term,
        activated: status.activated,
        ready: status.ready,
        version: status.version.clone(),
        client_address: status.client_address.clone(),
        peer_address: status.peer_address.clone(),
        voters_known: members.unwrap_or_default().iter().filter(|member| member.voter).count(),
    }
}

/// Where a pod is, while there is something in it to talk to.
pub(crate) fn address(pod: &Pod, namespace: &str) -> Option<Address> {
    let status = pod.status.as_ref()?;
    let ip: IpAddr = status.pod_ip.as_deref()?.parse().ok()?;
    (status.phase.as_deref() == Some("Running")).then_some(Address {
        namespace: namespace.to_owned(),
        pod: pod.name_any(),
        uid: pod.uid()?,
        ip,
    })
}

/// Whether Kubernetes holds a pod to be ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True")
    })
}

/// What Kubernetes says of a container that waits for something other than its turn.
const TROUBLES: [&str; 7] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
];

/// The longest explanation that is passed on.
const TROUBLE_CHARS_MAX: usize = 160;

/// Why a pod does not come up, as far as Kubernetes knows.
fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let tell = |reason: &str, message: Option<&String>| {
        let message: String =
            message.map_or("", String::as_str).chars().take(TROUBLE_CHARS_MAX).collect();
        if message.is_empty() { reason.to_owned() } else { format!("{reason}: {message}") }
    };
    let containers = status.container_statuses.iter().flatten();
    let waiting = containers.filter_map(|container| container.state.as_ref()?.waiting.as_ref());
    let reasons = waiting.filter_map(|waiting| Some((waiting.reason.as_deref()?, waiting)));
    let mut troubles = reasons.filter(|(reason, _)| TROUBLES.contains(reason));
    if let Some((reason, waiting)) = troubles.next() {
        return Some(tell(reason, waiting.message.as_ref()));
    }
    let mut conditions = status.conditions.iter().flatten();
    let unschedulable = conditions.find(|one| {
        one.type_ == "PodScheduled"
            && one.status == "False"
            && one.reason.as_deref() == Some("Unschedulable")
    })?;
    Some(tell("Unschedulable", unschedulable.message.as_ref()))
}

fn pod_view(store: &str, pod: &Pod, node: Option<NodeView>) -> Option<PodView> {
    let ready = is_ready(pod);
    let name = pod.name_any();
    Some(PodView {
        uid: pod.uid()?,
        ordinal: ordinal(store, &name)?,
        ready,
        deleting: pod.metadata.deletion_timestamp.is_some(),
        revision: pod.labels().get(LABEL_REVISION).cloned(),
        role_label: pod.labels().get(LABEL_ROLE).cloned(),
        trouble: trouble(pod),
        node,
        name,
    })
}

fn claim_view(store: &str, claim: &PersistentVolumeClaim) -> Option<ClaimView> {
    let name = claim.name_any();
    let ordinal = name.strip_prefix(&Names::claim_prefix(store))?.parse().ok()?;
    let requested_bytes = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"))
        .and_then(bytes)
        .unwrap_or(0);
    Some(ClaimView {
        uid: claim.uid()?,
        ordinal,
        deleting: claim.metadata.deletion_timestamp.is_some(),
        made_for: claim.labels().get(LABEL_STORE_UID).cloned(),
        requested_bytes,
        name,
    })
}

fn set_view(set: &StatefulSet) -> SetView {
    let status = set.status.as_ref();
    let seen = status.and_then(|status| status.observed_generation) == set.metadata.generation;
    SetView {
        replicas: set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
        update_revision: status
            .filter(|_| seen)
            .and_then(|status| status.update_revision.clone())
            .filter(|revision| !revision.is_empty()),
        deleting: set.metadata.deletion_timestamp.is_some(),
    }
}

fn template_size(set: &StatefulSet) -> Option<Quantity> {
    let claim = set.spec.as_ref()?.volume_claim_templates.as_ref()?.first()?;
    claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage").cloned()
}

fn desired(store: &EventStore) -> Desired {
    Desired {
        name: store.name_any(),
        uid: store.uid().unwrap_or_default(),
        replicas: store.spec.replicas,
        care: match (store.spec.paused, store.spec.hibernate) {
            (true, _) => Care::Paused,
            (false, true) => Care::Hibernation,
            (false, false) => Care::Full,
        },
        protected: store.spec.deletion_protection,
        deleting: store.metadata.deletion_timestamp.is_some(),
        finalizer: store.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
        reclaim_policy: store.spec.storage.reclaim_policy,
        storage_bytes: bytes(&store.spec.storage.size).unwrap_or(0),
    }
}
