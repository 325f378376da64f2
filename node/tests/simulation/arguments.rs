//! The command line: what is the simulation's own, and what every test binary takes.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::bugs::Bug;
use crate::scenario::Scenario;

/// How many seeds run when nothing else is asked, fresh ones each time: what has once been mended has a test of its own.
const SEEDS: u64 = 100;

/// How to run seeds.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// How many seeds.
    pub seeds: u64,
    /// This seed, and only it.
    pub seed: Option<u64>,
    /// The first of them; it follows from the time when it is not given.
    pub from: Option<u64>,
    /// Simulated seconds under faults, in place of what the seed draws.
    pub seconds: Option<u64>,
    /// Processes at a time.
    pub jobs: usize,
    /// A known bug that is put back, and must be caught.
    pub bug: Option<Bug>,
    /// Whether every event of the trace is written to standard error.
    pub trace: bool,
    /// One seed, in this process.
    pub here: bool,
}

impl Arguments {
    /// Takes what is the simulation's from the command line; the rest is libtest's.
    pub fn parse(
        words: impl IntoIterator<Item = String>,
    ) -> anyhow::Result<(Self, libtest_mimic::Arguments)> {
        let mut own = Self {
            seeds: SEEDS,
            seed: None,
            from: None,
            seconds: None,
            jobs: 2,
            bug: None,
            trace: false,
            here: false,
        };
        let mut words = words.into_iter();
        let mut others: Vec<String> = words.next().into_iter().collect();
        while let Some(word) = words.next() {
            let (name, mut value) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word.clone(), None),
            };
            let mut next = || {
                let value = value.take().or_else(|| words.next());
                value.with_context(|| format!("{name} needs a value"))
            };
            match name.as_str() {
                "--seeds" => own.seeds = next()?.parse()?,
                "--seed" => own.seed = Some(next()?.parse()?),
                "--from" => own.from = Some(next()?.parse()?),
                "--seconds" => own.seconds = Some(next()?.parse()?),
                "--jobs" => own.jobs = next()?.parse()?,
                "--bug" => own.bug = Some(next()?.parse()?),
                "--trace" => own.trace = true,
                "--here" => own.here = true,
                _ => others.push(word),
            }
        }
        if own.jobs == 0 || own.seeds == 0 {
            bail!("--jobs and --seeds are at least 1");
        }
        Ok((own, libtest_mimic::Arguments::from_iter(others)))
    }

    /// What a seed stands for, as these arguments have it.
    pub fn scenario(&self, seed: u64) -> Scenario {
        Scenario::draw(seed, self.seconds.map(Duration::from_secs), self.bug)
    }

    /// The arguments of the process of one seed.
    pub fn of_one(&self, seed: u64) -> Vec<String> {
        let mut words = vec!["--seed".to_owned(), seed.to_string()];
        if let Some(seconds) = self.seconds {
            words.extend(["--seconds".to_owned(), seconds.to_string()]);
        }
        if let Some(bug) = self.bug {
            words.extend(["--bug".to_owned(), bug.name().to_owned()]);
        }
        if self.trace {
            words.push("--trace".to_owned());
        }
        words
    }

    /// The command that runs a seed again.
    pub fn replay(&self, seed: u64) -> String {
        let mut command = "cargo test -p reckon-node --test simulation".to_owned();
        if self.bug.is_some() {
            command.push_str(" --features planted-bugs");
        }
        if !cfg!(debug_assertions) {
            command.push_str(" --release");
        }
        command.push_str(" --");
        for word in self.of_one(seed) {
            let _ = write!(command, " {word}");
        }
        command
    }

    /// The seeds to run.
    pub fn all_seeds(&self) -> Vec<u64> {
        if let Some(seed) = self.seed {
            return vec![seed];
        }
        let first = self.from.unwrap_or_else(|| {
            let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            // So many that no batch begun in the same second has one of them too.
            since.as_secs() * 100_000
        });
        (first..first + self.seeds).collect()
    }
}
