//! `reckon sink`: the events of a subscription, delivered as CloudEvents over HTTP.

mod batch;
mod cloud_event;
mod probe;
mod request;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reckon_api::client::{ConsumerOptions, Progress};
use reckon_api::{Client, v1};
use tracing::Level;

use crate::args::duration;
use crate::consume::consumer_name;
use crate::failure::Failure;
use crate::logging;
use crate::output::Output;
use crate::signal::told_to_end;
use crate::subscription::Header;
use batch::Batches;
use cloud_event::Mode;
use probe::{Figures, Probe};
use request::{Requests, Target};

/// Requests at once, where the definition does not say.
const CONCURRENCY_DEFAULT: u32 = 8;

/// How long a request may take, where the definition does not say.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Deliver a subscription's events as CloudEvents over HTTP, to the sink in its definition.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What the answer to a request means:
  2xx                         the event is done
  408, 425, 429, 3xx, 5xx     it is tried again, not before Retry-After if there is one
  no answer, or none in time  it is tried again
  any other 4xx               it is parked, with the status and the answer's first 200 characters as the reason
A batch that is to be parked is sent again event by event, so that only those are parked that have to be.

Events of one key are sent one after the other. The attributes of a CloudEvent: id, source (reckon/STORE/STREAM), type,
subject (the stream), time, datacontenttype, reckonposition, reckonversion, reckonattempt, partitionkey, correlationid,
causationid. For https the system's certificates are trusted; SSL_CERT_FILE names others. What is changed in the
definition's sink is taken up by the next start.

Examples:
  reckon sink billing
  reckon sink billing --probe-listen 0.0.0.0:8080 --header-env authorization=TOKEN -o json")]
pub struct Sink {
    /// The subscription's name.
    subscription: String,
    /// The store's name in the source of every event; without it, the store's id.
    #[arg(long, value_name = "NAME", env = "RECKON_STORE")]
    store: Option<String>,
    /// A header of every request, besides those of the definition. May be given several times.
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<Header>,
    /// A header with the value of an environment variable, for secrets. May be given several times.
    #[arg(long = "header-env", value_name = "NAME=VARIABLE")]
    headers_env: Vec<Header>,
    /// Where to answer /healthz and /metrics.
    #[arg(long, value_name = "ADDRESS:PORT", env = "RECKON_PROBE_LISTEN")]
    probe_listen: Option<SocketAddr>,
    /// How long requests under way are waited for at the end.
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = duration)]
    drain_timeout: Duration,
    /// What is logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", env = "RECKON_LOG_LEVEL", default_value = "info")]
    log_level: Level,
}

impl Sink {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        let told_to_end = told_to_end()?;
        logging::init(output.format(), self.log_level);
        let figures = Figures::default();
        // Whoever asks after the process is answered also while the store is away.
        let _probe = match self.probe_listen {
            Some(address) => Some(Probe::start(address, &figures).await?),
            None => None,
        };
        let sink = self.definition(client).await?;
        let store = match &self.store {
            Some(store) => store.clone(),
            None => client.members().await?.cluster_id,
        };
        let batch_max = sink.batch_max.max(1) as usize;
        let concurrency = at_least_one(sink.concurrency, CONCURRENCY_DEFAULT) as usize;
        let target = Target {
            mode: if batch_max > 1 { Mode::Batch } else { Mode::of(sink.mode()) },
            headers: request::headers(&sink.headers, &self.headers, &self.headers_env)?,
            timeout: match sink.timeout_ms {
                0 => TIMEOUT_DEFAULT,
                timeout_ms => Duration::from_millis(timeout_ms),
            },
            url: sink.url,
            store,
        };
        tracing::info!(
            subscription = self.subscription, url = target.url, mode = ?target.mode, batch_max, concurrency,
            "delivering"
        );
        let requests = Arc::new(Requests::new(target, figures)?);
        let consumer = client
            .consumer(self.subscription.as_str())
            .options(ConsumerOptions {
                name: consumer_name(),
                // One event of a key is handled at a time, so a full batch takes as many keys.
                concurrency: concurrency * batch_max,
                drain_timeout: self.drain_timeout,
                ..ConsumerOptions::default()
            })
            .observe(tell);
        let batches = Batches::new(requests, batch_max, concurrency);
        let ended = consumer.run(|delivery| batches.deliver(delivery), told_to_end).await;
        tracing::info!("ended");
        Ok(ended?)
    }

    /// The sink in the subscription's definition.
    async fn definition(&self, client: &Client) -> Result<v1::Sink, Failure> {
        let subscription = Some(v1::SubscriptionRef::named(&self.subscription));
        let request = v1::GetSubscriptionRequest { subscription };
        let definition = client.get_subscription(request).await?.definition.unwrap_or_default();
        definition.sink.ok_or_else(|| {
            Failure::usage(format!(
                "`{0}` has no sink: `reckon subscription update {0} --sink-url …` gives it one",
                self.subscription
            ))
        })
    }
}

fn tell(progress: Progress) {
    match progress {
        Progress::Opened(opened) => tracing::info!(standby = opened.standby, "consuming"),
        Progress::Standby(standby) => tracing::info!(standby, "the consumer's role has changed"),
        Progress::Interrupted(error) => tracing::warn!(%error, "waiting for the store"),
        _ => {}
    }
}

const fn at_least_one(said: u32, default: u32) -> u32 {
    if said == 0 { default } else { said }
}
