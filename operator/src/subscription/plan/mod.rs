//! The planner: from what is wanted and what was seen to the next few actions.
//!
//! Pure: it knows no client, no clock and no randomness, and keeps no memory. Whether a registration is ours follows
//! from what it says: if all that cannot change is as wanted, it is adopted, changed and deleted; otherwise it is
//! somebody else's, and left alone.

mod observed;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod verdict;

use reckon_crds::DeletionPolicy;

pub use observed::{Desired, Observed, Registration, SinkNeeds, SinkView, StoreView};
pub use verdict::{Outcome, Standing, Verdict, reason};

use super::definition::difference;

/// What is to be done now, and how things stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What to do, in this order. A failure ends the plan; the next observation starts a new one.
    pub actions: Vec<Action>,
    /// Whether the deployment of the sink is to be kept applied, after the actions; otherwise it is left as it is.
    pub keep_sink: bool,
    /// How things stand.
    pub verdict: Verdict,
}

/// One step. Each is safe to repeat, and refused by its receiver when the world has moved on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Makes sure that we are asked before the resource goes.
    AddFinalizer,
    /// Has the store register the subscription; `again` if it once had it.
    Register { again: bool },
    /// Has the store change these fields.
    Update { fields: Vec<&'static str> },
    /// Deletes the deployment of the sink.
    DeleteSink,
    /// Has the store forget the subscription.
    Deregister,
    /// Lets the resource go.
    RemoveFinalizer,
}

impl Action {
    /// The name of the action in metrics and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AddFinalizer => "AddFinalizer",
            Self::Register { .. } => "Register",
            Self::Update { .. } => "Update",
            Self::DeleteSink => "DeleteSink",
            Self::Deregister => "Deregister",
            Self::RemoveFinalizer => "RemoveFinalizer",
        }
    }
}

/// Decides what to do next.
pub fn plan(observed: &Observed) -> Plan {
    if observed.desired.deleting {
        return deletion(observed);
    }
    let (registering, registered) = registration(observed);
    let keep_sink = keep_sink(observed, &registered, registering.as_ref());
    let mut actions = Vec::new();
    if !observed.desired.finalizer {
        // Before anything that would have to be undone.
        actions.push(Action::AddFinalizer);
    }
    actions.extend(registering);
    if observed.desired.sink.is_none() {
        actions.extend(delete_sink(observed));
    }
    let sink = observed.desired.sink.as_ref().map(|needs| sink(observed, needs, keep_sink));
    Plan { actions, keep_sink, verdict: Verdict { registered, sink } }
}

/// What to have the store do, and whether it has the subscription as wanted.
fn registration(observed: &Observed) -> (Option<Action>, Standing) {
    let desired = &observed.desired;
    let definition = match &desired.definition {
        Ok(definition) => definition,
        Err(error) => return (None, Standing::stalled(reason::INVALID, error.to_string())),
    };
    let (store, name) = (&desired.store, &desired.name);
    if let Some(rival) = &observed.rival {
        let message = format!(
            "Subscription {rival} means `{name}` of store {store} too, and is older. Delete one of them."
        );
        return (None, Standing::stalled(reason::NAME_TAKEN, message));
    }
    let registration = match &observed.store {
        StoreView::Missing => {
            let message = format!("There is no EventStore {store} in this namespace.");
            return (None, Standing::working(reason::STORE_NOT_FOUND, message));
        }
        StoreView::Deleting => {
            let message = format!("EventStore {store} is being deleted.");
            return (None, Standing::working(reason::STORE_DELETING, message));
        }
        StoreView::Silent(why) => {
            let message = format!("EventStore {store} does not answer: {why}");
            return (None, Standing::new(Outcome::Unknown, reason::STORE_UNREADY, message));
        }
        StoreView::Without => {
            let again = observed.status.key.is_some();
            let message = format!("Store {store} is asked to register `{name}`.");
            let standing = Standing::working(reason::REGISTERING, message);
            return (Some(Action::Register { again }), standing);
        }
        StoreView::With(registration) => registration,
    };
    let stored = registration.subscription.definition.clone().unwrap_or_default();
    let difference = difference(definition, &stored);
    if !difference.fixed.is_empty() {
        let message = format!(
            "Store {store} has another subscription `{name}`: {} cannot be changed in place. Choose another name, or delete the one in the store.",
            difference.fixed.join(", ")
        );
        return (None, Standing::stalled(reason::CONFLICT, message));
    }
    if !difference.changeable.is_empty() {
        let message =
            format!("Store {store} is asked to change {}.", difference.changeable.join(", "));
        let action = Action::Update { fields: difference.changeable };
        return (Some(action), Standing::working(reason::UPDATING, message));
    }
    let message = format!("Store {store} has `{name}` as specified.");
    (None, Standing::settled(reason::REGISTERED, message))
}

