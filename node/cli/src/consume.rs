//! `reckon consume`: the events of a subscription, printed, or given to a command each.

use std::cell::RefCell;
use std::ffi::OsString;
use std::time::Duration;

use reckon_api::client::{ConsumerOptions, Progress, Settlement};
use reckon_api::{Client, v1};
use tokio::sync::Notify;

use crate::args::duration;
use crate::events::{Shown, print};
use crate::exec::Exec;
use crate::failure::Failure;
use crate::output::Output;
use crate::read::notice;
use crate::signal::told_to_end;

/// Consume a subscription: print its events, or run a command for each, and acknowledge them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A command is given the event as a line of JSON on its standard input, and in its environment RECKON_SUBSCRIPTION,
RECKON_EVENT_ID, RECKON_EVENT_TYPE, RECKON_STREAM, RECKON_VERSION, RECKON_POSITION, RECKON_ATTEMPT and RECKON_KEY. Its
exit code says what becomes of the event: 0 done, 75 to be tried again, those of --park-on parked, any other to be
tried again with the code as the reason. Events of one key are handled one after the other.

Examples:
  reckon consume billing
  reckon consume billing --limit 10 --output json | jq .type
  reckon consume billing --concurrency 4 --park-on 65 --exec ./bill --currency CHF")]
pub struct Consume {
    /// The subscription's name.
    subscription: String,
    /// Run this command for each event; takes all words behind it, so it comes last.
    #[arg(long, value_name = "PROGRAM [ARGUMENT]...", num_args = 1.., allow_hyphen_values = true)]
    exec: Vec<OsString>,
    /// An exit code with which the command has the event parked. May be given several times.
    #[arg(long, value_name = "CODE", requires = "exec")]
    park_on: Vec<i32>,
    /// Commands that run at once, each for another key.
    #[arg(long, value_name = "N", default_value_t = ConsumerOptions::CONCURRENCY_DEFAULT as u32, value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: u32,
    /// End after this many events, those included that are to be tried again.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// End when all that the store has was handled; what is to be tried again later is not waited for.
    #[arg(long)]
    until_caught_up: bool,
    /// How long running commands are waited for at the end.
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = duration)]
    drain_timeout: Duration,
}

impl Consume {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let told_to_end = told_to_end()?;
        // Whoever sits before it is told at once that there is no such subscription, or no store.
        let subscription = Some(v1::SubscriptionRef::named(&self.subscription));
        client.get_subscription(v1::GetSubscriptionRequest { subscription }).await?;

        let options = ConsumerOptions {
            name: consumer_name(),
            concurrency: self.concurrency as usize,
            limit: self.limit,
            until_caught_up: self.until_caught_up,
            drain_timeout: self.drain_timeout,
            ..ConsumerOptions::default()
        };
        let consumer =
            client.consumer(self.subscription.as_str()).options(options).observe(|progress| {
                match progress {
                    Progress::Opened(opened) if opened.standby => notice("standing by"),
                    Progress::Standby(true) => notice("standing by"),
                    Progress::Standby(false) => notice("being served"),
                    Progress::Interrupted(error) => {
                        notice(&format!("waiting for the store: {error}"));
                    }
                    _ => {}
                }
            });
        let exec = Exec::new(self.exec, self.park_on, &self.subscription);
        let failed = Failed::default();
        let shutdown = async {
            tokio::select! {
                () = told_to_end => {}
                () = failed.noticed.notified() => {}
            }
        };
        let output = RefCell::new(output);
        let handler = async |delivery: v1::Delivery| {
            if let Some(exec) = &exec {
                let unable = |source| Failure::Input { name: exec.program(), source };
                return exec.run(&delivery).await.map_err(unable);
            }
            let output = &mut **output.borrow_mut();
            // What is acknowledged has been seen.
            print(&delivery.event.unwrap_or_default(), output, Shown::Position)?;
            output.flush()?;
            Ok(Settlement::Ack)
        };
        let (handler, failed) = (&handler, &failed);
        let ended = consumer
            .run(
                |delivery| async move {
                    handler(delivery).await.unwrap_or_else(|failure| failed.take(failure))
                },
                shutdown,
            )
            .await;
        match failed.first.take() {
            Some(failure) => Err(failure),
            None => Ok(ended?),
        }
    }
}

/// Why nothing more can be handled here: neither the event's fault nor the store's.
#[derive(Debug, Default)]
struct Failed {
    first: RefCell<Option<Failure>>,
    noticed: Notify,
}

impl Failed {
    /// Ends the consumer; the event goes to somebody else.
    fn take(&self, failure: Failure) -> Settlement {
        let settlement = Settlement::retry(failure.to_string());
        self.first.borrow_mut().get_or_insert(failure);
        self.noticed.notify_one();
        settlement
    }
}

/// What people see of this consumer: the pod's or the machine's name, where the system says it.
pub fn consumer_name() -> String {
    std::env::var("HOSTNAME").unwrap_or_else(|_| format!("reckon-{}", std::process::id()))
}
