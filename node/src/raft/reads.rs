//! Linearizable reads by read index (Raft dissertation, §6.4): one heartbeat round proves that this node still
//! leads, and serves every read that waited for it. Leases are not used: a restarted voter forgets its lease.

use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{mpsc, oneshot};

use super::RaftCore;
use crate::limits;

/// Why no read index could be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadIndexError {
    /// Another node leads, or none does.
    #[error("this node does not lead")]
    NotLeader,
    /// Too few voters answered the heartbeat.
    #[error("too few voters answered")]
    NoQuorum,
    /// As many reads wait as may.
    #[error("too many reads wait")]
    TooManyRequests,
    /// Raft has stopped.
    #[error("raft has stopped")]
    Stopped,
}

impl ReadIndexError {
    /// Whether the same read may succeed later or elsewhere.
    pub const fn retryable(self) -> bool {
        !matches!(self, Self::Stopped)
    }
}

type Waiting = oneshot::Sender<Result<u64, ReadIndexError>>;

/// A cheap way to the loop that confirms leadership for all waiting reads at once.
#[derive(Debug, Clone)]
pub struct ReadIndexes {
    queue: mpsc::Sender<Waiting>,
}

impl ReadIndexes {
    /// Starts the loop on the current runtime; it ends when the last handle is dropped.
    pub fn start(raft: RaftCore) -> Self {
        let (queue, waiting) = mpsc::channel(limits::READ_INDEXES_QUEUED_MAX);
        tokio::spawn(run(raft, waiting));
        Self { queue }
    }

    /// The log index a read must have applied to reflect everything acknowledged before this call.
    pub async fn next(&self) -> Result<u64, ReadIndexError> {
        let (answer, index) = oneshot::channel();
        self.queue.try_send(answer).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ReadIndexError::TooManyRequests,
            mpsc::error::TrySendError::Closed(_) => ReadIndexError::Stopped,
        })?;
        index.await.unwrap_or(Err(ReadIndexError::Stopped))
    }
}

async fn run(raft: RaftCore, mut waiting: mpsc::Receiver<Waiting>) {
    let mut round = Vec::new();
    // Whoever arrives while a round is under way is served by the next one: its heartbeats must be younger.
    while waiting.recv_many(&mut round, limits::READ_INDEXES_QUEUED_MAX).await > 0 {
        let answer = confirm(&raft).await;
        for reader in round.drain(..) {
            // A reader that went away needs no answer.
            let _ = reader.send(answer);
        }
    }
}

async fn confirm(raft: &RaftCore) -> Result<u64, ReadIndexError> {
    #[cfg(feature = "planted-bugs")]
    if crate::planted::has(crate::planted::Planted::ReadWithoutReadIndex) {
        use openraft::async_runtime::watch::WatchReceiver as _;
        let applied = raft.metrics().borrow_watched().last_applied;
        return applied.map(|applied| applied.index()).ok_or(ReadIndexError::NotLeader);
    }
    match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
        Ok(linearizer) => Ok(linearizer.read_log_id().index()),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_))) => {
            Err(ReadIndexError::NotLeader)
        }
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
            Err(ReadIndexError::NoQuorum)
        }
        Err(RaftError::Fatal(_)) => Err(ReadIndexError::Stopped),
    }
}
