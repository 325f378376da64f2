//! The third step: does what the plan says, in its order, and stops at the first failure.
//!
//! Decides nothing. Before each action the lease is checked.

use kube::ResourceExt;
use reckon_api::{Reason, v1};
use reckon_crds::Subscription;
use tracing::info;

use super::controller::{Context, KIND};
use super::definition::{Difference, difference};
use super::observe::{FINALIZER, Seeing};
use super::plan::{Action, Plan};
use super::report;
use super::service::Service;
use super::sink::{self, Inputs};
use crate::{observe, requests};

/// What keeping the deployment of the sink is called in errors.
const APPLY_SINK: &str = "ApplySink";

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("{action}: {source}")]
    Kubernetes { action: &'static str, source: observe::Error },
    /// The store refused or did not answer.
    #[error("{action}: {} ({})", source.message(), Reason::of(source).map_or("no reason", Reason::as_str))]
    Store { action: &'static str, source: Box<tonic::Status> },
    /// The store took a definition and has another one: it would be told again for ever.
    #[error("{action}: the store keeps {} otherwise than it is told", fields.join(", "))]
    NotTaken { action: &'static str, fields: Vec<&'static str> },
    /// No node of the store answered when it was looked at.
    #[error("{action}: no node to speak to")]
    NoNode { action: &'static str },
    /// The lease ran out.
    #[error("the lease is not held any more")]
    NotLeading,
}

impl Error {
    /// Whether the same may succeed later without anybody's help.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Kubernetes { source, .. } => match source {
                observe::Error::Kubernetes(kube::Error::Api(status)) => {
                    !status.is_forbidden() && !status.is_invalid()
                }
                _ => true,
            },
            // What is wrong with a definition stays wrong.
            Self::Store { source, .. } => source.code() != tonic::Code::InvalidArgument,
            Self::NotTaken { .. } | Self::NoNode { .. } | Self::NotLeading => true,
        }
    }

    /// Whether the store does not take what it is told.
    pub fn of_store(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::NotTaken { .. })
    }

    /// Whether it was about the deployment of the sink.
    pub fn of_sink(&self) -> bool {
        match self {
            Self::Kubernetes { action, .. } => {
                *action == APPLY_SINK || *action == Action::DeleteSink.name()
            }
            _ => false,
        }
    }

    /// The world moved on since the plan was made: no failure, only a reason to look again.
    pub fn conflict(&self) -> bool {
        match self {
            Self::Kubernetes { source, .. } => source.conflict(),
            // Also when the store has moved on: it is asked again only after a while.
            Self::Store { .. } | Self::NotTaken { .. } => false,
            Self::NoNode { .. } | Self::NotLeading => true,
        }
    }
}

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Done {
    /// How many actions were done.
    pub count: usize,
    /// The deployment of the sink is another than what was seen.
    pub reshaped: bool,
    /// The resource is gone.
    pub gone: bool,
}

/// Does what the plan says.
pub async fn act(context: &Context, seen: &mut Seeing, plan: &Plan) -> Result<Done, Error> {
    let mut done = Done::default();
    for action in &plan.actions {
        if !context.operator.leadership.holds() {
            return Err(Error::NotLeading);
        }
        let outcome = one(context, seen, action).await;
        context.operator.metrics.acted(KIND, action.name(), outcome.is_ok());
        outcome?;
        let subscription = &seen.subscription;
        let (name, namespace) = (subscription.name_any(), subscription.namespace());
        info!(subscription = name, namespace, ?action, "done");
        report::announce(context, seen, action).await;
        done.count += 1;
        done.gone |= matches!(action, Action::RemoveFinalizer);
    }
    if plan.keep_sink {
        done.reshaped = apply_sink(context, seen).await?;
    }
    Ok(done)
}

