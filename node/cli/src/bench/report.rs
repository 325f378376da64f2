//! What a bench prints: a line of progress a second for people, and a summary.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::tally::Tally;
use crate::failure::Failure;
use crate::output::{FAINT, Output, STRONG};

/// Latencies, in microseconds.
#[derive(Debug, Serialize)]
struct Latencies {
    mean: f64,
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl From<&Histogram<u64>> for Latencies {
    fn from(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            mean: histogram.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        }
    }
}

/// The whole run, or one second of it.
#[derive(Debug, Serialize)]
struct Rates {
    seconds: f64,
    operations: u64,
    events: u64,
    failures: u64,
    operations_per_second: f64,
    events_per_second: f64,
    latency_us: Latencies,
}

impl Rates {
    fn of(time: Duration, tally: &Tally) -> Self {
        let seconds = time.as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "a rate is read to a few digits")]
        let rate = |number: u64| number as f64 / seconds;
        Self {
            seconds,
            operations: tally.operations(),
            events: tally.events,
            failures: tally.failures(),
            operations_per_second: rate(tally.operations()),
            events_per_second: rate(tally.events),
            latency_us: (&tally.latencies()).into(),
        }
    }
}

/// One kind of operations over the whole run.
#[derive(Debug, Serialize)]
struct OfKind<'a> {
    operations: u64,
    failures: &'a BTreeMap<String, u64>,
    latency_us: Latencies,
}

#[derive(Debug, Serialize)]
struct Summary<'a> {
    workload: &'static str,
    clients: u32,
    rate: Option<u64>,
    #[serde(flatten)]
    total: Rates,
    kinds: BTreeMap<&'static str, OfKind<'a>>,
    intervals: Vec<Rates>,
}

/// What was measured.
pub struct Report {
    workload: &'static str,
    clients: u32,
    rate: Option<u64>,
    kinds: &'static [&'static str],
}

impl Report {
    pub fn new(
        workload: &'static str,
        clients: u32,
        rate: Option<u64>,
        kinds: &'static [&'static str],
    ) -> Self {
        Self { workload, clients, rate, kinds }
    }

    pub fn print(
        &self,
        time: Duration,
        total: &Tally,
        intervals: &[(Duration, Tally)],
        output: &mut Output,
    ) -> Result<(), Failure> {
        let kinds = self.kinds.iter().zip(&total.kinds);
        let kinds = kinds.map(|(name, kind)| {
            let of_kind = OfKind {
                operations: kind.latencies.len(),
                failures: &kind.failures,
                latency_us: (&kind.latencies).into(),
            };
            (*name, of_kind)
        });
        let summary = Summary {
            workload: self.workload,
            clients: self.clients,
            rate: self.rate,
            total: Rates::of(time, total),
            kinds: kinds.collect(),
            intervals: intervals.iter().map(|(time, tally)| Rates::of(*time, tally)).collect(),
        };
        if output.is_json() { output.json(&summary) } else { as_text(&summary, output) }
    }
}

fn as_text(summary: &Summary<'_>, output: &mut Output) -> Result<(), Failure> {
    let total = &summary.total;
    let headline = format!(
        "{}: {:.0} events/s, {:.0} operations/s over {:.1} s, {} clients",
        summary.workload,
        total.events_per_second,
        total.operations_per_second,
        total.seconds,
        summary.clients
    );
    output.line(&output.paint(&headline, STRONG))?;
    for (name, kind) in &summary.kinds {
        let latency = &kind.latency_us;
        output.line(&format!(
            "{name}: {} done, p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
            kind.operations,
            milliseconds(latency.p50),
            milliseconds(latency.p90),
            milliseconds(latency.p99),
            milliseconds(latency.p999),
            milliseconds(latency.max),
        ))?;
        for (reason, number) in kind.failures {
            output.line(&format!("{name}: {number} failed with {reason}"))?;
        }
    }
    Ok(())
}

/// One interval, for whoever watches; a program gets all of them with the summary.
pub fn progress(
    output: &mut Output,
    since_start: Duration,
    interval: Duration,
    tally: &Tally,
) -> Result<(), Failure> {
    if output.is_json() {
        return Ok(());
    }
    let rates = Rates::of(interval, tally);
    let failures = match rates.failures {
        0 => String::new(),
        failures => format!("  {failures} failed"),
    };
    let line = format!(
        "{:>5.0} s {:>10.0} events/s  p50 {:>10}  p99 {:>10}{failures}",
        since_start.as_secs_f64(),
        rates.events_per_second,
        milliseconds(rates.latency_us.p50),
        milliseconds(rates.latency_us.p99),
    );
    output.line(&output.paint(&line, FAINT))?;
    output.flush()
}

#[allow(clippy::cast_precision_loss, reason = "a latency is read to a few digits")]
fn milliseconds(us: u64) -> String {
    format!("{:.3} ms", us as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::super::tally::Recorder;
    use super::*;
    use crate::args::Format;

    #[test]
    fn a_program_reads_rates_kinds_and_intervals() {
        let recorder = Recorder::new(2);
        recorder.events().fetch_add(30, std::sync::atomic::Ordering::Relaxed);
        for us in [100, 200, 300] {
            recorder.ended(0, 1, Duration::from_micros(us), Ok(()));
        }
        let tally = recorder.take();
        let (mut output, written) = Output::to_memory(Format::Json);
        let time = Duration::from_secs(2);
        let report = Report::new("mixed", 4, None, &["append", "read"]);
        report.print(time, &tally, &[(time, tally.clone())], &mut output).unwrap();
        let object: serde_json::Value = serde_json::from_str(&written.text()).unwrap();
        assert_eq!(object["events_per_second"], 15.0);
        assert_eq!(object["operations_per_second"], 1.5);
        assert_eq!(object["latency_us"]["p50"], 200);
        assert_eq!(object["kinds"]["append"]["operations"], 0);
        assert_eq!(object["kinds"]["read"]["latency_us"]["max"], 300);
        assert_eq!(object["intervals"].as_array().unwrap().len(), 1);
    }
}