/// Whether the deployment of the sink is made, and kept as specified: only once the store knows the subscription, only
/// with all that its pods need, and never over somebody else's.
fn keep_sink(observed: &Observed, registered: &Standing, registering: Option<&Action>) -> bool {
    let known = registered.outcome == Outcome::Settled || registering.is_some();
    let complete = observed.desired.sink.as_ref().is_some_and(|needs| needs.missing.is_empty());
    let free = observed.sink.as_ref().is_none_or(|sink| sink.ours && !sink.deleting);
    known && complete && free
}

fn delete_sink(observed: &Observed) -> Option<Action> {
    let sink = observed.sink.as_ref()?;
    (sink.ours && !sink.deleting).then_some(Action::DeleteSink)
}

/// How the pods of the sink stand.
fn sink(observed: &Observed, needs: &SinkNeeds, keep: bool) -> Standing {
    if observed.sink.as_ref().is_some_and(|sink| !sink.ours) {
        let message = "A Deployment of the sink's name was made by somebody else. Delete it, or name the Subscription otherwise.";
        return Standing::stalled(reason::SINK_NAME_TAKEN, message);
    }
    if !needs.missing.is_empty() {
        let message = format!("The sink waits for {}.", needs.missing.join(", "));
        return Standing::working(reason::SECRET_NOT_FOUND, message);
    }
    let Some(sink) = observed.sink.as_ref().filter(|sink| !sink.deleting) else {
        return if keep {
            Standing::working(reason::SINK_STARTING, "The deployment of the sink is being made.")
        } else {
            let message = "The sink waits for the store to have the subscription.";
            Standing::working(reason::NOT_REGISTERED, message)
        };
    };
    let wanted = if keep { needs.replicas } else { sink.replicas };
    let ready = sink.rolled_out && sink.replicas == wanted && sink.available >= wanted;
    match &sink.stuck {
        _ if ready && wanted == 0 => {
            let message = "No pod delivers: spec.sink.replicas is 0.";
            Standing::settled(reason::SINK_SCALED_TO_ZERO, message)
        }
        _ if ready => {
            let message = format!("{wanted} of {wanted} pods deliver.");
            Standing::settled(reason::SINK_READY, message)
        }
        Some(why) => Standing::working(reason::SINK_STUCK, why.clone()),
        None => {
            let message = format!("{} of {wanted} pods are available.", sink.available);
            Standing::working(reason::SINK_STARTING, message)
        }
    }
}

/// Takes the subscription out of its store, if that is wanted and the store still is; then lets the resource go.
fn deletion(observed: &Observed) -> Plan {
    let desired = &observed.desired;
    let mut actions = Vec::new();
    let mut message = "The subscription is being deleted.".to_owned();
    if desired.finalizer {
        // First, so that nothing delivers what is about to go.
        actions.extend(delete_sink(observed));
        match &observed.store {
            StoreView::Silent(why)
                if desired.policy == DeletionPolicy::Delete && owner(observed) =>
            {
                message = format!(
                    "Deletion waits for store {} to answer, or to be deleted: {why}",
                    desired.store
                );
            }
            StoreView::With(registration) if deregisters(observed, registration) => {
                actions.extend([Action::Deregister, Action::RemoveFinalizer]);
            }
            _ => actions.push(Action::RemoveFinalizer),
        }
    }
    let registered = Standing::working(reason::DELETING, message);
    Plan { actions, keep_sink: false, verdict: Verdict { registered, sink: None } }
}

/// Whether this resource speaks for a subscription at all.
fn owner(observed: &Observed) -> bool {
    observed.rival.is_none() && observed.desired.definition.is_ok()
}

/// Whether the registration goes with the resource: it is ours, and nobody wants to keep it.
fn deregisters(observed: &Observed, registration: &Registration) -> bool {
    let stored = registration.subscription.definition.as_ref();
    let ours = match (&observed.desired.definition, stored) {
        (Ok(wanted), Some(stored)) => difference(wanted, stored).fixed.is_empty(),
        _ => false,
    };
    ours && owner(observed) && observed.desired.policy == DeletionPolicy::Delete
}
