//! The fourth step: says how things stand, in the status and in events.
//!
//! The status is applied alone and whole. What it says of the resource is written at once; numbers, which always move
//! somewhere, at most once in an interval.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::runtime::events::EventType;
use reckon_api::v1;
use reckon_crds::{
    Subscription, SubscriptionCheckpoint, SubscriptionMode, SubscriptionStatus, condition,
};

use super::act;
use super::controller::Context;
use super::observe::Seeing;
use super::plan::{Action, Observed, Outcome, Plan, Standing, StoreView, reason};
use crate::report::{Error, condition_since, publish, whole_seconds};
use crate::requests;

/// How many digits of a lag are shown: more would be different at every look.
const LAG_DIGITS: u32 = 2;

/// Writes the status that follows from what was seen, what is planned and what failed, if it is news.
pub async fn report(
    context: &Context,
    seen: &mut Seeing,
    plan: &Plan,
    failure: Option<&act::Error>,
) -> Result<(), Error> {
    if !context.operator.leadership.holds() {
        return Ok(());
    }
    let old = seen.subscription.status.clone().unwrap_or_default();
    let new = status(&seen.observed, &seen.subscription, plan, failure);
    if !is_due(&old, &new, seen.observed.now, context.refresh) {
        return Ok(());
    }
    let written = requests::apply_status(&context.operator.client, &seen.subscription, &new).await;
    seen.subscription = written?;
    announce_changes(context, &seen.subscription, &old, &new).await;
    Ok(())
}

/// Whether a status is to be written in place of another.
fn is_due(
    old: &SubscriptionStatus,
    new: &SubscriptionStatus,
    now: Timestamp,
    refresh: Duration,
) -> bool {
    if without_numbers(old) != without_numbers(new) {
        return true;
    }
    let same_numbers = SubscriptionStatus { last_refreshed: None, ..old.clone() }
        == SubscriptionStatus { last_refreshed: None, ..new.clone() };
    let refresh = SignedDuration::try_from(refresh).unwrap_or(SignedDuration::MAX);
    let rested =
        old.last_refreshed.as_ref().is_none_or(|last| now.duration_since(last.0) >= refresh);
    !same_numbers && rested
}

/// A status without what moves while all is well.
fn without_numbers(status: &SubscriptionStatus) -> SubscriptionStatus {
    let conditions = status.conditions.iter();
    SubscriptionStatus {
        observed_generation: status.observed_generation,
        conditions: conditions.filter(|one| one.type_ != condition::DELIVERING).cloned().collect(),
        key: status.key.clone(),
        type_: status.type_.clone(),
        ..SubscriptionStatus::default()
    }
}

