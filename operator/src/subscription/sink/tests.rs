//! What the deployment of a sink must say, beyond being well-formed.

use serde_json::{Value, json};

use super::*;
use crate::resources::{LABEL_STORE, selector_labels};

fn subscription(name: &str, sink: &Value) -> Subscription {
    serde_json::from_value(json!({
        "apiVersion": "reckon.dev/v1alpha1",
        "kind": "Subscription",
        "metadata": { "name": "billing", "namespace": "shop", "uid": "subscription-uid" },
        "spec": {
            "storeRef": { "name": "orders" },
            "name": name,
            "selector": { "all": true },
            "sink": sink,
        },
    }))
    .expect("a subscription")
}

fn build(subscription: &Subscription, secrets_digest: &str) -> Value {
    let defined = definition::definition(subscription).unwrap().sink.unwrap();
    let deployment = deployment(Inputs {
        subscription,
        sink: subscription.spec.sink.as_ref().unwrap(),
        defined: &defined,
        image: "reckon.dev/node:store",
        secrets_digest,
    });
    serde_json::to_value(deployment).expect("objects are JSON")
}

/// The deployment and its one container.
fn built(sink: &Value) -> (Value, Value) {
    let deployment = build(&subscription("invoices", sink), "digest");
    let container = deployment["spec"]["template"]["spec"]["containers"][0].clone();
    (deployment, container)
}

#[test]
fn the_pods_run_the_command_line_of_the_stores_image() {
    let (_, container) = built(&json!({ "url": "http://a" }));
    assert_eq!(container["image"], "reckon.dev/node:store");
    assert_eq!(container["command"], json!(["/reckon"]));
    assert_eq!(
        container["args"],
        json!([
            "sink",
            "--endpoint",
            "orders.shop.svc:7430",
            "--probe-listen",
            "0.0.0.0:7432",
            "--",
            "invoices"
        ])
    );
    let (_, container) = built(&json!({ "url": "http://a", "image": "mine:1" }));
    assert_eq!(container["image"], "mine:1");
}

#[test]
fn secrets_come_from_the_environment_and_stand_nowhere_else() {
    let (deployment, container) = built(&json!({
        "url": "http://a",
        "headersFrom": [
            { "name": "Authorization", "secretKeyRef": { "name": "billing", "key": "token" } },
            { "name": "X-Key", "secretKeyRef": { "name": "billing", "key": "key" } },
        ],
    }));
    let args = container["args"].as_array().unwrap();
    for (index, header) in ["Authorization", "X-Key"].into_iter().enumerate() {
        let variable = format!("SINK_HEADER_{index}");
        assert!(args.contains(&json!(format!("{header}={variable}"))), "{args:?}");
        assert_eq!(container["env"][index]["name"], variable);
    }
    let reference = &container["env"][0]["valueFrom"]["secretKeyRef"];
    assert_eq!(reference["name"], "billing");
    assert_eq!(reference["key"], "token");
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["reckon.dev/secrets"], "digest");
}

#[test]
fn another_secret_and_another_sink_restart_the_pods() {
    let template = |sink: Value, secrets: &str| {
        build(&subscription("invoices", &sink), secrets)["spec"]["template"].clone()
    };
    let usual = template(json!({ "url": "http://a" }), "one");
    assert_eq!(template(json!({ "url": "http://a" }), "one"), usual);
    assert_ne!(template(json!({ "url": "http://a" }), "another"), usual);
    assert_ne!(template(json!({ "url": "http://b" }), "one"), usual);
    assert_eq!(template(json!({ "url": "http://a", "replicas": 3 }), "one"), usual);
}

#[test]
fn names_are_neither_flags_nor_variables() {
    let deployment = build(&subscription("--help $(HOME)", &json!({ "url": "http://a" })), "");
    let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone();
    let args = args.as_array().unwrap();
    assert_eq!(args[args.len() - 2..], [json!("--"), json!("--help $$(HOME)")]);
}

#[test]
fn the_pods_are_restricted_as_the_nodes_are() {
    let (deployment, container) = built(&json!({ "url": "http://a" }));
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(container["resources"]["requests"]["memory"], "32Mi");
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["path"], "/healthz");
        assert_eq!(container[probe]["httpGet"]["port"], "http");
    }
    assert_eq!(container["ports"][0]["containerPort"], 7432);
}

#[test]
fn the_deployment_goes_with_the_subscription() {
    let (deployment, _) = built(&json!({ "url": "http://a" }));
    assert_eq!(deployment["metadata"]["name"], "billing-sink");
    let owner = &deployment["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], "subscription-uid");
    assert_eq!(owner["controller"], true);
    assert_eq!(deployment["spec"]["replicas"], 1);
}

#[test]
fn no_pod_of_a_sink_is_taken_for_a_node() {
    let (deployment, _) = built(&json!({ "url": "http://a" }));
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels[LABEL_STORE], Value::Null);
    for store in ["orders", "billing"] {
        let of_node = serde_json::to_value(selector_labels(store)).unwrap();
        let all = of_node.as_object().unwrap();
        assert!(all.iter().any(|(key, value)| labels[key] != *value), "{labels}");
    }
}
