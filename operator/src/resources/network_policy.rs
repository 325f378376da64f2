//! Who may reach the nodes of a store.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use reckon_crds::EventStore;

use super::{Names, PORT_CLIENT, PORT_HTTP, PORT_PEER, metadata, selector};
use crate::subscription::sink;

/// The policy that a specification asks for, if it does. Peers reach each other, the operator and the sinks reach the
/// clients' port, whatever else it says.
pub fn network_policy(store: &EventStore) -> Option<NetworkPolicy> {
    let access = store.spec.network_policy.as_ref()?;
    let name = store.name_any();
    let nodes = pods(selector(&name));
    let operators = NetworkPolicyPeer {
        // Wherever it was installed.
        namespace_selector: Some(LabelSelector::default()),
        ..pods(labelled([
            ("app.kubernetes.io/name", "reckon-operator"),
            ("app.kubernetes.io/component", "operator"),
        ]))
    };
    let sinks = pods(labelled(sink::POD_LABELS));
    let clients = match &access.clients {
        None => vec![pods(LabelSelector::default()), operators],
        Some(clients) => clients.iter().cloned().chain([nodes.clone(), operators, sinks]).collect(),
    };
    let ingress = vec![
        rule(PORT_PEER, Some(vec![nodes])),
        rule(PORT_CLIENT, Some(clients)),
        rule(PORT_HTTP, access.metrics.clone()),
    ];
    Some(NetworkPolicy {
        metadata: metadata(store, Names::network_policy(&name)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(&name)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(ingress),
            egress: None,
        }),
    })
}

fn rule(port: i32, from: Option<Vec<NetworkPolicyPeer>>) -> NetworkPolicyIngressRule {
    let port = NetworkPolicyPort {
        port: Some(IntOrString::Int(port)),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    };
    // An empty list would let everybody in: for nobody there is a peer that nobody is.
    let nobody = || vec![pods(labelled([("reckon.dev/nobody", "")]))];
    let from = from.map(|peers| if peers.is_empty() { nobody() } else { peers });
    NetworkPolicyIngressRule { from, ports: Some(vec![port]) }
}

fn pods(selector: LabelSelector) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(selector), ..NetworkPolicyPeer::default() }
}

fn labelled<const N: usize>(labels: [(&str, &str); N]) -> LabelSelector {
    let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    LabelSelector {
        match_labels: Some(labels.collect::<BTreeMap<_, _>>()),
        ..LabelSelector::default()
    }
}
