//! The first step: looks at Kubernetes and asks the store, live, and turns it into plain data.
//!
//! Decides nothing. What a node says counts only if it speaks for the pod that is there now, and for the store that is
//! meant: an address may have passed to another.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use reckon_crds::{EventStore, Sink, Subscription, SubscriptionStatus};
use ring::hmac;
use tonic::Status;

use super::controller::Context;
use super::definition::{self, definition, difference};
use super::plan::{Desired, Observed, Registration, SinkNeeds, SinkView, StoreView};
use super::service::Service;
use super::sink;
use crate::nodes::Address;
use crate::observe::{Error, address, bounded, is_ready};
use crate::plan::Role;
use crate::requests::api;
use crate::resources::{LABEL_ROLE, selector_text};

/// The finalizer of a `Subscription`.
pub const FINALIZER: &str = "reckon.dev/subscription";

/// A subscription as it was seen: for the planner, and as the objects that acting and reporting need.
#[derive(Debug)]
pub struct Seeing {
    pub subscription: Subscription,
    pub observed: Observed,
    /// The node that answered for the store.
    pub address: Option<Address>,
    /// The image that the store's nodes run.
    pub image: String,
    /// Tells the values of the sink's secrets from others, and nobody what they are.
    pub secrets_digest: String,
    /// The generation of the deployment that exists.
    pub sink_generation: Option<i64>,
    /// The UID of the deployment that exists.
    pub sink_uid: Option<String>,
}

/// Looks at a subscription; `None` if it is gone.
pub async fn observe(
    context: &Context,
    namespace: &str,
    resource: &str,
) -> Result<Option<Seeing>, Error> {
    let client = &context.operator.client;
    let subscriptions: Api<Subscription> = api(client, namespace);
    let Some(subscription) = bounded(subscriptions.get_opt(resource)).await? else {
        return Ok(None);
    };
    let stores: Api<EventStore> = api(client, namespace);
    let deployments: Api<Deployment> = api(client, namespace);
    let deployment_name = sink::name(resource);
    let (store, deployment, secrets) = tokio::try_join!(
        bounded(stores.get_opt(&subscription.spec.store_ref.name)),
        bounded(deployments.get_opt(&deployment_name)),
        secrets(context, &subscription),
    )?;
    let desired = desired(&subscription, &secrets);
    let (store_view, address) = match &store {
        None => (StoreView::Missing, None),
        Some(store) if store.metadata.deletion_timestamp.is_some() => (StoreView::Deleting, None),
        Some(store) => ask(context, store, namespace, &desired.name).await?,
    };
    let status = subscription.status.clone().unwrap_or_default();
    let rival = if may_be_contested(&desired, &status, &store_view) {
        rival(&subscriptions, &subscription).await?
    } else {
        None
    };
    let image = store.and_then(|store| store.spec.image);
    let observed = Observed {
        now: Timestamp::now(),
        status,
        sink: deployment.as_ref().map(|found| sink_view(found, &subscription)),
        store: store_view,
        desired,
        rival,
    };
    Ok(Some(Seeing {
        observed,
        address,
        image: image.unwrap_or_else(|| context.operator.node_image.clone()),
        secrets_digest: secrets.digest,
        sink_generation: deployment.as_ref().and_then(|found| found.metadata.generation),
        sink_uid: deployment.as_ref().and_then(ResourceExt::uid),
        subscription,
    }))
}

fn desired(subscription: &Subscription, secrets: &Secrets) -> Desired {
    let needs =
        |sink: &Sink| SinkNeeds { replicas: sink.replicas, missing: secrets.missing.clone() };
    Desired {
        store: subscription.spec.store_ref.name.clone(),
        name: definition::name(subscription),
        definition: definition(subscription),
        sink: subscription.spec.sink.as_ref().map(needs),
        deleting: subscription.metadata.deletion_timestamp.is_some(),
        finalizer: subscription.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
        policy: subscription.spec.deletion_policy,
    }
}

/// Asks the nodes of a store for a subscription, the leader first, until one answers. Who answered is said too.
async fn ask(
    context: &Context,
    store: &EventStore,
    namespace: &str,
    name: &str,
) -> Result<(StoreView, Option<Address>), Error> {
    let silent = |why: &str| Ok((StoreView::Silent(why.to_owned()), None));
    let Some(cluster_id) = store.status.as_ref().and_then(|status| status.cluster_id.as_ref())
    else {
        return silent("it has not been initialised yet.");
    };
    let pods: Api<Pod> = api(&context.operator.client, namespace);
    let ours = ListParams::default().labels(&selector_text(&store.name_any()));
    let mut pods = bounded(pods.list(&ours)).await?.items;
    pods.retain(is_ready);
    pods.sort_by_key(|pod| {
        pod.labels().get(LABEL_ROLE).is_none_or(|role| role != Role::Leader.label())
    });
    if pods.is_empty() {
        return silent("none of its pods is ready.");
    }
    let mut refusal = None;
    for address in pods.iter().filter_map(|pod| address(pod, namespace)) {
        let Some(status) = context.operator.nodes.status(&address).await else { continue };
        if status.cluster_id != *cluster_id {
            continue;
        }
        match look(&Service::new(&context.operator.nodes, &address), name).await {
            Ok(view) => return Ok((view, Some(address))),
            Err(status) => refusal = Some(status),
        }
    }
    match refusal {
        Some(status) => silent(status.message()),
        None => silent("no node that belongs to it answers."),
    }
}

