//! What the objects of a store must say, beyond being well-formed.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use reckon_crds::EventStore;
use serde_json::{Value, json};

use super::*;

fn store(spec: Value) -> EventStore {
    let mut whole = json!({ "storage": { "size": "1Gi" } });
    if let (Value::Object(whole), Value::Object(spec)) = (&mut whole, spec) {
        whole.extend(spec);
    }
    serde_json::from_value(json!({
        "apiVersion": "reckon.dev/v1alpha1",
        "kind": "EventStore",
        "metadata": { "name": "orders", "namespace": "shop", "uid": "store-uid" },
        "spec": whole,
    }))
    .expect("a valid store")
}

fn build(store: &EventStore) -> Objects {
    Objects::build(Inputs {
        store,
        shape: Shape { replicas: 3, available_min: 2 },
        node_image: "reckon.dev/node:test",
        template_size: None,
    })
    .expect("objects of a valid store")
}

/// The `StatefulSet` and its pods' specification as JSON.
fn set(store: &EventStore) -> (Value, Value) {
    let set = serde_json::to_value(build(store).set).expect("objects are JSON");
    let pod = set["spec"]["template"]["spec"].clone();
    (set, pod)
}

#[test]
fn pods_come_together_and_go_when_the_operator_says() {
    let (set, _) = set(&store(json!({})));
    let spec = &set["spec"];
    assert_eq!(spec["podManagementPolicy"], "Parallel");
    assert_eq!(spec["updateStrategy"], json!({ "type": "OnDelete" }));
    assert_eq!(spec["serviceName"], "orders-peers");
    let retention = json!({ "whenDeleted": "Retain", "whenScaled": "Retain" });
    assert_eq!(spec["persistentVolumeClaimRetentionPolicy"], retention);
    let claim = &spec["volumeClaimTemplates"][0];
    assert_eq!(claim["metadata"]["name"], "data");
    assert_eq!(claim["metadata"]["labels"][LABEL_STORE_UID], "store-uid");
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "1Gi");
}

#[test]
fn a_claim_template_that_exists_is_never_changed() {
    let store = store(json!({ "storage": { "size": "5Gi" } }));
    let before = Quantity("1Gi".to_owned());
    let objects = Objects::build(Inputs {
        store: &store,
        shape: Shape { replicas: 3, available_min: 2 },
        node_image: "reckon.dev/node:test",
        template_size: Some(&before),
    })
    .unwrap();
    let set = serde_json::to_value(objects.set).unwrap();
    let claim = &set["spec"]["volumeClaimTemplates"][0];
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "1Gi");
}

#[test]
fn everything_but_the_volumes_is_owned_by_the_store() {
    let objects = build(&store(json!({})));
    let metadata = [
        &objects.service_account.metadata,
        &objects.configuration.metadata,
        &objects.peers.metadata,
        &objects.clients.metadata,
        &objects.leader.metadata,
        &objects.budget.metadata,
        &objects.set.metadata,
    ];
    for metadata in metadata {
        let owner = &metadata.owner_references.as_ref().unwrap()[0];
        assert_eq!((owner.uid.as_str(), owner.controller), ("store-uid", Some(true)));
        assert_eq!(metadata.namespace.as_deref(), Some("shop"));
        let labels = metadata.labels.as_ref().unwrap();
        assert_eq!(labels["app.kubernetes.io/managed-by"], "reckon-operator");
        assert_eq!(labels[LABEL_STORE], "orders");
    }
    let claims = objects.set.spec.unwrap().volume_claim_templates.unwrap();
    assert_eq!(claims[0].metadata.owner_references, None);
}

#[test]
fn the_container_runs_as_agreed_with_the_node() {
    let (_, pod) = set(&store(json!({})));
    let container = &pod["containers"][0];
    assert_eq!(container["name"], "node");
    assert_eq!(container["image"], "reckon.dev/node:test");
    assert_eq!(container["command"], json!(["/reckon-node"]));
    assert_eq!(container["args"], json!(["run", "--config", "/etc/reckon/node.yaml"]));
    let environment: BTreeMap<&str, &Value> = container["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["name"].as_str().unwrap(), entry))
        .collect();
    let field = |name: &str| &environment[name]["valueFrom"]["fieldRef"]["fieldPath"];
    assert_eq!(field("POD_NAME"), "metadata.name");
    assert_eq!(field("RECKON_NODE_NAME"), "metadata.name");
    assert_eq!(field("RECKON_NODE_POD_UID"), "metadata.uid");
    assert_eq!(environment["RECKON_NODE_STORE_NAME"]["value"], "orders");
    let peer = &environment["RECKON_ADVERTISE_PEER"]["value"];
    assert_eq!(peer, "$(POD_NAME).orders-peers.shop.svc:7431");
    let client = &environment["RECKON_ADVERTISE_CLIENT"]["value"];
    assert_eq!(client, "$(POD_NAME).orders-peers.shop.svc:7430");
    for (probe, path) in
        [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(
            container[probe]["httpGet"],
            json!({ "path": path, "port": "http", "scheme": "HTTP" })
        );
    }
}

#[test]
fn pods_pass_the_restricted_standard() {
    let (_, pod) = set(&store(json!({})));
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["enableServiceLinks"], false);
    assert_eq!(pod["securityContext"]["runAsUser"], 65_532);
    assert_eq!(pod["securityContext"]["fsGroup"], 65_532);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["capabilities"]["drop"], json!(["ALL"]));
}

