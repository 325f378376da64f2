//! The loop: what wakes a reconcile, what it does in which order, and when the next one comes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, watcher};
use kube::{Client, ResourceExt};
use reckon_crds::{EventStore, condition};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::nodes::Nodes;
use crate::plan::{Outcome, Plan, plan};
use crate::resources::{FIELD_MANAGER, LABEL_STORE, Objects};
use crate::{act, observe, report};

/// The kind of the resource, in metrics.
pub const KIND: &str = "EventStore";

/// How many stores are reconciled at once.
const RECONCILES_MAX: usize = 4;

/// How long a watch lasts before it is asked for anew; a dead connection is noticed a little later.
pub const WATCH_SECONDS: u32 = 30;

/// When to look again after something was done: its effect is what the next step waits for.
pub(crate) const AFTER_ACTION: Duration = Duration::from_millis(100);
/// When to look again while an election is on: the leader label waits for its end.
const WITHOUT_LEADER: Duration = Duration::from_millis(500);
/// When to look again while something is under way.
pub(crate) const WORKING: Duration = Duration::from_secs(1);
/// When to look again at a store that is as wanted.
pub(crate) const SETTLED: Duration = Duration::from_secs(5);
/// When to look again at a store that is left alone.
const PAUSED: Duration = Duration::from_secs(15);

/// The wait after a first failure; each further one doubles it.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// The longest wait after failures.
const BACKOFF_MAX: Duration = Duration::from_mins(1);

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Looking failed.
    #[error("looking at the store: {0}")]
    Observe(observe::Error),
    /// Acting failed.
    #[error("{0}")]
    Act(#[from] act::Error),
    /// Reporting failed.
    #[error("writing the status: {0}")]
    Report(report::Error),
}

impl Error {
    /// Whether the same may succeed later without anybody's help.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Act(error) => error.retryable(),
            Self::Observe(error) | Self::Report(error) => error.retryable(),
        }
    }

    /// The reason in metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Observe(_) => "observe",
            Self::Act(_) => "act",
            Self::Report(_) => "report",
        }
    }

    /// Somebody else wrote in between: no failure, only a reason to look again.
    fn conflict(&self) -> bool {
        match self {
            Self::Act(error) => error.conflict(),
            Self::Report(error) => error.conflict(),
            Self::Observe(_) => false,
        }
    }
}

/// What every reconcile shares.
pub struct Context {
    /// For requests, each of which ends soon.
    pub client: Client,
    pub nodes: Nodes,
    pub leadership: Leadership,
    pub recorder: Recorder,
    pub metrics: Arc<Metrics>,
    /// Image of nodes whose store names none.
    pub node_image: String,
    /// What was applied last, per store.
    pub applied: act::Applied<Objects>,
    permits: Semaphore,
    failures: Mutex<HashMap<String, u32>>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Context")
            .field("node_image", &self.node_image)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Makes what the reconciles of one operator share. `identity` names this replica in events.
    pub fn new(
        client: Client,
        nodes: Nodes,
        leadership: Leadership,
        metrics: Arc<Metrics>,
        node_image: String,
        identity: String,
    ) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(identity) };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            nodes,
            leadership,
            metrics,
            node_image,
            applied: act::Applied::default(),
            permits: Semaphore::new(RECONCILES_MAX),
            failures: Mutex::default(),
        }
    }

    /// Begins anew with the waits after failures of what has this UID.
    pub(crate) fn forget_failures(&self, uid: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// How long to wait after one more failure of what has this UID.
    pub(crate) fn backoff(&self, uid: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(uid.to_owned()).or_default();
        let delay = BACKOFF_MIN.saturating_mul(1 << (*count).min(10)).min(BACKOFF_MAX);
        *count += 1;
        delay
    }
}

/// Looks at a store, decides, acts and reports. Returns when to look again.
pub async fn reconcile(cached: Arc<EventStore>, context: Arc<Context>) -> Result<Action, Error> {
    let _permit = context.permits.acquire().await.expect("the semaphore is never closed");
    let begun = Instant::now();
    let result = Box::pin(run_once(&cached, &context)).await;
    context.metrics.reconciled(KIND, begun.elapsed(), result.as_ref().err().map(Error::reason));
    let uid = cached.uid().unwrap_or_default();
    match result {
        Ok(action) => {
            context.forget_failures(&uid);
            Ok(action)
        }
        Err(error) if error.conflict() => {
            debug!(%error, "somebody wrote in between");
            Ok(Action::requeue(AFTER_ACTION))
        }
        Err(error) => Err(error),
    }
}

