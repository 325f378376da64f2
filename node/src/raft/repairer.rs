//! Mending sealed files: one that was found damaged is fenced, so that it answers nothing any more, and is fetched
//! again from another member.
//!
//! Members that sealed as often hold the same contents, whatever they have merged since. So a member with a damaged
//! file asks for the checkpoint of one that has come exactly as far, and takes over its list of files.

use std::sync::Arc;

use openraft::async_runtime::watch::WatchReceiver as _;
use reckon_api::v1;

use super::RaftCore;
use super::fetcher::{FetchError, Fetcher, Giver};
use super::network::{Connections, client};
use super::state_machine::SharedEngine;
use super::wire;
use crate::limits;
use crate::storage::{Checkpoint, Identity, Store};

/// Mends what is fenced.
#[derive(Debug)]
pub struct Repairer {
    pub identity: Identity,
    pub raft: RaftCore,
    pub store: Store,
    pub engine: SharedEngine,
    pub fetcher: Fetcher,
    pub connections: Connections,
}

impl Repairer {
    /// Waits for damage, and tries to mend it until it is mended.
    pub async fn run(self) {
        let mut fences = self.store.watch_fences();
        loop {
            while !self.store.fenced().is_empty() {
                if self.mend().await {
                    tracing::info!("the damaged files are whole again");
                } else {
                    tokio::time::sleep(limits::REPAIR_RETRY_DELAY).await;
                }
            }
            if fences.changed().await.is_err() {
                return;
            }
        }
    }

    /// Asks every other member once; whether nothing is damaged any more.
    async fn mend(&self) -> bool {
        for giver in self.others() {
            match self.mend_from(&giver).await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, from = giver.address, "a damaged file is not mended yet");
                }
            }
        }
        false
    }

    /// False: the member has not sealed as often as this one, so its files may hold something else.
    async fn mend_from(&self, giver: &Giver) -> Result<bool, FetchError> {
        let mut peer = client(self.connections.open(&giver.address).map_err(Box::new)?);
        let request = v1::GetCheckpointRequest { envelope: Some(giver.envelope.clone()) };
        let asked = tokio::time::timeout(limits::PEER_CALL_TIMEOUT, peer.get_checkpoint(request));
        let answer = asked
            .await
            .map_err(|_elapsed| FetchError::Stalled("its checkpoint".to_owned()))?
            .map_err(Box::new)?
            .into_inner();
        let Ok(offered) = Checkpoint::decode(&answer.checkpoint) else { return Ok(false) };
        let Some(own) = self.store.checkpoint() else { return Ok(false) };
        if (offered.seal, offered.digest) != (own.seal, own.digest) {
            return Ok(false);
        }
        self.fetcher.fetch(&offered, giver, |_bytes| ()).await?;
        let store = self.store.clone();
        self.fetcher.offload.run(move || store.replace_files(&offered)).await?;
        self.engine.write().files_changed();
        Ok(self.store.fenced().is_empty())
    }

    fn others(&self) -> Vec<Giver> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics
            .membership_config
            .nodes()
            .filter(|(id, _)| **id != self.identity.node_id)
            .map(|(id, node)| Giver {
                address: node.peer_address.clone(),
                envelope: wire::envelope(&self.identity, *id),
            })
            .collect()
    }
}