#[test]
fn nodes_keep_apart_as_firmly_as_asked() {
    let (_, pod) = set(&store(json!({})));
    let apart = &pod["affinity"]["podAntiAffinity"];
    assert!(apart["preferredDuringSchedulingIgnoredDuringExecution"].is_array());
    let (_, pod) = set(&store(json!({ "scheduling": { "antiAffinity": "Required" } })));
    let apart = &pod["affinity"]["podAntiAffinity"];
    assert!(apart["requiredDuringSchedulingIgnoredDuringExecution"].is_array());
    let own = json!({ "nodeAffinity": {} });
    let (_, pod) = set(&store(json!({ "scheduling": { "affinity": own } })));
    assert_eq!(pod["affinity"], own);
}

#[test]
fn what_the_user_asks_of_pods_is_there_but_our_labels_win() {
    let asked = json!({
        "image": "mine:1",
        "podMetadata": {
            "labels": { "team": "shop", "reckon.dev/store": "forged" },
            "annotations": { "note": "hello" },
        },
        "scheduling": {
            "nodeSelector": { "disk": "fast" },
            "tolerations": [{ "key": "dedicated", "operator": "Exists" }],
        },
        "resources": { "limits": { "memory": "1Gi" } },
    });
    let (set, pod) = set(&store(asked));
    let metadata = &set["spec"]["template"]["metadata"];
    assert_eq!(metadata["labels"]["team"], "shop");
    assert_eq!(metadata["labels"]["reckon.dev/store"], "orders");
    assert_eq!(metadata["annotations"]["note"], "hello");
    assert_eq!(pod["nodeSelector"]["disk"], "fast");
    assert_eq!(pod["tolerations"][0]["key"], "dedicated");
    assert_eq!(pod["containers"][0]["image"], "mine:1");
    assert_eq!(pod["containers"][0]["resources"]["limits"]["memory"], "1Gi");
}

#[test]
fn services_publish_what_they_are_for() {
    let objects = build(&store(json!({})));
    let peers = objects.peers.spec.unwrap();
    assert_eq!(peers.cluster_ip.as_deref(), Some("None"));
    assert_eq!(peers.publish_not_ready_addresses, Some(true));
    let ports: Vec<(String, i32)> =
        peers.ports.unwrap().into_iter().map(|port| (port.name.unwrap(), port.port)).collect();
    let expect = [("client", 7430), ("peer", 7431), ("http", 7432)];
    assert_eq!(ports, expect.map(|(name, port)| (name.to_owned(), port)));
    let clients = objects.clients.spec.unwrap();
    assert_eq!(clients.publish_not_ready_addresses, None);
    assert!(!clients.selector.unwrap().contains_key(LABEL_ROLE));
    assert_eq!(objects.leader.metadata.name.as_deref(), Some("orders-leader"));
    assert_eq!(objects.leader.spec.unwrap().selector.unwrap()[LABEL_ROLE], "leader");
}

#[test]
fn the_configuration_is_the_users_under_ours() {
    let asked = json!({ "config": {
        "log": { "level": "debug" },
        "node": { "data_dir": "/elsewhere", "label": "kept" },
        "formation": { "mode": "expect" },
    } });
    let yaml = node_yaml(&store(asked)).unwrap();
    let read: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(read["log"]["level"], "debug");
    assert_eq!(read["node"], json!({ "data_dir": "/data", "label": "kept" }));
    assert_eq!(read["formation"]["mode"], "operator");
    assert_eq!(read["discovery"]["mode"], "dns");
    assert_eq!(read["discovery"]["dns"]["service"], "orders-peers.shop.svc");
}

#[test]
fn another_configuration_makes_another_revision() {
    let annotation = |store: &EventStore| {
        let (set, _) = set(store);
        set["spec"]["template"]["metadata"]["annotations"][ANNOTATION_CONFIGURATION].clone()
    };
    let plain = store(json!({}));
    assert_eq!(annotation(&plain), annotation(&plain));
    assert_ne!(annotation(&plain), annotation(&store(json!({ "config": { "a": 1 } }))));
}