async fn run_once(cached: &EventStore, context: &Context) -> Result<Action, Error> {
    let namespace = cached.namespace().unwrap_or_default();
    let looked = observe::observe(context, &namespace, &cached.name_any()).await;
    let Some(mut seen) = looked.map_err(Error::Observe)? else {
        context.applied.forget(&cached.uid().unwrap_or_default());
        return Ok(Action::await_change());
    };
    let mut plan = plan(&seen.observed);
    if seen.store.status.is_none() && !seen.observed.desired.deleting {
        // The conditions are there before the first action, however long that takes.
        report::report(context, &mut seen, &plan, None).await.map_err(Error::Report)?;
    }
    let acted = act::act(context, &mut seen, &plan).await;
    if acted.as_ref().is_ok_and(|done| done.gone) {
        context.applied.forget(&cached.uid().unwrap_or_default());
        return Ok(Action::await_change());
    }
    if acted.as_ref().is_ok_and(|done| done.reshaped) {
        plan.verdict = plan.verdict.of_changed_objects();
    }
    let failure = acted.as_ref().err().filter(|error| !error.conflict());
    report::report(context, &mut seen, &plan, failure).await.map_err(Error::Report)?;
    let done = acted?;
    Ok(Action::requeue(pause(&plan, done.count > 0 || done.reshaped)))
}

/// When to look again.
fn pause(plan: &Plan, changed: bool) -> Duration {
    match plan.verdict.outcome {
        _ if changed => AFTER_ACTION,
        Outcome::Working if plan.verdict.quorum == Some(false) => WITHOUT_LEADER,
        Outcome::Working => WORKING,
        Outcome::Settled | Outcome::Stalled => SETTLED,
        Outcome::Paused => PAUSED,
    }
}

/// What follows a failure.
pub fn error_policy(store: &EventStore, error: &Error, context: &Context) -> Action {
    let delay = context.backoff(&store.uid().unwrap_or_default());
    warn!(
        store = store.name_any(), namespace = store.namespace(), %error,
        retryable = error.retryable(), "a reconcile failed; next in {delay:?}"
    );
    Action::requeue(delay)
}

/// Reconciles the stores of one namespace, or of all, until the future is dropped. `watching` is a client
/// whose requests may last; `synced` is called when the watches have delivered.
pub async fn run(
    watching: Client,
    namespace: Option<&str>,
    context: Arc<Context>,
    synced: impl FnOnce() + Send,
) {
    let stores: Api<EventStore> = api(&watching, namespace);
    let sets: Api<StatefulSet> = api(&watching, namespace);
    let pods: Api<Pod> = api(&watching, namespace);
    let all = watcher::Config::default().timeout(WATCH_SECONDS);
    let ours = all.clone().labels(LABEL_STORE);
    let controller =
        Controller::new(stores, all).owns(sets, ours.clone()).watches(pods, ours, |pod: Pod| {
            let store = pod.labels().get(LABEL_STORE).cloned();
            store.map(|name| ObjectRef::new(&name).within(&pod.namespace().unwrap_or_default()))
        });
    let known = controller.store();
    let reconciles = controller
        .run(
            reconcile,
            |store, error, context| error_policy(&store, error, &context),
            Arc::clone(&context),
        )
        .map_err(|error| debug!(%error, "the controller"))
        .for_each(|_| std::future::ready(()));
    let counting = async {
        if known.wait_until_ready().await.is_ok() {
            info!(namespace, stores = known.len(), "watching EventStores");
            synced();
        }
        loop {
            count(&known, &context.metrics);
            tokio::time::sleep(SETTLED).await;
        }
    };
    tokio::select! {
        () = reconciles => {}
        () = counting => {}
    }
}

/// The objects of one namespace, or of all.
pub(crate) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Counts the stores by condition.
fn count(known: &Store<EventStore>, metrics: &Metrics) {
    let stores = known.state();
    for name in [
        condition::READY,
        condition::RECONCILING,
        condition::STALLED,
        condition::INITIALISED,
        condition::QUORUM,
        condition::CONSISTENT,
    ] {
        for status in ["True", "False", "Unknown"] {
            let with = stores.iter().filter(|store| {
                store.status.as_ref().is_some_and(|seen| has(&seen.conditions, name, status))
            });
            metrics.set_stores(name, status, with.count());
        }
    }
}

/// Whether a condition is in a status.
pub(crate) fn has(conditions: &[Condition], type_: &str, status: &str) -> bool {
    conditions.iter().any(|one| one.type_ == type_ && one.status == status)
}
