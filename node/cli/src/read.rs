//! `reckon read` and `reckon read-all`.

use std::io::{self, IsTerminal as _, Write as _};
use std::str::FromStr;

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use reckon_api::client::{self, Followed};
use reckon_api::{Client, v1};

use crate::event_json::Printed;
use crate::failure::Failure;
use crate::output::{self, Output};

/// How much of an event's data a person is shown on its line, in characters.
const DATA_SHOWN_MAX: usize = 120;

/// Read the events of one stream.
#[derive(Debug, clap::Args)]
pub struct Read {
    /// The stream's name.
    stream: String,
    /// The version to begin at, inclusive, or `start` or `end`.
    #[arg(long, value_name = "N|start|end")]
    from: Option<From>,
    #[command(flatten)]
    how: How,
}

/// Read the events of all streams.
#[derive(Debug, clap::Args)]
pub struct ReadAll {
    /// The position to begin at, inclusive, or `start` or `end`.
    #[arg(long, value_name = "N|start|end")]
    from: Option<From>,
    /// Go on with new events as they come, until interrupted.
    #[arg(long, short, conflicts_with_all = ["backward", "stale"])]
    follow: bool,
    /// Also show the streams whose names start with `$`.
    #[arg(long)]
    include_system: bool,
    #[command(flatten)]
    how: How,
}

/// What both kinds of read have in common.
#[derive(Debug, clap::Args)]
struct How {
    /// Newest first.
    #[arg(long)]
    backward: bool,
    /// No more than this many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Take what the first node that answers has, even if it lags behind.
    #[arg(long)]
    stale: bool,
}

/// Where a read begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    At(u64),
    Start,
    End,
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "start" => Ok(Self::Start),
            "end" => Ok(Self::End),
            number => number
                .parse()
                .map(Self::At)
                .map_err(|_| "a number from 0, `start` or `end`".to_owned()),
        }
    }
}

impl From {
    fn to_message(self) -> v1::ReadFrom {
        use v1::read_from::Kind;
        let kind = match self {
            Self::At(at) => Kind::At(at),
            Self::Start => Kind::Start(true),
            Self::End => Kind::End(true),
        };
        v1::ReadFrom { kind: Some(kind) }
    }
}

impl How {
    fn direction(&self) -> i32 {
        if self.backward { v1::Direction::Backward } else { v1::Direction::Forward }.into()
    }

    fn consistency(&self) -> Option<v1::Consistency> {
        self.stale.then_some(v1::Consistency { kind: Some(v1::consistency::Kind::Stale(true)) })
    }
}

impl Read {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let reading = client
            .read(v1::ReadRequest {
                direction: self.how.direction(),
                from: self.from.map(From::to_message),
                limit: self.how.limit.unwrap_or(0),
                consistency: self.how.consistency(),
                stream_id: self.stream,
                ..v1::ReadRequest::default()
            })
            .await?;
        print_all(reading, output, Shown::Version).await
    }
}

