//! Reads: of streams that were filled before, and of the whole store, filtered or not.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::{Stream, StreamExt as _};
use reckon_api::client::Error;
use reckon_api::{Client, v1};

use super::append::AppendArgs;
use super::load::{Since, Workload};
use super::payload::{stream, tag};
use super::share;
use crate::filter::FilterArgs;

/// Which streams are read.
#[derive(Debug, clap::Args)]
pub struct ReadStreamArgs {
    /// How many streams there are, read in turn.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    streams: u64,
    /// What the names of the streams begin with.
    #[arg(long, default_value = "bench")]
    prefix: String,
    /// Events of one read at most, from the start of the stream; 0 is all.
    #[arg(long, default_value_t = 100)]
    limit: u64,
    /// Read whatever the node has, instead of everything acknowledged before.
    #[arg(long)]
    stale: bool,
}

impl ReadStreamArgs {
    /// Reads of the streams that such appends fill.
    pub fn of_appended(append: &AppendArgs, limit: u64) -> Self {
        let (streams, prefix) = append.streams();
        Self { streams, prefix: prefix.to_owned(), limit, stale: false }
    }

    pub fn workload(self, clients: Vec<Client>) -> StreamReads {
        StreamReads { args: self, clients }
    }
}

/// Reads of single streams.
pub struct StreamReads {
    args: ReadStreamArgs,
    clients: Vec<Client>,
}

impl Workload for StreamReads {
    const KINDS: &'static [&'static str] = &["read"];

    async fn operate(
        &self,
        client: u64,
        number: u64,
        events: &AtomicU64,
    ) -> (usize, Result<Since, Error>) {
        let request = v1::ReadRequest {
            stream_id: stream(&self.args.prefix, number, self.args.streams),
            limit: self.args.limit,
            consistency: consistency(self.args.stale),
            ..v1::ReadRequest::default()
        };
        let read =
            async { received(share(&self.clients, client).read(request).await?, events).await };
        (0, read.await.map(|()| Since::Due))
    }
}

/// What is read of the whole store.
#[derive(Debug, clap::Args)]
pub struct ReadAllArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Read the events of one tag, of so many that `append --tag-values` gave, another one each time.
    #[arg(long, value_name = "TAG VALUES", value_parser = clap::value_parser!(u64).range(1..))]
    rotate_tags: Option<u64>,
    /// Events of one read at most; 0 is all.
    #[arg(long, default_value_t = 0)]
    limit: u64,
    /// Read whatever the node has, instead of everything acknowledged before.
    #[arg(long)]
    stale: bool,
}

impl ReadAllArgs {
    pub fn workload(self, clients: Vec<Client>) -> StoreReads {
        StoreReads { filter: self.filter.to_message(), args: self, clients }
    }
}

/// Reads of the store.
pub struct StoreReads {
    args: ReadAllArgs,
    filter: Option<v1::Filter>,
    clients: Vec<Client>,
}

/// Coprime to any number of tags that is not a multiple of it, so that all of them are read, and none after its neighbour.
const TAG_STRIDE: u64 = 7919;

impl Workload for StoreReads {
    const KINDS: &'static [&'static str] = &["read"];

    async fn operate(
        &self,
        client: u64,
        number: u64,
        events: &AtomicU64,
    ) -> (usize, Result<Since, Error>) {
        let mut filter = self.filter.clone();
        if let Some(values) = self.args.rotate_tags {
            let tags = v1::Tags { tags: vec![tag(number * TAG_STRIDE % values)], all: false };
            let kind = Some(v1::filter_term::Kind::Tags(tags));
            filter.get_or_insert_default().terms.push(v1::FilterTerm { negate: false, kind });
        }
        let request = v1::ReadAllRequest {
            limit: self.args.limit,
            consistency: consistency(self.args.stale),
            filter,
            ..v1::ReadAllRequest::default()
        };
        let read =
            async { received(share(&self.clients, client).read_all(request).await?, events).await };
        (0, read.await.map(|()| Since::Due))
    }
}

/// Takes all events, and counts each when it is there.
async fn received(
    mut reading: impl Stream<Item = Result<v1::Event, Error>> + Unpin,
    events: &AtomicU64,
) -> Result<(), Error> {
    while let Some(event) = reading.next().await {
        event?;
        events.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn consistency(stale: bool) -> Option<v1::Consistency> {
    stale.then_some(v1::Consistency { kind: Some(v1::consistency::Kind::Stale(true)) })
}
