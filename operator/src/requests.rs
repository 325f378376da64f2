//! Requests to the API server as every controller makes them: bounded in time, applied under our name, and with what
//! was seen as the precondition.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::observe::{Error, bounded};
use crate::resources::FIELD_MANAGER;

/// An object that lives in a namespace and is known when this is compiled.
pub trait Namespaced:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned + Clone + Debug
{
}

impl<K> Namespaced for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + DeserializeOwned
        + Clone
        + Debug
{
}

/// The objects of one namespace.
pub fn api<K: Namespaced>(client: &Client, namespace: &str) -> Api<K> {
    Api::namespaced(client.clone(), namespace)
}

/// Applies an object: what it says is so, whoever said something else.
pub async fn apply<K>(client: &Client, namespace: &str, object: &K) -> Result<K, Error>
where
    K: Namespaced + Serialize,
{
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let (name, patch) = (object.name_any(), Patch::Apply(object));
    bounded(api::<K>(client, namespace).patch(&name, &params, &patch)).await
}

/// Applies the status of an object alone, if the object is still the one that was seen.
pub async fn apply_status<K, S>(client: &Client, object: &K, status: &S) -> Result<K, Error>
where
    K: Namespaced,
    S: Serialize,
{
    let name = object.name_any();
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": name, "resourceVersion": object.resource_version() },
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let api: Api<K> = api(client, &object.namespace().unwrap_or_default());
    bounded(api.patch_status(&name, &params, &Patch::Apply(patch))).await
}

/// Patches an object. A UID or a resource version in the patch is a precondition.
pub async fn merge<K: Namespaced>(
    client: &Client,
    namespace: &str,
    name: &str,
    patch: serde_json::Value,
) -> Result<K, Error> {
    let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
    bounded(api::<K>(client, namespace).patch(name, &params, &patch)).await
}

/// Sets the finalizers of an object, if it is still the one that was seen.
pub async fn set_finalizers<K: Namespaced>(
    client: &Client,
    object: &K,
    finalizers: Vec<String>,
) -> Result<K, Error> {
    let patch = json!({
        "metadata": {
            "resourceVersion": object.resource_version(),
            "finalizers": finalizers,
        },
    });
    let namespace = object.namespace().unwrap_or_default();
    merge(client, &namespace, &object.name_any(), patch).await
}

/// Deletes an object: the one that was seen, if a UID says which. That it is gone already is no failure.
pub async fn delete<K: Namespaced>(
    client: &Client,
    namespace: &str,
    name: &str,
    uid: Option<&String>,
) -> Result<(), Error> {
    let mut params = DeleteParams::background();
    params.preconditions =
        uid.map(|uid| Preconditions { uid: Some(uid.clone()), resource_version: None });
    match bounded(api::<K>(client, namespace).delete(name, &params)).await {
        Err(Error::Kubernetes(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
        outcome => outcome.map(drop),
    }
}
