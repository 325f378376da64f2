//! The whole reconcile of subscriptions against an API server in memory and a store that speaks the real protocol on
//! loopback.

// Each test binary uses a part of what they share.
#[allow(dead_code)]
mod support;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use reckon_api::v1;
use reckon_crds::{EventStore, Subscription};
use reckon_operator::lease::{Candidate, Leadership};
use reckon_operator::metrics::Metrics;
use reckon_operator::nodes::Nodes;
use reckon_operator::subscription::controller::{Context, Error, reconcile};
use reckon_operator::{controller, subscription};
use serde_json::{Value, json};
use support::api_server::ApiServer;
use support::nodes::FakeStore;
use support::subscriptions::FakeSubscriptions;

const OURS: &str = "/apis/reckon.dev/v1alpha1/namespaces/shop";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/billing-sink";
const SECRET: &str = "/api/v1/namespaces/shop/secrets/billing";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/shop/events";

/// More reconciles than anything here takes.
const RECONCILES_MAX: usize = 100;

/// An interval that no test lives to see the end of.
const NEVER: Duration = Duration::from_hours(1_000);

struct Cluster {
    server: ApiServer,
    store: FakeStore,
    operator: Arc<controller::Context>,
    context: Arc<Context>,
}

impl Cluster {
    /// A store that serves, and an operator that refreshes numbers at this interval.
    async fn refreshing(refresh: Duration) -> Self {
        let server = ApiServer::default();
        let store = FakeStore::start(1, &server).await;
        let operator = operator(&server, &store, Leadership::forever());
        let context = Arc::new(Context::new(Arc::clone(&operator), refresh));
        let cluster = Self { server, store, operator, context };
        cluster.server.create(&path("eventstores", "orders"), store_resource());
        cluster.until_the_store_is_ready().await;
        cluster
    }

    async fn new() -> Self {
        Self::refreshing(NEVER).await
    }

    async fn until_the_store_is_ready(&self) {
        for _ in 0..RECONCILES_MAX {
            let store = self.get("eventstores", "orders").expect("a store");
            if condition_in(&store, "Ready").is_some_and(|ready| ready["status"] == "True") {
                return;
            }
            let store: EventStore = serde_json::from_value(store).expect("an EventStore");
            let reconciled = controller::reconcile(Arc::new(store), Arc::clone(&self.operator));
            reconciled.await.expect("a reconcile");
            self.server.run_controllers("shop", |pod| self.store.joined(pod));
        }
        panic!("the store is never ready");
    }

    fn subscriptions(&self) -> &FakeSubscriptions {
        &self.store.subscriptions
    }

    fn get(&self, plural: &str, name: &str) -> Option<Value> {
        self.server.get(&path(plural, name))
    }

    /// Creates the subscription of most tests with these fields beside the usual ones.
    fn subscribe(&self, fields: Value) {
        self.subscribe_as("billing", "2026-01-01T00:00:00Z", fields);
    }

    fn subscribe_as(&self, name: &str, created: &str, fields: Value) {
        let mut spec =
            json!({ "storeRef": { "name": "orders" }, "selector": { "stream": "orders-1" } });
        let Value::Object(fields) = fields else { panic!("not fields: {fields}") };
        for (name, value) in fields {
            spec[name.as_str()] = value;
        }
        self.server.create(
            &path("subscriptions", name),
            json!({
                "apiVersion": "reckon.dev/v1alpha1",
                "kind": "Subscription",
                "metadata": { "name": name, "creationTimestamp": created },
                "spec": spec,
            }),
        );
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        self.server.change(&path("subscriptions", "billing"), change);
    }

    fn subscription(&self) -> Option<Value> {
        self.get("subscriptions", "billing")
    }

    async fn try_step(&self, name: &str) -> Result<(), Error> {
        let subscription = self.get("subscriptions", name).expect("a subscription to reconcile");
        let subscription: Subscription = serde_json::from_value(subscription).expect("one of ours");
        reconcile(Arc::new(subscription), Arc::clone(&self.context)).await.map(drop)
    }

