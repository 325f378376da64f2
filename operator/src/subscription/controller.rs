//! The loop: what wakes a reconcile, what it does in which order, and when the next one comes.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::jiff::Timestamp;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, watcher};
use kube::{Client, ResourceExt};
use reckon_crds::{EventStore, Subscription, condition};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::plan::{Outcome, plan, reason};
use super::sink::LABEL_SUBSCRIPTION;
use super::{act, observe, report};
use crate::act::Applied;
use crate::controller::{AFTER_ACTION, SETTLED, WATCH_SECONDS, WORKING, api, has};
use crate::metrics::Metrics;

/// The kind of the resource, in metrics.
pub const KIND: &str = "Subscription";

/// How many subscriptions are reconciled at once. Their own, so that a store that does not answer its subscriptions
/// keeps nobody from looking after stores.
const RECONCILES_MAX: usize = 4;

/// The share of an interval by which looks are spread, so that subscriptions made together are not looked at together.
const JITTER_PERCENT: u64 = 20;

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Looking failed.
    #[error("looking at the subscription: {0}")]
    Observe(crate::observe::Error),
    /// Acting failed.
    #[error("{0}")]
    Act(#[from] act::Error),
    /// Reporting failed.
    #[error("writing the status: {0}")]
    Report(crate::report::Error),
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
    /// The ways out, the lease and the metrics, as the reconciles of stores have them.
    pub operator: Arc<crate::controller::Context>,
    /// How often the numbers in a status are refreshed.
    pub refresh: Duration,
    /// What was applied last, per subscription.
    pub sinks: Applied<Deployment>,
    permits: Semaphore,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Context").field("refresh", &self.refresh).finish_non_exhaustive()
    }
}

impl Context {
    /// Makes what the reconciles of one operator share.
    pub fn new(operator: Arc<crate::controller::Context>, refresh: Duration) -> Self {
        let permits = Semaphore::new(RECONCILES_MAX);
        Self { operator, refresh, sinks: Applied::default(), permits }
    }
}

/// Looks at a subscription, decides, acts and reports. Returns when to look again.
pub async fn reconcile(cached: Arc<Subscription>, context: Arc<Context>) -> Result<Action, Error> {
    let _permit = context.permits.acquire().await.expect("the semaphore is never closed");
    let begun = Instant::now();
    let result = Box::pin(run_once(&cached, &context)).await;
    let failed = result.as_ref().err().map(Error::reason);
    context.operator.metrics.reconciled(KIND, begun.elapsed(), failed);
    match result {
        Ok(action) => {
            context.operator.forget_failures(&cached.uid().unwrap_or_default());
            Ok(action)
        }
        Err(error) if error.conflict() => {
            debug!(%error, "somebody wrote in between");
            Ok(Action::requeue(AFTER_ACTION))
        }
        Err(error) => Err(error),
    }
}

async fn run_once(cached: &Subscription, context: &Context) -> Result<Action, Error> {
    let namespace = cached.namespace().unwrap_or_default();
    let uid = cached.uid().unwrap_or_default();
    let looked = Box::pin(observe::observe(context, &namespace, &cached.name_any())).await;
    let Some(mut seen) = looked.map_err(Error::Observe)? else {
        context.sinks.forget(&uid);
        return Ok(Action::await_change());
    };
    let mut plan = plan(&seen.observed);
    if seen.subscription.status.is_none() && !seen.observed.desired.deleting {
        // The conditions are there before the first action, however long that takes.
        report::report(context, &mut seen, &plan, None).await.map_err(Error::Report)?;
    }
    let acted = act::act(context, &mut seen, &plan).await;
    if acted.as_ref().is_ok_and(|done| done.gone) {
        context.sinks.forget(&uid);
        return Ok(Action::await_change());
    }
    if acted.as_ref().is_ok_and(|done| done.reshaped) {
        plan.verdict = plan.verdict.of_changed_deployment();
    }
    let failure = acted.as_ref().err().filter(|error| !error.conflict());
    report::report(context, &mut seen, &plan, failure).await.map_err(Error::Report)?;
    let done = acted?;
    let summary = plan.verdict.summary();
    Ok(Action::requeue(match summary.outcome {
        _ if done.count > 0 || done.reshaped => AFTER_ACTION,
        // The store's own changes wake us; this is for what does not show in them.
        Outcome::Unknown => SETTLED,
        Outcome::Working if summary.reason == reason::DELETING => SETTLED,
        Outcome::Working if summary.reason == reason::SINK_STARTING => WORKING,
        Outcome::Working | Outcome::Settled | Outcome::Stalled => {
            spread(context.refresh, &uid, seen.observed.now)
        }
    }))
}

