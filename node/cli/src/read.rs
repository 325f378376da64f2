//! `reckon read` and `reckon read-all`.

use std::io::{self, IsTerminal as _, Write as _};
use std::str::FromStr;

use reckon_api::{Client, v1};

use crate::consistency::Fresh;
use crate::count::{self, Counted};
use crate::events::{Shown, print_all};
use crate::failure::Failure;
use crate::filter::FilterArgs;
use crate::follow::{self, Until};
use crate::output::{self, Output};
use crate::time::{MOMENT, Moment};

/// Read the events of one stream.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon read orders-1
  reckon read orders-1 --from end --backward --limit 1
  reckon read orders-1 --since 2026-03-01T00:00:00Z --until -1h")]
pub struct Read {
    /// The stream's name.
    stream: String,
    /// Where to begin, inclusive: a version, `start`, `end`, or a time.
    #[arg(long, value_name = "VERSION|start|end|TIME", allow_hyphen_values = true)]
    from: Option<From>,
    #[command(flatten)]
    how: How,
}

/// Read the events of all streams.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon read-all --since -1h --type OrderPlaced --tag vip
  reckon read-all --pattern 'orders-*' --not-tag test --where 'event.data.total > 100'
  reckon read-all --query type=Reserved,tag=seat:7 --count
  reckon read-all --follow --output json | jq .type")]
pub struct ReadAll {
    /// Where to begin, inclusive: a position, `start`, `end`, or a time.
    #[arg(long, value_name = "POSITION|start|end|TIME", allow_hyphen_values = true)]
    from: Option<From>,
    /// Go on with new events as they come, until interrupted.
    #[arg(long, short, conflicts_with_all = ["backward", "stale", "at_least", "until", "count"])]
    follow: bool,
    /// Print how many events there are instead of the events.
    #[arg(long, conflicts_with_all = ["backward", "limit"])]
    count: bool,
    /// Also show the streams whose names start with `$`.
    #[arg(long)]
    include_system: bool,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    filter: FilterArgs,
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
    #[command(flatten)]
    times: Times,
    #[command(flatten)]
    fresh: Fresh,
}

/// Bounds by the time when the store took an event.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Times {
    /// Only events that the store took at this time or later: RFC 3339, µs since 1970, `now`, or -1h.
    #[arg(long, value_name = MOMENT, allow_hyphen_values = true)]
    pub since: Option<Moment>,
    /// Only events that the store took at this time or earlier.
    #[arg(long, value_name = MOMENT, allow_hyphen_values = true)]
    pub until: Option<Moment>,
}

/// Where a read begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    At(u64),
    Start,
    End,
    Time(Moment),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "start" => return Ok(Self::Start),
            "end" => return Ok(Self::End),
            _ => {}
        }
        // A plain number is a place; a time of microseconds is for --since.
        if text.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(number) = text.parse()
        {
            return Ok(Self::At(number));
        }
        text.parse()
            .map(Self::Time)
            .map_err(|_| "a number from 0, `start`, `end`, or a time such as -1h".to_owned())
    }
}

impl From {
    pub fn to_message(self) -> v1::ReadFrom {
        use v1::read_from::Kind;
        let kind = match self {
            Self::At(at) => Kind::At(at),
            Self::Start => Kind::Start(true),
            Self::End => Kind::End(true),
            Self::Time(Moment(epoch_us)) => Kind::TimeUs(epoch_us),
        };
        v1::ReadFrom { kind: Some(kind) }
    }
}

impl How {
    fn direction(&self) -> i32 {
        if self.backward { v1::Direction::Backward } else { v1::Direction::Forward }.into()
    }
}

impl Read {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let reading = client
            .read(v1::ReadRequest {
                direction: self.how.direction(),
                from: self.from.map(From::to_message),
                limit: self.how.limit.unwrap_or(0),
                consistency: self.how.fresh.to_message(),
                since_us: self.how.times.since.map(|moment| moment.0),
                until_us: self.how.times.until.map(|moment| moment.0),
                stream_id: self.stream,
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
        if self.count {
            return self.count(client, output).await;
        }
        let reading = client.read_all(self.request()).await?;
        print_all(reading, output, Shown::Position).await
    }

    fn request(&self) -> v1::ReadAllRequest {
        v1::ReadAllRequest {
            direction: self.how.direction(),
            from: self.from.map(From::to_message),
            limit: self.how.limit.unwrap_or(0),
            consistency: self.how.fresh.to_message(),
            include_system: self.include_system,
            since_us: self.how.times.since.map(|moment| moment.0),
            until_us: self.how.times.until.map(|moment| moment.0),
            filter: self.filter.to_message(),
        }
    }

    /// Counts what would be read.
    async fn count(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let mut times = self.how.times;
        let mut from_position = None;
        match self.from {
            None | Some(From::Start) => {}
            Some(From::At(position)) => from_position = Some(position),
            Some(From::End) => from_position = Some(end(client).await?),
            // Inclusive either way; the later of two bounds is the one that counts.
            Some(From::Time(from)) => {
                times.since = Some(times.since.map_or(from, |since| Moment(since.0.max(from.0))));
            }
        }
        let answer = client
            .count(v1::CountRequest {
                from_position,
                to_position: None,
                since_us: times.since.map(|moment| moment.0),
                until_us: times.until.map(|moment| moment.0),
                filter: self.filter.to_message(),
                include_system: self.include_system,
                consistency: self.how.fresh.to_message(),
            })
            .await?;
        count::print(&Counted::from(&answer), output)
    }

    async fn follow(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let since = self.how.times.since;
        let from = match (self.from, since) {
            // What is older would be left out anyway.
            (None | Some(From::Start), Some(since)) => Some(From::Time(since)),
            (from, _) => from,
        };
        let following = client.follow(v1::FollowRequest {
            selector: None,
            filter: self.filter.to_message(),
            from: from.map(From::to_message),
            include_system: self.include_system,
            consistency: None,
        });
        let since_us = since.map_or(0, |moment| moment.0);
        let until = Until { events: self.how.limit, caught_up: false, since_us };
        follow::print_until(following, until, Shown::Position, output).await
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

/// Tells a person who watches that it pauses; programs see it in the events' absence.
pub fn notice(text: &str) {
    let mut stderr = io::stderr().lock();
    if stderr.is_terminal() {
        let line = output::paint(text, output::FAINT, output::wants_colour(true));
        // A lost notice is no reason to stop following.
        let _ = writeln!(stderr, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_begins_at_a_number_the_start_the_end_or_a_time() {
        assert_eq!("7".parse(), Ok(From::At(7)));
        assert_eq!("start".parse(), Ok(From::Start));
        assert_eq!("end".parse(), Ok(From::End));
        assert_eq!("2023-11-14T22:13:20Z".parse(), Ok(From::Time(Moment(1_700_000_000_000_000))));
        assert!(matches!("-1h".parse(), Ok(From::Time(_))));
        assert!("-1".parse::<From>().is_err());
        assert!("middle".parse::<From>().is_err());
    }
}