    async fn step(&self) {
        self.try_step("billing").await.expect("a reconcile");
    }

    /// Reconciles until nothing is written any more, or the resource is gone.
    async fn settle(&self) {
        for _ in 0..RECONCILES_MAX {
            let before = self.server.writes();
            if self.subscription().is_none() {
                return;
            }
            self.step().await;
            if self.server.writes() == before {
                return;
            }
        }
        panic!("it never comes to rest: {:#}", self.subscription().unwrap_or_default());
    }

    fn condition(&self, type_: &str) -> Value {
        let subscription = self.subscription().expect("a subscription");
        condition_in(&subscription, type_).unwrap_or_default()
    }

    #[track_caller]
    fn expect(&self, type_: &str, status: &str, reason: &str) {
        let condition = self.condition(type_);
        assert_eq!(
            (condition["status"].as_str(), condition["reason"].as_str()),
            (Some(status), Some(reason)),
            "{type_}: {condition:#}"
        );
        let generation =
            self.subscription().expect("a subscription")["metadata"]["generation"].clone();
        assert_eq!(condition["observedGeneration"], generation);
    }

    /// Every event, by type and reason.
    fn events(&self) -> Vec<(String, String)> {
        let text =
            |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let events = self.server.list(EVENTS);
        events.iter().map(|event| (text(event, "type"), text(event, "reason"))).collect()
    }

    #[track_caller]
    fn expect_event(&self, type_: &str, reason: &str) {
        let events = self.events();
        assert!(events.contains(&(type_.to_owned(), reason.to_owned())), "{reason}: {events:?}");
    }

    /// What the controllers of a cluster do for the deployment of the sink.
    fn roll_out(&self) {
        self.server.change(DEPLOYMENT, |deployment| {
            let replicas = deployment["spec"]["replicas"].clone();
            deployment["status"] = json!({
                "observedGeneration": deployment["metadata"]["generation"],
                "replicas": replicas,
                "updatedReplicas": replicas,
                "availableReplicas": replicas,
            });
        });
    }
}

fn operator(
    server: &ApiServer,
    store: &FakeStore,
    leadership: Leadership,
) -> Arc<controller::Context> {
    Arc::new(controller::Context::new(
        server.client(),
        Nodes::by_address_on(store.port),
        leadership,
        Arc::new(Metrics::default()),
        "reckon.dev/node:1".to_owned(),
        "test".to_owned(),
    ))
}

fn path(plural: &str, name: &str) -> String {
    format!("{OURS}/{plural}/{name}")
}

fn store_resource() -> Value {
    json!({
        "apiVersion": "reckon.dev/v1alpha1",
        "kind": "EventStore",
        "metadata": { "name": "orders" },
        "spec": { "replicas": 1, "storage": { "size": "1Gi" } },
    })
}

fn condition_in(object: &Value, type_: &str) -> Option<Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == type_).cloned()
}

fn sink() -> Value {
    json!({ "sink": {
        "service": { "name": "billing" },
        "headersFrom": [
            { "name": "Authorization", "secretKeyRef": { "name": "billing", "key": "token" } },
        ],
    } })
}

fn secret(token: &str) -> Value {
    json!({ "metadata": { "name": "billing" }, "data": { "token": token } })
}

#[tokio::test]
async fn a_subscription_is_registered_and_reported() {
    let cluster = Cluster::new().await;
    cluster.subscribe(json!({ "poolSize": 4, "name": "invoices" }));
    cluster.settle().await;
    assert_eq!(cluster.subscriptions().changes(), ["Create"]);
    let definition = cluster.subscriptions().definition("invoices").expect("a registration");
    assert_eq!(definition.pool_size, 4);
    cluster.expect("Ready", "True", "Registered");
    cluster.expect("Registered", "True", "Registered");
    cluster.expect("Stalled", "False", "Registered");
    cluster.expect("Reconciling", "False", "Registered");
    cluster.expect("Delivering", "False", "NoConsumers");
    assert_eq!(cluster.condition("SinkReady"), Value::Null, "nobody asked for a sink");
    let subscription = cluster.subscription().unwrap();
    let status = &subscription["status"];
    assert_eq!(status["key"], "key-of-invoices");
    assert_eq!(status["type"], "stream");
    assert_eq!(status["mode"], "Idle");
    assert_eq!(status["checkpoint"]["position"], 7);
    assert_eq!(status["observedGeneration"], subscription["metadata"]["generation"]);
    assert_eq!(subscription["metadata"]["finalizers"], json!(["reckon.dev/subscription"]));
    cluster.expect_event("Normal", "Registered");
    cluster.expect_event("Normal", "Ready");
    assert!(cluster.server.get(DEPLOYMENT).is_none());
}