impl ReadAll {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        if self.follow {
            return self.follow(client, output).await;
        }
        let reading = client
            .read_all(v1::ReadAllRequest {
                direction: self.how.direction(),
                from: self.from.map(From::to_message),
                limit: self.how.limit.unwrap_or(0),
                consistency: self.how.consistency(),
                include_system: self.include_system,
                ..v1::ReadAllRequest::default()
            })
            .await?;
        print_all(reading, output, Shown::Position).await
    }

    async fn follow(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let from = match self.from {
            None | Some(From::Start) => 0,
            Some(From::At(position)) => position,
            Some(From::End) => end(client).await?,
        };
        let mut left = self.how.limit.unwrap_or(u64::MAX);
        let mut following = client.follow_all(from, self.include_system);
        while let Some(followed) = following.next().await {
            match followed {
                Ok(Followed::Event(event)) => {
                    print(&event, output, Shown::Position)?;
                    left -= 1;
                    if left == 0 {
                        return Ok(());
                    }
                }
                // Nothing more for now: whoever reads must not wait for what is buffered.
                Ok(Followed::CaughtUp { .. }) => output.flush()?,
                Err(error) if error.retryable() => {
                    output.flush()?;
                    notice(&format!("waiting for the store: {error}"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The position that the next event will have.
async fn end(client: &Client) -> Result<u64, Failure> {
    let request = v1::ReadAllRequest {
        direction: v1::Direction::Backward.into(),
        limit: 1,
        ..Default::default()
    };
    Ok(client.read_all(request).await?.header().next_position)
}

/// Tells a person who watches that following pauses; programs see it in the events' absence.
fn notice(text: &str) {
    let mut stderr = io::stderr().lock();
    if stderr.is_terminal() {
        let line = output::paint(text, output::FAINT, output::wants_colour(true));
        // A lost notice is no reason to stop following.
        let _ = writeln!(stderr, "{line}");
    }
}

/// What number leads an event's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Version,
    Position,
}

async fn print_all(
    mut events: impl Stream<Item = Result<v1::Event, client::Error>> + Unpin,
    output: &mut Output,
    shown: Shown,
) -> Result<(), Failure> {
    while let Some(event) = events.try_next().await? {
        print(&event, output, shown)?;
    }
    Ok(())
}

fn print(event: &v1::Event, output: &mut Output, shown: Shown) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&Printed::from(event));
    }
    let (number, place) = match shown {
        Shown::Version => (event.version, String::new()),
        Shown::Position => {
            (event.position, format!("{}@{}  ", output::plain(&event.stream_id), event.version))
        }
    };
    let number = output.paint(&format!("{number:>8}"), output::FAINT);
    let time = output.paint(&output::time(event.epoch_us), output::FAINT);
    let kind = output.paint(&output::plain(&event.event_type), output::STRONG);
    let line = format!("{number}  {time}  {place}{kind}  {}", data_shown(event));
    output.line(line.trim_end())
}

/// An event's data for a person: its beginning if it is text, else how much there is.
fn data_shown(event: &v1::Event) -> String {
    let Ok(text) = std::str::from_utf8(&event.data) else {
        return format!("({} bytes)", event.data.len());
    };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(DATA_SHOWN_MAX) {
        None => output::plain(&text),
        Some((end, _)) => format!("{}… ({} bytes)", output::plain(&text[..end]), event.data.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;

    fn event(data: &[u8]) -> v1::Event {
        v1::Event {
            stream_id: "orders-1".to_owned(),
            version: 2,
            position: 40,
            event_type: "OrderPlaced".to_owned(),
            data: data.to_vec().into(),
            epoch_us: 1_700_000_000_123_456,
            ..Default::default()
        }
    }

    fn shown(event: &v1::Event, format: Format, shown: Shown) -> String {
        let (mut output, written) = Output::to_memory(format);
        print(event, &mut output, shown).unwrap();
        written.text()
    }

    #[test]
    fn a_stream_is_read_by_versions_and_the_store_by_positions() {
        let event = event(b"{\"total\":\n 12}");
        assert_eq!(
            shown(&event, Format::Text, Shown::Version),
            "       2  2023-11-14T22:13:20.123Z  OrderPlaced  {\"total\": 12}\n"
        );
        assert_eq!(
            shown(&event, Format::Text, Shown::Position),
            "      40  2023-11-14T22:13:20.123Z  orders-1@2  OrderPlaced  {\"total\": 12}\n"
        );
        assert!(shown(&event, Format::Json, Shown::Version).starts_with("{\"event_id\":"));
    }

    #[test]
    fn long_and_binary_data_are_summed_up() {
        assert_eq!(data_shown(&event(&[0xff, 0xfe])), "(2 bytes)");
        let long = data_shown(&event("é".repeat(1000).as_bytes()));
        assert!(long.ends_with("… (2000 bytes)"), "{long}");
        assert_eq!(long.chars().filter(|c| *c == 'é').count(), DATA_SHOWN_MAX);
        assert_eq!(data_shown(&event(b"")), "");
    }

    #[test]
    fn a_read_begins_at_a_number_the_start_or_the_end() {
        assert_eq!("7".parse(), Ok(From::At(7)));
        assert_eq!("start".parse(), Ok(From::Start));
        assert_eq!("end".parse(), Ok(From::End));
        assert!("-1".parse::<From>().is_err());
    }
}
