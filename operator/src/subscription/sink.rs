//! What delivers a subscription's events to its sink: a deployment of `reckon sink`, as a pure function of the
//! resource.
//!
//! It runs beside the store and not in its nodes: whoever may create a Subscription names the address, and the pods
//! that hold the data must not be made to call it; secrets stay out of the store's log; and its load stays away from
//! the leader.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, EnvVarSource, PodSpec, PodTemplateSpec, SecretKeySelector,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::{Resource, ResourceExt};
use prost::Message as _;
use reckon_api::v1;
use reckon_crds::{Sink, Subscription};

use super::definition;
use crate::resources::{
    ANNOTATION_CONFIGURATION, FIELD_MANAGER, PORT_CLIENT, PORT_HTTP, digest, pod,
};

/// The label that names the subscription of an object. Never that of the store, by which the store's own pods are
/// found.
pub const LABEL_SUBSCRIPTION: &str = "reckon.dev/subscription";

/// What the pods of all sinks have in common.
pub const POD_LABELS: [(&str, &str); 2] =
    [("app.kubernetes.io/name", "reckon"), ("app.kubernetes.io/component", "sink")];

/// The annotation of a pod with the digest of the secrets it was started with.
const ANNOTATION_SECRETS: &str = "reckon.dev/secrets";

/// How long a pod may take to finish its requests, in seconds.
const TERMINATION_GRACE_S: i64 = 30;

/// What a sink's deployment is made from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    pub subscription: &'a Subscription,
    pub sink: &'a Sink,
    /// The sink in the store's words: another one restarts the pods.
    pub defined: &'a v1::Sink,
    /// The image of the store's nodes.
    pub image: &'a str,
    /// Tells the values of the secrets from others; see [`super::observe`].
    pub secrets_digest: &'a str,
}

/// The name of the deployment.
pub fn name(subscription: &str) -> String {
    format!("{subscription}-sink")
}

/// The deployment.
pub fn deployment(inputs: Inputs<'_>) -> Deployment {
    let subscription = inputs.subscription;
    let labels = labels(&subscription.name_any());
    let mut of_all = labels.clone();
    of_all.insert("app.kubernetes.io/managed-by".to_owned(), FIELD_MANAGER.to_owned());
    let defined = digest(&inputs.defined.encode_to_vec());
    let annotations = BTreeMap::from([
        (ANNOTATION_CONFIGURATION.to_owned(), defined),
        (ANNOTATION_SECRETS.to_owned(), inputs.secrets_digest.to_owned()),
    ]);
    Deployment {
        metadata: ObjectMeta {
            name: Some(name(&subscription.name_any())),
            namespace: subscription.namespace(),
            labels: Some(of_all.clone()),
            owner_references: subscription.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(DeploymentSpec {
            replicas: Some(i32::try_from(inputs.sink.replicas).unwrap_or(i32::MAX)),
            selector: LabelSelector { match_labels: Some(labels), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(of_all),
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    containers: vec![container(inputs)],
                    automount_service_account_token: Some(false),
                    enable_service_links: Some(false),
                    termination_grace_period_seconds: Some(TERMINATION_GRACE_S),
                    security_context: Some(pod::security()),
                    ..PodSpec::default()
                }),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn labels(subscription: &str) -> BTreeMap<String, String> {
    let own = [("app.kubernetes.io/instance", subscription), (LABEL_SUBSCRIPTION, subscription)];
    let labels = POD_LABELS.into_iter().chain(own);
    labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn container(inputs: Inputs<'_>) -> Container {
    let (subscription, sink) = (inputs.subscription, inputs.sink);
    let namespace = subscription.namespace().unwrap_or_default();
    let endpoint = format!("{}.{namespace}.svc:{PORT_CLIENT}", subscription.spec.store_ref.name);
    let mut args = vec![
        "sink".to_owned(),
        "--endpoint".to_owned(),
        endpoint,
        "--probe-listen".to_owned(),
        format!("0.0.0.0:{PORT_HTTP}"),
    ];
    let mut environment = Vec::new();
    for (index, header) in sink.headers_from.iter().enumerate() {
        let variable = format!("SINK_HEADER_{index}");
        args.extend(["--header-env".to_owned(), verbatim(&format!("{}={variable}", header.name))]);
        environment.push(EnvVar {
            name: variable,
            value: None,
            value_from: Some(EnvVarSource {
                secret_key_ref: Some(SecretKeySelector {
                    name: header.secret_key_ref.name.clone(),
                    key: header.secret_key_ref.key.clone(),
                    optional: None,
                }),
                ..EnvVarSource::default()
            }),
        });
    }
    // Last, and marked as no flag: a subscription may be called `--help`.
    args.extend(["--".to_owned(), verbatim(&definition::name(subscription))]);
    Container {
        name: "sink".to_owned(),
        image: Some(sink.image.as_deref().unwrap_or(inputs.image).to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["/reckon".to_owned()]),
        args: Some(args),
        env: Some(environment).filter(|list| !list.is_empty()),
        ports: Some(vec![ContainerPort {
            name: Some("http".to_owned()),
            container_port: PORT_HTTP,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: Some(pod::requirements(&sink.resources)),
        security_context: Some(pod::container_security()),
        liveness_probe: Some(pod::probe("/healthz", 10, 6)),
        readiness_probe: Some(pod::probe("/healthz", 2, 2)),
        ..Container::default()
    }
}

/// A text that Kubernetes hands to the program as it is, and takes no variables from.
fn verbatim(text: &str) -> String {
    text.replace('$', "$$")
}

#[cfg(test)]
mod tests;
