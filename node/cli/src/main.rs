//! `reckon`: the command line of a store, also `kubectl reckon`.

mod append;
mod args;
mod bench;
mod check;
mod cluster;
mod consistency;
mod consume;
mod count;
mod event;
mod event_json;
mod events;
mod exec;
mod expression;
mod failure;
mod filter;
mod follow;
mod health;
mod import;
mod life;
mod logging;
mod output;
mod query;
mod read;
mod selector;
mod signal;
mod sink;
mod streams;
mod subscription;
mod time;
mod watch;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use args::{Args, Command};
use failure::Failure;
use mimalloc::MiMalloc;
use output::Output;
use tokio::runtime::Builder;

/// As the node's: `reckon bench` measures the store, not the system's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let args = Args::from_invocation();
    let mut output = Output::to_stdout(args.output);
    let ended = run(args, &mut output).and_then(|()| output.finish());
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(output.format()),
    }
}

fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    if let Command::Completions { shell } = args.command {
        return args::completions(shell, output);
    }
    let runtime = match args.command {
        // Many clients in one process, and perhaps the store beside it: half of the machine is theirs.
        Command::Bench(_) => {
            let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
            Builder::new_multi_thread().worker_threads((processors / 2).max(1)).enable_all().build()
        }
        _ => Builder::new_current_thread().enable_all().build(),
    };
    runtime.map_err(Failure::Runtime)?.block_on(async {
        let client = args.connection.client()?;
        match args.command {
            Command::Append(append) => append.run(&client, output).await,
            Command::Read(read) => read.run(&client, output).await,
            Command::ReadAll(read) => read.run(&client, output).await,
            Command::Count(count) => count.run(&client, output).await,
            Command::Any(any) => any.run(&client, output).await,
            Command::HasEvents(has) => has.run(&client, output).await,
            Command::Event(event) => event.run(&client, output).await,
            Command::CheckExpression(check) => check.run(&client, output).await,
            Command::Streams(list) => list.run(&client, output).await,
            Command::Stream(stream) => stream.run(&client, output).await,
            Command::VersionAt(at) => at.run(&client, output).await,
            Command::Subscription(subscription) => subscription.run(&client, output).await,
            Command::Consume(consume) => consume.run(&client, output).await,
            Command::Sink(sink) => sink.run(&client, output).await,
            Command::Follow(follow) => follow.run(&client, output).await,
            Command::Watch(watch) => watch.run(&client, output).await,
            Command::Checkpoint(checkpoint) => checkpoint.run(&client, output).await,
            Command::Status(status) => status.run(&client, output).await,
            Command::Health(health) => health.run(&client, output).await,
            Command::Check(check) => check.run(&client, output).await,
            Command::WatchStatus(watch) => watch.run(&client, output).await,
            Command::Members => cluster::members(&client, output).await,
            Command::Bench(bench) => bench.run(|| args.connection.client(), output).await,
            Command::Completions { .. } => unreachable!("answered above, without a client"),
        }
    })
}
