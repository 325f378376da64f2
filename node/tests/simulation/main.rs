//! The simulation: real nodes on a simulated network, disk and clock, disturbed by faults that follow from a seed, and
//! checked against what their clients were told.
//!
//! `cargo test -p reckon-node --test simulation` runs 100 fresh seeds; `-- --seeds N` runs N, `-- --seed S` replays
//! one. Each seed runs in a process of its own: what libraries keep per process would otherwise differ from run to run.

mod checks;
mod client;
mod history;
mod machine;
mod nemesis;
mod network;
mod operator;
mod run;
mod runner;
mod scenario;
mod trace;
mod workload;
mod world;

#[path = "../support/log_disk.rs"]
mod log_disk;
#[path = "../support/volume.rs"]
mod volume;

use std::process::ExitCode;

fn main() -> ExitCode {
    runner::main()
}
