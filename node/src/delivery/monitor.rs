//! The monitor: looks at every subscription at a steady pace while this node leads, tells metrics how they are, and the
//! log which of them have stopped getting on, or go on again. It changes nothing.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use reckon_api::v1;

use super::emitters::Emitters;
use super::selector::SelectorKind;
use crate::environment::Clock;
use crate::metrics::{SubscriptionMetrics, SubscriptionsView};

/// Looks until the node ends.
pub async fn run(
    emitters: Emitters,
    metrics: SubscriptionMetrics,
    clock: Clock,
    interval: Duration,
) {
    let mut stalled = BTreeSet::new();
    loop {
        tokio::time::sleep(interval).await;
        let looked = if emitters.leads() { look(&emitters, &clock).await } else { Vec::new() };
        let mut views: HashMap<&str, SubscriptionsView> = HashMap::new();
        for health in &looked {
            add(views.entry(health.r#type.as_str()).or_default(), health);
        }
        for kind in SelectorKind::ALL {
            metrics.view(kind, views.get(kind.as_str()).copied().unwrap_or_default());
        }
        let now = looked.iter().filter(|health| health.stalled);
        let now: BTreeSet<String> = now.map(|health| health.name.clone()).collect();
        for health in looked.iter().filter(|health| now.contains(&health.name)) {
            if !stalled.contains(&health.name) {
                let (subscription, lag_events) = (&health.name, health.lag_events);
                tracing::warn!(
                    subscription,
                    lag_events,
                    why = health.reason,
                    "a subscription stalls"
                );
            }
        }
        for subscription in stalled.difference(&now) {
            tracing::info!(subscription, "a subscription stalls no more");
        }
        stalled = now;
    }
}

async fn look(emitters: &Emitters, clock: &Clock) -> Vec<v1::SubscriptionHealth> {
    let subscriptions = emitters.registered();
    let mut looked = Vec::with_capacity(subscriptions.len());
    for (name, state) in subscriptions.iter() {
        match emitters.health(name, state, clock()).await {
            Ok(health) => looked.push(health),
            Err(error) => {
                tracing::warn!(%error, subscription = name, "a subscription cannot be looked at");
            }
        }
    }
    looked
}

fn add(view: &mut SubscriptionsView, health: &v1::SubscriptionHealth) {
    view.subscriptions += 1;
    view.consumers += u64::from(health.consumers) + u64::from(health.standby);
    view.lag_events += health.lag_events;
    view.lag_seconds_max = view.lag_seconds_max.max(health.lag_ms / 1_000);
    view.in_flight += health.in_flight;
    view.buffered += health.buffered;
    view.buffer_warnings += u64::from(health.buffer_warning);
    view.parked += health.parked;
    view.stalled += u64::from(health.stalled);
}
