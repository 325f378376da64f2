//! The definitions that users install are made from the types, and stand in the chart.

use std::path::{Path, PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use reckon_crds::{EventStore, Subscription};
use serde_json::Value;

/// Every definition.
fn all() -> [CustomResourceDefinition; 2] {
    [EventStore::crd(), Subscription::crd()]
}

/// Where a definition stands in the chart.
fn chart_file(definition: &CustomResourceDefinition) -> PathBuf {
    let templates = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/reckon-crds/templates");
    Path::new(templates).join(format!("{}.yaml", definition.spec.names.plural))
}

/// A definition as it stands in the chart.
fn yaml(definition: &CustomResourceDefinition) -> String {
    // Through JSON, so that the text does not depend on how a serialiser treats absent options.
    let value = serde_json::to_value(definition).expect("a definition can be written");
    let body = serde_saphyr::to_string(&value).expect("a definition can be written");
    format!(
        "# Generated from crds/src by its tests: change the types, then run `UPDATE=1 cargo test -p reckon-crds`.\n{body}"
    )
}

/// The only version of a definition.
fn version<K: CustomResourceExt>() -> Value {
    serde_json::to_value(K::crd()).expect("a definition is JSON")["spec"]["versions"][0].take()
}

/// The columns that are always shown.
fn columns<K: CustomResourceExt>() -> Vec<String> {
    version::<K>()["additionalPrinterColumns"]
        .as_array()
        .expect("columns")
        .iter()
        .filter(|column| column.get("priority").is_none_or(|priority| priority == 0))
        .map(|column| column["name"].as_str().expect("a name").to_owned())
        .collect()
}

/// The schema of a definition's part.
fn schema<K: CustomResourceExt>(part: &str) -> Value {
    version::<K>()["schema"]["openAPIV3Schema"]["properties"][part].take()
}

#[test]
fn the_chart_carries_the_current_definitions() {
    for definition in all() {
        let path = chart_file(&definition);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, yaml(&definition)).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            stored == yaml(&definition),
            "{} is stale: run `UPDATE=1 cargo test -p reckon-crds`",
            path.display()
        );
    }
}

#[test]
fn the_yaml_reads_back_as_the_same_definition() {
    for definition in all() {
        let text = yaml(&definition);
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, serde_json::to_value(&definition).unwrap());
        assert!(!text.contains("{{"), "Helm would take this for a template");
    }
}

#[test]
fn the_definitions_have_what_kubectl_needs() {
    for (definition, short) in all().iter().zip(["evs", "rsub"]) {
        let definition = serde_json::to_value(definition).unwrap();
        assert_eq!(definition["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
        assert_eq!(definition["spec"]["names"]["shortNames"][0], short);
    }
    let version = version::<EventStore>();
    assert_eq!(version["subresources"]["scale"]["specReplicasPath"], ".spec.replicas");
    assert_eq!(version["subresources"]["scale"]["labelSelectorPath"], ".status.selector");
    assert_eq!(columns::<EventStore>(), ["Ready", "Members", "Leader", "Version", "Age"]);
    let of_subscriptions = ["Store", "Type", "Ready", "Lag", "Parked", "Age"];
    assert_eq!(columns::<Subscription>(), of_subscriptions);
}

#[test]
fn every_default_stands_in_the_schema() {
    let spec = schema::<EventStore>("spec");
    let default = |pointer: &str| spec.pointer(pointer).unwrap()["default"].clone();
    assert_eq!(default("/properties/replicas"), 3);
    assert_eq!(default("/properties/paused"), false);
    assert_eq!(default("/properties/storage/properties/reclaimPolicy"), "Retain");
    assert_eq!(default("/properties/resources")["requests"]["memory"], "128Mi");
    assert_eq!(default("/properties/scheduling")["antiAffinity"], "Preferred");
    assert_eq!(default("/properties/scheduling/properties/antiAffinity"), "Preferred");
    let spec = schema::<Subscription>("spec");
    let default = |pointer: &str| spec.pointer(pointer).unwrap()["default"].clone();
    assert_eq!(default("/properties/poolSize"), 1);
    assert_eq!(default("/properties/ackTimeout"), "30s");
    assert_eq!(default("/properties/maxRetries"), 10);
    assert_eq!(default("/properties/retryBackoff")["min"], "100ms");
    assert_eq!(default("/properties/retryBackoff/properties/max"), "30s");
    assert_eq!(default("/properties/maxInFlight"), 1000);
    assert_eq!(default("/properties/bufferSize"), 1000);
    assert_eq!(default("/properties/strategy"), "Block");
    assert_eq!(default("/properties/bufferWarningPercent"), 80);
    assert_eq!(default("/properties/deletionPolicy"), "Delete");
    assert_eq!(default("/properties/sink/properties/mode"), "Binary");
    assert_eq!(default("/properties/sink/properties/batchMax"), 1);
    assert_eq!(default("/properties/sink/properties/timeout"), "10s");
    assert_eq!(default("/properties/sink/properties/concurrency"), 8);
    assert_eq!(default("/properties/sink/properties/replicas"), 1);
    assert_eq!(default("/properties/sink/properties/resources")["requests"]["memory"], "32Mi");
}

#[test]
fn numbers_have_the_bounds_of_the_protocol() {
    let spec = schema::<Subscription>("spec");
    for (field, minimum, maximum) in [
        ("poolSize", 1.0, 1_024.0),
        ("maxInFlight", 1.0, 100_000.0),
        ("bufferSize", 1.0, 100_000.0),
        ("bufferWarningPercent", 1.0, 100.0),
        ("sink/properties/batchMax", 1.0, 1_000.0),
        ("sink/properties/concurrency", 1.0, 256.0),
        ("sink/properties/service/properties/port", 1.0, 65_535.0),
    ] {
        let schema = spec.pointer(&format!("/properties/{field}")).unwrap();
        assert_eq!(schema["minimum"].as_f64(), Some(minimum), "{field}");
        assert_eq!(schema["maximum"].as_f64(), Some(maximum), "{field}");
        assert_eq!(schema["format"], "int32", "{field}: Kubernetes has no unsigned integers");
    }
}

#[test]
fn lists_in_the_status_merge_by_key() {
    let (store, subscription) = (schema::<EventStore>("status"), schema::<Subscription>("status"));
    for (status, list, key) in [
        (&store, "conditions", "type"),
        (&store, "members", "nodeID"),
        (&subscription, "conditions", "type"),
    ] {
        let schema = &status["properties"][list];
        assert_eq!(schema["x-kubernetes-list-type"], "map", "{list}");
        assert_eq!(schema["x-kubernetes-list-map-keys"][0], key, "{list}");
        let required = schema["items"]["required"].as_array().unwrap();
        assert!(required.iter().any(|name| name == key), "{list} must require its key");
    }
}
