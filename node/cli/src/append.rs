//! `reckon append`: one event from arguments. Many, from a file or standard input, are an import.

use std::io::{self, Read as _};
use std::str::FromStr;

use reckon_api::client::Expect;
use reckon_api::{Client, v1};
use serde::Serialize;
use uuid::Uuid;

use crate::event_json::JSON;
use crate::failure::Failure;
use crate::import;
use crate::output::{self, Output};
use crate::query::{Item, QUERY_ITEM, query};

/// Standard input, where a file's name may stand.
pub const STDIN: &str = "-";

/// Append one event to a stream, or many from a file or standard input.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon append orders-1 --type OrderPlaced --data '{\"total\": 12}' --expect none
  reckon append seats --type Reserved --data '{\"seat\": 7}' --tag seat:7 \\
    --if-none type=Reserved,tag=seat:7 --after 1041
  reckon append --file events.jsonl")]
pub struct Append {
    /// The stream's name.
    #[arg(required_unless_present = "file", requires = "event_type")]
    stream: Option<String>,

    /// The event's type.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,

    /// The event's data: the text itself, @FILE for a file's content, or - for standard input.
    #[arg(long, value_name = "JSON|@FILE|-", default_value = "", hide_default_value = true)]
    data: String,

    /// What the data is; anything but JSON has to be named.
    #[arg(long, value_name = "TYPE", default_value = JSON)]
    content_type: String,

    /// The event's metadata as JSON: the text itself or @FILE.
    #[arg(long, value_name = "JSON|@FILE", default_value = "", hide_default_value = true)]
    metadata: String,

    /// What must hold for the stream: any, none (no events yet), exists, or its last version.
    #[arg(long, value_name = "any|none|exists|N", default_value = "any")]
    expect: Expectation,

    /// The event's id, a UUID. The same append with the same id takes effect once.
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,

    /// A tag of the event. May be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,

    /// Append only if no event matches: any of its types and all of its tags. Several: none may match.
    #[arg(long, value_name = QUERY_ITEM)]
    if_none: Vec<Item>,

    /// Only events above this position count for --if-none: where the read ended that it was decided on.
    #[arg(long, value_name = "POSITION", requires = "if_none")]
    after: Option<u64>,

    /// Append many: JSON lines from a file, or from standard input with -. Each line has `stream`, `type` and
    /// `data`, and whatever else `read --output json` prints; with `event_id` an import can be repeated.
    #[arg(
        long,
        short,
        value_name = "FILE|-",
        conflicts_with_all = ["stream", "event_type", "data", "content_type", "metadata", "expect", "id", "tags", "if_none", "after"]
    )]
    file: Option<String>,
}

/// An [`Expect`] as the command line writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expectation(Expect);

impl Expectation {
    /// As the protocol writes it.
    pub fn to_message(self) -> v1::Expectation {
        self.0.to_message()
    }
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expect = match text {
            "any" => Expect::Any,
            "none" => Expect::NoStream,
            "exists" => Expect::StreamExists,
            version => Expect::Version(
                version
                    .parse()
                    .map_err(|_| "one of any, none, exists, or a version from 0".to_owned())?,
            ),
        };
        Ok(Self(expect))
    }
}

impl Append {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        if let Some(file) = &self.file {
            return import::run(file, client, output).await;
        }
        let (stream, event) = self.event()?;
        let append = v1::StreamAppend {
            stream_id: stream.to_owned(),
            expectation: Some(self.expect.to_message()),
            events: vec![event],
        };
        let request = v1::AppendRequest { appends: vec![append], condition: self.condition() };
        let answer = client.append(request).await?;
        print(&answer, output)
    }

    fn condition(&self) -> Option<v1::AppendCondition> {
        let query = (!self.if_none.is_empty()).then(|| query(&self.if_none))?;
        Some(v1::AppendCondition { query: Some(query), after_position: self.after })
    }

    fn event(&self) -> Result<(&str, v1::NewEvent), Failure> {
        let (Some(stream), Some(event_type)) = (&self.stream, &self.event_type) else {
            return Err(Failure::usage("an append needs a stream and --type, or --file"));
        };
        let data = content(&self.data, true)?;
        let metadata = content(&self.metadata, false)?;
        if self.content_type == JSON {
            check_json("data", &data)?;
        }
        check_json("metadata", &metadata)?;
        let event = v1::NewEvent {
            event_id: self.id.map(|id| id.to_string()),
            event_type: event_type.clone(),
            data: data.into(),
            data_content_type: self.content_type.clone(),
            metadata: metadata.into(),
            tags: self.tags.clone(),
            ..Default::default()
        };
        Ok((stream, event))
    }
}

/// What an argument stands for: itself, a file, or standard input.
fn content(argument: &str, may_be_stdin: bool) -> Result<Vec<u8>, Failure> {
    let of = |name: &str| {
        let name = name.to_owned();
        |source| Failure::Input { name, source }
    };
    if may_be_stdin && argument == STDIN {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map_err(of("standard input"))?;
        return Ok(bytes);
    }
    match argument.strip_prefix('@') {
        Some(file) => std::fs::read(file).map_err(of(file)),
        None => Ok(argument.as_bytes().to_vec()),
    }
}

