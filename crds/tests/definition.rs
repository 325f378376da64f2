//! The definition that users install is made from the types, and stands in the chart.

use std::path::Path;

use kube::CustomResourceExt;
use reckon_crds::EventStore;

const CHART_FILE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/reckon-crds/templates/eventstores.yaml");

/// The definition as it stands in the chart.
fn yaml() -> String {
    // Through JSON, so that the text does not depend on how a serialiser treats absent options.
    let value = serde_json::to_value(EventStore::crd()).expect("a definition can be written");
    let body = serde_saphyr::to_string(&value).expect("a definition can be written");
    format!(
        "# Generated from crds/src by its tests: change the types, then run `UPDATE=1 cargo test -p reckon-crds`.\n{body}"
    )
}

#[test]
fn the_chart_carries_the_current_definition() {
    let path = Path::new(CHART_FILE);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, yaml()).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == yaml(),
        "charts/reckon-crds/templates/eventstores.yaml is stale: run `UPDATE=1 cargo test -p reckon-crds`"
    );
}

#[test]
fn the_yaml_reads_back_as_the_same_definition() {
    let read: serde_json::Value = serde_saphyr::from_str(&yaml()).unwrap();
    assert_eq!(read, serde_json::to_value(EventStore::crd()).unwrap());
    assert!(!yaml().contains("{{"), "Helm would take this for a template");
}

#[test]
fn the_definition_has_what_kubectl_needs() {
    let crd = serde_json::to_value(EventStore::crd()).unwrap();
    assert_eq!(crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    assert_eq!(crd["spec"]["names"]["shortNames"][0], "evs");
    let version = &crd["spec"]["versions"][0];
    assert_eq!(version["subresources"]["scale"]["specReplicasPath"], ".spec.replicas");
    assert_eq!(version["subresources"]["scale"]["labelSelectorPath"], ".status.selector");
    let columns: Vec<_> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|column| column.get("priority").is_none_or(|priority| priority == 0))
        .map(|column| column["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(columns, ["Ready", "Members", "Leader", "Version", "Age"]);
}

#[test]
fn every_default_stands_in_the_schema() {
    let crd = serde_json::to_value(EventStore::crd()).unwrap();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let default = |pointer: &str| spec.pointer(pointer).unwrap()["default"].clone();
    assert_eq!(default("/properties/replicas"), 3);
    assert_eq!(default("/properties/paused"), false);
    assert_eq!(default("/properties/storage/properties/reclaimPolicy"), "Retain");
    assert_eq!(default("/properties/resources")["requests"]["memory"], "128Mi");
    assert_eq!(default("/properties/scheduling")["antiAffinity"], "Preferred");
    assert_eq!(default("/properties/scheduling/properties/antiAffinity"), "Preferred");
}

#[test]
fn lists_in_the_status_merge_by_key() {
    let crd = serde_json::to_value(EventStore::crd()).unwrap();
    let status = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    for (list, key) in [("conditions", "type"), ("members", "nodeID")] {
        let schema = &status["properties"][list];
        assert_eq!(schema["x-kubernetes-list-type"], "map", "{list}");
        assert_eq!(schema["x-kubernetes-list-map-keys"][0], key, "{list}");
        let required = schema["items"]["required"].as_array().unwrap();
        assert!(required.iter().any(|name| name == key), "{list} must require its key");
    }
}
