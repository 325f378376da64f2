//! Appends to streams and reads of them, side by side.

use std::sync::atomic::AtomicU64;

use reckon_api::Client;
use reckon_api::client::Error;

use super::append::{AppendArgs, Appends};
use super::load::{Since, Workload};
use super::read::{ReadStreamArgs, StreamReads};
use crate::failure::Failure;

/// How much of what.
#[derive(Debug, clap::Args)]
pub struct MixedArgs {
    /// How many of a hundred operations are reads.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=100))]
    reads_percent: u64,
    #[command(flatten)]
    append: AppendArgs,
    /// Events of one read at most, from the start of the stream; 0 is all.
    #[arg(long, default_value_t = 100)]
    limit: u64,
}

impl MixedArgs {
    pub fn workload(self, clients: Vec<Client>) -> Result<Mixed, Failure> {
        let reads = ReadStreamArgs::of_appended(&self.append, self.limit);
        Ok(Mixed {
            reads_percent: self.reads_percent,
            appends: self.append.workload(&clients)?,
            reads: reads.workload(clients),
        })
    }
}

/// The workload.
pub struct Mixed {
    reads_percent: u64,
    appends: Appends,
    reads: StreamReads,
}

impl Workload for Mixed {
    const KINDS: &'static [&'static str] = &["append", "read"];

    async fn operate(
        &self,
        client: u64,
        number: u64,
        events: &AtomicU64,
    ) -> (usize, Result<Since, Error>) {
        // Spread evenly: 37 and 100 have no common divisor.
        if number * 37 % 100 < self.reads_percent {
            (1, self.reads.operate(client, number, events).await.1)
        } else {
            self.appends.operate(client, number, events).await
        }
    }
}
