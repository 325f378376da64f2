//! The sealer: what the engine froze becomes files, then a checkpoint, and the log behind it goes.
//!
//! Every member seals at the positions that the log says, each at its own pace, in order. Nothing waits for it but
//! memory: frozen overlays are read until their files are there. The order is what makes a crash harmless: files and
//! catalogue are durable, then Raft learns of the checkpoint, then the log is purged.

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::metrics::Metric;
use tokio::sync::{mpsc, watch};

use super::RaftCore;
use super::seals::Seals;
use super::sends::SnapshotSends;
use super::snapshot::{encode_membership, log_id};
use super::state_machine::SharedEngine;
use super::types::StoredMembership;
use crate::engine::Sealing;
use crate::limits;
use crate::log::LogStore;
use crate::offload::Offload;
use crate::storage::{Checkpoint, SealInput, Store, StoreError};

/// An overlay that waits to be sealed, and the membership at its end.
#[derive(Debug)]
pub struct Frozen {
    pub sealing: Sealing,
    pub membership: StoredMembership,
}

/// Turns frozen overlays into files.
#[derive(Debug)]
pub struct Sealer {
    pub store: Store,
    pub engine: SharedEngine,
    pub log: LogStore,
    pub sends: SnapshotSends,
    pub seals: Seals,
    pub offload: Offload,
    /// How much log stays behind a checkpoint, in bytes.
    pub retain_bytes: u64,
    /// The number of the last seal whose files are part of the state.
    pub checkpoints: watch::Sender<u64>,
    /// Tells why the node has to stop.
    pub failed: watch::Sender<Option<String>>,
}

impl Sealer {
    /// Seals what comes, in order, until the sender is gone. Before the first, and after each, the log is purged as
    /// far as the checkpoint allows: the last process may have died in between.
    pub async fn run(self, raft: RaftCore, mut frozen: mpsc::UnboundedReceiver<Frozen>) {
        self.purge(&raft).await;
        while let Some(next) = frozen.recv().await {
            match self.seal(next).await {
                Ok(true) => self.purge(&raft).await,
                // A snapshot was installed meanwhile that has all of it.
                Ok(false) => {}
                Err(StoreError::Stopped) => return,
                Err(error) => {
                    tracing::error!(%error, "sealing has failed; the node must stop");
                    self.failed.send_replace(Some(format!("sealing has failed: {error}")));
                    return;
                }
            }
        }
    }

    /// Seals one overlay; tries again while the disk is full. False: it is no longer the next one.
    async fn seal(&self, frozen: Frozen) -> Result<bool, StoreError> {
        let Frozen { sealing, membership } = frozen;
        let membership = encode_membership(&membership);
        loop {
            if !follows(self.store.checkpoint().as_deref(), sealing.seal) {
                return Ok(false);
            }
            let (store, overlay, membership) =
                (self.store.clone(), sealing.clone(), membership.clone());
            let sealed = self
                .offload
                .run(move || {
                    store.seal(SealInput {
                        seal: overlay.seal,
                        positions: overlay.positions.clone(),
                        applied: overlay.applied,
                        membership,
                        state: overlay.state.clone(),
                        local_state: overlay.removals.clone(),
                        records: overlay.records(),
                        index: overlay.index(),
                    })
                })
                .await;
            match sealed {
                Ok(checkpoint) => {
                    self.engine.write().take_files(self.store.sealed());
                    self.seals.sealed(&checkpoint);
                    self.checkpoints.send_replace(checkpoint.seal);
                    return Ok(true);
                }
                // A checkpoint of another member was installed meanwhile, and has all of it.
                Err(StoreError::OutOfOrder { .. })
                    if !follows(self.store.checkpoint().as_deref(), sealing.seal) =>
                {
                    return Ok(false);
                }
                Err(error) if error.retryable() => {
                    tracing::warn!(%error, seal = sealing.seal, "sealing is tried again");
                    tokio::time::sleep(limits::SEAL_RETRY_DELAY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells Raft of the checkpoint, and has the log purged that neither it nor a lagging member needs.
    async fn purge(&self, raft: &RaftCore) {
        let Some(checkpoint) = self.store.checkpoint() else { return };
        let sealed = log_id(checkpoint.applied);
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
        let known = raft
            .wait(Some(limits::SNAPSHOT_KNOWN_TIMEOUT))
            .ge(Metric::Snapshot(Some(sealed)), "raft knows the checkpoint")
            .await;
        if known.is_err() {
            // Raft has stopped, or is about to install a newer one; the next seal comes by again.
            return;
        }
        let Some(retained) = self.log.purgeable(self.retain_bytes) else { return };
        let upto = sealed.index().min(retained).min(self.sends.oldest_index());
        let purged = raft.metrics().borrow_watched().purged.map(|purged| purged.index());
        if purged.is_none_or(|purged| purged < upto) {
            let _ = raft.trigger().purge_log(upto).await;
        }
    }
}

fn follows(checkpoint: Option<&Checkpoint>, seal: u64) -> bool {
    checkpoint.map_or(0, |checkpoint| checkpoint.seal) + 1 == seal
}