#[tokio::test]
async fn conditions_are_there_before_the_store_is() {
    let cluster = Cluster::new().await;
    cluster.subscribe(json!({ "storeRef": { "name": "payments" } }));
    cluster.settle().await;
    cluster.expect("Ready", "False", "StoreNotFound");
    cluster.expect("Stalled", "False", "StoreNotFound");
    cluster.expect_event("Warning", "StoreNotFound");
}

fn health(lag_events: u64) -> v1::SubscriptionHealth {
    v1::SubscriptionHealth {
        name: "billing".to_owned(),
        lag_events,
        lag_ms: 1_500,
        consumers: 2,
        standby: 1,
        in_flight: 3,
        mode: v1::SubscriptionMode::Live.into(),
        ..v1::SubscriptionHealth::default()
    }
}

#[tokio::test]
async fn numbers_that_move_are_not_written_at_every_look() {
    let cluster = Cluster::new().await;
    cluster.subscriptions().set_health(health(1_234));
    cluster.subscribe(json!({}));
    cluster.settle().await;
    let status = cluster.subscription().unwrap()["status"].clone();
    assert_eq!(status["lagEvents"], 1_200);
    assert_eq!(status["lagSeconds"], 2);
    assert_eq!(status["consumers"], 3);
    assert_eq!(status["inFlight"], 3);
    cluster.expect("Delivering", "True", "Live");
    let before = cluster.server.writes();
    for lag in [5, 77, 5_000] {
        cluster.subscriptions().set_health(health(lag));
        cluster.step().await;
    }
    assert_eq!(cluster.server.writes(), before);

    let cluster = Cluster::refreshing(Duration::ZERO).await;
    cluster.subscriptions().set_health(health(1_234));
    cluster.subscribe(json!({}));
    cluster.settle().await;
    let before = cluster.server.writes();
    // Rounded to what is there already.
    cluster.subscriptions().set_health(health(1_299));
    cluster.step().await;
    assert_eq!(cluster.server.writes(), before);
    cluster.subscriptions().set_health(health(1_300));
    cluster.step().await;
    assert_eq!(cluster.server.writes(), before + 1);
    assert_eq!(cluster.subscription().unwrap()["status"]["lagEvents"], 1_300);
}

#[tokio::test]
async fn what_was_changed_behind_its_back_is_changed_back() {
    let cluster = Cluster::new().await;
    cluster.subscribe(json!({}));
    cluster.settle().await;
    let wanted = cluster.subscriptions().definition("billing").unwrap();
    cluster.subscriptions().put(v1::SubscriptionDefinition { pool_size: 9, ..wanted.clone() });
    cluster.settle().await;
    assert_eq!(cluster.subscriptions().definition("billing"), Some(wanted.clone()));
    cluster.expect_event("Normal", "Updated");

    cluster.subscriptions().forget("billing");
    cluster.settle().await;
    assert_eq!(cluster.subscriptions().definition("billing"), Some(wanted));
    cluster.expect_event("Warning", "RegisteredAgain");
    cluster.expect("Ready", "True", "Registered");
    assert_eq!(cluster.subscriptions().changes(), ["Create", "Update", "Create"]);
}

#[tokio::test]
async fn a_changed_specification_reaches_the_store_in_place() {
    let cluster = Cluster::new().await;
    cluster.subscribe(json!({}));
    cluster.settle().await;
    cluster.change(|subscription| subscription["spec"]["ackTimeout"] = json!("1m"));
    cluster.settle().await;
    assert_eq!(cluster.subscriptions().definition("billing").unwrap().ack_timeout_ms, 60_000);
    assert_eq!(cluster.subscriptions().changes(), ["Create", "Update"]);
    cluster.expect("Ready", "True", "Registered");
}

