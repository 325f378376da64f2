//! A service that takes events over HTTP and is not always well: what the tests have a sink deliver to.
//!
//! Every tenth request is answered with 503, some of these with `Retry-After`; events of one type are refused for good.
//! What is taken is noted in a file before it is answered, so it is still known after a restart: whoever was told 2xx can
//! rely on it. A program of its own and not one of the harness's, so that it stays small and is soon built.

use std::{
    env,
    fs::{File, OpenOptions},
    io::Write as _,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result};
use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use tokio::net::TcpListener;

/// One request in so many fails.
const FAILS_EACH: u64 = 10;

/// One failure in so many asks for time.
const ASKS_FOR_TIME_EACH: u64 = 5;

/// How much time it asks for, in seconds.
const RETRY_AFTER_S: &str = "1";

/// The type of events that are refused whenever they come.
const REFUSED_TYPE: &str = "Refused";

/// An event that was taken, as `GET /received` shows it.
#[derive(Debug, Serialize)]
struct Received<'a> {
    id: &'a str,
    /// From 1: how often the sink was given the event, this time included.
    attempt: u32,
}

#[derive(Debug)]
struct Receiver {
    path: PathBuf,
    file: Mutex<File>,
    requests: AtomicU64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let usage = "usage: receiver ADDRESS:PORT FILE";
    let address = arguments.next().context(usage)?;
    let path = PathBuf::from(arguments.next().context(usage)?);
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = Mutex::new(file.with_context(|| format!("cannot write {}", path.display()))?);
    let receiver = Arc::new(Receiver { path, file, requests: AtomicU64::new(0) });
    let router = Router::new()
        .route("/events", post(take))
        .route("/received", get(received))
        .with_state(receiver);
    axum::serve(TcpListener::bind(&address).await?, router).await?;
    Ok(())
}

async fn take(State(receiver): State<Arc<Receiver>>, headers: HeaderMap) -> Response {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    if text("ce-type") == Some(REFUSED_TYPE) {
        return (StatusCode::UNPROCESSABLE_ENTITY, "refused on purpose").into_response();
    }
    let number = receiver.requests.fetch_add(1, Ordering::Relaxed) + 1;
    if number.is_multiple_of(FAILS_EACH) {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return if (number / FAILS_EACH).is_multiple_of(ASKS_FOR_TIME_EACH) {
            (status, [(RETRY_AFTER, RETRY_AFTER_S)]).into_response()
        } else {
            status.into_response()
        };
    }
    let attempt = text("ce-reckonattempt").and_then(|attempt| attempt.parse().ok());
    let (Some(id), Some(attempt)) = (text("ce-id"), attempt) else {
        return (StatusCode::BAD_REQUEST, "no event of Reckon in the binary mode").into_response();
    };
    match receiver.note(&Received { id, attempt }) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => failed(&error),
    }
}

async fn received(State(receiver): State<Arc<Receiver>>) -> Response {
    match receiver.read() {
        Ok(events) => ([(CONTENT_TYPE, "application/json")], events).into_response(),
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response()
}

impl Receiver {
    /// Adds a line in one write, whole or not at all: another process may still add to the same file.
    fn note(&self, received: &Received<'_>) -> Result<()> {
        let mut line = serde_json::to_vec(received)?;
        line.push(b'\n');
        Ok(self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)?)
    }

    /// All that was noted, by this process and those before it, as a list in JSON.
    fn read(&self) -> Result<String> {
        let text = std::fs::read_to_string(&self.path)?;
        Ok(format!("[{}]", text.lines().collect::<Vec<_>>().join(",")))
    }
}
