//! Work in the background on sealed files: merging runs, and giving back the space of removed events.
//!
//! Each member does it at its own pace; which runs merge follows from the seals alone, so that members end up with
//! the same files. Nothing waits for it, and it waits for room on the disk.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::intake::Intake;
use super::state_machine::SharedEngine;
use crate::limits;
use crate::offload::Offload;
use crate::storage::{Store, StoreError};
use std::sync::Arc;

/// Merges and reclaims.
#[derive(Debug)]
pub struct Compactor {
    pub store: Store,
    pub engine: SharedEngine,
    pub intake: Arc<Intake>,
    pub offload: Offload,
    /// The longest time that removed events stay in sealed files.
    pub reclaim_after: Duration,
    /// Tells why the node has to stop.
    pub failed: watch::Sender<Option<String>>,
}

impl Compactor {
    /// Works whenever there is a new checkpoint, and at the latest when removed events have waited long enough.
    pub async fn run(self) {
        let mut checkpoints = self.store.watch_checkpoints();
        let mut reclaim_at = Instant::now() + self.reclaim_after;
        loop {
            if let Err(error) = self.merge_all().await {
                if !self.go_on(&error) {
                    return;
                }
            }
            if Instant::now() >= reclaim_at {
                if let Err(error) = self.reclaim().await
                    && !self.go_on(&error)
                {
                    return;
                }
                reclaim_at = Instant::now() + self.reclaim_after;
            }
            tokio::select! {
                changed = checkpoints.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(reclaim_at) => {}
            }
        }
    }

    /// Whether to try again later; otherwise the node has to stop.
    fn go_on(&self, error: &StoreError) -> bool {
        if error.retryable() {
            tracing::warn!(%error, "work on sealed files is put off");
            return true;
        }
        tracing::error!(%error, "work on sealed files has failed; the node must stop");
        self.failed.send_replace(Some(format!("work on sealed files has failed: {error}")));
        false
    }

    async fn merge_all(&self) -> Result<(), StoreError> {
        while let Some(plan) = self.store.merge_due() {
            let needed = plan.bytes().saturating_add(limits::DISK_MARGIN_BYTES);
            if self.intake.disk_available().is_some_and(|available| available < needed) {
                tracing::debug!(bytes = plan.bytes(), "a merge waits for room on the disk");
                return Ok(());
            }
            let store = self.store.clone();
            self.offload.run(move || store.merge(plan)).await?;
            self.engine.write().files_changed();
        }
        Ok(())
    }

    async fn reclaim(&self) -> Result<(), StoreError> {
        let Some(removals) = self.engine.read().removals_to_reclaim() else { return Ok(()) };
        let store = self.store.clone();
        let removals = Arc::new(removals);
        let reclaiming = Arc::clone(&removals);
        self.offload
            .run(move || store.reclaim(&|stream, version| reclaiming.keeps(stream, version)))
            .await?;
        let mut engine = self.engine.write();
        engine.files_changed();
        engine.reclaimed(&removals);
        Ok(())
    }
}
