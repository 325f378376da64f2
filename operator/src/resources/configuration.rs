//! The configuration of the nodes, and the account they run under.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::ResourceExt;
use reckon_crds::EventStore;
use serde_json::{Map, Value, json};

use super::{Names, metadata};

/// The file of the nodes' configuration, within the map and where it is mounted.
pub const NODE_YAML: &str = "node.yaml";

/// Why the objects of a store cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be written as YAML.
    #[error("spec.config cannot be written as YAML: {0}")]
    Configuration(String),
}

/// The configuration file: what the user says, under what the operator decides.
pub fn node_yaml(store: &EventStore) -> Result<String, Error> {
    let name = store.name_any();
    let namespace = store.namespace().unwrap_or_default();
    let service = format!("{}.{namespace}.svc", Names::peers(&name));
    let decided = json!({
        "formation": { "mode": "operator" },
        "discovery": { "mode": "dns", "dns": { "service": service } },
        "node": { "data_dir": "/data" },
    });
    let mut merged = Value::Object(store.spec.config.clone());
    merge(&mut merged, decided);
    serde_saphyr::to_string(&merged).map_err(|error| Error::Configuration(error.to_string()))
}

/// Lays `over` onto `base`, object by object.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Object(Map::new())), value);
            }
        }
        (base, over) => *base = over,
    }
}

/// Tells one configuration from another; the same for ever, so that a newer operator restarts nobody.
pub fn digest(configuration: &[u8]) -> String {
    format!("{:08x}", crc32c::crc32c(configuration))
}

pub fn config_map(store: &EventStore, yaml: String) -> ConfigMap {
    ConfigMap {
        metadata: metadata(store, Names::configuration(&store.name_any())),
        data: Some(BTreeMap::from([(NODE_YAML.to_owned(), yaml)])),
        ..ConfigMap::default()
    }
}

/// Nodes never speak to the API server, so their account has no token.
pub fn service_account(store: &EventStore) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(store, store.name_any()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