/// The status.
pub fn status(
    observed: &Observed,
    subscription: &Subscription,
    plan: &Plan,
    failure: Option<&act::Error>,
) -> SubscriptionStatus {
    let before = &observed.status;
    let definition = observed.desired.definition.as_ref().ok();
    let mut status = SubscriptionStatus {
        observed_generation: subscription.metadata.generation,
        conditions: conditions(observed, plan, failure, subscription.metadata.generation),
        type_: definition.map(|definition| definition.r#type.clone()),
        ..before.clone()
    };
    if let StoreView::With(registration) = &observed.store
        && owned(plan)
    {
        let stored = &registration.subscription;
        status.key = Some(stored.key.clone());
        status.last_refreshed = Some(whole_seconds(observed.now));
        status.parked = Some(stored.parked);
        status.dropped = Some(stored.dropped);
        status.consumers = u64::try_from(stored.consumers.len()).ok();
        status.checkpoint = stored.checkpoint.as_ref().map(|checkpoint| SubscriptionCheckpoint {
            position: checkpoint.next_position,
            time: moment(checkpoint.at_us),
        });
        if let Some(health) = &registration.health {
            status.lag_events = Some(rounded(health.lag_events));
            status.lag_seconds = Some(rounded(health.lag_ms.div_ceil(1_000)));
            status.in_flight = Some(health.in_flight);
            status.consumers = Some(u64::from(health.consumers) + u64::from(health.standby));
            status.mode = mode(health);
        }
    }
    status
}

/// Whether the registration that was seen is the resource's own.
fn owned(plan: &Plan) -> bool {
    let reason = plan.verdict.registered.reason;
    [reason::REGISTERED, reason::UPDATING].contains(&reason)
}

fn mode(health: &v1::SubscriptionHealth) -> Option<SubscriptionMode> {
    match health.mode() {
        v1::SubscriptionMode::Unspecified => None,
        v1::SubscriptionMode::Idle => Some(SubscriptionMode::Idle),
        v1::SubscriptionMode::CatchingUp => Some(SubscriptionMode::CatchingUp),
        v1::SubscriptionMode::Live => Some(SubscriptionMode::Live),
    }
}

fn moment(at_us: u64) -> Option<Time> {
    let at = Timestamp::from_microsecond(i64::try_from(at_us).ok()?).ok()?;
    (at_us != 0).then(|| whole_seconds(at))
}

/// A number of so few digits that it stays the same for a while. What is not nothing does not become nothing.
fn rounded(number: u64) -> u64 {
    let digits = number.checked_ilog10().map_or(0, |log| log + 1);
    let unit = 10_u64.pow(digits.saturating_sub(LAG_DIGITS));
    number - number % unit
}

/// The conditions. A failure to act shows in `Ready` and `Reconciling`, and in what was to be done.
fn conditions(
    observed: &Observed,
    plan: &Plan,
    failure: Option<&act::Error>,
    generation: Option<i64>,
) -> Vec<Condition> {
    let mut verdict = plan.verdict.clone();
    if let Some(failure) = failure {
        let part = match &mut verdict.sink {
            Some(sink) if failure.of_sink() => sink,
            _ => &mut verdict.registered,
        };
        part.outcome = if failure.retryable() { Outcome::Working } else { Outcome::Stalled };
        part.reason = if failure.of_store() { reason::REFUSED } else { reason::RECONCILE_FAILED };
        part.message = failure.to_string();
    }
    let (summary, registered) = (verdict.summary(), &verdict.registered);
    let text = |flag: bool| if flag { "True" } else { "False" };
    let standing = |standing: &Standing| match standing.outcome {
        Outcome::Settled => "True",
        Outcome::Unknown => "Unknown",
        Outcome::Working | Outcome::Stalled => "False",
    };
    let working = matches!(summary.outcome, Outcome::Working | Outcome::Unknown);
    let (why, message) = (summary.reason, summary.message.as_str());
    let (delivering, delivering_why, delivering_message) = delivering(observed);
    let mut list = vec![
        (condition::READY, standing(summary), why, message),
        (condition::RECONCILING, text(working), why, message),
        (condition::STALLED, text(summary.outcome == Outcome::Stalled), why, message),
        (
            condition::REGISTERED,
            standing(registered),
            registered.reason,
            registered.message.as_str(),
        ),
        (condition::DELIVERING, delivering, delivering_why, delivering_message.as_str()),
    ];
    if let Some(sink) = &verdict.sink {
        list.push((condition::SINK_READY, standing(sink), sink.reason, sink.message.as_str()));
    }
    list.into_iter()
        .map(|(type_, status, reason, message)| Condition {
            observed_generation: generation,
            ..condition_since(
                &observed.status.conditions,
                observed.now,
                type_,
                status,
                reason,
                message,
            )
        })
        .collect()
}

/// Whether events reach somebody who settles them, as the store sees it.
fn delivering(observed: &Observed) -> (&'static str, &'static str, String) {
    let health = match &observed.store {
        StoreView::With(registration) => registration.health.as_ref(),
        _ => None,
    };
    let Some(health) = health else {
        return ("Unknown", "NotAsked", "The store did not say.".to_owned());
    };
    let said = |otherwise: &str| match health.reason.as_str() {
        "" => otherwise.to_owned(),
        reason => reason.to_owned(),
    };
    match health.mode() {
        _ if health.stalled => ("False", "ConsumersStalled", said("Nothing is settled.")),
        v1::SubscriptionMode::Live => ("True", "Live", said("What comes is delivered.")),
        v1::SubscriptionMode::CatchingUp => ("True", "CatchingUp", said("History is delivered.")),
        v1::SubscriptionMode::Idle | v1::SubscriptionMode::Unspecified => {
            ("False", "NoConsumers", said("Nobody consumes."))
        }
    }
}

/// Publishes the event that goes with an action, if people care for it.
pub async fn announce(context: &Context, seen: &Seeing, action: &Action) {
    let desired = &seen.observed.desired;
    let (name, store) = (&desired.name, &desired.store);
    let (type_, reason, note) = match action {
        Action::Register { again: false } => {
            (EventType::Normal, "Registered", format!("Store {store} has `{name}`."))
        }
        Action::Register { again: true } => (
            EventType::Warning,
            "RegisteredAgain",
            format!("Store {store} had lost `{name}` and its checkpoint: it begins anew."),
        ),
        Action::Update { fields } => {
            (EventType::Normal, "Updated", format!("Store {store} changed {}.", fields.join(", ")))
        }
        Action::Deregister => {
            (EventType::Normal, "Deregistered", format!("Store {store} forgot `{name}`."))
        }
        Action::DeleteSink => {
            (EventType::Normal, "SinkDeleted", "The sink's pods are deleted.".to_owned())
        }
        Action::AddFinalizer | Action::RemoveFinalizer => return,
    };
    publish(&context.operator, &seen.subscription, type_, reason, action.name(), note).await;
}

/// Publishes what changed from one status to the next.
async fn announce_changes(
    context: &Context,
    subscription: &Subscription,
    old: &SubscriptionStatus,
    new: &SubscriptionStatus,
) {
    let find = |status: &SubscriptionStatus, name: &str| {
        status.conditions.iter().find(|one| one.type_ == name).cloned()
    };
    let (before, now) = (find(old, condition::READY), find(new, condition::READY));
    let Some(now) = now else { return };
    if before.is_some_and(|before| before.reason == now.reason && before.status == now.status) {
        return;
    }
    let stalled = find(new, condition::STALLED).is_some_and(|one| one.status == "True");
    let waits = [reason::STORE_NOT_FOUND, reason::STORE_UNREADY, reason::SECRET_NOT_FOUND];
    let operator = &context.operator;
    if stalled || waits.contains(&now.reason.as_str()) {
        publish(operator, subscription, EventType::Warning, &now.reason, "Plan", now.message).await;
    } else if now.status == "True" {
        publish(operator, subscription, EventType::Normal, "Ready", "Observe", now.message).await;
    }
}

#[cfg(test)]
mod tests;
