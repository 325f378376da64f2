//! The recorder: writes what subscriptions have delivered to the log, many in one command.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

use crate::engine::{Advance, Command, SubscriptionCommand};
use crate::limits;
use crate::metrics::Metrics;
use crate::raft::proposer::{ProposeError, Proposer};
use crate::supervise::supervise;

/// Reports that wait.
type Report = (Advance, oneshot::Sender<Result<(), ProposeError>>);

/// A cheap way to the recorder.
#[derive(Debug, Clone)]
pub struct Recorder {
    reports: mpsc::Sender<Report>,
}

impl Recorder {
    /// Starts the recorder's loop on the current runtime; it ends when the last handle is dropped.
    pub fn start(proposer: Proposer, metrics: Metrics) -> Self {
        let (reports, waiting) = mpsc::channel(limits::SUBSCRIPTION_REPORTS_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        tokio::spawn(supervise("recorder", metrics, move || {
            run(proposer.clone(), Arc::clone(&waiting))
        }));
        Self { reports }
    }

    /// Has a report written. The answer comes when it is committed and applied.
    pub async fn write(&self, advance: Advance) -> Result<(), ProposeError> {
        let (answer, written) = oneshot::channel();
        if self.reports.send((advance, answer)).await.is_err() {
            return Err(ProposeError::NotLeader);
        }
        written.await.unwrap_or(Err(ProposeError::Unknown))
    }
}

async fn run(proposer: Proposer, waiting: Arc<Mutex<mpsc::Receiver<Report>>>) {
    let mut waiting = waiting.lock().await;
    while let Some(first) = waiting.recv().await {
        let (mut advances, mut answers) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some((advance, answer)) = next.take() {
            bytes += advance.size();
            advances.push(advance);
            answers.push(answer);
            if advances.len() < limits::SUBSCRIPTION_REPORTS_MAX
                && bytes < limits::SUBSCRIPTION_REPORTS_BYTES
            {
                next = waiting.try_recv().ok();
            }
        }
        let command = Command::Subscription(SubscriptionCommand::Advance { advances });
        let encoded = command.encode();
        let decided = match Command::decode(&encoded) {
            Ok(_) => proposer.propose(encoded).await.map(drop),
            // A log with an entry that nobody can read would end every member.
            Err(error) => {
                tracing::error!(%error, "what subscriptions did cannot be written");
                Err(ProposeError::Unknown)
            }
        };
        for answer in answers {
            // Whoever reported may be gone.
            let _ = answer.send(decided.clone());
        }
    }
}
