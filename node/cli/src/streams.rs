//! `reckon streams` and `reckon stream`.

use futures::TryStreamExt as _;
use reckon_api::{Client, v1};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{self, Output};

/// Rows are collected into tables of this many, so that a long list needs little memory.
const ROWS_PER_TABLE: usize = 1000;

/// List the streams.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only streams whose names start with this.
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// Also list the streams whose names start with `$`.
    #[arg(long)]
    include_system: bool,
}

/// Describe one stream.
#[derive(Debug, clap::Args)]
pub struct Stream {
    /// The stream's name.
    stream: String,
}

impl List {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let request = v1::ListStreamsRequest {
            prefix: self.prefix,
            include_system: self.include_system,
            ..Default::default()
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

impl Stream {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        print(&[client.get_stream(self.stream).await?], output)
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
        ]
    });
    output.table(
        &["STREAM", "EVENTS", "FIRST", "LAST", "SINCE", "UNTIL"],
        &["EVENTS", "FIRST", "LAST"],
        rows,
    )
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
            "STREAM      EVENTS  FIRST  LAST  SINCE  UNTIL\n\
             unheard-of       0      -     -  -      -\n"
        );
        let object: serde_json::Value = serde_json::from_str(&shown(stream, Format::Json)).unwrap();
        assert_eq!(object["exists"], false);
        assert_eq!(object["last_version"], -1);
    }
}
