//! The store node's binary: parse, load configuration, start, wait for a signal.

use std::process::ExitCode;

use clap::Parser as _;
use reckon_node::command::{Cli, Command};
use reckon_node::config::Config;
use reckon_node::{logging, serve};
use tikv_jemallocator::Jemalloc;

/// An eighth of the processor time of appends was spent in the system's allocator.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the node ends");
            #[allow(clippy::print_stderr, reason = "also before logging is set up")]
            {
                eprintln!("reckon-node: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "these two flags ask for output")]
fn run() -> anyhow::Result<()> {
    let args = match Cli::parse().command {
        Command::Run(args) => args.config,
        Command::Dev(args) => args.into_config_args(),
    };
    if args.print_config_schema {
        println!("{}", Config::json_schema());
        return Ok(());
    }
    let config = Config::load(&args)?;
    if args.dump_config {
        print!("{}", config.dump()?);
        return Ok(());
    }
    logging::init(&config.logging)?;
    serve::until_signalled(config)
}
