//! When operations begin: in a closed loop, each client's next one when its last is answered; in an open loop, at a
//! rate, whatever the store does.
//!
//! In an open loop a latency counts from the moment at which the operation was due, not from when a client was free
//! for it: a store that stalls is charged with everything that would have come meanwhile (the "coordinated omission"
//! of closed loops; Gil Tene, "How NOT to Measure Latency").

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reckon_api::client::Error;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::report::{Report, progress};
use super::tally::{Recorder, Tally};
use crate::failure::Failure;
use crate::output::Output;

/// Clients of an open loop when their number is not said: more than a store takes at once, so that the loop stays open.
const OPEN_LOOP_CLIENTS: u32 = 4096;
const CLOSED_LOOP_CLIENTS: u32 = 64;

/// How much load.
#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    /// Clients that each wait for one answer at a time [default: 64, with --rate 4096].
    #[arg(long)]
    clients: Option<NonZeroU32>,
    /// For how long to measure.
    #[arg(long, default_value = "10", conflicts_with_all = ["operations", "events"])]
    seconds: NonZeroU32,
    /// Do so many operations instead, without warming up.
    #[arg(long)]
    operations: Option<NonZeroU64>,
    /// End when so many events have been acknowledged, or have arrived; without warming up.
    #[arg(long, conflicts_with = "operations")]
    events: Option<NonZeroU64>,
    /// For how long to run before anything is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    warm_up: u32,
    /// Begin so many operations a second, whatever the store does. Latencies then count from when an operation was
    /// due; the clock that starts them is good to a millisecond.
    #[arg(long, value_name = "PER SECOND")]
    rate: Option<NonZeroU64>,
}

/// From when the latency of an operation counts.
#[derive(Debug, Clone, Copy)]
pub enum Since {
    /// It was due.
    Due,
    At(Instant),
}

/// What is measured.
pub trait Workload: Send + Sync + 'static {
    /// The kinds of its operations; at least one.
    const KINDS: &'static [&'static str];

    /// Does the operation of this number for a client, counts its events as they are acknowledged or arrive, and gives
    /// the place of its kind and from when it is measured.
    fn operate(
        &self,
        client: u64,
        number: u64,
        events: &AtomicU64,
    ) -> impl Future<Output = (usize, Result<Since, Error>)> + Send;
}

impl LoadArgs {
    /// How many clients there are.
    pub fn clients(&self) -> u32 {
        let default = if self.rate.is_some() { OPEN_LOOP_CLIENTS } else { CLOSED_LOOP_CLIENTS };
        self.clients.map_or(default, NonZeroU32::get)
    }

    /// Puts the load on, and prints what came of it.
    pub async fn put_on<W: Workload>(
        &self,
        name: &'static str,
        workload: W,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let clients = self.clients();
        let recorder = Arc::new(Recorder::new(W::KINDS.len()));
        let run = Arc::new(Run {
            workload,
            recorder: Arc::clone(&recorder),
            next: AtomicU64::new(0),
            end: self.operations.map_or(u64::MAX, NonZeroU64::get),
            rate: self.rate.map(NonZeroU64::get),
            started: Instant::now(),
        });
        let mut tasks = JoinSet::new();
        for client in 0..u64::from(clients) {
            tasks.spawn(Arc::clone(&run).client(client));
        }
        let timed = self.operations.is_none() && self.events.is_none();
        if timed {
            let warm = tokio::time::sleep(Duration::from_secs(self.warm_up.into()));
            ended_early(&mut tasks, warm).await?;
        }
        if timed {
            drop(recorder.take());
        }
        let wanted = self.events.map_or(u64::MAX, NonZeroU64::get);

        let mut intervals = Vec::new();
        let mut total = Tally::new(W::KINDS.len());
        let started = Instant::now();
        let end = started + Duration::from_secs(self.seconds.get().into());
        let mut last = started;
        loop {
            let until = last + INTERVAL;
            let until = if timed { until.min(end) } else { until };
            let interval_ends = async {
                let left = wanted.saturating_sub(total.events);
                tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    () = enough(&recorder, left) => {}
                }
            };
            let all_done = ended_early(&mut tasks, interval_ends).await?;
            let now = Instant::now();
            let tally = recorder.take();
            progress(output, now - started, now - last, &tally)?;
            total.add(&tally);
            intervals.push((now - last, tally));
            last = now;
            if all_done || (timed && now >= end) || total.events >= wanted {
                break;
            }
        }
        // What is still under way is not waited for: it counts for nothing any more.
        tasks.abort_all();
        if total.is_empty()
            && let Some(error) = recorder.last_error()
        {
            return Err(error.into());
        }
        let report = Report::new(name, clients, self.rate.map(NonZeroU64::get), W::KINDS);
        report.print(last - started, &total, &intervals, output)
    }
}

/// How often progress is shown, and what one interval of the report is.
const INTERVAL: Duration = Duration::from_secs(1);

/// Returns when so many events were counted, to a few milliseconds.
async fn enough(recorder: &Recorder, events: u64) {
    while recorder.events().load(Ordering::Relaxed) < events {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits; true: all clients have ended before. A client's panic is this program's.
async fn ended_early(
    tasks: &mut JoinSet<()>,
    until: impl Future<Output = ()>,
) -> Result<bool, Failure> {
    tokio::pin!(until);
    loop {
        tokio::select! {
            () = &mut until => return Ok(false),
            ended = tasks.join_next() => match ended {
                None => return Ok(true),
                Some(Ok(())) => {}
                Some(Err(panic)) => return Err(Failure::usage(format!("a client ended: {panic}"))),
            },
        }
    }
}

/// What all clients share.
struct Run<W> {
    workload: W,
    recorder: Arc<Recorder>,
    /// The number of the next operation.
    next: AtomicU64,
    /// The number behind the last operation.
    end: u64,
    rate: Option<u64>,
    started: Instant,
}

impl<W: Workload> Run<W> {
    async fn client(self: Arc<Self>, client: u64) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.end {
                return;
            }
            let due = match self.rate {
                None => Instant::now(),
                Some(rate) => {
                    let due = self.started + offset(number, rate);
                    tokio::time::sleep_until(due).await;
                    due
                }
            };
            let events = self.recorder.events();
            let (kind, ended) = self.workload.operate(client, number, events).await;
            let failed = ended.is_err();
            let since = match ended {
                Ok(Since::At(moment)) => moment,
                Ok(Since::Due) | Err(_) => due,
            };
            self.recorder.ended(client, kind, since.elapsed(), ended.map(|_since| ()));
            if failed {
                // It may have failed without waiting for anything, and could go on so for ever.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// When the operation of a number is due, from the start.
fn offset(number: u64, rate: u64) -> Duration {
    let nanoseconds = u128::from(number) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_of_an_open_loop_are_due_at_equal_distances() {
        assert_eq!(offset(0, 3), Duration::ZERO);
        assert_eq!(offset(3, 3), Duration::from_secs(1));
        assert_eq!(offset(1, 4), Duration::from_millis(250));
        assert_eq!(offset(u64::MAX, 1), Duration::from_nanos(u64::MAX));
    }
}
