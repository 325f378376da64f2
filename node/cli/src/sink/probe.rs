//! Figures of what was delivered, and a port where they, and whether the process lives, can be asked for.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::failure::Failure;

/// The content type of the `OpenMetrics` text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why a request did not deliver its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Class {
    /// The sink was not reached, or the connection broke.
    Transport,
    /// It did not answer in time.
    Timeout,
    /// It has a fault: 5xx.
    Server,
    /// It asks to come again: 408, 425, 429, or elsewhere: 3xx.
    Deferred,
    /// It does not want the event: other 4xx.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByClass {
    class: Class,
}

/// Figures of a sink. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    delivered: Counter,
    failed: Family<ByClass, Counter>,
    in_flight: Gauge,
}

/// A request under way, for as long as it lives.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Figures {
    pub fn delivered(&self, events: usize) {
        self.delivered.inc_by(events as u64);
    }

    pub fn failed(&self, class: Class) {
        self.failed.get_or_create(&ByClass { class }).inc();
    }

    pub fn in_flight(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("reckon_sink");
        registry.register("delivered", "Events that the sink has taken", self.delivered.clone());
        registry.register("failed", "Requests that failed, by class", self.failed.clone());
        registry.register("in_flight", "Requests under way", self.in_flight.clone());
        registry
    }
}

/// The port, open for as long as this lives.
#[derive(Debug)]
pub struct Probe {
    serving: JoinHandle<()>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Probe {
    pub async fn start(address: SocketAddr, figures: &Figures) -> Result<Self, Failure> {
        let listener = TcpListener::bind(address).await.map_err(Failure::Runtime)?;
        let registry = std::sync::Arc::new(figures.registry());
        let metrics = move || {
            let mut text = String::new();
            let encoded = prometheus_client::encoding::text::encode(&mut text, &registry);
            encoded.expect("memory takes all text");
            std::future::ready(([("content-type", OPEN_METRICS)], text))
        };
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/metrics", get(metrics));
        let serving = tokio::spawn(async move {
            // It ends with the process.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { serving })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_their_names_and_classes() {
        let figures = Figures::default();
        figures.delivered(3);
        figures.failed(Class::Timeout);
        let under_way = figures.in_flight();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &figures.registry()).unwrap();
        for line in [
            "reckon_sink_delivered_total 3",
            "reckon_sink_failed_total{class=\"Timeout\"} 1",
            "reckon_sink_in_flight 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        drop(under_way);
        assert_eq!(figures.in_flight.get(), 0);
    }
}
