//! The simulation: real nodes on a simulated network, disk and clock, disturbed by faults that follow from a seed, and
//! checked against what their clients were told.
//!
//! `cargo test -p reckon-node --test simulation` runs a hundred fresh seeds; `-- --seeds N` runs N, `-- --seed S` replays
//! one, `-- --bug NAME` puts a known bug back that must be caught (`bugs.rs` names them). Each seed runs in a process of
//! its own: what libraries keep per process would otherwise differ from run to run.
//!
//! The parts, in the order in which a run meets them: `scenario` draws what the seed stands for; `world` is the clock and
//! the randomness of the process; `run` steps the simulation; `machine` is a node with its volume, `network` what connects
//! them; `operator`, `client` and `workload` are those who ask, `delivery` those who are delivered to; `nemesis` disturbs
//! with `faults`; `history` is what everybody was told, and `checks` judges by it.

mod arguments;
mod batch;
mod bugs;
mod checks;
mod client;
mod delivery;
mod faults;
mod history;
mod machine;
mod nemesis;
mod network;
mod one;
mod operator;
mod run;
mod scenario;
mod trace;
mod workload;
mod world;

#[path = "../support/log_disk.rs"]
mod log_disk;
#[path = "../support/volume.rs"]
mod volume;

use std::process::ExitCode;

use libtest_mimic::Trial;

use crate::arguments::Arguments;
use crate::checks::linearizable_tests::TESTS;

fn main() -> ExitCode {
    let (arguments, libtest) = match Arguments::parse(std::env::args()) {
        Ok(parsed) => parsed,
        Err(error) => {
            one::say(format!("{error:#}"));
            return ExitCode::FAILURE;
        }
    };
    if arguments.here {
        return one::run(&arguments);
    }
    let seeds = if arguments.bug.is_some() {
        Trial::test("a_known_bug_is_caught", move || batch::catch(&arguments))
    } else {
        Trial::test("seeds_keep_every_promise", move || batch::run(&arguments))
    };
    let checker = TESTS.iter().map(|(name, test)| {
        Trial::test(*name, || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&libtest, checker.chain([seeds]).collect()).exit_code()
}