async fn look(service: &Service<'_>, name: &str) -> Result<StoreView, Status> {
    let Some(subscription) = service.get(name).await? else {
        return Ok(StoreView::Without);
    };
    // Without it the status only says less.
    let health = service.health(name).await.ok().flatten();
    Ok(StoreView::With(Box::new(Registration { subscription, health })))
}

/// Whether another resource that means the same would matter now: until the subscription was found to be this one's, and
/// whenever something is to be written or deleted. A subscription at rest saves the list.
fn may_be_contested(desired: &Desired, status: &SubscriptionStatus, store: &StoreView) -> bool {
    let same = match (&desired.definition, store) {
        (Ok(wanted), StoreView::With(registration)) => {
            let stored = registration.subscription.definition.as_ref();
            stored.is_some_and(|stored| difference(wanted, stored).is_none())
        }
        _ => false,
    };
    desired.deleting || status.key.is_none() || !same
}

/// Another resource that means the same subscription of the same store, and is older.
async fn rival(
    subscriptions: &Api<Subscription>,
    subscription: &Subscription,
) -> Result<Option<String>, Error> {
    let age = |one: &Subscription| {
        let created = one.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created, one.uid())
    };
    let all = bounded(subscriptions.list(&ListParams::default())).await?;
    let rivals = all.into_iter().filter(|other| {
        other.uid() != subscription.uid()
            && other.spec.store_ref == subscription.spec.store_ref
            && definition::name(other) == definition::name(subscription)
            && age(other) < age(subscription)
    });
    Ok(rivals.min_by_key(age).map(|rival| rival.name_any()))
}

/// The secrets that a sink is given, as far as the operator needs to know them.
#[derive(Debug, Default)]
struct Secrets {
    digest: String,
    missing: Vec<String>,
}

/// Reads the secrets that the sink names, and no others. Keyed with the UIDs of the secrets, which only those learn who
/// may read them, the digest tells nobody else what was hashed.
async fn secrets(context: &Context, subscription: &Subscription) -> Result<Secrets, Error> {
    let sink = subscription.spec.sink.as_ref();
    let deleting = subscription.metadata.deletion_timestamp.is_some();
    let Some(sink) = sink.filter(|sink| !deleting && !sink.headers_from.is_empty()) else {
        return Ok(Secrets::default());
    };
    let namespace = subscription.namespace().unwrap_or_default();
    let secrets: Api<Secret> = api(&context.operator.client, &namespace);
    let mut read: BTreeMap<&str, Option<Secret>> = BTreeMap::new();
    for header in &sink.headers_from {
        let name = header.secret_key_ref.name.as_str();
        if !read.contains_key(name) {
            read.insert(name, bounded(secrets.get_opt(name)).await?);
        }
    }
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    let mut missing = Vec::new();
    for header in &sink.headers_from {
        let (name, key) = (&header.secret_key_ref.name, &header.secret_key_ref.key);
        let secret = read.get(name.as_str()).and_then(Option::as_ref);
        let value = secret.and_then(|secret| secret.data.as_ref()?.get(key));
        match (secret, value) {
            (Some(secret), Some(value)) => {
                let uid = secret.uid().unwrap_or_default();
                let keyed = hmac::Key::new(hmac::HMAC_SHA256, uid.as_bytes());
                digest.update(hmac::sign(&keyed, &value.0).as_ref());
            }
            (Some(_), None) => missing.push(format!("key {key} of Secret {name}")),
            (None, _) => missing.push(format!("Secret {name}")),
        }
    }
    missing.dedup();
    let digest = digest.finish();
    let digest = digest
        .as_ref()
        .iter()
        .take(DIGEST_BYTES)
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    Ok(Secrets { digest, missing })
}

/// As much of a digest as tells one from another.
const DIGEST_BYTES: usize = 16;

fn sink_view(deployment: &Deployment, subscription: &Subscription) -> SinkView {
    let owner = subscription.uid();
    let ours = deployment.owner_references().iter().any(|reference| {
        reference.controller == Some(true) && Some(&reference.uid) == owner.as_ref()
    });
    let count = |number: Option<i32>| u32::try_from(number.unwrap_or(0)).unwrap_or(0);
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let status = deployment.status.clone().unwrap_or_default();
    let newest = status.observed_generation == deployment.metadata.generation;
    let updated = count(status.updated_replicas);
    let stuck = status.conditions.iter().flatten().find(|condition| {
        newest && condition.type_ == "Progressing" && condition.status == "False"
    });
    SinkView {
        ours,
        deleting: deployment.metadata.deletion_timestamp.is_some(),
        replicas: count(replicas.or(Some(1))),
        available: count(status.available_replicas).min(updated),
        rolled_out: newest && count(status.replicas) == updated,
        stuck: stuck.map(|condition| condition.message.clone().unwrap_or_default()),
    }
}
