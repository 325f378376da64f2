//! `cargo demo`: see [`reckon_e2e::demo`].

use std::process::ExitCode;

use clap::Parser;
use reckon_e2e::{
    cluster::roles,
    demo::{self, Arguments},
    logging,
    progress::Progress,
};

fn main() -> ExitCode {
    if let Some(code) = roles::play() {
        return code;
    }
    let arguments = Arguments::parse();
    logging::start();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            Progress::start().say(format_args!("there is no runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(demo::run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Progress::start().say(format_args!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
