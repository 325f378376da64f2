//! Events as they come.

use futures::StreamExt as _;
use reckon_api::client::{Followed, Following};

use crate::events::{Shown, print};
use crate::failure::Failure;
use crate::output::Output;
use crate::read::notice;

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
