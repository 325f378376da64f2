//! `reckon bench`: how fast a store takes appends and answers reads, from this machine.
//!
//! One load over many workloads: [`load`] decides when an operation begins, [`tally`] counts how it ended, a
//! workload knows what it does.

mod append;
mod consume;
mod load;
mod mixed;
mod payload;
mod read;
mod report;
mod tally;

use std::num::NonZeroUsize;

use clap::Subcommand;
use reckon_api::Client;

use crate::failure::Failure;
use crate::output::Output;
use append::AppendArgs;
use consume::{ConsumeArgs, DeliverArgs, FollowArgs};
use load::LoadArgs;
use mixed::MixedArgs;
use read::{ReadAllArgs, ReadStreamArgs};

/// Measure how fast the store takes appends and answers reads.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Writes into streams named after --prefix, for real: use a store that you can throw away.

Examples:
  reckon bench append --clients 256 --seconds 10
  reckon bench append --per-append 100 --streams 64 --operations 10000
  reckon bench append --clients 4096 --rate 20000
  reckon bench append --condition --clients 1024
  reckon bench read-stream --streams 1000 --limit 100
  reckon bench read-all --clients 1 --stale
  reckon bench read-all --rotate-tags 1000 --limit 100 --clients 64
  reckon bench mixed --reads-percent 80 --output json")]
pub struct Bench {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Debug, Subcommand)]
enum Workload {
    /// Append events.
    #[command(after_help = "Examples:\n  reckon bench append --clients 256 --seconds 10")]
    Append(Measured<AppendArgs>),
    /// Read streams that `append` filled.
    #[command(after_help = "Examples:\n  reckon bench read-stream --streams 1000 --limit 100")]
    ReadStream(Measured<ReadStreamArgs>),
    /// Read the whole store, all of it or some.
    #[command(
        after_help = "Examples:\n  reckon bench read-all --rotate-tags 1000 --limit 100 --clients 64"
    )]
    ReadAll(Box<Measured<ReadAllArgs>>),
    /// Consume a subscription and acknowledge what comes; each client is a consumer.
    #[command(
        after_help = "Examples:\n  reckon subscription create bench --all\n  reckon bench consume --clients 1"
    )]
    Consume(Measured<ConsumeArgs>),
    /// Follow the store, or streams of it.
    #[command(after_help = "Examples:\n  reckon bench follow --clients 1")]
    Follow(Measured<FollowArgs>),
    /// Append, and measure how long after the acknowledgement events are delivered.
    #[command(after_help = "Examples:\n  reckon bench deliver --rate 2000")]
    Deliver(Measured<DeliverArgs>),
    /// Append to streams and read them, side by side.
    #[command(after_help = "Examples:\n  reckon bench mixed --reads-percent 80")]
    Mixed(Measured<MixedArgs>),
}

/// A workload with the load that is put on it.
#[derive(Debug, clap::Args)]
struct Measured<W: clap::Args> {
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    workload: W,
    /// Connections that the clients share.
    #[arg(long, default_value = "1")]
    connections: NonZeroUsize,
}

impl Bench {
    /// `connect` makes a client with a connection of its own.
    pub async fn run(
        self,
        connect: impl Fn() -> Result<Client, Failure>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        match self.workload {
            Workload::Append(Measured { load, workload, connections }) => {
                let clients = clients(connections, connect)?;
                load.put_on("append", workload.workload(&clients)?, output).await
            }
            Workload::ReadStream(Measured { load, workload, connections }) => {
                let clients = clients(connections, connect)?;
                load.put_on("read-stream", workload.workload(clients), output).await
            }
            Workload::ReadAll(measured) => {
                let Measured { load, workload, connections } = *measured;
                let clients = clients(connections, connect)?;
                load.put_on("read-all", workload.workload(clients), output).await
            }
            Workload::Consume(Measured { load, workload, connections }) => {
                let clients = clients(connections, connect)?;
                let workload = workload.workload(clients, load.clients());
                load.put_on("consume", workload, output).await
            }
            Workload::Follow(Measured { load, workload, connections }) => {
                let clients = clients(connections, connect)?;
                let workload = workload.workload(clients, load.clients());
                load.put_on("follow", workload, output).await
            }
            Workload::Deliver(Measured { load, workload, connections }) => {
                let clients = clients(connections, connect)?;
                load.put_on("deliver", workload.workload(clients)?, output).await
            }
            Workload::Mixed(Measured { load, workload, connections }) => {
                let clients = clients(connections, connect)?;
                load.put_on("mixed", workload.workload(clients)?, output).await
            }
        }
    }
}

fn clients(
    connections: NonZeroUsize,
    connect: impl Fn() -> Result<Client, Failure>,
) -> Result<Vec<Client>, Failure> {
    (0..connections.get()).map(|_| connect()).collect()
}

/// The one of several that a client uses.
fn share<T>(of: &[T], client: u64) -> &T {
    &of[client as usize % of.len()]
}
