//! What is known of streams: `reckon streams`, `reckon stream show` and `reckon version-at`.

use futures::TryStreamExt as _;
use reckon_api::{Client, v1};
use serde::Serialize;

use crate::consistency::Fresh;
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::time::{MOMENT, Moment};

/// Rows are collected into tables of this many, so that a long list needs little memory.
const ROWS_PER_TABLE: usize = 1000;

/// List the streams.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon streams
  reckon streams --pattern 'orders-*-v2' --include-deleted
  reckon streams --prefix orders- --output json | jq .stream")]
pub struct List {
    /// Only streams whose names start with this.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,
    /// Only streams whose names end with this.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    suffix: String,
    /// Only streams by pattern: `*` any run of characters, `?` one, `\` takes the next as it is.
    #[arg(long, value_name = "PATTERN", default_value = "", hide_default_value = true)]
    pattern: String,
    /// Only streams whose names match this regular expression (RE2), anywhere unless anchored.
    #[arg(long, value_name = "REGEX", default_value = "", hide_default_value = true)]
    regex: String,
    /// Also list deleted and tombstoned streams.
    #[arg(long)]
    include_deleted: bool,
    /// Also list the streams whose names start with `$`.
    #[arg(long)]
    include_system: bool,
    #[command(flatten)]
    fresh: Fresh,
}

/// Describe one stream.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon stream show orders-1
  reckon stream show orders-1 --output json | jq .last_version")]
pub struct Show {
    /// The stream's name.
    stream: String,
    #[command(flatten)]
    fresh: Fresh,
}

/// Say which version a stream was at, at a time.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon version-at orders-1 -1h
  reckon version-at orders-1 2026-03-01T12:00:00Z --output json | jq .version")]
pub struct VersionAt {
    /// The stream's name.
    stream: String,
    /// The time, inclusive: RFC 3339, µs since 1970, `now`, or -1h.
    #[arg(value_name = MOMENT, allow_hyphen_values = true)]
    time: Moment,
    #[command(flatten)]
    fresh: Fresh,
}

impl List {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let request = v1::ListStreamsRequest {
            page_size: 0,
            page_token: String::new(),
            prefix: self.prefix,
            include_system: self.include_system,
            consistency: self.fresh.to_message(),
            pattern: self.pattern,
            suffix: self.suffix,
            regex: self.regex,
            include_deleted: self.include_deleted,
        };
        let mut streams = client.list_streams(request).try_chunks(ROWS_PER_TABLE);
        let mut chunk = match streams.try_next().await {
            Ok(first) => first.unwrap_or_default(),
            Err(error) => return Err(error.1.into()),
        };
        loop {
            print(&chunk, output)?;
            chunk = match streams.try_next().await {
                Ok(Some(next)) => next,
                Ok(None) => return Ok(()),
                Err(error) => return Err(error.1.into()),
            };
        }
    }
}

impl Show {
    /// What `reckon stream NAME` means.
    pub fn of(stream: String) -> Self {
        Self { stream, fresh: Fresh::default() }
    }

    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let request =
            v1::GetStreamRequest { stream_id: self.stream, consistency: self.fresh.to_message() };
        print(&[client.get_stream(request).await?], output)
    }
}

#[derive(Debug, Serialize)]
struct At<'a> {
    stream: &'a str,
    version: i64,
}

impl VersionAt {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let request = v1::VersionAtRequest {
            stream_id: self.stream.clone(),
            time_us: self.time.0,
            consistency: self.fresh.to_message(),
        };
        let answer = client.version_at(request).await?;
        if output.is_json() {
            return output.json(&At { stream: &self.stream, version: answer.version });
        }
        match answer.version {
            ..0 => output.line("none yet"),
            version => output.line(&version.to_string()),
        }
    }
}

/// A stream as JSON. Versions are −1 and times 0 where there is nothing.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    stream: &'a str,
    exists: bool,
    first_version: i64,
    last_version: i64,
    events: u64,
    first_epoch_us: u64,
    last_epoch_us: u64,
    deleted: bool,
    tombstoned: bool,
}

fn print(streams: &[v1::StreamInfo], output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return streams.iter().try_for_each(|stream| {
            output.json(&Printed {
                stream: &stream.stream_id,
                exists: stream.exists,
                first_version: stream.first_version,
                last_version: stream.last_version,
                events: stream.events,
                first_epoch_us: stream.first_epoch_us,
                last_epoch_us: stream.last_epoch_us,
                deleted: stream.deleted,
                tombstoned: stream.tombstoned,
            })
        });
    }
    let rows = streams.iter().map(|stream| {
        vec![
            stream.stream_id.clone(),
            stream.events.to_string(),
            version(stream.first_version),
            version(stream.last_version),
            time(stream.first_epoch_us),
            time(stream.last_epoch_us),
            state(stream).to_owned(),
        ]
    });
    output.table(
        &["STREAM", "EVENTS", "FIRST", "LAST", "SINCE", "UNTIL", "STATE"],
        &["EVENTS", "FIRST", "LAST"],
        rows,
    )
}

const fn state(stream: &v1::StreamInfo) -> &'static str {
    if stream.tombstoned {
        "tombstoned"
    } else if stream.deleted {
        "deleted"
    } else if stream.exists {
        "live"
    } else {
        "unknown"
    }
}

fn version(version: i64) -> String {
    if version < 0 { "-".to_owned() } else { version.to_string() }
}

fn time(epoch_us: u64) -> String {
    if epoch_us == 0 { "-".to_owned() } else { output::time(epoch_us) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;

    fn shown(stream: v1::StreamInfo, format: Format) -> String {
        let (mut output, written) = Output::to_memory(format);
        print(&[stream], &mut output).unwrap();
        written.text()
    }

    #[test]
    fn a_stream_that_never_was_has_dashes() {
        let stream = v1::StreamInfo {
            stream_id: "unheard-of".to_owned(),
            first_version: -1,
            last_version: -1,
            ..Default::default()
        };
        assert_eq!(
            shown(stream.clone(), Format::Text),
            "STREAM      EVENTS  FIRST  LAST  SINCE  UNTIL  STATE\n\
             unheard-of       0      -     -  -      -      unknown\n"
        );
        let object: serde_json::Value = serde_json::from_str(&shown(stream, Format::Json)).unwrap();
        assert_eq!(object["exists"], false);
        assert_eq!(object["last_version"], -1);
    }
}
