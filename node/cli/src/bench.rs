//! `reckon bench`: how fast a store takes appends, from this machine.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use reckon_api::client::{Appender, Expect};
use reckon_api::{Client, v1};
use serde::Serialize;
use uuid::Uuid;

use crate::failure::Failure;
use crate::output::Output;

/// Measure how fast the store takes appends.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Writes into streams named after --prefix, for real: use a store that you can throw away.

Examples:
  reckon bench --events 1000000 --streams 10000 --event-bytes 256 --in-flight 256")]
pub struct Bench {
    /// How many events to append.
    #[arg(long, default_value = "100000")]
    events: NonZeroU64,
    /// Over how many streams, in turn.
    #[arg(long, default_value = "1000")]
    streams: NonZeroU64,
    /// Events of one append.
    #[arg(long, default_value = "1")]
    per_append: NonZeroU32,
    /// Bytes of data of one event.
    #[arg(long, default_value_t = 256)]
    event_bytes: usize,
    /// Appends under way at once.
    #[arg(long, default_value = "256")]
    in_flight: NonZeroU32,
    /// What the names of the streams begin with.
    #[arg(long, default_value = "bench")]
    prefix: String,
    /// In how many parts of equal size the rate is reported.
    #[arg(long, default_value = "10")]
    parts: NonZeroU64,
}

/// The rate over one part.
#[derive(Debug, Serialize)]
struct Part {
    events: u64,
    seconds: f64,
    events_per_second: f64,
    /// Of single appends, in milliseconds.
    median_ms: f64,
    p99_ms: f64,
}

impl Bench {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let appender = client.appender();
        let appends = self.events.get().div_ceil(u64::from(self.per_append.get()));
        let mut from = 0;
        for part in 1..=self.parts.get() {
            let until = appends * part / self.parts.get();
            let measured = self.part(&appender, from..until).await?;
            if output.is_json() {
                output.json(&measured)?;
            } else {
                output.line(&format!(
                    "{:>12} events  {:>10.0} events/s  median {:>7.2} ms  p99 {:>7.2} ms",
                    measured.events,
                    measured.events_per_second,
                    measured.median_ms,
                    measured.p99_ms
                ))?;
            }
            from = until;
        }
        Ok(())
    }

    async fn part(
        &self,
        appender: &Appender,
        numbers: std::ops::Range<u64>,
    ) -> Result<Part, Failure> {
        let started = Instant::now();
        let events = (numbers.end - numbers.start) * u64::from(self.per_append.get());
        let mut took: Vec<Duration> = Vec::new();
        let mut under_way = futures::stream::iter(numbers)
            .map(|number| {
                let sent = Instant::now();
                let append = self.append(appender, number);
                async move { append.await.map(|_answer| sent.elapsed()) }
            })
            .buffer_unordered(self.in_flight.get() as usize);
        while let Some(append) = under_way.next().await {
            took.push(append?);
        }
        took.sort_unstable();
        let percentile = |percent: usize| took.get(took.len() * percent / 100).copied();
        let milliseconds = |percent| percentile(percent).unwrap_or_default().as_secs_f64() * 1000.0;
        let seconds = started.elapsed().as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "a rate is read to a few digits")]
        let events_per_second = events as f64 / seconds;
        Ok(Part {
            events,
            seconds,
            events_per_second,
            median_ms: milliseconds(50),
            p99_ms: milliseconds(99),
        })
    }

    fn append(
        &self,
        appender: &Appender,
        number: u64,
    ) -> impl Future<Output = Result<v1::AppendResponse, reckon_api::client::Error>> + use<> {
        let stream = format!("{}-{}", self.prefix, number % self.streams.get());
        // Neither all alike nor random: what an application writes can be compressed, but not to nothing.
        let mut data = format!("{{\"number\":{number},\"id\":\"{}\",\"text\":\"", Uuid::new_v4());
        while data.len() + 2 < self.event_bytes {
            data.push_str(WORDS[(number as usize + data.len()) % WORDS.len()]);
        }
        data.truncate(self.event_bytes.saturating_sub(2).max(data.len().min(64)));
        data.push_str("\"}");
        let data = bytes::Bytes::from(data);
        let events = (0..self.per_append.get())
            .map(|_| v1::NewEvent {
                event_id: Some(Uuid::now_v7().to_string()),
                event_type: EVENT_TYPE.to_owned(),
                data: data.clone(),
                ..v1::NewEvent::default()
            })
            .collect();
        let appender = appender.clone();
        async move { appender.append_to(stream, Expect::Any, events).await }
    }
}

const EVENT_TYPE: &str = "Benched";

const WORDS: [&str; 7] =
    ["order ", "customer ", "payment ", "shipped ", "42 ", "returned ", "item "];
