//! The whole reconcile against an API server in memory and nodes that speak the real protocol on loopback.

// Each test binary uses a part of what they share.
#[allow(dead_code)]
mod support;

use std::sync::Arc;

use reckon_api::v1::ConsistencyResult;
use reckon_crds::EventStore;
use reckon_operator::controller::{Context, reconcile};
use reckon_operator::lease::Leadership;
use reckon_operator::metrics::Metrics;
use reckon_operator::nodes::Nodes;
use serde_json::{Value, json};
use support::api_server::ApiServer;
use support::nodes::FakeStore;

const STORE: &str = "/apis/reckon.dev/v1alpha1/namespaces/shop/eventstores/orders";
const SET: &str = "/apis/apps/v1/namespaces/shop/statefulsets/orders";
const PODS: &str = "/api/v1/namespaces/shop/pods";
const CLAIMS: &str = "/api/v1/namespaces/shop/persistentvolumeclaims";
const POLICY: &str = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/orders-nodes";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/shop/events";

/// More reconciles than anything here takes.
const RECONCILES_MAX: usize = 200;

struct Cluster {
    server: ApiServer,
    nodes: FakeStore,
    context: Arc<Context>,
}

impl Cluster {
    async fn with(spec: Value) -> Self {
        let server = ApiServer::default();
        server.create(
            STORE,
            json!({
                "apiVersion": "reckon.dev/v1alpha1",
                "kind": "EventStore",
                "metadata": { "name": "orders" },
                "spec": spec,
            }),
        );
        let nodes = FakeStore::start(5, &server).await;
        let context = Arc::new(Context::new(
            server.client(),
            Nodes::by_address_on(nodes.port),
            Leadership::forever(),
            Arc::new(Metrics::default()),
            "reckon.dev/node:1".to_owned(),
            "test".to_owned(),
        ));
        Self { server, nodes, context }
    }

    fn store(&self) -> Option<Value> {
        self.server.get(STORE)
    }

    /// One reconcile; then the other controllers have their turn.
    async fn step(&self) {
        let store = self.store().expect("a store to reconcile");
        let store: EventStore = serde_json::from_value(store).expect("an EventStore");
        reconcile(Arc::new(store), Arc::clone(&self.context)).await.expect("a reconcile");
        self.server.run_controllers("shop", |pod| self.nodes.joined(pod));
    }

