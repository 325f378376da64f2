//! Appends: of one event or many, to one stream or many, multiplexed or each as a call of its own, with conditions or
//! without.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use reckon_api::client::{Appender, Error};
use reckon_api::{Client, v1};

use super::load::{Since, Workload};
use super::payload::{Payload, PayloadArgs, tag};
use super::share;
use crate::failure::Failure;

/// What is appended, and how.
#[derive(Debug, clap::Args)]
pub struct AppendArgs {
    #[command(flatten)]
    payload: PayloadArgs,
    /// Events of one append.
    #[arg(long, default_value = "1")]
    per_append: NonZeroU32,
    /// Send each append as a call of its own, instead of many over one stream.
    #[arg(long)]
    unary: bool,
    /// Append on the condition that nothing else has taken the client's tag since its last append.
    #[arg(long, conflicts_with = "tag_values")]
    condition: bool,
}

impl AppendArgs {
    /// How many streams there are, and what their names begin with.
    pub fn streams(&self) -> (u64, &str) {
        (self.payload.streams, &self.payload.prefix)
    }

    pub fn workload(self, clients: &[Client]) -> Result<Appends, Failure> {
        let ways = clients.iter().map(|client| {
            if self.unary { Way::Unary(client.clone()) } else { Way::Batch(client.appender()) }
        });
        Ok(Appends {
            ways: ways.collect(),
            per_append: self.per_append.get().into(),
            last_seen: self.condition.then(|| (0..TAGS).map(|_| AtomicU64::new(0)).collect()),
            payload: Payload::new(self.payload)?,
        })
    }
}

/// Different tags of appends with a condition: more than there are clients, or they would refuse each other.
const TAGS: usize = 1 << 16;

/// How an append is sent.
enum Way {
    Unary(Client),
    Batch(Appender),
}

/// The workload.
pub struct Appends {
    ways: Vec<Way>,
    per_append: u64,
    payload: Payload,
    /// With conditions: the position behind each client's last event.
    last_seen: Option<Vec<AtomicU64>>,
}

impl Workload for Appends {
    const KINDS: &'static [&'static str] = &["append"];

    async fn operate(
        &self,
        client: u64,
        number: u64,
        events: &AtomicU64,
    ) -> (usize, Result<Since, Error>) {
        let first = number * self.per_append;
        let mut append = v1::StreamAppend {
            stream_id: self.payload.stream(number),
            expectation: None,
            events: (first..first + self.per_append).map(|n| self.payload.event(n)).collect(),
        };
        let seen = self.last_seen.as_ref().map(|seen| &seen[client as usize % TAGS]);
        let condition = seen.map(|seen| {
            let own = tag(client);
            for event in &mut append.events {
                event.tags = vec![own.clone()];
            }
            condition(own, seen.load(Ordering::Relaxed))
        });
        let request = v1::AppendRequest { appends: vec![append], condition };
        let appended = match share(&self.ways, client) {
            Way::Unary(client) => client.append(request).await,
            Way::Batch(appender) => appender.append(request).await,
        };
        let ended = appended.map(|appended| {
            events.fetch_add(self.per_append, Ordering::Relaxed);
            if let Some(seen) = seen {
                seen.store(appended.last_position + 1, Ordering::Relaxed);
            }
            Since::Due
        });
        (0, ended)
    }
}

/// Nothing with this tag at or behind a position.
fn condition(tag: String, from: u64) -> v1::AppendCondition {
    let item = v1::QueryItem { types: Vec::new(), tags: vec![tag] };
    v1::AppendCondition {
        query: Some(v1::Query { items: vec![item] }),
        after_position: from.checked_sub(1),
    }
}
