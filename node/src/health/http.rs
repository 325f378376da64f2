//! The HTTP port: `/metrics` for Prometheus, `/livez` and `/readyz` for the kubelet.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How long answers on their way may take once the port closes. A connection that is merely kept open must
/// not keep the node.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the port asks the node. Answers come from memory, at once; an error is a sentence for people.
pub trait Probes: Debug + Send + Sync {
    /// Whether the process does its work; if not, it should be restarted.
    fn live(&self) -> Result<(), String>;

    /// Whether requests should be sent here.
    fn ready(&self) -> Result<(), String>;
}

/// Serves the port until `stop`. An error is the listener's.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    probes: Arc<dyn Probes>,
    stop: CancellationToken,
) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(scrape))
        .with_state(metrics)
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .with_state(probes);
    let serving = axum::serve(listener, router)
        .with_graceful_shutdown(stop.clone().cancelled_owned())
        .into_future();
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(CLOSE_TIMEOUT).await;
    };
    tokio::select! {
        ended = serving => ended,
        () = overdue => Ok(()),
    }
}

async fn scrape(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.encode())
}

async fn live(State(probes): State<Arc<dyn Probes>>) -> Response {
    answer(probes.live())
}

async fn ready(State(probes): State<Arc<dyn Probes>>) -> Response {
    answer(probes.ready())
}

fn answer(probe: Result<(), String>) -> Response {
    match probe {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()).into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use parking_lot::Mutex;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::task::JoinHandle;

    use super::*;

    #[derive(Debug)]
    struct Scripted {
        live: Result<(), String>,
        ready: Mutex<Result<(), String>>,
    }

    impl Probes for Scripted {
        fn live(&self) -> Result<(), String> {
            self.live.clone()
        }

        fn ready(&self) -> Result<(), String> {
            self.ready.lock().clone()
        }
    }

    struct Served {
        address: SocketAddr,
        probes: Arc<Scripted>,
        stop: CancellationToken,
        task: JoinHandle<io::Result<()>>,
    }

    async fn start() -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ready = Mutex::new(Err("the node has not joined yet".to_owned()));
        let probes = Arc::new(Scripted { live: Ok(()), ready });
        let stop = CancellationToken::new();
        let serving = serve(listener, Metrics::new("orders"), probes.clone(), stop.clone());
        Served { address, probes, stop, task: tokio::spawn(serving) }
    }

    /// Status line and body of one request.
    async fn fetch(address: SocketAddr, path: &str) -> String {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn readiness_follows_the_node_and_says_why_not() {
        let served = start().await;
        let answer = fetch(served.address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("the node has not joined yet"), "{answer}");

        *served.probes.ready.lock() = Ok(());
        let answer = fetch(served.address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn liveness_does_not_depend_on_readiness() {
        let served = start().await;
        let answer = fetch(served.address, "/livez").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn metrics_are_served_as_open_metrics() {
        let served = start().await;
        let answer = fetch(served.address, "/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(OPEN_METRICS), "{answer}");
        assert!(answer.contains("reckon_appends_in_flight{store=\"orders\"} 0"), "{answer}");
        assert!(answer.trim_end().ends_with("# EOF"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_kept_open_does_not_keep_the_port() {
        let served = start().await;
        let mut idle = TcpStream::connect(served.address).await.unwrap();
        idle.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
        served.stop.cancel();
        served.task.await.unwrap().unwrap();
        assert!(TcpStream::connect(served.address).await.is_err());
    }
}
