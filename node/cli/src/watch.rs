//! `reckon watch`: what happens to streams and subscriptions, as it happens.

use futures::StreamExt as _;
use reckon_api::client::Watched;
use reckon_api::{Client, v1};
use serde::Serialize;

use crate::consistency::Fresh;
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::read::notice;

/// Watch streams and subscriptions being created, changed and removed, until interrupted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon watch
  reckon watch --from 0 --limit 10
  reckon watch --output json | jq 'select(.change == \"deleted\").stream'")]
pub struct Watch {
    /// The position to begin at, inclusive; without it, what happens from now on.
    #[arg(long, value_name = "POSITION")]
    from: Option<u64>,
    /// End after this many notices.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// End when everything that happened until now has been shown.
    #[arg(long)]
    until_caught_up: bool,
    /// Also watch the streams whose names start with `$`.
    #[arg(long)]
    include_system: bool,
    #[command(flatten)]
    fresh: Fresh,
}

#[derive(Debug, Serialize)]
struct Printed<'a> {
    position: u64,
    epoch_us: u64,
    change: &'static str,
    stream: &'a str,
    first_version: i64,
    last_version: i64,
    events: u64,
}

/// The same of a subscription.
#[derive(Debug, Serialize)]
struct PrintedSubscription<'a> {
    position: u64,
    epoch_us: u64,
    change: &'static str,
    subscription: &'a str,
}

impl Watch {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut watching = client.watch(v1::WatchRequest {
            features: Vec::new(),
            from_position: self.from,
            include_system: self.include_system,
            consistency: self.fresh.to_message(),
        });
        while let Some(watched) = watching.next().await {
            match watched {
                Ok(Watched::Notice(notice)) => {
                    print(&notice, output)?;
                    left -= 1;
                    if left == 0 {
                        return Ok(());
                    }
                }
                Ok(Watched::CaughtUp { .. }) => {
                    output.flush()?;
                    if self.until_caught_up {
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
}

fn print(notice: &v1::Notice, output: &mut Output) -> Result<(), Failure> {
    if let Some(definition) = &notice.subscription {
        return print_subscription(notice, &definition.name, output);
    }
    let stream = notice.stream.clone().unwrap_or_default();
    let change = match notice.change() {
        v1::Change::Unspecified => "unknown",
        v1::Change::Created => "created",
        v1::Change::Updated => "truncated",
        v1::Change::Deleted => "deleted",
        v1::Change::Tombstoned => "tombstoned",
    };
    if output.is_json() {
        return output.json(&Printed {
            position: notice.position,
            epoch_us: notice.epoch_us,
            change,
            stream: &stream.stream_id,
            first_version: stream.first_version,
            last_version: stream.last_version,
            events: stream.events,
        });
    }
    let position = output.paint(&format!("{:>8}", notice.position), output::FAINT);
    let time = output.paint(&output::time(notice.epoch_us), output::FAINT);
    let change = output.paint(&format!("{change:<10}"), output::STRONG);
    output.line(&format!("{position}  {time}  {change}  {}", output::plain(&stream.stream_id)))
}

fn print_subscription(
    notice: &v1::Notice,
    subscription: &str,
    output: &mut Output,
) -> Result<(), Failure> {
    let change = match notice.change() {
        v1::Change::Created => "created",
        v1::Change::Updated => "updated",
        v1::Change::Deleted => "deleted",
        v1::Change::Tombstoned | v1::Change::Unspecified => "unknown",
    };
    if output.is_json() {
        let (position, epoch_us) = (notice.position, notice.epoch_us);
        return output.json(&PrintedSubscription { position, epoch_us, change, subscription });
    }
    let position = output.paint(&format!("{:>8}", notice.position), output::FAINT);
    let time = output.paint(&output::time(notice.epoch_us), output::FAINT);
    let change = output.paint(&format!("{change:<10}"), output::STRONG);
    let subscription = output::plain(subscription);
    output.line(&format!("{position}  {time}  {change}  subscription {subscription}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;

    #[test]
    fn a_notice_says_when_what_and_which() {
        let stream = v1::StreamInfo { stream_id: "orders-1".to_owned(), ..Default::default() };
        let notice = v1::Notice {
            position: 40,
            epoch_us: 1_700_000_000_123_456,
            change: v1::Change::Updated.into(),
            stream: Some(stream),
            ..Default::default()
        };
        let (mut output, written) = Output::to_memory(Format::Text);
        print(&notice, &mut output).unwrap();
        assert_eq!(written.text(), "      40  2023-11-14T22:13:20.123Z  truncated   orders-1\n");
    }
}