#[tokio::test]
async fn what_is_there_already_is_adopted_or_left_alone() {
    let cluster = Cluster::new().await;
    let kind = v1::selector::Kind::Stream("orders-1".to_owned());
    let existing = v1::SubscriptionDefinition {
        name: "billing".to_owned(),
        selector: Some(v1::Selector { kind: Some(kind) }),
        ..v1::SubscriptionDefinition::default()
    };
    cluster.subscriptions().put(existing.clone());
    cluster.subscribe(json!({}));
    cluster.settle().await;
    assert!(cluster.subscriptions().changes().is_empty(), "the same is adopted as it is");
    cluster.expect("Ready", "True", "Registered");

    let key_expression = "event.data.customer".to_owned();
    cluster.subscriptions().put(v1::SubscriptionDefinition { key_expression, ..existing });
    cluster.settle().await;
    cluster.expect("Ready", "False", "Conflict");
    cluster.expect("Stalled", "True", "Conflict");
    let message = cluster.condition("Registered")["message"].clone();
    assert!(message.as_str().unwrap().contains("keyExpression cannot be changed"), "{message}");
    cluster.expect_event("Warning", "Conflict");
    cluster.server.delete(&path("subscriptions", "billing"));
    cluster.settle().await;
    assert!(cluster.subscription().is_none());
    assert!(cluster.subscriptions().definition("billing").is_some(), "it was never ours");
    assert!(cluster.subscriptions().changes().is_empty());
}

#[tokio::test]
async fn what_the_store_refuses_is_said_and_waits_for_a_person() {
    let cluster = Cluster::new().await;
    cluster.subscriptions().set_refuses(true);
    cluster.subscribe(json!({ "keyExpression": "(" }));
    let error = cluster.try_step("billing").await.expect_err("a refusal");
    assert!(!error.retryable());
    cluster.expect("Ready", "False", "Refused");
    cluster.expect("Stalled", "True", "Refused");
    let message = cluster.condition("Registered")["message"].clone();
    assert!(message.as_str().unwrap().contains("INVALID_EXPRESSION"), "{message}");
    // It goes without having been there.
    cluster.server.delete(&path("subscriptions", "billing"));
    cluster.settle().await;
    assert!(cluster.subscription().is_none());
}

#[tokio::test]
async fn a_store_that_keeps_it_otherwise_is_not_told_again_at_once() {
    let cluster = Cluster::new().await;
    cluster.subscriptions().keep_pools_of_one();
    cluster.subscribe(json!({ "poolSize": 4 }));
    for change in ["Create", "Update"] {
        let error = cluster.try_step("billing").await.expect_err("a failure, which backs off");
        assert!(error.retryable());
        assert_eq!(cluster.subscriptions().changes().last(), Some(&change));
        cluster.expect("Ready", "False", "Refused");
        let message = cluster.condition("Registered")["message"].clone();
        assert!(message.as_str().unwrap().contains("poolSize"), "{message}");
    }
}

#[tokio::test]
async fn of_two_resources_for_one_subscription_the_older_keeps_it() {
    let cluster = Cluster::new().await;
    cluster.subscribe(json!({ "poolSize": 2 }));
    cluster.settle().await;
    let later = "2026-01-02T00:00:00Z";
    for pool_size in [2, 3] {
        cluster.subscribe_as("again", later, json!({ "name": "billing", "poolSize": pool_size }));
        for _ in 0..3 {
            cluster.try_step("again").await.unwrap();
            let again = cluster.get("subscriptions", "again").unwrap();
            assert_eq!(condition_in(&again, "Stalled").unwrap()["reason"], "NameTaken");
            assert_eq!(again["status"]["key"], Value::Null);
        }
        cluster.server.delete(&path("subscriptions", "again"));
        cluster.try_step("again").await.unwrap();
        assert!(cluster.get("subscriptions", "again").is_none());
    }
    assert_eq!(cluster.subscriptions().definition("billing").unwrap().pool_size, 2);
    assert_eq!(cluster.subscriptions().changes(), ["Create"]);

    // Who waited has it once the older one is gone.
    cluster.subscribe_as("again", later, json!({ "name": "billing", "poolSize": 3 }));
    cluster.try_step("again").await.unwrap();
    cluster.change(|subscription| subscription["spec"]["deletionPolicy"] = json!("Retain"));
    cluster.server.delete(&path("subscriptions", "billing"));
    cluster.settle().await;
    cluster.try_step("again").await.unwrap();
    assert_eq!(cluster.subscriptions().changes(), ["Create", "Update"]);
    assert_eq!(cluster.subscriptions().definition("billing").unwrap().pool_size, 3);
}

