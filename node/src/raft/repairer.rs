//! Mending sealed files: one that was found damaged is fenced, so that it answers nothing any more, and is fetched
//! again from another member.
//!
//! Members that sealed as often hold the same contents, whatever they have merged since. So a member with a damaged
//! file asks for the checkpoint of one that has come exactly as far, and takes over its list of files. A member that
//! met the damage while applying cannot go on without the file: it ends, and takes over a checkpoint before it starts
//! Raft again, also a newer one, for then there is no state yet that would have to agree.

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::storage::RaftLogStorage as _;
use openraft::{RaftLogReader as _, entry::RaftEntry};
use reckon_api::v1;
use tokio::sync::watch;
use tokio::time::Instant;

use super::RaftCore;
use super::fetcher::{FetchError, Fetcher, Giver};
use super::network::client;
use super::snapshot::{decode_membership, log_id};
use super::state_machine::SharedEngine;
use super::types::StoredMembership;
use super::wire;
use crate::limits;
use crate::log::LogStore;
use crate::storage::{Checkpoint, Identity};

/// Mends what is fenced.
#[derive(Debug, Clone)]
pub struct Repairer {
    pub identity: Identity,
    pub fetcher: Fetcher,
}

/// Why a member whose files were mended before the start cannot start. Somebody has to look.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error("the checkpoint's membership: {0}")]
    Membership(std::io::Error),
    #[error("the log cannot follow the checkpoint of another member: {0}")]
    Log(std::io::Error),
}

impl Repairer {
    /// Looks for damage at a steady pace, and tries to mend it until it is mended. Ends when nobody listens to `closed`,
    /// which is when the member is gone.
    pub async fn run(
        self,
        raft: RaftCore,
        engine: SharedEngine,
        closed: watch::Sender<Option<String>>,
    ) {
        while !closed.is_closed() {
            if self.damaged() {
                tracing::error!(files = ?self.files(), "files are damaged and are fetched again");
            }
            while self.damaged() && !closed.is_closed() {
                let givers = self.givers(&raft.metrics().borrow_watched().membership_config);
                for giver in givers {
                    match self.take_over(&giver, Some(&engine)).await {
                        Ok(true) => break,
                        Ok(false) => {}
                        Err(error) => self.not_yet(&giver, &error),
                    }
                }
                if self.damaged() {
                    tokio::time::sleep(limits::REPAIR_RETRY_DELAY).await;
                } else {
                    tracing::info!("the damaged files are whole again");
                }
            }
            tokio::time::sleep(limits::REPAIR_LOOK_INTERVAL).await;
        }
    }

    /// Mends what an earlier process set aside, before Raft starts. Gives up for now after
    /// [`limits::REPAIR_BEFORE_START_MAX`], for another member may wait for this one; what is damaged answers nothing
    /// then, and is mended as soon as somebody can give it.
    pub async fn before_start(&self, log: &LogStore) -> Result<(), RepairError> {
        let Some(own) = self.fetcher.store.checkpoint() else { return Ok(()) };
        let membership = decode_membership(&own.membership).map_err(RepairError::Membership)?;
        let givers = self.givers(&membership);
        let give_up = Instant::now() + limits::REPAIR_BEFORE_START_MAX;
        while self.damaged() {
            if givers.is_empty() || Instant::now() >= give_up {
                let files = self.files();
                tracing::error!(
                    ?files,
                    "the member starts with damaged files, which answer nothing"
                );
                break;
            }
            for giver in &givers {
                match self.take_over(giver, None).await {
                    Ok(true) => return self.align(log).await.map_err(RepairError::Log),
                    Ok(false) => {}
                    Err(error) => self.not_yet(giver, &error),
                }
            }
            tokio::time::sleep(limits::REPAIR_RETRY_DELAY).await;
        }
        Ok(())
    }

    fn damaged(&self) -> bool {
        self.fetcher.store.fence_reported();
        !self.fetcher.store.fenced().is_empty()
    }

    fn files(&self) -> Vec<String> {
        self.fetcher.store.fenced().into_iter().map(|file| file.name).collect()
    }

    fn not_yet(&self, giver: &Giver, error: &FetchError) {
        let files = self.files();
        tracing::warn!(%error, from = giver.address, ?files, "damaged files are not mended yet");
    }

    /// Takes over the files of a member that has sealed exactly as often. Before the start, while there is no engine
    /// that would have to agree, a newer checkpoint is as good: it is of committed entries. False: what the member has
    /// is neither.
    async fn take_over(
        &self,
        giver: &Giver,
        engine: Option<&SharedEngine>,
    ) -> Result<bool, FetchError> {
        let Some(offered) = self.offered(giver).await? else { return Ok(false) };
        let _alone = self.fetcher.rewriting.lock().await;
        let store = self.fetcher.store.clone();
        let Some(own) = store.checkpoint() else { return Ok(false) };
        let same = (offered.seal, offered.digest) == (own.seal, own.digest);
        let newer = engine.is_none() && offered.seal > own.seal;
        if !same && !newer {
            return Ok(false);
        }
        self.fetcher.fetch(&offered, giver, |_bytes| ()).await?;
        let engine = engine.cloned();
        let taking = move || {
            if newer {
                return store.install(&offered).map(drop);
            }
            let Some(engine) = engine else { return store.replace_files(&offered, || ()) };
            // Nobody reads between the change of files and that of what is known to be removed from them.
            let mut engine = store.replace_files(&offered, || engine.write())?;
            if let Err(error) = engine.take_others_files(store.sealed(), &offered.local_state) {
                tracing::error!(%error, "another member's files are unreadable");
            }
            Ok(())
        };
        self.fetcher.offload.run(taking).await?;
        Ok(true)
    }

    /// Cuts what the log has in place of entries that the checkpoint says were committed. What this member has
    /// acknowledged behind them stays.
    async fn align(&self, log: &LogStore) -> std::io::Result<()> {
        let Some(checkpoint) = self.fetcher.store.checkpoint() else { return Ok(()) };
        let applied = log_id(checkpoint.applied);
        let mut log = log.clone();
        let index = applied.index();
        let mut reader = log.get_log_reader().await;
        let entries = reader.try_get_log_entries(index.saturating_sub(1)..=index).await?;
        let own = entries.iter().find(|entry| entry.index() == index).map(RaftEntry::log_id);
        if own.is_some_and(|own| own != applied) {
            // Another leader's entry was committed here, so nothing behind this one ever was.
            let before = entries.iter().find(|entry| entry.index() + 1 == index);
            log.truncate_after(before.map(RaftEntry::log_id)).await?;
        }
        Ok(())
    }

    async fn offered(&self, giver: &Giver) -> Result<Option<Checkpoint>, FetchError> {
        let mut peer = client(self.fetcher.connections.open(&giver.address).map_err(Box::new)?);
        let request = v1::GetCheckpointRequest { envelope: Some(giver.envelope.clone()) };
        let asked = tokio::time::timeout(limits::PEER_CALL_TIMEOUT, peer.get_checkpoint(request));
        let answer = asked
            .await
            .map_err(|_elapsed| FetchError::Stalled("its checkpoint".to_owned()))?
            .map_err(Box::new)?
            .into_inner();
        Ok(Checkpoint::decode(&answer.checkpoint).ok())
    }

    fn givers(&self, membership: &StoredMembership) -> Vec<Giver> {
        membership
            .nodes()
            .filter(|(id, _)| **id != self.identity.node_id)
            .map(|(id, node)| Giver {
                address: node.peer_address.clone(),
                envelope: wire::envelope(&self.identity, *id),
            })
            .collect()
    }
}