    /// Reconciles until something holds.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..RECONCILES_MAX {
            if holds(self) {
                return;
            }
            self.step().await;
        }
        panic!("never came true: {what}\n{:#}", self.store().unwrap_or_default());
    }

    fn condition(&self, type_: &str) -> Option<Value> {
        let store = self.store()?;
        let conditions = store["status"]["conditions"].as_array()?;
        conditions.iter().find(|condition| condition["type"] == type_).cloned()
    }

    /// Ready, and said of the latest specification.
    fn ready(&self) -> bool {
        let generation = self.store().expect("a store")["metadata"]["generation"].clone();
        self.condition("Ready").is_some_and(|ready| {
            ready["status"] == "True" && ready["observedGeneration"] == generation
        })
    }

    fn roles(&self) -> Vec<String> {
        let pods = self.server.list(PODS);
        let role =
            |pod: &Value| pod["metadata"]["labels"]["reckon.dev/role"].as_str().map(str::to_owned);
        pods.iter().map(|pod| role(pod).unwrap_or_default()).collect()
    }

    fn event_reasons(&self) -> Vec<String> {
        let events = self.server.list(EVENTS);
        events.iter().map(|event| event["reason"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

fn three() -> Value {
    json!({ "replicas": 3, "storage": { "size": "1Gi" } })
}

#[tokio::test]
async fn a_store_becomes_ready_and_is_initialised_exactly_once() {
    let cluster = Cluster::with(three()).await;
    cluster.step().await;
    let ready = cluster.condition("Ready").expect("conditions from the first reconcile");
    assert_eq!(ready["status"], "False");
    assert!(!cluster.nodes.activated());

    cluster.until("the store is ready", Cluster::ready).await;
    let store = cluster.store().unwrap();
    let status = &store["status"];
    assert_eq!(status["clusterID"], store["metadata"]["uid"]);
    assert_eq!(status["membersReady"], "3/3");
    assert_eq!(status["leader"], "orders-0");
    assert_eq!(status["version"], "9.9.9");
    assert_eq!(status["members"].as_array().unwrap().len(), 3);
    assert_eq!(status["operation"], Value::Null);
    assert_eq!(cluster.condition("Quorum").unwrap()["status"], "True");
    assert_eq!(cluster.condition("Stalled").unwrap()["status"], "False");
    assert_eq!(cluster.condition("Reconciling").unwrap()["status"], "False");

    let initialised = cluster.nodes.initialised();
    assert_eq!(initialised.len(), 1);
    assert_eq!(store["metadata"]["uid"], initialised[0].cluster_id);
    assert!(!initialised[0].activate, "it is opened only after the latch");
    assert!(cluster.nodes.activated());
    assert_eq!(cluster.roles(), ["leader", "follower", "follower"]);
    let reasons = cluster.event_reasons();
    for reason in ["Initialised", "MemberAdded", "MemberPromoted", "LeaderElected", "Ready"] {
        assert!(reasons.iter().any(|seen| seen == reason), "{reason} is not among {reasons:?}");
    }
}

#[tokio::test]
async fn a_store_at_rest_costs_no_writes() {
    let cluster = Cluster::with(three()).await;
    cluster.until("the store is ready", Cluster::ready).await;
    cluster.step().await;
    let before = cluster.server.writes();
    for _ in 0..5 {
        cluster.step().await;
    }
    assert_eq!(cluster.server.writes(), before);
}

#[tokio::test]
async fn a_store_scales_up_and_down_again() {
    let cluster = Cluster::with(json!({
        "replicas": 1,
        "storage": { "size": "1Gi", "reclaimPolicy": "Delete" },
    }))
    .await;
    cluster.until("one member is ready", Cluster::ready).await;
    for replicas in [3, 5, 3] {
        cluster.server.change(STORE, |store| store["spec"]["replicas"] = json!(replicas));
        cluster.until("the store has another size", Cluster::ready).await;
        let count = cluster.nodes.members().iter().filter(|(_, voter)| *voter).count();
        assert_eq!(count, replicas);
        assert_eq!(cluster.server.list(PODS).len(), replicas);
        cluster
            .until("claims that are not used are gone", |cluster| {
                cluster.server.list(CLAIMS).len() == replicas
            })
            .await;
    }
    assert_eq!(cluster.nodes.initialised().len(), 1);
}

#[tokio::test]
async fn the_leader_label_follows_the_leader() {
    let cluster = Cluster::with(three()).await;
    cluster.until("the store is ready", Cluster::ready).await;
    let leader = cluster.nodes.elect_another();
    cluster.step().await;
    let roles = cluster.roles();
    assert_eq!(roles[leader], "leader");
    assert_eq!(roles.iter().filter(|role| *role == "leader").count(), 1);
}

#[tokio::test]
async fn another_image_reaches_every_pod() {
    let cluster = Cluster::with(three()).await;
    cluster.until("the store is ready", Cluster::ready).await;
    let before: Vec<Value> =
        cluster.server.list(PODS).iter().map(|pod| pod["metadata"]["uid"].clone()).collect();
    cluster.server.change(STORE, |store| store["spec"]["image"] = json!("reckon.dev/node:2"));
    cluster.until("all pods are new", Cluster::ready).await;
    for (pod, before) in cluster.server.list(PODS).iter().zip(before) {
        assert_ne!(pod["metadata"]["uid"], before);
        assert_eq!(pod["metadata"]["labels"]["controller-revision-hash"], "reckon.dev-node-2");
    }
    assert_eq!(cluster.nodes.initialised().len(), 1);
}

#[tokio::test]
async fn a_paused_store_is_reported_and_left_alone() {
    let cluster = Cluster::with(json!({
        "replicas": 3, "paused": true, "storage": { "size": "1Gi" },
    }))
    .await;
    for _ in 0..3 {
        cluster.step().await;
    }
    assert_eq!(cluster.condition("Ready").unwrap()["reason"], "Paused");
    assert_eq!(cluster.server.get(SET), None);
}

#[tokio::test]
async fn members_that_contradict_each_other_are_told_of_and_left_as_they_are() {
    let cluster = Cluster::with(three()).await;
    cluster.until("the store is ready", Cluster::ready).await;
    assert_eq!(cluster.store().unwrap()["status"]["consistency"], "Healthy");
    assert_eq!(cluster.condition("Consistent").unwrap()["status"], "True");

    cluster.nodes.health.says(Ok(ConsistencyResult::SplitBrain));
    cluster.server.change(STORE, |store| store["spec"]["replicas"] = json!(5));
    let stalled = |cluster: &Cluster| cluster.condition("Stalled").unwrap()["status"] == "True";
    cluster.until("a person is asked for", stalled).await;
    for _ in 0..5 {
        cluster.step().await;
    }
    assert_eq!(cluster.condition("Ready").unwrap()["reason"], "SplitBrain");
    assert_eq!(cluster.store().unwrap()["status"]["consistency"], "SplitBrain");
    assert_eq!(cluster.condition("Consistent").unwrap()["status"], "False");
    assert_eq!(cluster.nodes.members().len(), 3, "nobody is added to one of two histories");

    // What merely is not finished stops nothing.
    cluster.nodes.health.says(Ok(ConsistencyResult::Degraded));
    cluster.until("the store has grown", |it| it.ready() && it.nodes.members().len() == 5).await;
}

#[tokio::test]
async fn a_network_policy_goes_with_the_wish_for_it_and_nobody_elses_does() {
    let mut spec = three();
    spec["networkPolicy"] = json!({ "clients": [] });
    let cluster = Cluster::with(spec).await;
    cluster.until("the store is ready", Cluster::ready).await;
    assert!(cluster.server.get(POLICY).is_some());
    let forget =
        |store: &mut Value| drop(store["spec"].as_object_mut().unwrap().remove("networkPolicy"));
    cluster.server.change(STORE, forget);
    cluster.until("the policy is gone", |cluster| cluster.server.get(POLICY).is_none()).await;

    cluster.server.create(POLICY, json!({ "metadata": { "name": "orders-nodes" } }));
    cluster.server.delete(STORE);
    cluster.until("the store is gone", |cluster| cluster.store().is_none()).await;
    assert!(cluster.server.get(POLICY).is_some(), "somebody else made this one");
}

#[tokio::test]
async fn a_deleted_store_leaves_its_volumes_and_nothing_else() {
    for (policy, kept) in [("Retain", 3), ("Delete", 0)] {
        let cluster = Cluster::with(json!({
            "replicas": 3,
            "storage": { "size": "1Gi", "reclaimPolicy": policy },
        }))
        .await;
        cluster.until("the store is ready", Cluster::ready).await;
        cluster.server.delete(STORE);
        assert!(cluster.store().is_some(), "the finalizer holds it");
        cluster.until("the store is gone", |cluster| cluster.store().is_none()).await;
        let left: Vec<String> =
            cluster.server.paths().into_iter().filter(|path| !path.starts_with(EVENTS)).collect();
        assert_eq!(left.len(), kept, "{left:?}");
        assert!(left.iter().all(|path| path.starts_with(CLAIMS)), "{left:?}");
    }
}