#[tokio::test]
async fn a_sink_is_deployed_and_follows_its_secrets() {
    let cluster = Cluster::new().await;
    cluster.subscribe(sink());
    cluster.settle().await;
    cluster.expect("Registered", "True", "Registered");
    cluster.expect("SinkReady", "False", "SecretNotFound");
    cluster.expect("Ready", "False", "SecretNotFound");
    assert!(cluster.server.get(DEPLOYMENT).is_none());

    cluster.server.create(SECRET, secret("b25l"));
    cluster.settle().await;
    cluster.expect("SinkReady", "False", "SinkStarting");
    cluster.roll_out();
    cluster.settle().await;
    cluster.expect("SinkReady", "True", "SinkReady");
    cluster.expect("Ready", "True", "Registered");
    let template = || cluster.server.get(DEPLOYMENT).unwrap()["spec"]["template"].clone();
    let before = template();
    assert!(!before.to_string().contains("b25l"));

    cluster.server.change(SECRET, |secret| secret["data"]["token"] = json!("dHdv"));
    cluster.settle().await;
    assert_ne!(template()["metadata"]["annotations"], before["metadata"]["annotations"]);
    cluster.expect("SinkReady", "False", "SinkStarting");
    cluster.roll_out();
    // What a secret says besides is nobody's business.
    let settled = template();
    cluster.server.change(SECRET, |secret| secret["data"]["other"] = json!("dGhyZWU="));
    cluster.settle().await;
    assert_eq!(template(), settled);
    cluster.expect("Ready", "True", "Registered");

    cluster.server.delete(DEPLOYMENT);
    cluster.settle().await;
    assert!(cluster.server.get(DEPLOYMENT).is_some(), "what is deleted comes back");

    cluster.change(|subscription| {
        subscription["spec"].as_object_mut().unwrap().remove("sink");
    });
    cluster.settle().await;
    assert!(cluster.server.get(DEPLOYMENT).is_none());
    assert_eq!(cluster.condition("SinkReady"), Value::Null);
    assert_eq!(cluster.subscriptions().definition("billing").unwrap().sink, None);
}

#[tokio::test]
async fn the_sink_runs_the_image_of_the_store() {
    let cluster = Cluster::new().await;
    cluster.server.change(&path("eventstores", "orders"), |store| {
        store["spec"]["image"] = json!("reckon.dev/node:2");
    });
    cluster.subscribe(json!({ "sink": { "url": "http://a" } }));
    cluster.settle().await;
    let deployment = cluster.server.get(DEPLOYMENT).unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "reckon.dev/node:2");
}

#[tokio::test]
async fn a_deployment_of_somebody_else_is_left_alone() {
    let cluster = Cluster::new().await;
    let theirs = json!({ "metadata": { "name": "billing-sink" }, "spec": { "replicas": 7, "selector": {}, "template": {} } });
    cluster.server.create(DEPLOYMENT, theirs);
    let before = cluster.server.get(DEPLOYMENT);
    cluster.subscribe(json!({ "sink": { "url": "http://a" } }));
    cluster.settle().await;
    cluster.expect("SinkReady", "False", "SinkNameTaken");
    cluster.expect("Stalled", "True", "SinkNameTaken");
    cluster.server.delete(&path("subscriptions", "billing"));
    cluster.settle().await;
    assert!(cluster.subscription().is_none());
    assert_eq!(cluster.server.get(DEPLOYMENT), before);
}

