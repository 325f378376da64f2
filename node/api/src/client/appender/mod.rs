//! Appends of many callers over a few streams.
//!
//! A unary call costs more than an append does. An appender keeps a few `AppendBatch` streams open and sends its
//! callers' appends over them, many under way at once. When a stream breaks, everything unanswered goes out
//! again on the next one, perhaps to another node: events have their ids, so nothing takes effect twice.

mod job;
mod lane;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::append::name_events;
use super::error::Error;
use super::{Client, Expect};
use crate::v1;
use job::Job;
use lane::Lane;

/// Streams that one appender keeps open. Each is served by a task of its own at either end, so two keep two
/// cores busy; more would only make the groups behind them smaller.
const LANES: usize = 2;

/// Appends of one lane that wait to be sent. Callers beyond it wait for their turn.
const JOBS_QUEUED_MAX: usize = 1024;

/// Appends of any number of callers over a few streams, for throughput. Cheap to clone; clones share the streams.
/// They close when the last clone is dropped and everything is answered.
#[derive(Debug, Clone)]
pub struct Appender {
    client: Client,
    lanes: Arc<[mpsc::Sender<Job>; LANES]>,
    turn: Arc<AtomicUsize>,
}

impl Client {
    /// An appender of its own. Streams are opened when there is something to send. To be called inside a
    /// tokio runtime.
    pub fn appender(&self) -> Appender {
        let lanes = [(); LANES].map(|()| {
            let (jobs, queue) = mpsc::channel(JOBS_QUEUED_MAX);
            tokio::spawn(Lane::new(self.clone(), queue).run());
            jobs
        });
        Appender { client: self.clone(), lanes: Arc::new(lanes), turn: Arc::default() }
    }
}

impl Appender {
    /// Appends events to one or several streams, atomically; as [`Client::append`] does, with the same deadline
    /// and the same retries. Appends that run side by side are independent: one that must come after another
    /// waits for its answer. Dropping the future gives up the answer, not the append.
    pub async fn append(
        &self,
        mut request: v1::AppendRequest,
    ) -> Result<v1::AppendResponse, Error> {
        name_events(&mut request);
        let deadline = Instant::now() + self.client.options().deadline;
        let (answer, answered) = oneshot::channel();
        let lane = self.turn.fetch_add(1, Ordering::Relaxed) % LANES;
        let ended = || Error::Protocol { message: "the appender's task has ended".to_owned() };
        self.lanes[lane]
            .send(Job::new(&request, deadline, answer))
            .await
            .map_err(|_closed| ended())?;
        answered.await.unwrap_or_else(|_dropped| Err(ended()))
    }

    /// Appends events to one stream.
    pub async fn append_to(
        &self,
        stream_id: impl Into<String>,
        expect: Expect,
        events: Vec<v1::NewEvent>,
    ) -> Result<v1::AppendResponse, Error> {
        let append = v1::StreamAppend {
            stream_id: stream_id.into(),
            expectation: Some(expect.to_message()),
            events,
        };
        self.append(v1::AppendRequest { appends: vec![append], condition: None }).await
    }
}
