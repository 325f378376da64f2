//! What a person sees while the harness works: one line per step, on standard error, with the time since the start.

use std::{
    fmt,
    io::Write,
    time::{Duration, Instant},
};

/// How often a step that goes on for long says so.
pub const REMINDER_INTERVAL: Duration = Duration::from_secs(15);

/// Prints steps with the seconds since it was made. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    started: Instant,
}

impl Progress {
    /// Starts the clock.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// One line. What cannot be printed is dropped: a closed terminal must not fail the work.
    pub fn say(&self, line: impl fmt::Display) {
        let seconds = self.started.elapsed().as_secs_f64();
        // Not `eprintln!`: it panics when standard error is closed.
        drop(writeln!(std::io::stderr(), "{seconds:7.1}s  {line}"));
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Awaits `work` and says every [`REMINDER_INTERVAL`] that it is still awaited.
    pub async fn during<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let mut reminder = tokio::time::interval(REMINDER_INTERVAL);
        reminder.tick().await; // the first tick is immediate
        tokio::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => return outcome,
                _ = reminder.tick() => {
                    self.say(format_args!("  still {what}, {} s so far", begun.elapsed().as_secs()));
                }
            }
        }
    }
}

/// A number of bytes, as a person reads it: in MiB with one decimal.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 10 + (1 << 19)) >> 20;
        write!(formatter, "{}.{} MiB", tenths / 10, tenths % 10)
    }
}
