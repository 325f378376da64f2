//! Many seeds, each in a process of its own, and the figures of all.

use std::collections::{BTreeMap, VecDeque};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use libtest_mimic::Failed;
use parking_lot::Mutex;

use crate::arguments::Arguments;
use crate::delivery::Counts;
use crate::one::{REPORT, say};
use crate::run::Report;

/// Seeds of a batch that run twice, to compare their traces.
const TWICE: usize = 3;
/// Lines of a failed seed's errors that are shown.
const ERROR_LINES: usize = 40;

/// A seed that ran: its report, and what its process wrote to standard error.
type Ran = anyhow::Result<(Report, String)>;

/// Runs all seeds; fails when one of them does.
pub fn run(arguments: &Arguments) -> Result<(), Failed> {
    let seeds = arguments.all_seeds();
    say(format!("{} seeds from {}", seeds.len(), seeds[0]));
    let mut totals = Totals::default();
    for (seed, ran) in start(arguments, &seeds, TWICE) {
        match ran {
            Ok((report, errors)) => {
                totals.add(&report);
                tell(arguments, &report, &errors);
            }
            Err(error) => {
                totals.failed.push(seed);
                say(format!("seed {seed} FAILED: {error:#}\n  replay: {}", arguments.replay(seed)));
            }
        }
    }
    totals.say();
    if totals.failed.is_empty() {
        return Ok(());
    }
    Err(format!("seeds that failed: {:?}", totals.failed).into())
}

/// Runs seeds until one catches the planted bug; fails when none does.
pub fn catch(arguments: &Arguments) -> Result<(), Failed> {
    let seeds = arguments.all_seeds();
    let name = arguments.bug.map_or("none", |bug| bug.name());
    for (place, (seed, ran)) in start(arguments, &seeds, 0).into_iter().enumerate() {
        let (report, _) = ran?;
        let Some((check, what)) = report.violations.first() else { continue };
        let mut checks: Vec<_> = report.violations.iter().map(|(check, _)| check).collect();
        checks.sort_unstable();
        checks.dedup();
        say(format!("{name} was caught by {checks:?} after {} seeds", place + 1));
        say(format!("  seed {seed}: {check}: {what}\n  replay: {}", arguments.replay(seed)));
        return Ok(());
    }
    Err(format!("{name} was not caught by {} seeds", seeds.len()).into())
}

/// Runs seeds in processes, some at a time, the first `twice` of them twice.
fn start(arguments: &Arguments, seeds: &[u64], twice: usize) -> mpsc::Receiver<(u64, Ran)> {
    let queue: VecDeque<_> = seeds.iter().copied().enumerate().collect();
    let queue = Arc::new(Mutex::new(queue));
    let (results, ended) = mpsc::sync_channel(0);
    for _ in 0..arguments.jobs {
        let (queue, results, arguments) = (Arc::clone(&queue), results.clone(), arguments.clone());
        thread::spawn(move || {
            loop {
                let Some((place, seed)) = queue.lock().pop_front() else { return };
                let ran = once(&arguments, seed).and_then(|(mut report, errors)| {
                    if place < twice {
                        compare(&mut report, &once(&arguments, seed)?.0);
                    }
                    Ok((report, errors))
                });
                if results.send((seed, ran)).is_err() {
                    // Whoever asked has seen enough.
                    return;
                }
            }
        });
    }
    ended
}

fn once(arguments: &Arguments, seed: u64) -> Ran {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--here").args(arguments.of_one(seed));
    let output = command.stdin(Stdio::null()).output().context("a seed's process")?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(report) = text.lines().rev().find_map(|line| line.strip_prefix(REPORT)) else {
        bail!("its process ended with {} and without a report\n{text}{errors}", output.status);
    };
    Ok((serde_json::from_str(report)?, errors))
}

/// The same seed must have done the same.
fn compare(report: &mut Report, again: &Report) {
    report.runs += 1;
    if (again.trace, again.trace_events) != (report.trace, report.trace_events) {
        let what = format!(
            "{} events with hash {:x}, then {} events with hash {:x}",
            report.trace_events, report.trace, again.trace_events, again.trace
        );
        report.violations.push(("same-trace".to_owned(), what));
    }
}

fn tell(arguments: &Arguments, report: &Report, errors: &str) {
    let seed = report.seed;
    if report.violations.is_empty() {
        say(format!(
            "seed {seed} ok: {} operations ({} unknown), {} events, {} deliveries, {} seals, {} faults, \
             {} s, serves {} ms after healing",
            report.operations,
            report.unknown,
            report.events,
            report.deliveries.delivered + report.deliveries.followed,
            report.seals,
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
    let lines: Vec<_> = errors.lines().collect();
    for line in &lines[lines.len().saturating_sub(ERROR_LINES)..] {
        say(format!("  | {line}"));
    }
    say(format!("  replay: {}", arguments.replay(seed)));
}

/// The figures of a batch.
#[derive(Debug, Default)]
struct Totals {
    passed: usize,
    failed: Vec<u64>,
    twice: usize,
    simulated_ms: u64,
    faults: BTreeMap<String, u64>,
    operations: usize,
    unknown: usize,
    reads: usize,
    events: usize,
    undecided: usize,
    seals: u64,
    recovery_ms_max: u64,
    deliveries: Counts,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        if report.violations.is_empty() {
            self.passed += 1;
        } else {
            self.failed.push(report.seed);
        }
        for (kind, count) in &report.faults {
            *self.faults.entry(kind.clone()).or_default() += count;
        }
        self.twice += usize::from(report.runs > 0);
        self.simulated_ms += report.simulated_ms;
        self.operations += report.operations;
        self.unknown += report.unknown;
        self.reads += report.reads;
        self.events += report.events;
        self.undecided += report.undecided;
        self.seals += report.seals;
        self.recovery_ms_max = self.recovery_ms_max.max(report.recovery_ms);
        self.deliveries.add(&report.deliveries);
    }

    fn say(&self) {
        let seeds = self.passed + self.failed.len();
        say(format!(
            "\n{seeds} seeds ({} passed, {} of all run twice), {:.2} simulated hours",
            self.passed,
            self.twice,
            Duration::from_millis(self.simulated_ms).as_secs_f64() / 3_600.0,
        ));
        say(format!(
            "{} operations checked ({} of unknown outcome, {} reads), {} events, {} seals",
            self.operations, self.unknown, self.reads, self.events, self.seals,
        ));
        say(format!(
            "slowest recovery {} ms after healing; {} searches for an order undecided",
            self.recovery_ms_max, self.undecided,
        ));
        let it = &self.deliveries;
        say(format!(
            "{} consumers were given {} events, {} of them again and {} after they were parked; {} resets; \
             followers {} events",
            it.consumers, it.delivered, it.redelivered, it.replayed, it.resets, it.followed,
        ));
        say(format!("{} faults:", self.faults.values().sum::<u64>()));
        for (kind, count) in &self.faults {
            say(format!("  {count:>6} {kind}"));
        }
    }
}
