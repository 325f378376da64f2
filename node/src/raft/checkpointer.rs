//! When the store is sealed: the leader proposes it when enough is in memory, or when something has been in memory
//! for long enough. A seal is a command like any other, so that every member seals at the same position.

use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::RaftCore;
use super::proposer::{ProposeError, Proposer};
use super::state_machine::{Applied, SharedEngine};
use crate::engine::{Command, Outcome};
use crate::limits;

/// What the leader goes by.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Memory of the active overlay above which it is sealed, in bytes.
    pub seal_bytes: u64,
    /// The longest time that something applied is left unsealed.
    pub interval: Duration,
}

/// Proposes seals while this member leads. Ends when apply has ended.
pub async fn run(
    raft: RaftCore,
    engine: SharedEngine,
    proposer: Proposer,
    mut applied: watch::Receiver<Applied>,
    options: Options,
) {
    let mut due = Instant::now() + options.interval;
    loop {
        tokio::select! {
            changed = applied.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(due) => {}
        }
        let (active_bytes, changed) = {
            let engine = engine.read();
            (engine.active_bytes(), engine.has_changed())
        };
        let now = Instant::now();
        let full = active_bytes > options.seal_bytes;
        let waited = now >= due && changed;
        if now >= due {
            due = now + options.interval;
        }
        if (full || waited) && raft.metrics().borrow_watched().state == ServerState::Leader {
            match seal(&proposer).await {
                Ok(seal) => {
                    tracing::debug!(seal, active_bytes, "sealing is decided");
                    due = Instant::now() + options.interval;
                }
                // Whoever leads next sees the same and decides again.
                Err(error) => tracing::debug!(%error, "sealing was not decided"),
            }
        }
        tokio::time::sleep(limits::SEAL_LOOK_INTERVAL).await;
    }
}

/// Has the store sealed now; the number of the seal.
pub async fn seal(proposer: &Proposer) -> Result<u64, ProposeError> {
    match proposer.propose_regardless(Command::Seal.encode()).await? {
        Outcome::Sealed { seal, .. } => Ok(seal),
        other => {
            tracing::error!(?other, "a seal was asked, something else came");
            Err(ProposeError::Unknown)
        }
    }
}