async fn one(context: &Context, seen: &mut Seeing, action: &Action) -> Result<(), Error> {
    let name = action.name();
    match action {
        Action::AddFinalizer => {
            let mut finalizers = seen.subscription.finalizers().to_vec();
            finalizers.push(FINALIZER.to_owned());
            set_finalizers(context, seen, name, finalizers).await
        }
        Action::RemoveFinalizer => {
            let mut finalizers = seen.subscription.finalizers().to_vec();
            finalizers.retain(|finalizer| finalizer != FINALIZER);
            set_finalizers(context, seen, name, finalizers).await
        }
        Action::Register { .. } => {
            let definition = definition(seen, name)?;
            let answer = service(context, seen, name)?.create(definition.clone()).await;
            taken(name, &definition, store(name, answer)?)
        }
        Action::Update { .. } => {
            let definition = definition(seen, name)?;
            let answer = service(context, seen, name)?.update(definition.clone()).await;
            taken(name, &definition, store(name, answer)?)
        }
        Action::Deregister => {
            let subscription = &seen.observed.desired.name;
            store(name, service(context, seen, name)?.delete(subscription).await)
        }
        Action::DeleteSink => {
            let client = &context.operator.client;
            let namespace = seen.subscription.namespace().unwrap_or_default();
            let deployment = sink::name(&seen.subscription.name_any());
            let uid = seen.sink_uid.as_ref();
            let deleted = requests::delete::<k8s_openapi::api::apps::v1::Deployment>(
                client,
                &namespace,
                &deployment,
                uid,
            );
            context.sinks.forget(&seen.subscription.uid().unwrap_or_default());
            kubernetes(name, deleted.await)
        }
    }
}

/// Applies the deployment of the sink. Whether it is another than what was seen.
async fn apply_sink(context: &Context, seen: &Seeing) -> Result<bool, Error> {
    let subscription = &seen.subscription;
    let defined = seen.observed.desired.definition.as_ref().ok().and_then(|all| all.sink.as_ref());
    let (Some(sink), Some(defined)) = (&subscription.spec.sink, defined) else { return Ok(false) };
    let deployment = sink::deployment(Inputs {
        subscription,
        sink,
        defined,
        image: &seen.image,
        secrets_digest: &seen.secrets_digest,
    });
    let uid = subscription.uid().unwrap_or_default();
    let exists = seen.observed.sink.as_ref().is_some_and(|found| found.replicas == sink.replicas);
    if exists && context.sinks.fresh(&uid, &deployment) {
        return Ok(false);
    }
    if !context.operator.leadership.holds() {
        return Err(Error::NotLeading);
    }
    let namespace = subscription.namespace().unwrap_or_default();
    let applied = requests::apply(&context.operator.client, &namespace, &deployment).await;
    let applied = kubernetes(APPLY_SINK, applied)?;
    context.sinks.note(uid, deployment);
    Ok(applied.metadata.generation != seen.sink_generation)
}

fn service<'a>(
    context: &'a Context,
    seen: &'a Seeing,
    action: &'static str,
) -> Result<Service<'a>, Error> {
    let address = seen.address.as_ref().ok_or(Error::NoNode { action })?;
    Ok(Service::new(&context.operator.nodes, address))
}

/// The definition that is wanted; a plan that needs one was made with one.
fn definition(seen: &Seeing, action: &'static str) -> Result<v1::SubscriptionDefinition, Error> {
    let definition = seen.observed.desired.definition.clone();
    definition.map_err(|error| Error::Store {
        action,
        source: Box::new(tonic::Status::invalid_argument(error.to_string())),
    })
}

async fn set_finalizers(
    context: &Context,
    seen: &mut Seeing,
    action: &'static str,
    finalizers: Vec<String>,
) -> Result<(), Error> {
    let client = &context.operator.client;
    let changed = requests::set_finalizers(client, &seen.subscription, finalizers).await;
    let changed: Subscription = kubernetes(action, changed)?;
    seen.subscription = changed;
    Ok(())
}

fn kubernetes<T>(action: &'static str, outcome: Result<T, observe::Error>) -> Result<T, Error> {
    outcome.map_err(|source| Error::Kubernetes { action, source })
}

fn store<T>(action: &'static str, outcome: Result<T, tonic::Status>) -> Result<T, Error> {
    outcome.map_err(|source| Error::Store { action, source: Box::new(source) })
}

/// Whether the store has what it was told.
fn taken(
    action: &'static str,
    told: &v1::SubscriptionDefinition,
    answer: Option<v1::Subscription>,
) -> Result<(), Error> {
    let stored = answer.and_then(|subscription| subscription.definition).unwrap_or_default();
    let Difference { fixed, changeable } = difference(told, &stored);
    let fields: Vec<_> = fixed.into_iter().chain(changeable).collect();
    if fields.is_empty() { Ok(()) } else { Err(Error::NotTaken { action, fields }) }
}