#[tokio::test]
async fn a_deletion_takes_with_it_what_the_policy_says() {
    for (policy, kept) in [("Delete", false), ("Retain", true)] {
        let cluster = Cluster::new().await;
        cluster.subscribe(json!({ "deletionPolicy": policy, "sink": { "url": "http://a" } }));
        cluster.settle().await;
        assert!(cluster.server.get(DEPLOYMENT).is_some());
        cluster.server.delete(&path("subscriptions", "billing"));
        assert!(cluster.subscription().is_some(), "the finalizer holds it");
        cluster.settle().await;
        assert!(cluster.subscription().is_none());
        assert_eq!(cluster.subscriptions().definition("billing").is_some(), kept, "{policy}");
        assert!(cluster.server.get(DEPLOYMENT).is_none());
    }
}

#[tokio::test]
async fn a_deletion_waits_for_a_store_that_is_there_and_for_no_other() {
    for gone in [true, false] {
        let cluster = Cluster::new().await;
        cluster.subscribe(json!({}));
        cluster.settle().await;
        cluster.subscriptions().set_silent(true);
        cluster.server.delete(&path("subscriptions", "billing"));
        cluster.settle().await;
        cluster.expect("Ready", "False", "Deleting");
        let message = cluster.condition("Ready")["message"].clone();
        assert!(message.as_str().unwrap().contains("No leader is known"), "{message}");

        // Its finalizer holds the store for as long as its pods take to go.
        cluster.server.delete(&path("eventstores", "orders"));
        if gone {
            cluster.server.change(&path("eventstores", "orders"), |store| {
                store["metadata"]["finalizers"] = json!([]);
            });
            assert!(cluster.get("eventstores", "orders").is_none());
        }
        cluster.settle().await;
        assert!(cluster.subscription().is_none());
        assert!(!cluster.subscriptions().changes().contains(&"Delete"));
    }
}

#[tokio::test]
async fn a_store_that_falls_silent_is_not_called_unready() {
    let cluster = Cluster::new().await;
    cluster.subscribe(json!({}));
    cluster.settle().await;
    cluster.subscriptions().set_silent(true);
    cluster.settle().await;
    cluster.expect("Ready", "Unknown", "StoreUnready");
    cluster.expect("Stalled", "False", "StoreUnready");
    cluster.expect_event("Warning", "StoreUnready");
    assert_eq!(cluster.subscription().unwrap()["status"]["key"], "key-of-billing");
    cluster.subscriptions().set_silent(false);
    cluster.settle().await;
    cluster.expect("Ready", "True", "Registered");
    assert_eq!(cluster.subscriptions().changes(), ["Create"]);
}

#[tokio::test]
async fn a_node_of_another_store_is_told_nothing() {
    let cluster = Cluster::new().await;
    cluster.server.change(&path("eventstores", "orders"), |store| {
        store["status"]["clusterID"] = json!("another-store");
    });
    cluster.subscribe(json!({}));
    cluster.settle().await;
    cluster.expect("Ready", "Unknown", "StoreUnready");
    assert!(cluster.subscriptions().changes().is_empty());
}

#[tokio::test]
async fn who_does_not_hold_the_lease_changes_nothing() {
    let mut cluster = Cluster::new().await;
    let leases: Api<Lease> = Api::namespaced(cluster.server.client(), "reckon");
    let (_candidate, standby) = Candidate::new(leases, "operator".into(), "second".into());
    let operator = operator(&cluster.server, &cluster.store, standby);
    cluster.context = Arc::new(Context::new(operator, NEVER));
    cluster.subscribe(json!({}));
    let before = cluster.server.writes();
    cluster.step().await;
    assert_eq!(cluster.server.writes(), before);
    assert!(cluster.subscriptions().changes().is_empty());
    let finalizer = subscription::observe::FINALIZER;
    assert!(!cluster.subscription().unwrap().to_string().contains(finalizer));
}
