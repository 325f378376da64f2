//! Subscriptions as resources: what a sink is given whatever fails around it, and what becomes of a subscription that is
//! changed, deleted, or has no store.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use futures::TryStreamExt;
use http::Request;
use reckon_api::{
    Client,
    client::Expect,
    v1::{
        ExistsSubscriptionRequest, GetSubscriptionRequest, ListParkedRequest, NewEvent,
        SubscriptionDefinition, SubscriptionHealth, SubscriptionHealthRequest, SubscriptionRef,
        UpdateSubscriptionRequest,
    },
};
use reckon_e2e::{
    kubernetes::condition,
    wait::until,
    workload::{Arrivals, Ledger, append, check, is_users, read_everything, steady},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    failures::{appends, leader, new_term},
    suite::{NotHere, READY_LIMIT, SOON, Stage},
};

/// Streams that are written to at once.
const STREAMS: usize = 16;

/// How many acknowledged appends make a store that is at work.
const APPENDS: u64 = 300;

/// The type that the receiver refuses whenever it comes.
const REFUSED_TYPE: &str = "Refused";

/// Events of that type, each of which is to be parked.
const REFUSED: u64 = 5;

/// Pods that deliver.
const SINK_PODS: u64 = 2;

/// Deleting takes a look at the store, and its answer.
const DELETION_LIMIT: &str = "--timeout=60s";

/// For a sink that was held up to be done with everything.
const DELIVERY_LIMIT: Duration = Duration::from_mins(3);

pub async fn a_subscription_s_sink_is_given_everything_whatever_fails(
    stage: Arc<Stage>,
) -> Result<()> {
    let receiver = Receiver::start(&stage).await?;
    stage.apply_store("orders", 3)?;
    // However long the receiver is away on a busy machine, nothing is to be given up on.
    let sink = format!(
        "  poolSize: {SINK_PODS}
  maxRetries: 100
  sink:
    replicas: {SINK_PODS}
    service:
      name: receiver
      path: /events
"
    );
    stage.kubernetes.apply(&stage.namespace, &subscription("billing", "orders", &sink))?;
    stage.wait_ready("orders").await?;
    stage.kubernetes.wait_subscribed(&stage.namespace, "billing", READY_LIMIT).await?;
    let (client, _endpoint) = stage.client("orders").await?;

    let ledger = Arc::new(Ledger::default());
    let mut writers = steady(&client, &ledger, "writer", STREAMS);
    let story = tell(&stage, &receiver, &client, &ledger);
    tokio::select! {
        told = writers.during(story) => told?,
        lie = watch(&stage) => return Err(lie),
    }
    writers.finish().await?;
    let settled = until("word of a sink that is done", DELIVERY_LIMIT, || async {
        let shown = stage.kubernetes.subscription(&stage.namespace, "billing").await?;
        let status = &shown["status"];
        ensure!(
            ["lagEvents", "inFlight", "dropped"].iter().all(|field| status[field] == 0)
                && status["parked"] == REFUSED
                && status["consumers"] == SINK_PODS
                && status["mode"] == "Live"
                && ["Ready", "Registered", "SinkReady", "Delivering"]
                    .iter()
                    .all(|type_| condition(&shown, type_) == Some("True")),
            "its status is {status}"
        );
        Ok(Some(()))
    });
    tokio::select! {
        settled = settled => settled?,
        lie = watch(&stage) => return Err(lie),
    }

    // Beside the store's own word.
    let health = health(&client).await?;
    ensure!(health.lag_events == 0 && health.parked == REFUSED, "{health:?}");
    let request =
        ListParkedRequest { subscription: Some("billing".into()), ..ListParkedRequest::default() };
    let parked: Vec<_> = client.list_parked(request).try_collect().await?;
    ensure!(
        parked.len() as u64 == REFUSED
            && parked.iter().all(|event| {
                event.event_type == REFUSED_TYPE && event.reason.contains("refused on purpose")
            }),
        "{parked:?}"
    );
    let table = stage.kubectl(&["get", "rsub"]).await?;
    stage.progress.say(format_args!("kubectl get rsub\n{table}"));
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let (header, row) = (rows.next().unwrap_or_default(), rows.next().unwrap_or_default());
    ensure!(header == ["NAME", "STORE", "TYPE", "READY", "LAG", "PARKED", "AGE"], "{table}");
    ensure!(row[..6] == ["billing", "orders", "all", "True", "0", "5"], "{table}");

    // Nothing lost on the way into the store, and nothing on the way out of it.
    let events = read_everything(&client).await?;
    check(&events, &ledger)?;
    let wanted = events.iter().filter(|event| is_users(event) && event.event_type != REFUSED_TYPE);
    let taken = receiver.received().await?;
    let late = taken.iter().filter(|event| event.attempt > 1).count();
    let arrivals: Arrivals = taken.into_iter().map(|event| event.id).collect();
    let found = arrivals.check(wanted)?;
    stage.progress.say(format_args!(
        "the sink took {} events; {} came again, {} are missing; {late} were not taken when they were first delivered",
        found.delivered, found.redelivered, found.missing
    ));
    ensure!(found.missing == 0, "{found:?}");
    ensure!(late > 0, "the receiver never failed");
    Ok(())
}

