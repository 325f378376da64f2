//! Runs seeds, each in a process of its own, and says what they came to.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Parser;
use parking_lot::Mutex;

use crate::run::{self, Report};
use crate::scenario::Scenario;
use crate::{trace, world};

/// Seeds that run when nothing else is asked: what a change is tried with before it is taken.
const SEEDS: u64 = 100;
/// Seeds of a batch that run twice, to compare their traces.
const TWICE: usize = 3;
/// What a run's process writes before its report.
const REPORT: &str = "report: ";

/// Runs the simulation.
#[derive(Debug, Clone, Parser)]
struct Args {
    /// How many fresh seeds to run.
    #[arg(long, default_value_t = SEEDS)]
    seeds: u64,
    /// Run this seed, and only it, twice.
    #[arg(long)]
    seed: Option<u64>,
    /// The first of the fresh seeds; by default it follows from the time.
    #[arg(long)]
    from: Option<u64>,
    /// Simulated seconds under faults, in place of what the seed draws.
    #[arg(long)]
    seconds: Option<u64>,
    /// Processes at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Only seeds that pass one of these filters: there is one test, `simulation`.
    filters: Vec<String>,
    /// List the tests instead of running them.
    #[arg(long)]
    list: bool,
    /// Run one seed in this process.
    #[arg(long, hide = true)]
    here: bool,
    /// Write every event of the trace to standard error.
    #[arg(long)]
    trace: bool,
    /// Taken for the sake of runners that pass it to every test binary.
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    ignored: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(long, hide = true)]
    test_threads: Option<usize>,
    #[arg(long, hide = true)]
    format: Option<String>,
}

impl Args {
    fn scenario(&self, seed: u64) -> Scenario {
        Scenario::draw(seed, self.seconds.map(Duration::from_secs))
    }

    fn replay(&self, seed: u64) -> String {
        let mut command = format!("cargo test -p reckon-node --test simulation -- --seed {seed}");
        if let Some(seconds) = self.seconds {
            command.push_str(&format!(" --seconds {seconds}"));
        }
        command
    }
}

/// The test binary.
pub fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        say("simulation: test\n\n1 test, 0 benchmarks");
        return ExitCode::SUCCESS;
    }
    if args.here {
        return here(&args);
    }
    let skipped = args.ignored
        || !(args.filters.is_empty() || args.filters.iter().any(|name| "simulation".contains(name)));
    if skipped {
        say("\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out");
        return ExitCode::SUCCESS;
    }
    batch(&args)
}

#[allow(clippy::print_stdout, reason = "this is a test's output")]
fn say(line: impl std::fmt::Display) {
    println!("{line}");
}

/// One seed, in this process. The report is the last line of its output.
fn here(args: &Args) -> ExitCode {
    let seed = args.seed.unwrap_or_default();
    let folder = tempfile::tempdir().expect("there is room for a temporary folder");
    world::enter(seed);
    if args.trace {
        trace::print_to(|line| {
            let _ = writeln!(io::stderr(), "{line}");
        });
    }
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_default_env() {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    }
    let panics = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&panics);
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default(panic);
        seen.lock().push(panic.to_string());
    }));
    let scenario = args.scenario(seed);
    let ran = std::panic::catch_unwind(|| run::run(&scenario, folder.path()));
    let mut report = ran.unwrap_or_else(|_| Report { seed, ..Report::default() });
    for panic in panics.lock().drain(..) {
        report.violations.push(("no-panic".to_owned(), panic));
    }
    let report = serde_json::to_string(&report).expect("a report is plain data");
    say(format!("{REPORT}{report}"));
    // Nothing that still lives has anything left to do.
    let _ = io::stdout().flush();
    std::process::exit(0)
}

/// Runs a seed in a process of its own.
fn elsewhere(args: &Args, seed: u64) -> anyhow::Result<(Report, String)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--here", "--seed", &seed.to_string()]);
    if let Some(seconds) = args.seconds {
        command.args(["--seconds", &seconds.to_string()]);
    }
    if args.trace {
        command.arg("--trace");
    }
    let output = command.stdin(Stdio::null()).output().context("a seed's process")?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(report) = text.lines().rev().find_map(|line| line.strip_prefix(REPORT)) else {
        bail!("the process of seed {seed} ended with {} and without a report\n{errors}", output.status);
    };
    Ok((serde_json::from_str(report)?, errors))
}

