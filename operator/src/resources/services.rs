//! How a store is reached, and how many of its pods an eviction may take.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use reckon_crds::EventStore;

use super::{LABEL_ROLE, Names, PORT_CLIENT, PORT_HTTP, PORT_PEER, metadata, selector_labels};
use crate::plan::Role;

/// Nodes find each other by this name. It publishes addresses that are not ready: readiness waits for the
/// peers, so the peers cannot wait for readiness.
pub fn peers(store: &EventStore) -> Service {
    let mut service = service(
        store,
        Names::peers(&store.name_any()),
        selector_labels(&store.name_any()),
        &[("client", PORT_CLIENT), ("peer", PORT_PEER), ("http", PORT_HTTP)],
    );
    let spec = service.spec.get_or_insert_default();
    spec.cluster_ip = Some("None".to_owned());
    spec.publish_not_ready_addresses = Some(true);
    service
}

/// Any ready node: each takes any request.
pub fn clients(store: &EventStore) -> Service {
    let name = store.name_any();
    let labels = selector_labels(&name);
    service(store, name, labels, &[("client", PORT_CLIENT)])
}

/// The leader, as long as the operator keeps the label: it saves a hop, nothing depends on it.
pub fn leader(store: &EventStore) -> Service {
    let name = store.name_any();
    let mut labels = selector_labels(&name);
    labels.insert(LABEL_ROLE.to_owned(), Role::Leader.label().to_owned());
    service(store, Names::leader(&name), labels, &[("client", PORT_CLIENT)])
}

/// Evictions leave this many voters. Learners and pods that have yet to join are not counted.
pub fn budget(store: &EventStore, available_min: i32) -> PodDisruptionBudget {
    let name = store.name_any();
    let voters = LabelSelectorRequirement {
        key: LABEL_ROLE.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![Role::Leader.label().to_owned(), Role::Follower.label().to_owned()]),
    };
    PodDisruptionBudget {
        metadata: metadata(store, name.clone()),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(available_min)),
            selector: Some(LabelSelector {
                match_labels: Some(selector_labels(&name)),
                match_expressions: Some(vec![voters]),
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

fn service(
    store: &EventStore,
    name: String,
    selector: BTreeMap<String, String>,
    ports: &[(&str, i32)],
) -> Service {
    let ports = ports
        .iter()
        .map(|(name, port)| ServicePort {
            name: Some((*name).to_owned()),
            port: *port,
            target_port: Some(IntOrString::String((*name).to_owned())),
            protocol: Some("TCP".to_owned()),
            app_protocol: (*name != "http").then(|| "kubernetes.io/h2c".to_owned()),
            ..ServicePort::default()
        })
        .collect();
    let annotations = &store.spec.services.annotations;
    Service {
        metadata: ObjectMeta {
            annotations: Some(annotations.clone()).filter(|map| !map.is_empty()),
            ..metadata(store, name)
        },
        spec: Some(ServiceSpec {
            selector: Some(selector),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