/// What happens while events are written: the leader dies, events come that nobody takes, and the receiver goes away for
/// long enough that it shows.
async fn tell(
    stage: &Stage,
    receiver: &Receiver<'_>,
    client: &Client,
    ledger: &Ledger,
) -> Result<()> {
    appends(ledger, APPENDS).await?;
    let before = client.members().await?;
    stage.kubernetes.kill_pod(&stage.namespace, &leader(&before)?.name).await?;
    new_term(client, before.term).await?;
    appends(ledger, APPENDS).await?;
    for number in 0..2 * REFUSED {
        let event_type = if number % 2 == 0 { "Taken" } else { REFUSED_TYPE };
        let event = NewEvent { event_type: event_type.into(), ..NewEvent::default() };
        append(client, ledger, "mixed", Expect::Any, event).await?;
    }

    receiver.scale(0).await?;
    until("a lag in the status", SOON, || async {
        let shown = stage.kubernetes.subscription(&stage.namespace, "billing").await?;
        let lag = shown["status"]["lagEvents"].as_u64().unwrap_or_default();
        Ok((lag >= APPENDS).then_some(()))
    })
    .await?;
    receiver.scale(1).await?;
    appends(ledger, APPENDS).await
}

/// Looks at the status again and again, and ends when it says what cannot be.
async fn watch(stage: &Stage) -> anyhow::Error {
    let mut position = 0;
    loop {
        let looked = stage.kubernetes.subscription(&stage.namespace, "billing").await;
        let contradiction = match &looked {
            Ok(shown) => contradiction(shown, &mut position),
            Err(error) => Some(format!("it cannot be read: {error:#}")),
        };
        if let Some(contradiction) = contradiction {
            return anyhow::anyhow!("{contradiction}: {looked:?}");
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Between two looks at a status: often beside how often it is written.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// What is wrong about a status, whatever goes on. `position` is that of the last checkpoint that was seen.
fn contradiction(shown: &Value, position: &mut u64) -> Option<String> {
    let status = &shown["status"];
    let is = |type_: &str| condition(shown, type_) == Some("True");
    if is("Ready") && !(is("Registered") && is("SinkReady")) {
        return Some("it is ready without its parts".into());
    }
    if [is("Ready"), is("Reconciling"), is("Stalled")].into_iter().filter(|it| *it).count() != 1 {
        return Some("it is not one of ready, reconciling and stalled".into());
    }
    if is("Stalled") {
        return Some("nobody can help it, though nothing is wrong with it".into());
    }
    let number = |field: &str| status[field].as_u64().unwrap_or_default();
    if number("parked") > REFUSED || number("dropped") > 0 {
        return Some("it counts too much".into());
    }
    let checkpoint = status["checkpoint"]["position"].as_u64().unwrap_or_default();
    if checkpoint < std::mem::replace(position, checkpoint) {
        return Some("its checkpoint went backward".into());
    }
    None
}

pub async fn a_subscription_is_changed_back_and_deleted_with_its_resource(
    stage: Arc<Stage>,
) -> Result<()> {
    stage.apply_store("orders", 1)?;
    // Delivers to nobody: that is for the other test.
    let sink = "  poolSize: 3\n  sink:\n    url: http://nobody.invalid/\n";
    stage.kubernetes.apply(&stage.namespace, &subscription("billing", "orders", sink))?;
    stage.wait_ready("orders").await?;
    stage.kubernetes.wait_subscribed(&stage.namespace, "billing", READY_LIMIT).await?;
    let (client, _endpoint) = stage.client("orders").await?;

    let wanted = definition(&client).await?;
    ensure!(wanted.pool_size == 3, "{wanted:?}");
    let changed = SubscriptionDefinition { pool_size: 7, hold_key: true, ..wanted.clone() };
    client
        .update_subscription(UpdateSubscriptionRequest { definition: Some(changed.clone()) })
        .await?;
    ensure!(definition(&client).await? == changed, "the store did not take the change");
    until("definition as it was", SOON, || async {
        Ok((definition(&client).await? == wanted).then_some(()))
    })
    .await?;
    until("event that says so", SOON, || async {
        let events = stage.kubectl(&["get", "events", "--output=jsonpath={.items[*].message}"]);
        let said = "changed poolSize, holdKey";
        Ok(events.await?.contains(said).then_some(()))
    })
    .await?;

    stage.kubectl(&["delete", "rsub", "billing", DELETION_LIMIT]).await?;
    ensure!(!exists(&client).await?, "the store still has it");
    until("end of the sink", SOON, || async {
        let left =
            ["get", "deployments,pods", "--selector=reckon.dev/subscription", "--output=name"];
        let left = stage.kubectl(&left).await?;
        ensure!(left.trim().is_empty(), "left: {left}");
        Ok(Some(()))
    })
    .await
}

pub async fn a_subscription_without_a_store_says_so_and_goes_at_once(
    stage: Arc<Stage>,
) -> Result<()> {
    stage.kubernetes.apply(&stage.namespace, &subscription("billing", "nowhere", ""))?;
    until("condition", SOON, || async {
        let shown = stage.kubernetes.subscription(&stage.namespace, "billing").await?;
        let conditions = shown["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
        let ready = ready.context("it does not say whether it is ready")?;
        ensure!(ready["status"] == "False" && ready["reason"] == "StoreNotFound", "{ready}");
        let message = ready["message"].as_str().unwrap_or_default();
        ensure!(message.contains("nowhere"), "it does not say which store: {message}");
        Ok(Some(()))
    })
    .await?;
    stage.kubectl(&["delete", "rsub", "billing", "--timeout=10s"]).await.map(drop)
}

/// A subscription to everything as a user would write it, with more lines for its `spec`.
fn subscription(name: &str, store: &str, more: &str) -> String {
    format!(
        "apiVersion: reckon.dev/v1alpha1
kind: Subscription
metadata:
  name: {name}
spec:
  storeRef:
    name: {store}
  selector:
    all: true
{more}"
    )
}

async fn definition(client: &Client) -> Result<SubscriptionDefinition> {
    let request = GetSubscriptionRequest { subscription: Some("billing".into()) };
    let stored = client.get_subscription(request).await?;
    stored.definition.context("a subscription without a definition")
}

async fn exists(client: &Client) -> Result<bool> {
    let request = ExistsSubscriptionRequest { subscription: Some("billing".into()) };
    Ok(client.subscription_exists(request).await?.exists)
}

async fn health(client: &Client) -> Result<SubscriptionHealth> {
    let request =
        SubscriptionHealthRequest { subscription: Some(SubscriptionRef::named("billing")) };
    let mut answer = client.subscription_health(request).await?.subscriptions;
    match answer.pop() {
        Some(health) if answer.is_empty() => Ok(health),
        other => bail!("the store says of one subscription: {other:?}, {answer:?}"),
    }
}

/// The service that a sink delivers to, `e2e/receiver`, and what it took. What it notes outlives its pod.
struct Receiver<'a> {
    stage: &'a Stage,
}

/// An event that the receiver took.
#[derive(Debug, Deserialize)]
struct Received {
    id: String,
    attempt: u32,
}

impl<'a> Receiver<'a> {
    async fn start(stage: &'a Stage) -> Result<Self> {
        let cluster = stage.kubernetes.own();
        let (Some(cluster), Some(programs)) = (cluster, &stage.programs) else {
            return Err(
                NotHere("what the sink delivers to is only built for our own cluster").into()
            );
        };
        let folder = tempfile::tempdir()?;
        let image = programs.receiver_image(folder.path())?;
        cluster.load(&image.archive).await?;
        let manifest = include_str!("receiver.yaml").replace("IMAGE", &image.reference);
        stage.kubernetes.apply(&stage.namespace, &manifest)?;
        Ok(Self { stage })
    }

    /// Takes it away or brings it back. It is not waited for.
    async fn scale(&self, replicas: u32) -> Result<()> {
        let replicas = format!("--replicas={replicas}");
        self.stage.kubectl(&["scale", "deployment/receiver", &replicas]).await.map(drop)
    }

    /// Everything that it answered with 2xx, in this order.
    async fn received(&self) -> Result<Vec<Received>> {
        let namespace = &self.stage.namespace;
        let path = format!("/api/v1/namespaces/{namespace}/services/receiver:80/proxy/received");
        let request = Request::get(path).body(Vec::new())?;
        Ok(serde_json::from_str(&self.stage.kubernetes.client().request_text(request).await?)?)
    }
}
