//! An API server in memory: objects by path, with resource versions, preconditions and finalizers, and a
//! `StatefulSet` controller that makes pods and claims. As much as the operator's requests need, no more.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// The objects, shared by all clients.
#[derive(Clone, Default)]
pub struct ApiServer {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    serial: u64,
    writes: u64,
}

impl ApiServer {
    /// A client whose requests end here.
    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.expect("a body in memory");
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let path = parts.uri.path().to_owned();
                let query = parts.uri.query().unwrap_or_default().to_owned();
                let (status, answer) = server.lock().answer(&parts.method, &path, &query, body);
                let answer = serde_json::to_vec(&answer).expect("answers are JSON");
                let mut response = Response::new(Body::from(answer));
                *response.status_mut() = status;
                Ok::<_, Infallible>(response)
            }
        });
        Client::new(service, "default")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with the lock")
    }

    /// Puts an object there, as a user would.
    pub fn create(&self, path: &str, object: Value) {
        self.lock().store(path, object);
    }

    /// Changes an object, as a user or another controller would.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.lock();
        let mut object = state.objects.get(path).expect("an object to change").clone();
        change(&mut object);
        state.store(path, object);
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.lock().objects.get(path).cloned()
    }

    /// The paths of everything there.
    pub fn paths(&self) -> Vec<String> {
        self.lock().objects.keys().cloned().collect()
    }

    /// Objects directly under a path.
    pub fn list(&self, collection: &str) -> Vec<Value> {
        self.lock().list(collection, "")
    }

    /// How many writes there were so far.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Deletes an object, as a user would.
    pub fn delete(&self, path: &str) {
        self.lock().delete(path, &Value::Null);
    }

    /// What the controllers of a cluster do: pods and claims for `StatefulSet`s, and nothing without them.
    /// `ready` says whether a pod is.
    pub fn run_controllers(&self, namespace: &str, ready: impl Fn(&str) -> bool) {
        let core = format!("/api/v1/namespaces/{namespace}");
        let sets = self.list(&format!("/apis/apps/v1/namespaces/{namespace}/statefulsets"));
        let mut wanted = Vec::new();
        for set in &sets {
            let name = set["metadata"]["name"].as_str().expect("a name");
            for ordinal in 0..set["spec"]["replicas"].as_i64().expect("replicas") {
                let pod = format!("{name}-{ordinal}");
                self.ensure_pod(&core, set, &pod, ordinal, &ready);
                wanted.push(pod);
            }
            let revision = revision(set);
            let generation = set["metadata"]["generation"].clone();
            let path = format!("/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}");
            let status = json!({ "observedGeneration": generation, "updateRevision": revision });
            if set.get("status") != Some(&status) {
                self.change(&path, |set| set["status"] = status);
            }
        }
        for pod in self.list(&format!("{core}/pods")) {
            let name = pod["metadata"]["name"].as_str().expect("a name");
            if !wanted.iter().any(|wanted| wanted == name) {
                self.delete(&format!("{core}/pods/{name}"));
            }
        }
    }

    fn ensure_pod(
        &self,
        core: &str,
        set: &Value,
        name: &str,
        ordinal: i64,
        ready: impl Fn(&str) -> bool,
    ) {
        let template = &set["spec"]["volumeClaimTemplates"][0];
        let prefix = template["metadata"]["name"].as_str().expect("a claim template");
        let claim = format!("{core}/persistentvolumeclaims/{prefix}-{name}");
        if self.get(&claim).is_none() {
            let mut object = template.clone();
            object["metadata"]["name"] = json!(format!("{prefix}-{name}"));
            self.create(&claim, object);
        }
        let path = format!("{core}/pods/{name}");
        if self.get(&path).is_none() {
            let mut metadata = set["spec"]["template"]["metadata"].clone();
            metadata["name"] = json!(name);
            metadata["labels"]["controller-revision-hash"] = json!(revision(set));
            self.create(&path, json!({ "metadata": metadata, "spec": {} }));
        }
        let condition = if ready(name) { "True" } else { "False" };
        let status = json!({
            "phase": "Running",
            "podIP": format!("127.0.0.{}", 10 + ordinal),
            "conditions": [{ "type": "Ready", "status": condition }],
        });
        if self.get(&path).is_some_and(|pod| pod["status"] != status) {
            self.change(&path, |pod| pod["status"] = status);
        }
    }
}

/// A revision is what the template says.
fn revision(set: &Value) -> String {
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    container["image"].as_str().unwrap_or_default().replace([':', '/'], "-")
}