#[test]
fn the_budget_counts_voters_only() {
    let budget = serde_json::to_value(build(&store(json!({}))).budget).unwrap();
    assert_eq!(budget["spec"]["minAvailable"], 2);
    let expression = &budget["spec"]["selector"]["matchExpressions"][0];
    assert_eq!(expression["key"], LABEL_ROLE);
    assert_eq!(expression["values"], json!(["leader", "follower"]));
}

#[test]
fn quantities_are_read_as_kubernetes_reads_them() {
    for (text, expect) in [
        ("1", Some(1)),
        ("1Ki", Some(1_024)),
        ("1.5Gi", Some(1_610_612_736)),
        ("10G", Some(10_000_000_000)),
        ("1e3", Some(1_000)),
        ("1500m", Some(2)),
        (".5Ki", Some(512)),
        ("1E", Some(1_000_000_000_000_000_000)),
        ("", None),
        ("Gi", None),
        ("1GB", None),
        ("-1Gi", None),
    ] {
        assert_eq!(bytes(&Quantity(text.to_owned())), expect, "{text}");
    }
}

#[test]
fn a_restart_is_another_template_and_nothing_else_is() {
    let template = |spec| set(&store(spec)).0["spec"]["template"].clone();
    let (before, after) = (template(json!({})), template(json!({ "restart": "2026-11-28" })));
    assert_ne!(before, after);
    assert_eq!(after["metadata"]["annotations"][ANNOTATION_RESTART], "2026-11-28");
    for spec in [json!({ "hibernate": true }), json!({ "deletionProtection": true })] {
        assert_eq!(template(spec), before, "no pod is replaced for this");
    }
}

#[test]
fn pods_are_spread_and_ranked_as_asked() {
    let (_, pod) = set(&store(json!({})));
    let zones = &pod["topologySpreadConstraints"][0];
    assert_eq!(zones["topologyKey"], "topology.kubernetes.io/zone");
    let rack = json!({ "maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule" });
    let (_, pod) = set(&store(json!({ "scheduling": {
        "topologySpreadConstraints": [rack],
        "priorityClassName": "important",
    } })));
    let asked = &pod["topologySpreadConstraints"][0];
    assert_eq!((&asked["topologyKey"], &asked["maxSkew"]), (&json!("rack"), &json!(2)));
    assert_eq!(asked["labelSelector"], zones["labelSelector"], "over the pods of the store");
    assert_eq!(pod["priorityClassName"], "important");
    let none = json!({ "scheduling": { "topologySpreadConstraints": [] } });
    assert_eq!(set(&store(none)).1.get("topologySpreadConstraints"), None);
}

#[test]
fn services_carry_the_annotations_that_are_asked_for() {
    let objects = build(&store(json!({ "services": { "annotations": { "team": "shop" } } })));
    for service in [objects.peers, objects.clients, objects.leader] {
        assert_eq!(service.metadata.annotations.unwrap()["team"], "shop");
    }
}

#[test]
fn a_network_policy_lets_in_whom_it_names_and_those_without_whom_nothing_works() {
    assert_eq!(build(&store(json!({}))).network_policy, None);
    let rules = |access: Value| {
        let policy = build(&store(json!({ "networkPolicy": access }))).network_policy.unwrap();
        let policy = serde_json::to_value(policy).unwrap();
        assert_eq!(policy["metadata"]["name"], "orders-nodes");
        policy["spec"]["ingress"].clone()
    };
    let port = |rules: &Value, place: usize| rules[place]["ports"][0]["port"].clone();
    let everybody = rules(json!({}));
    let ports = [0, 1, 2].map(|place| port(&everybody, place));
    assert_eq!(ports, [json!(PORT_PEER), json!(PORT_CLIENT), json!(PORT_HTTP)]);
    assert_eq!(everybody[0]["from"][0]["podSelector"]["matchLabels"][LABEL_STORE], "orders");
    assert_eq!(everybody[1]["from"][0], json!({ "podSelector": {} }), "the namespace's pods");
    assert_eq!(everybody[2].get("from"), None, "whoever collects metrics");

    let web = json!({ "podSelector": { "matchLabels": { "app": "web" } } });
    let some = rules(json!({ "clients": [web], "metrics": [] }));
    let clients = some[1]["from"].as_array().unwrap();
    assert_eq!(clients[0], web);
    assert_eq!(clients.len(), 4, "beside the nodes, the operator and the sinks");
    assert_eq!(some[2]["from"].as_array().unwrap().len(), 1, "an empty list lets nobody in");
}
