//! What is fixed about a metric: its name, kind, labels and meaning.

use std::fmt::Write as _;

use prometheus_client::registry::{Metric, Registry};

/// The names and values of a metric's labels.
pub(super) type Labels<const N: usize> = [(&'static str, &'static str); N];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric as it stands in the reference.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    /// Without the final full stop, which the text format adds.
    pub(super) help: &'static str,
}

impl Definition {
    /// Something that only grows. The name ends in `_total`.
    pub(super) const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Counter, labels, help }
    }

    /// Something that goes up and down.
    pub(super) const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Gauge, labels, help }
    }

    /// How something is distributed.
    pub(super) const fn histogram(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Histogram, labels, help }
    }

    /// Makes the metric part of the registry under this name.
    pub(super) fn register<M: Metric + Clone>(&self, registry: &mut Registry, metric: M) -> M {
        // The text format adds what the kind of metric demands.
        let name = match self.kind {
            Kind::Counter => self.name.trim_end_matches("_total"),
            Kind::Gauge | Kind::Histogram => self.name,
        };
        registry.register(name, self.help, metric.clone());
        metric
    }

    /// The labels with these values, in the order of the definition.
    pub(super) fn labels<V, const N: usize>(&self, values: [V; N]) -> [(&'static str, V); N] {
        debug_assert_eq!(self.labels.len(), N, "{} has other labels", self.name);
        let mut names = self.labels.iter();
        values.map(|value| (names.next().copied().unwrap_or_default(), value))
    }
}

const PREAMBLE: &str = "# Metrics of the store node\n\n\
    Made from the definitions in `src/metrics.rs`; do not edit. They are served at `/metrics` on the HTTP port\n\
    in the text format of OpenMetrics. Each has the label `store` besides those named here.\n\n\
    | metric | type | labels | meaning |\n|---|---|---|---|\n";

/// The reference of these metrics, as Markdown.
pub(super) fn reference(all: &[&Definition]) -> String {
    let mut text = String::from(PREAMBLE);
    for Definition { name, kind, labels, help } in all {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(text, "| `{name}` | {kind} | {} | {help}. |", labels.join(" "));
    }
    text
}