impl State {
    fn answer(
        &mut self,
        method: &Method,
        path: &str,
        query: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let (object, sub) = match path.strip_suffix("/status") {
            Some(object) => (object, true),
            None => (path, false),
        };
        match method.as_str() {
            "GET" => match self.objects.get(path) {
                Some(object) => (StatusCode::OK, object.clone()),
                None if names_an_object(path) => refusal(StatusCode::NOT_FOUND, "NotFound"),
                None => {
                    let items = self.list(path, query);
                    let list = json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": items });
                    (StatusCode::OK, list)
                }
            },
            "PATCH" => self.patch(object, sub, query, body),
            "POST" => {
                let name = body["metadata"]["name"].as_str().expect("a name").to_owned();
                self.writes += 1;
                (StatusCode::CREATED, self.store(&format!("{path}/{name}"), body))
            }
            "PUT" => {
                self.writes += 1;
                let before = self.objects.get(path).map(|object| &object["metadata"]);
                if before.is_none_or(|metadata| {
                    metadata["resourceVersion"] != body["metadata"]["resourceVersion"]
                }) {
                    return refusal(StatusCode::CONFLICT, "Conflict");
                }
                (StatusCode::OK, self.store(path, body))
            }
            "DELETE" => self.delete(path, &body),
            other => panic!("nobody sends {other}"),
        }
    }

    fn list(&self, collection: &str, query: &str) -> Vec<Value> {
        let selector = query.split('&').find_map(|pair| pair.strip_prefix("labelSelector="));
        let selector = selector.unwrap_or_default();
        let selector = selector.replace("%2F", "/").replace("%3D", "=").replace("%2C", ",");
        let prefix = format!("{collection}/");
        self.objects
            .iter()
            .filter(|(path, _)| path.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/')))
            .filter(|(_, object)| {
                selector.split(',').filter(|text| !text.is_empty()).all(|requirement| {
                    let (key, value) = requirement.split_once('=').expect("an equality");
                    object["metadata"]["labels"][key] == value
                })
            })
            .map(|(_, object)| object.clone())
            .collect()
    }

    fn patch(
        &mut self,
        path: &str,
        sub: bool,
        query: &str,
        mut body: Value,
    ) -> (StatusCode, Value) {
        self.writes += 1;
        let apply = query.contains("force=true");
        let Some(mut object) = self.objects.get(path).cloned() else {
            return if apply && !sub {
                (StatusCode::CREATED, self.store(path, body))
            } else {
                refusal(StatusCode::NOT_FOUND, "NotFound")
            };
        };
        for precondition in ["resourceVersion", "uid"] {
            let wanted = &body["metadata"][precondition];
            if !wanted.is_null() && *wanted != object["metadata"][precondition] {
                return refusal(StatusCode::CONFLICT, "Conflict");
            }
        }
        if sub {
            object["status"] = body["status"].take();
        } else {
            merge(&mut object, body);
        }
        (StatusCode::OK, self.store(path, object))
    }

    fn delete(&mut self, path: &str, options: &Value) -> (StatusCode, Value) {
        self.writes += 1;
        let Some(mut object) = self.objects.get(path).cloned() else {
            return refusal(StatusCode::NOT_FOUND, "NotFound");
        };
        let uid = &options["preconditions"]["uid"];
        if !uid.is_null() && *uid != object["metadata"]["uid"] {
            return refusal(StatusCode::CONFLICT, "Conflict");
        }
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        (StatusCode::OK, self.store(path, object))
    }

    /// Stores an object as a server does: with a UID, a resource version and a generation; without a
    /// finalizer a deleted one is gone.
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        let before = self.objects.get(path).cloned();
        let spec_changed = before.as_ref().is_none_or(|before| before["spec"] != object["spec"]);
        if before.as_ref() == Some(&object) {
            return object;
        }
        self.serial += 1;
        let serial = self.serial;
        let namespace = path.split("/namespaces/").nth(1).and_then(|rest| rest.split('/').next());
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(serial.to_string());
        if metadata["uid"].is_null() {
            metadata["uid"] = json!(format!("uid-{serial}"));
        }
        if let Some(namespace) = namespace {
            metadata["namespace"] = json!(namespace);
        }
        if spec_changed {
            metadata["generation"] = json!(metadata["generation"].as_i64().unwrap_or(0) + 1);
        }
        let held = metadata["finalizers"].as_array().is_some_and(|list| !list.is_empty());
        if !metadata["deletionTimestamp"].is_null() && !held {
            self.objects.remove(path);
        } else {
            self.objects.insert(path.to_owned(), object.clone());
        }
        object
    }
}

/// Whether a path names an object rather than a collection: collections end after the resource's name.
fn names_an_object(path: &str) -> bool {
    let rest = path.split("/namespaces/").nth(1).unwrap_or_default();
    rest.split('/').count() == 3
}

fn refusal(code: StatusCode, reason: &str) -> (StatusCode, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code.as_u16(),
    });
    (code, status)
}

/// Lays `over` onto `base`, object by object; null removes.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                if value.is_null() {
                    base.remove(&key);
                } else {
                    merge(base.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (base, over) => *base = over,
    }
}
