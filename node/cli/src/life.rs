//! The ends of a stream's life: `reckon stream delete`, `tombstone` and `truncate`.

use clap::Subcommand;
use reckon_api::{Client, v1};
use serde::Serialize;

use crate::append::Expectation;
use crate::failure::Failure;
use crate::output::Output;
use crate::streams::Show;

/// Describe a stream, or end its life or a part of it.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  reckon stream show orders-1
  reckon stream truncate orders-1 --before 100
  reckon stream delete orders-1 --expect 41"
)]
pub struct Stream {
    /// The stream to describe, as with `show`.
    #[arg(value_name = "STREAM")]
    stream: Option<String>,
    #[command(subcommand)]
    command: Option<StreamCommand>,
}

#[derive(Debug, Subcommand)]
enum StreamCommand {
    /// Describe one stream.
    Show(Show),
    /// Delete a stream: its events are gone from every read; an append opens it again.
    Delete(Delete),
    /// Delete a stream for ever: its name can never be used again.
    Tombstone(Tombstone),
    /// Remove the events of a stream below a version.
    Truncate(Truncate),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon stream delete orders-1
  reckon stream delete orders-1 --expect 41")]
struct Delete {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon stream tombstone orders-1 --expect 41")]
struct Tombstone {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon stream truncate orders-1 --before 100
  reckon stream truncate orders-1 --before 42 --expect 41")]
struct Truncate {
    #[command(flatten)]
    which: Which,
    /// The first version to keep; at most the last version plus one.
    #[arg(long = "before", value_name = "VERSION")]
    before_version: u64,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The stream's name.
    stream: String,
    /// What must hold for the stream: any, none (no events yet), exists, or its last version.
    #[arg(long, value_name = "any|none|exists|N", default_value = "any")]
    expect: Expectation,
}

/// What is left of the stream. Versions are −1 where there is nothing.
#[derive(Debug, Serialize)]
struct Printed {
    stream: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_version: Option<u64>,
    last_version: i64,
    position: u64,
}

impl Stream {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        match (self.command, self.stream) {
            (Some(StreamCommand::Show(show)), _) => show.run(client, output).await,
            (Some(StreamCommand::Delete(delete)), _) => {
                let Which { stream, expect } = delete.which;
                let request = v1::DeleteRequest {
                    stream_id: stream.clone(),
                    expectation: Some(expect.to_message()),
                };
                let v1::DeleteResponse { last_version, position } = client.delete(request).await?;
                let left = Printed { stream, first_version: None, last_version, position };
                print(&left, "deleted", output)
            }
            (Some(StreamCommand::Tombstone(tombstone)), _) => {
                let Which { stream, expect } = tombstone.which;
                let request = v1::TombstoneRequest {
                    stream_id: stream.clone(),
                    expectation: Some(expect.to_message()),
                };
                let v1::TombstoneResponse { last_version, position } =
                    client.tombstone(request).await?;
                let left = Printed { stream, first_version: None, last_version, position };
                print(&left, "tombstoned", output)
            }
            (Some(StreamCommand::Truncate(truncate)), _) => {
                let Which { stream, expect } = truncate.which;
                let request = v1::TruncateRequest {
                    stream_id: stream.clone(),
                    before_version: truncate.before_version,
                    expectation: Some(expect.to_message()),
                };
                let v1::TruncateResponse { first_version, last_version, position } =
                    client.truncate(request).await?;
                let first_version = Some(first_version);
                let left = Printed { stream, first_version, last_version, position };
                print(&left, "truncated", output)
            }
            (None, Some(stream)) => Show::of(stream).run(client, output).await,
            (None, None) => Err(Failure::usage("name a stream")),
        }
    }
}

fn print(left: &Printed, done: &str, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(left);
    }
    let first =
        left.first_version.map(|first| format!(", begins at version {first}")).unwrap_or_default();
    let stream = crate::output::plain(&left.stream);
    let Printed { last_version, position, .. } = left;
    output.line(&format!(
        "{stream} is {done}{first}; its last version was {last_version}, the notice is at position {position}"
    ))
}
