//! Work in the background on sealed files: merging runs, and giving back the space of removed events.
//!
//! Each member does it at its own pace; which runs merge follows from the seals alone, so that members end up with
//! the same files. Nothing waits for it, and it waits for room on the disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::fetcher::Rewriting;
use super::intake::Intake;
use super::state_machine::SharedEngine;
use crate::limits;
use crate::offload::Offload;
use crate::storage::{Store, StoreError};

/// Merges and reclaims.
#[derive(Debug)]
pub struct Compactor {
    pub store: Store,
    pub engine: SharedEngine,
    pub intake: Arc<Intake>,
    pub offload: Offload,
    pub rewriting: Rewriting,
    /// Tells of new checkpoints.
    pub checkpoints: watch::Receiver<u64>,
    /// The longest time that removed events stay in sealed files.
    pub reclaim_after: Duration,
    /// Tells why the node has to stop.
    pub failed: watch::Sender<Option<String>>,
}

impl Compactor {
    /// Works whenever there is a new checkpoint, and at the latest when removed events have waited long enough. What had
    /// to be put off is tried again before.
    pub async fn run(mut self) {
        let mut reclaim_at = Instant::now() + self.reclaim_after;
        loop {
            let merged = match self.merge_all().await {
                Ok(merged) => merged,
                Err(error) if self.go_on(&error) => false,
                Err(_) => return,
            };
            if Instant::now() >= reclaim_at {
                if let Err(error) = self.reclaim().await
                    && !self.go_on(&error)
                {
                    return;
                }
                reclaim_at = Instant::now() + self.reclaim_after;
            }
            let again_at = Instant::now() + limits::COMPACTION_RETRY_DELAY;
            let wake_at = if merged { reclaim_at } else { reclaim_at.min(again_at) };
            tokio::select! {
                changed = self.checkpoints.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
    }

    /// Whether to try again later; otherwise the node has to stop.
    fn go_on(&self, error: &StoreError) -> bool {
        if let Some(file) = error.damaged_file() {
            // Merged once it is mended.
            self.store.fence(file);
            return true;
        }
        if matches!(error, StoreError::Stopped) {
            return false;
        }
        if error.retryable() {
            tracing::warn!(%error, "work on sealed files is put off");
            return true;
        }
        tracing::error!(%error, "work on sealed files has failed; the node must stop");
        self.failed.send_replace(Some(format!("work on sealed files has failed: {error}")));
        false
    }

    /// False: something is due and has to wait.
    async fn merge_all(&self) -> Result<bool, StoreError> {
        loop {
            let _alone = self.rewriting.lock().await;
            let Some(plan) = self.store.merge_due() else { return Ok(true) };
            let needed = plan.bytes().saturating_add(limits::DISK_MARGIN_BYTES);
            if self.intake.disk_available().is_some_and(|available| available < needed) {
                tracing::debug!(bytes = plan.bytes(), "a merge waits for room on the disk");
                return Ok(false);
            }
            let store = self.store.clone();
            self.offload.run_aside(move || store.merge(&plan)).await?;
            self.engine.write().take_files(self.store.sealed());
            // Only now does nobody hold what was merged away.
            self.store.remove_obsolete();
        }
    }

    async fn reclaim(&self) -> Result<(), StoreError> {
        let _alone = self.rewriting.lock().await;
        let Some(removals) = self.engine.read().removals_to_reclaim() else { return Ok(()) };
        let store = self.store.clone();
        let removals = Arc::new(removals);
        let reclaiming = Arc::clone(&removals);
        let reclaimed = self
            .offload
            .run_aside(move || {
                let positions = match reclaiming.positions(&store.sealed()) {
                    Ok(positions) => positions,
                    // Put off: who keeps the store has heard of damage where it was met.
                    Err(error) => {
                        tracing::warn!(%error, "removed events are not reclaimed yet");
                        return Ok(None);
                    }
                };
                let keep = |stream: &str, version| reclaiming.keeps(stream, version);
                store.reclaim(&positions, &keep).map(Some)
            })
            .await?;
        let Some(reclaimed) = reclaimed else { return Ok(()) };
        tracing::info!(?reclaimed, "the space of removed events came back");
        let mut engine = self.engine.write();
        engine.take_files(self.store.sealed());
        engine.reclaimed(&removals);
        drop(engine);
        self.store.remove_obsolete();
        Ok(())
    }
}
