//! The objects that make up a store in Kubernetes, as pure functions of its specification.
//!
//! Knows no client and looks at nothing: what depends on the state of the store comes in as a
//! [`Shape`](crate::plan::Shape).

mod configuration;
mod network_policy;
pub(crate) mod pod;
mod quantity;
mod services;
mod stateful_set;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use reckon_crds::EventStore;

use crate::plan::Shape;

pub use configuration::{Error, digest, node_yaml};
pub use quantity::bytes;

/// Who owns the fields that the operator applies.
pub const FIELD_MANAGER: &str = "reckon-operator";

/// The finalizer of an `EventStore`.
pub const FINALIZER: &str = "reckon.dev/eventstore";

/// The label that names the store of an object.
pub const LABEL_STORE: &str = "reckon.dev/store";

/// The label that says what a pod's node does: `leader`, `follower`, `learner` or `none`.
pub const LABEL_ROLE: &str = "reckon.dev/role";

/// The label on a volume claim with the UID of the `EventStore` it was made for.
pub const LABEL_STORE_UID: &str = "reckon.dev/store-uid";

/// The annotation of a pod with the digest of its configuration, so that a change makes a new revision.
pub const ANNOTATION_CONFIGURATION: &str = "reckon.dev/configuration";

/// The annotation of a pod with the restart that was asked for last.
pub const ANNOTATION_RESTART: &str = "reckon.dev/restart";

/// The name of the volume claim template.
pub const CLAIM_TEMPLATE: &str = "data";

/// The port of clients.
pub const PORT_CLIENT: i32 = 7430;
/// The port of peers.
pub const PORT_PEER: i32 = 7431;
/// The port of metrics and probes.
pub const PORT_HTTP: i32 = 7432;

/// The objects of a store.
#[derive(Debug, Clone, PartialEq)]
pub struct Objects {
    pub service_account: ServiceAccount,
    pub configuration: ConfigMap,
    /// Peers find each other by this headless Service.
    pub peers: Service,
    /// Ready nodes.
    pub clients: Service,
    /// The leader alone.
    pub leader: Service,
    pub budget: PodDisruptionBudget,
    /// Absent: there is to be none.
    pub network_policy: Option<NetworkPolicy>,
    pub set: StatefulSet,
}

/// What the objects of a store are made from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    pub store: &'a EventStore,
    pub shape: Shape,
    /// The image of nodes whose store names none.
    pub node_image: &'a str,
    /// The size in the claim template of the `StatefulSet` that exists: templates cannot change, claims can.
    pub template_size: Option<&'a Quantity>,
}

impl Objects {
    /// Builds the objects of a store.
    pub fn build(inputs: Inputs<'_>) -> Result<Self, Error> {
        let store = inputs.store;
        let yaml = node_yaml(store)?;
        Ok(Self {
            service_account: configuration::service_account(store),
            peers: services::peers(store),
            clients: services::clients(store),
            leader: services::leader(store),
            budget: services::budget(store, inputs.shape.available_min),
            network_policy: network_policy::network_policy(store),
            set: stateful_set::stateful_set(inputs, &digest(yaml.as_bytes())),
            configuration: configuration::config_map(store, yaml),
        })
    }
}

/// The names of a store's objects.
#[derive(Debug)]
pub struct Names;

impl Names {
    /// The headless Service of the peers.
    pub fn peers(store: &str) -> String {
        format!("{store}-peers")
    }

    /// The Service of the leader.
    pub fn leader(store: &str) -> String {
        format!("{store}-leader")
    }

    /// The policy on who may reach the nodes.
    pub fn network_policy(store: &str) -> String {
        format!("{store}-nodes")
    }

    /// The configuration of the nodes.
    pub fn configuration(store: &str) -> String {
        format!("{store}-config")
    }

    /// The start of the names of the volume claims, to which the ordinal is added.
    pub fn claim_prefix(store: &str) -> String {
        format!("{CLAIM_TEMPLATE}-{store}-")
    }
}

/// What all pods of a store have in common, and nothing else has.
pub fn selector_labels(store: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "reckon"),
        ("app.kubernetes.io/instance", store),
        ("app.kubernetes.io/component", "node"),
        (LABEL_STORE, store),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// The labels of every object of a store.
pub fn labels(store: &str) -> BTreeMap<String, String> {
    let mut labels = selector_labels(store);
    labels.insert("app.kubernetes.io/managed-by".to_owned(), FIELD_MANAGER.to_owned());
    labels
}

/// The pods of a store as a selector in text, for the scale subresource and for lists.
pub fn selector_text(store: &str) -> String {
    let labels = selector_labels(store);
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn selector(store: &str) -> LabelSelector {
    LabelSelector { match_labels: Some(selector_labels(store)), ..LabelSelector::default() }
}

fn metadata(store: &EventStore, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: store.namespace(),
        labels: Some(labels(&store.name_any())),
        owner_references: owner(store).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

fn owner(store: &EventStore) -> Option<OwnerReference> {
    store.controller_owner_ref(&())
}