/// A store takes any bytes; a person who forgot a quote wants to know.
fn check_json(name: &str, bytes: &[u8]) -> Result<(), Failure> {
    if bytes.is_empty() {
        return Ok(());
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Usage {
            message: format!("the {name} is not JSON: {error}"),
            hint: (name == "data").then_some("--content-type text/plain, or whatever the data is"),
        }),
    }
}

#[derive(Debug, Serialize)]
struct Printed<'a> {
    streams: Vec<PrintedStream<'a>>,
    first_position: u64,
    last_position: u64,
    epoch_us: u64,
}

#[derive(Debug, Serialize)]
struct PrintedStream<'a> {
    stream: &'a str,
    last_version: u64,
}

fn print(answer: &v1::AppendResponse, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        let streams = answer
            .streams
            .iter()
            .map(|stream| PrintedStream {
                stream: &stream.stream_id,
                last_version: stream.last_version,
            })
            .collect();
        return output.json(&Printed {
            streams,
            first_position: answer.first_position,
            last_position: answer.last_position,
            epoch_us: answer.epoch_us,
        });
    }
    let rows = answer.streams.iter().map(|stream| {
        vec![
            stream.stream_id.clone(),
            stream.last_version.to_string(),
            answer.last_position.to_string(),
            output::time(answer.epoch_us),
        ]
    });
    output.table(&["STREAM", "VERSION", "POSITION", "TIME"], &["VERSION", "POSITION"], rows)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command, Format};

    fn append(arguments: &[&str]) -> Append {
        let line = ["reckon", "append"].iter().chain(arguments);
        match Args::try_parse_from(line).unwrap().command {
            Command::Append(append) => *append,
            command => panic!("{command:?}"),
        }
    }

    #[test]
    fn arguments_become_an_event() {
        let append = append(&[
            "orders-1",
            "--type",
            "OrderPlaced",
            "--data",
            "{\"total\": 12}",
            "--tag",
            "a",
            "--tag",
            "b",
            "--id",
            "0190163d-8694-739b-aea5-966c26f8ad91",
            "--expect",
            "none",
        ]);
        let (stream, event) = append.event().unwrap();
        assert_eq!(stream, "orders-1");
        assert_eq!(append.expect.0, Expect::NoStream);
        assert_eq!(event.data, "{\"total\": 12}".as_bytes());
        assert_eq!(event.tags, ["a", "b"]);
        assert_eq!(event.event_id(), "0190163d-8694-739b-aea5-966c26f8ad91");
    }

    #[test]
    fn a_condition_has_its_items_and_where_they_begin_to_count() {
        let given = append(&[
            "s",
            "--type",
            "T",
            "--if-none",
            "type=A,tag=x",
            "--if-none",
            "tag=y",
            "--after",
            "7",
        ]);
        let condition = given.condition().unwrap();
        assert_eq!(condition.query.unwrap().items.len(), 2);
        assert_eq!(condition.after_position, Some(7));
        assert_eq!(append(&["s", "--type", "T"]).condition(), None);
    }

    #[test]
    fn data_that_is_not_json_has_to_be_named() {
        let failure = append(&["s", "--type", "T", "--data", "{oops"]).event().unwrap_err();
        assert!(failure.to_string().contains("not JSON"), "{failure}");
        append(&["s", "--type", "T", "--data", "{oops", "--content-type", "text/plain"])
            .event()
            .unwrap();
    }

    #[test]
    fn data_may_come_from_a_file() {
        let missing = append(&["s", "--type", "T", "--data", "@/does/not/exist"]);
        assert!(matches!(missing.event(), Err(Failure::Input { .. })));
        let manifest = concat!("@", env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let (_, event) =
            append(&["s", "--type", "T", "--data", manifest, "--content-type", "text/toml"])
                .event()
                .map(|(stream, event)| (stream.to_owned(), event))
                .unwrap();
        assert!(event.data.starts_with(b"[package]"));
    }

    #[test]
    fn expectations_are_words_or_a_version() {
        for (text, expected) in [
            ("any", Expect::Any),
            ("none", Expect::NoStream),
            ("exists", Expect::StreamExists),
            ("0", Expect::Version(0)),
            ("18446744073709551615", Expect::Version(u64::MAX)),
        ] {
            assert_eq!(text.parse(), Ok(Expectation(expected)));
        }
        assert!("-2".parse::<Expectation>().is_err());
    }

    #[test]
    fn the_answer_names_the_version_to_expect_next_time() {
        let answer = v1::AppendResponse {
            streams: vec![v1::StreamAppended { stream_id: "s".to_owned(), last_version: 4 }],
            first_position: 9,
            last_position: 9,
            epoch_us: 1_700_000_000_123_456,
        };
        let (mut output, written) = Output::to_memory(Format::Text);
        print(&answer, &mut output).unwrap();
        assert_eq!(
            written.text(),
            "STREAM  VERSION  POSITION  TIME\ns             4         9  2023-11-14T22:13:20.123Z\n"
        );
        let (mut output, written) = Output::to_memory(Format::Json);
        print(&answer, &mut output).unwrap();
        assert_eq!(
            written.text(),
            "{\"streams\":[{\"stream\":\"s\",\"last_version\":4}],\"first_position\":9,\
             \"last_position\":9,\"epoch_us\":1700000000123456}\n"
        );
    }
}
