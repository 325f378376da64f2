//! `reckon subscription parked`, `replay` and `discard`.

use futures::TryStreamExt as _;
use reckon_api::{Client, v1};
use serde::Serialize;

use super::Which;
use crate::failure::Failure;
use crate::output::{self, Output};

/// List parked events.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon subscription parked billing
  reckon subscription parked billing --output json | jq '{position, reason}'")]
pub struct Parked {
    #[command(flatten)]
    which: Which,
}

/// Have parked events delivered again, ahead of the other events of their keys.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon subscription replay billing --all
  reckon subscription replay billing --position 1204 --position 1310")]
pub struct Replay {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    events: Events,
}

/// Forget parked events: they count as done.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon subscription discard billing --position 1204
  reckon subscription discard billing --all")]
pub struct Discard {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    events: Events,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Events {
    /// The position of a parked event. May be given several times.
    #[arg(long = "position", value_name = "POSITION")]
    positions: Vec<u64>,
    /// All that are parked.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Serialize)]
struct Printed<'a> {
    position: u64,
    stream: &'a str,
    version: u64,
    #[serde(rename = "type")]
    event_type: &'a str,
    key: &'a str,
    reason: &'a str,
    attempts: u32,
    parked_at_us: u64,
}

impl Parked {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let request = v1::ListParkedRequest {
            subscription: Some(self.which.reference()),
            ..v1::ListParkedRequest::default()
        };
        let events: Vec<_> = client.list_parked(request).try_collect().await?;
        print(&events, output)
    }
}

impl Replay {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let subscription = Some(self.which.reference());
        let request = v1::ReplayParkedRequest { subscription, positions: self.events.positions };
        let replayed = client.replay_parked(request).await?.replayed;
        if output.is_json() {
            return output.json(&serde_json::json!({ "replayed": replayed }));
        }
        output.line(&format!("{replayed} events are delivered again"))
    }
}

impl Discard {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let request = v1::DiscardParkedRequest {
            subscription: Some(self.which.reference()),
            positions: self.events.positions,
            all: self.events.all,
        };
        let discarded = client.discard_parked(request).await?.discarded;
        if output.is_json() {
            return output.json(&serde_json::json!({ "discarded": discarded }));
        }
        output.line(&format!("{discarded} events are parked no more"))
    }
}

fn print(events: &[v1::ParkedEvent], output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return events.iter().try_for_each(|event| {
            output.json(&Printed {
                position: event.position,
                stream: &event.stream_id,
                version: event.version,
                event_type: &event.event_type,
                key: &event.key,
                reason: &event.reason,
                attempts: event.attempts,
                parked_at_us: event.parked_at_us,
            })
        });
    }
    let rows = events.iter().map(|event| {
        vec![
            event.position.to_string(),
            format!("{}@{}", event.stream_id, event.version),
            event.event_type.clone(),
            event.attempts.to_string(),
            output::time(event.parked_at_us),
            event.reason.clone(),
        ]
    });
    output.table(
        &["POSITION", "EVENT", "TYPE", "ATTEMPTS", "PARKED", "REASON"],
        &["POSITION", "ATTEMPTS"],
        rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;

    #[test]
    fn a_parked_event_says_where_it_is_and_why() {
        let event = v1::ParkedEvent {
            position: 12,
            stream_id: "orders-1".to_owned(),
            version: 3,
            event_type: "Placed".to_owned(),
            reason: "400: no\nsuch thing".to_owned(),
            attempts: 11,
            parked_at_us: 1_700_000_000_000_000,
            ..v1::ParkedEvent::default()
        };
        let (mut output, written) = Output::to_memory(Format::Text);
        print(&[event], &mut output).unwrap();
        assert_eq!(
            written.text(),
            "POSITION  EVENT       TYPE    ATTEMPTS  PARKED                    REASON\n      \
             12  orders-1@3  Placed        11  2023-11-14T22:13:20.000Z  400: no\\nsuch thing\n"
        );
    }
}
