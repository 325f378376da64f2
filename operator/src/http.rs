//! Metrics and probes of the operator.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// Whether the operator can do its work: the definitions are served and, where it leads, its watches have
/// delivered. A replica that stands by is ready too.
#[derive(Debug, Default)]
pub struct Readiness {
    served: AtomicBool,
    leading: AtomicBool,
    synced: AtomicBool,
}

impl Readiness {
    /// The definitions of our resources are served, or are not.
    pub fn set_served(&self, served: bool) {
        self.served.store(served, Ordering::Relaxed);
    }

    /// This replica began or ceased to lead; its watches start anew.
    pub fn set_leading(&self, leading: bool) {
        self.synced.store(false, Ordering::Relaxed);
        self.leading.store(leading, Ordering::Relaxed);
    }

    /// All watches have delivered.
    pub fn set_synced(&self) {
        self.synced.store(true, Ordering::Relaxed);
    }

    fn verdict(&self) -> (StatusCode, &'static str) {
        if !self.served.load(Ordering::Relaxed) {
            return (
                StatusCode::SERVICE_UNAVAILABLE,
                "the definitions of EventStore and Subscription are not served\n",
            );
        }
        if self.leading.load(Ordering::Relaxed) && !self.synced.load(Ordering::Relaxed) {
            return (StatusCode::SERVICE_UNAVAILABLE, "the watches have not delivered yet\n");
        }
        (StatusCode::OK, "ok\n")
    }
}

/// What the pages show.
#[derive(Debug, Clone)]
pub struct Pages {
    pub metrics: Arc<Metrics>,
    pub readiness: Arc<Readiness>,
}

/// Serves the pages until `stop` completes.
pub async fn serve(
    listener: TcpListener,
    pages: Pages,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async |State(pages): State<Pages>| pages.readiness.verdict()))
        .with_state(pages);
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, TYPE)], pages.metrics.text())
}
