//! `reckon follow`: events as they come.

use futures::StreamExt as _;
use reckon_api::Client;
use reckon_api::client::{Followed, Following};
use reckon_api::v1::{self, event_pattern, selector};

use crate::consistency::Fresh;
use crate::events::{Shown, print};
use crate::failure::Failure;
use crate::filter::FilterArgs;
use crate::output::Output;
use crate::read::{From, notice};

/// Print events as they come, from anywhere on, without a subscription.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon follow --from end
  reckon follow --stream orders-1 --from 12 --until-caught-up
  reckon follow --pattern 'orders-*' --where 'event.data.total > 100' --output json | jq .data")]
pub struct Follow {
    /// Only this stream, which may be one whose name starts with `$`.
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// Only events that have these fields in their envelope or metadata: a JSON object.
    #[arg(long, value_name = "JSON", conflicts_with = "stream")]
    fields: Option<String>,
    /// Where to begin, inclusive: a position (with --stream a version), `start`, `end`, or a time.
    #[arg(long, value_name = "POSITION|start|end|TIME", allow_hyphen_values = true)]
    from: Option<From>,
    /// End after this many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// End when everything there is has been shown.
    #[arg(long)]
    until_caught_up: bool,
    /// Also show the streams whose names start with `$`.
    #[arg(long)]
    include_system: bool,
    #[command(flatten)]
    fresh: Fresh,
    #[command(flatten)]
    filter: FilterArgs,
}

impl Follow {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let shown = if self.stream.is_some() { Shown::Version } else { Shown::Position };
        let fields = |fields| {
            let kind = Some(event_pattern::Kind::Fields(fields));
            selector::Kind::EventPattern(v1::EventPattern { kind })
        };
        let kind = self.stream.map(selector::Kind::Stream).or(self.fields.map(fields));
        let following = client.follow(v1::FollowRequest {
            selector: kind.map(|kind| v1::Selector { kind: Some(kind) }),
            filter: self.filter.to_message(),
            from: self.from.map(From::to_message),
            include_system: self.include_system,
            consistency: self.fresh.to_message(),
        });
        let until = Until { events: self.limit, caught_up: self.until_caught_up, since_us: 0 };
        print_until(following, until, shown, output).await
    }
}

/// What of it is shown, and when it ends; by default all of it, and never.
#[derive(Debug, Clone, Copy, Default)]
pub struct Until {
    /// End after this many events.
    pub events: Option<u64>,
    /// End when everything that there is has been shown.
    pub caught_up: bool,
    /// Events that the store took earlier are left out; microseconds since 1970.
    pub since_us: u64,
}

/// Prints what a follower sees. While the store is away it waits.
pub async fn print_until(
    mut following: Following,
    until: Until,
    shown: Shown,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut left = until.events.unwrap_or(u64::MAX);
    while let Some(followed) = following.next().await {
        match followed {
            Ok(Followed::Events(events)) => {
                for event in events.iter().filter(|event| event.epoch_us >= until.since_us) {
                    print(event, output, shown)?;
                    left -= 1;
                    if left == 0 {
                        return Ok(());
                    }
                }
            }
            // Nothing more for now: whoever reads must not wait for what is buffered.
            Ok(Followed::CaughtUp { .. }) => {
                output.flush()?;
                if until.caught_up {
                    return Ok(());
                }
            }
            Err(error) if error.retryable() => {
                output.flush()?;
                notice(&format!("waiting for the store: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