fn batch(args: &Args) -> ExitCode {
    let began = Instant::now();
    let first = args.from.unwrap_or_else(|| {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or_default() * 1_000
    });
    let seeds: Vec<u64> = match args.seed {
        Some(seed) => vec![seed],
        None => (first..first + args.seeds).collect(),
    };
    say(format!("\nrunning 1 test: {} seeds from {}\n", seeds.len(), seeds[0]));
    let queue = Arc::new(Mutex::new(
        seeds.iter().copied().enumerate().collect::<std::collections::VecDeque<_>>(),
    ));
    let (results, ended) = mpsc::channel();
    let workers: Vec<_> = (0..args.jobs.max(1))
        .map(|_| {
            let (queue, results, args) = (Arc::clone(&queue), results.clone(), args.clone());
            thread::spawn(move || {
                loop {
                    let Some((place, seed)) = queue.lock().pop_front() else { return };
                    let again = place < TWICE;
                    let result = elsewhere(&args, seed).and_then(|first| {
                        let second = again.then(|| elsewhere(&args, seed)).transpose()?;
                        Ok((first, second.map(|(report, _)| report)))
                    });
                    if results.send((seed, result)).is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    drop(results);
    let mut totals = Totals::default();
    for (seed, result) in ended {
        match result {
            Ok(((mut report, errors), second)) => {
                if let Some(second) = second {
                    totals.replayed += 1;
                    if (second.trace, second.trace_events) != (report.trace, report.trace_events) {
                        let what = format!(
                            "{} events, hash {:x}; then {} events, hash {:x}",
                            report.trace_events, report.trace, second.trace_events, second.trace
                        );
                        report.violations.push(("same-trace".to_owned(), what));
                    }
                }
                totals.add(&report);
                tell(args, &report, &errors);
            }
            Err(error) => {
                totals.failed.push(seed);
                say(format!("seed {seed} FAILED: {error:#}\n  replay: {}", args.replay(seed)));
            }
        }
    }
    for worker in workers {
        if worker.join().is_err() {
            say("a worker panicked");
        }
    }
    totals.say(began.elapsed());
    if totals.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(args: &Args, report: &Report, errors: &str) {
    let seed = report.seed;
    if report.violations.is_empty() {
        say(format!(
            "seed {seed} ok: {} operations ({} unknown), {} events, {} faults, {} s, serves {} ms after healing",
            report.operations,
            report.unknown,
            report.events,
            report.faults.values().sum::<u64>(),
            report.simulated_ms / 1000,
            report.recovery_ms,
        ));
        return;
    }
    say(format!("seed {seed} FAILED"));
    for (check, what) in report.violations.iter().take(10) {
        say(format!("  {check}: {what}"));
    }
    say(format!("  faults: {:?}", report.faults));
    say(format!("  replay: {}", args.replay(seed)));
    for line in errors.lines().rev().take(40).collect::<Vec<_>>().iter().rev() {
        say(format!("  | {line}"));
    }
}

/// The figures of a batch.
#[derive(Debug, Default)]
struct Totals {
    passed: usize,
    failed: Vec<u64>,
    replayed: usize,
    simulated_ms: u64,
    faults: BTreeMap<String, u64>,
    operations: usize,
    unknown: usize,
    reads: usize,
    events: usize,
    undecided: usize,
    seals: u64,
    recovery_ms_max: u64,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        if report.violations.is_empty() {
            self.passed += 1;
        } else {
            self.failed.push(report.seed);
        }
        self.simulated_ms += report.simulated_ms;
        for (kind, count) in &report.faults {
            *self.faults.entry(kind.clone()).or_default() += count;
        }
        self.operations += report.operations;
        self.unknown += report.unknown;
        self.reads += report.reads;
        self.events += report.events;
        self.undecided += report.undecided;
        self.seals += report.seals;
        self.recovery_ms_max = self.recovery_ms_max.max(report.recovery_ms);
    }

    fn say(&self, took: Duration) {
        say(format!(
            "\n{} seeds, {:.2} simulated hours, {} of them run twice with the same trace; {} operations checked ({} of unknown outcome, {} reads), {} events, {} seals; \
             slowest recovery {} ms; {} searches undecided",
            self.passed + self.failed.len(),
            self.simulated_ms as f64 / 3_600_000.0,
            self.replayed,
            self.operations,
            self.unknown,
            self.reads,
            self.events,
            self.seals,
            self.recovery_ms_max,
            self.undecided,
        ));
        let total: u64 = self.faults.values().sum();
        say(format!("{total} faults:"));
        for (kind, count) in &self.faults {
            say(format!("  {count:>6} {kind}"));
        }
        let verdict = if self.failed.is_empty() { "ok" } else { "FAILED" };
        say(format!(
            "\ntest result: {verdict}. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s",
            usize::from(self.failed.is_empty()),
            usize::from(!self.failed.is_empty()),
            took.as_secs_f64(),
        ));
    }
}
