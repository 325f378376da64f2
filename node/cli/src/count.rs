//! `reckon count`, `reckon any` and `reckon has-events`: answers about events without the events.

use reckon_api::{Client, v1};
use serde::Serialize;

use crate::consistency::Fresh;
use crate::failure::Failure;
use crate::filter::FilterArgs;
use crate::output::Output;
use crate::read::Times;

/// Count events.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon count
  reckon count --type OrderPlaced --since -1d
  reckon count --from 1000 --to 1999 --prefix orders-")]
pub struct Count {
    #[command(flatten)]
    range: Range,
}

/// Say whether there is an event, and where the first one stands.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon any --query type=Reserved,tag=seat:7
  reckon any --from 1000 --type OrderPlaced --output json | jq .any")]
pub struct Any {
    #[command(flatten)]
    range: Range,
}

/// Say whether at least one event can be read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon has-events
  reckon has-events --output json | jq .has_events")]
pub struct HasEvents {
    /// Also look at the streams whose names start with `$`.
    #[arg(long)]
    include_system: bool,
    #[command(flatten)]
    fresh: Fresh,
}

/// Which part of the store, and which events of it.
#[derive(Debug, clap::Args)]
struct Range {
    /// The first position that counts.
    #[arg(long = "from", value_name = "POSITION")]
    from_position: Option<u64>,
    /// The last position that counts.
    #[arg(long = "to", value_name = "POSITION")]
    to_position: Option<u64>,
    /// Also look at the streams whose names start with `$`.
    #[arg(long)]
    include_system: bool,
    #[command(flatten)]
    times: Times,
    #[command(flatten)]
    fresh: Fresh,
    #[command(flatten)]
    filter: FilterArgs,
}

impl Count {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let range = self.range;
        let answer = client
            .count(v1::CountRequest {
                from_position: range.from_position,
                to_position: range.to_position,
                since_us: range.times.since.map(|moment| moment.0),
                until_us: range.times.until.map(|moment| moment.0),
                filter: range.filter.to_message(),
                include_system: range.include_system,
                consistency: range.fresh.to_message(),
            })
            .await?;
        print(&Counted::from(&answer), output)
    }
}

/// A count as it is printed.
#[derive(Debug, Serialize)]
pub struct Counted {
    events: u64,
    next_position: u64,
}

impl From<&v1::CountResponse> for Counted {
    fn from(answer: &v1::CountResponse) -> Self {
        Self { events: answer.events, next_position: answer.next_position }
    }
}

/// Prints a count: the number alone for people.
pub fn print(counted: &Counted, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() { output.json(counted) } else { output.line(&counted.events.to_string()) }
}

#[derive(Debug, Serialize)]
struct Found {
    any: bool,
    position: Option<u64>,
    next_position: u64,
}

impl Any {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let range = self.range;
        let answer = client
            .any(v1::AnyRequest {
                from_position: range.from_position,
                to_position: range.to_position,
                since_us: range.times.since.map(|moment| moment.0),
                until_us: range.times.until.map(|moment| moment.0),
                filter: range.filter.to_message(),
                include_system: range.include_system,
                consistency: range.fresh.to_message(),
            })
            .await?;
        if output.is_json() {
            let v1::AnyResponse { any, position, next_position } = answer;
            return output.json(&Found { any, position, next_position });
        }
        match answer.position {
            Some(position) => output.line(&format!("yes, at position {position}")),
            None => output.line("no"),
        }
    }
}

#[derive(Debug, Serialize)]
struct Has {
    has_events: bool,
}

impl HasEvents {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let answer = client
            .has_events(v1::HasEventsRequest {
                consistency: self.fresh.to_message(),
                include_system: self.include_system,
            })
            .await?;
        if output.is_json() {
            return output.json(&Has { has_events: answer.has_events });
        }
        output.line(if answer.has_events { "yes" } else { "no" })
    }
}
