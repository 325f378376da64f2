//! `reckon subscription health`.

use reckon_api::{Client, v1};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::Output;

/// Show how a subscription, or each of them, is doing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon subscription health
  reckon subscription health billing --output json | jq 'select(.stalled).reason'")]
pub struct Health {
    /// The subscription's name; without it, all of them.
    subscription: Option<String>,
}

#[allow(clippy::struct_excessive_bools, reason = "the protocol's fields, one by one")]
#[derive(Debug, Serialize)]
struct Printed<'a> {
    name: &'a str,
    key: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    mode: &'static str,
    lag_events: u64,
    lag_is_at_least: bool,
    lag_ms: u64,
    consumers: u32,
    standby: u32,
    buffered: u64,
    capacity: u64,
    buffer_warning: bool,
    demand: u64,
    demand_unlimited: bool,
    in_flight: u64,
    parked: u64,
    dropped: u64,
    delivered: u64,
    redelivered: u64,
    acknowledged: u64,
    skipped: u64,
    stalled: bool,
    reason: &'a str,
    checkpoint_position: u64,
    checkpoint_at_us: u64,
    last_settled_at_us: u64,
}

impl Health {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let subscription = self.subscription.map(v1::SubscriptionRef::named);
        let request = v1::SubscriptionHealthRequest { subscription };
        print(&client.subscription_health(request).await?.subscriptions, output)
    }
}

fn print(subscriptions: &[v1::SubscriptionHealth], output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return subscriptions.iter().try_for_each(|health| output.json(&Printed::from(health)));
    }
    let rows = subscriptions.iter().map(|health| {
        let more = if health.lag_is_at_least { "+" } else { "" };
        vec![
            health.name.clone(),
            mode(health.mode()).to_owned(),
            format!("{}{more}", health.lag_events),
            format!("{} ms", health.lag_ms),
            format!("{}+{}", health.consumers, health.standby),
            health.in_flight.to_string(),
            format!("{}/{}", health.buffered, health.capacity),
            health.parked.to_string(),
            health.dropped.to_string(),
            state(health),
        ]
    });
    output.table(
        &[
            "NAME",
            "MODE",
            "LAG",
            "AGE",
            "CONSUMERS",
            "IN FLIGHT",
            "BUFFERED",
            "PARKED",
            "DROPPED",
            "STATE",
        ],
        &["LAG", "AGE", "CONSUMERS", "IN FLIGHT", "BUFFERED", "PARKED", "DROPPED"],
        rows,
    )
}

fn state(health: &v1::SubscriptionHealth) -> String {
    match (health.stalled, health.reason.as_str()) {
        (true, "") => "stalled".to_owned(),
        (true, reason) => format!("stalled: {reason}"),
        (false, "") => "well".to_owned(),
        (false, reason) => reason.to_owned(),
    }
}

const fn mode(mode: v1::SubscriptionMode) -> &'static str {
    match mode {
        v1::SubscriptionMode::Unspecified => "unknown",
        v1::SubscriptionMode::Idle => "idle",
        v1::SubscriptionMode::CatchingUp => "catching-up",
        v1::SubscriptionMode::Live => "live",
    }
}

impl<'a> From<&'a v1::SubscriptionHealth> for Printed<'a> {
    fn from(health: &'a v1::SubscriptionHealth) -> Self {
        Self {
            name: &health.name,
            key: &health.key,
            kind: &health.r#type,
            mode: mode(health.mode()),
            lag_events: health.lag_events,
            lag_is_at_least: health.lag_is_at_least,
            lag_ms: health.lag_ms,
            consumers: health.consumers,
            standby: health.standby,
            buffered: health.buffered,
            capacity: health.capacity,
            buffer_warning: health.buffer_warning,
            demand: health.demand,
            demand_unlimited: health.demand_unlimited,
            in_flight: health.in_flight,
            parked: health.parked,
            dropped: health.dropped,
            delivered: health.delivered,
            redelivered: health.redelivered,
            acknowledged: health.acknowledged,
            skipped: health.skipped,
            stalled: health.stalled,
            reason: &health.reason,
            checkpoint_position: health.checkpoint_position,
            checkpoint_at_us: health.checkpoint_at_us,
            last_settled_at_us: health.last_settled_at_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;

    #[test]
    fn a_person_sees_lag_consumers_and_what_is_wrong() {
        let health = v1::SubscriptionHealth {
            name: "billing".to_owned(),
            mode: v1::SubscriptionMode::CatchingUp.into(),
            lag_events: 1000,
            lag_is_at_least: true,
            lag_ms: 1500,
            consumers: 2,
            standby: 1,
            buffered: 900,
            capacity: 1000,
            stalled: true,
            reason: "nothing was settled for 40 s".to_owned(),
            ..v1::SubscriptionHealth::default()
        };
        let (mut output, written) = Output::to_memory(Format::Text);
        print(&[health], &mut output).unwrap();
        let row =
            written.text().lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            row,
            "billing catching-up 1000+ 1500 ms 2+1 0 900/1000 0 0 stalled: nothing was settled for 40 s"
        );
    }
}
