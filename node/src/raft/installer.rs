//! Taking in a checkpoint that the leader offers: fetch what is missing, then let Raft install it.
//!
//! Raft's core stands still only while it is installed, which is a rename and a transaction; the fetching, which
//! may take hours, happens before, beside everything else.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::RaftCore;
use super::fetcher::{FetchError, Fetcher, Giver};
use super::snapshot;
use super::types::{TypeConfig, Vote};
use crate::storage::{Checkpoint, CorruptCheckpoint};

/// Why a checkpoint was not installed. The leader offers one again.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("another checkpoint is being taken in")]
    Busy,
    #[error("the checkpoint that the leader offers is damaged: {0}")]
    Corrupt(#[from] CorruptCheckpoint),
    #[error("the checkpoint's membership: {0}")]
    Membership(std::io::Error),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("installing ended in a panic: {0}")]
    Panicked(tokio::task::JoinError),
    #[error("raft has stopped: {0}")]
    Stopped(#[from] openraft::errors::Fatal<TypeConfig>),
}

impl InstallError {
    /// Whether the same offer may be taken later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Busy => true,
            Self::Fetch(error) => error.retryable(),
            Self::Corrupt(_) | Self::Membership(_) | Self::Panicked(_) | Self::Stopped(_) => false,
        }
    }
}

/// Takes in one checkpoint at a time.
#[derive(Debug)]
pub struct Installer {
    raft: RaftCore,
    fetcher: Fetcher,
    turn: Semaphore,
}

impl Installer {
    pub fn new(raft: RaftCore, fetcher: Fetcher) -> Arc<Self> {
        Arc::new(Self { raft, fetcher, turn: Semaphore::new(1) })
    }

    /// Whether a checkpoint is being taken in now.
    pub fn busy(&self) -> bool {
        self.turn.available_permits() == 0
    }

    /// Takes in an encoded checkpoint; returns the vote that this member knows then.
    pub async fn install(
        &self,
        vote: Vote,
        encoded: Bytes,
        giver: Giver,
        progress: impl FnMut(u64),
    ) -> Result<Vote, InstallError> {
        let _turn = self.turn.try_acquire().map_err(|_taken| InstallError::Busy)?;
        let checkpoint = Arc::new(Checkpoint::decode(&encoded)?);
        tracing::info!(
            seal = checkpoint.seal,
            bytes = checkpoint.file_bytes(),
            from = giver.address,
            "a checkpoint is taken in"
        );
        let alone = Arc::clone(&self.fetcher.rewriting).lock_owned().await;
        self.fetcher.fetch(&checkpoint, &giver, progress).await?;
        let snapshot = snapshot::snapshot(checkpoint).map_err(InstallError::Membership)?;
        let raft = self.raft.clone();
        let begun = Instant::now();
        // Raft installs it whether or not the leader still listens.
        let installing = tokio::spawn(async move {
            let _alone = alone;
            raft.install_full_snapshot(vote, snapshot).await
        });
        let answer = installing.await.map_err(InstallError::Panicked)??;
        tracing::info!(took = ?begun.elapsed(), "the checkpoint is installed");
        Ok(answer.vote)
    }
}
