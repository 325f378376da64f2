//! One seed in this process.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::arguments::Arguments;
use crate::run::{self, Report};
use crate::{trace, world};

/// What stands before the report on the last line of the output.
pub const REPORT: &str = "report: ";

/// Runs the seed and writes its report.
pub fn run(arguments: &Arguments) -> ExitCode {
    let seed = arguments.seed.unwrap_or_default();
    // Elsewhere, and before: what this thread draws must not depend on whether anybody reads the log.
    let listening = std::thread::spawn(|| {
        if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_default_env() {
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
        }
    });
    listening.join().expect("the log can be listened to");
    world::enter(seed);
    if arguments.trace {
        trace::print_to(|line| {
            // Nobody is left to be told that nobody listens.
            let _ = writeln!(io::stderr(), "{line}");
        });
    }
    let panics = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&panics);
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default(panic);
        heard.lock().push(panic.to_string());
    }));
    if arguments.bug.is_some_and(|bug| !bug.plant()) {
        say("this bug needs the feature planted-bugs");
        return ExitCode::FAILURE;
    }
    let scenario = arguments.scenario(seed);
    let ran = std::panic::catch_unwind(|| run::run(&scenario));
    let mut report = ran.unwrap_or_else(|_| Report { seed, ..Report::default() });
    for panic in panics.lock().drain(..) {
        report.violations.push(("no-panic".to_owned(), panic));
    }
    let report = serde_json::to_string(&report).expect("a report is plain data");
    say(format!("{REPORT}{report}"));
    // What still lives has nothing left to do, and need not be taken apart.
    std::process::exit(0)
}

/// Writes a line of the test's output.
#[allow(clippy::print_stdout, reason = "this is a test's output")]
pub fn say(line: impl std::fmt::Display) {
    println!("{line}");
}