/// An interval, longer by a share that differs from subscription to subscription and from time to time.
fn spread(interval: Duration, uid: &str, now: Timestamp) -> Duration {
    let moment = now.as_microsecond().to_le_bytes();
    let share = u64::from(crc32c::crc32c_append(crc32c::crc32c(uid.as_bytes()), &moment));
    let most_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX) / 100 * JITTER_PERCENT;
    interval + Duration::from_millis(share % most_ms.max(1))
}

/// What follows a failure.
pub fn error_policy(subscription: &Subscription, error: &Error, context: &Context) -> Action {
    let delay = context.operator.backoff(&subscription.uid().unwrap_or_default());
    warn!(
        subscription = subscription.name_any(), namespace = subscription.namespace(), %error,
        retryable = error.retryable(), "a reconcile failed; next in {delay:?}"
    );
    Action::requeue(delay)
}

/// Reconciles the subscriptions of one namespace, or of all, until the future is dropped. `watching` is a client whose
/// requests may last.
pub async fn run(watching: Client, namespace: Option<&str>, context: Arc<Context>) {
    let subscriptions: Api<Subscription> = api(&watching, namespace);
    let deployments: Api<Deployment> = api(&watching, namespace);
    let stores: Api<EventStore> = api(&watching, namespace);
    let all = watcher::Config::default().timeout(WATCH_SECONDS);
    let ours = all.clone().labels(LABEL_SUBSCRIPTION);
    let controller = Controller::new(subscriptions, all.clone()).owns(deployments, ours);
    let known = controller.store();
    let of_store = known.clone();
    let controller = controller.watches(stores, all, move |store: EventStore| {
        let (name, namespace) = (store.name_any(), store.namespace());
        let of_store = of_store.state();
        of_store
            .into_iter()
            .filter(move |one| one.namespace() == namespace && one.spec.store_ref.name == name)
            .map(|one| ObjectRef::from_obj(one.as_ref()))
    });
    let reconciles = controller
        .run(
            reconcile,
            |subscription, error, context| error_policy(&subscription, error, &context),
            Arc::clone(&context),
        )
        .map_err(|error| debug!(%error, "the controller"))
        .for_each(|_| std::future::ready(()));
    let counting = async {
        if known.wait_until_ready().await.is_ok() {
            info!(namespace, subscriptions = known.len(), "watching Subscriptions");
        }
        loop {
            count(&known, &context.operator.metrics);
            tokio::time::sleep(SETTLED).await;
        }
    };
    tokio::select! {
        () = reconciles => {}
        () = counting => {}
    }
}

/// Counts the subscriptions by condition.
fn count(known: &Store<Subscription>, metrics: &Metrics) {
    let subscriptions = known.state();
    for name in [
        condition::READY,
        condition::RECONCILING,
        condition::STALLED,
        condition::REGISTERED,
        condition::SINK_READY,
        condition::DELIVERING,
    ] {
        for status in ["True", "False", "Unknown"] {
            let with = subscriptions.iter().filter(|one| {
                one.status.as_ref().is_some_and(|seen| has(&seen.conditions, name, status))
            });
            metrics.set_subscriptions(name, status, with.count());
        }
    }
}
