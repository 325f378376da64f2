//! Fetching sealed files from another member: into the staging folder, where a broken transfer goes on later, and
//! no faster than the giver can bear beside its clients.

use std::sync::Arc;
use std::time::Duration;

use reckon_api::v1;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::Status;

use super::network::{Connections, client};
use crate::limits;
use crate::offload::Offload;
use crate::storage::{Checkpoint, FileMeta, Store, StoreError};

/// Why files could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the member does not give the file: {0}")]
    Peer(#[from] Box<Status>),
    #[error("the member did not go on with {0} in time")]
    Stalled(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FetchError {
    /// Whether another try, perhaps with another member, can succeed: what is staged is kept.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Peer(_) | Self::Stalled(_) => true,
            Self::Store(error) => error.retryable(),
        }
    }
}

/// The member that gives files.
#[derive(Debug, Clone)]
pub struct Giver {
    /// `host:port` of its peer service.
    pub address: String,
    /// From this member to that one.
    pub envelope: v1::Envelope,
}

/// Held by whoever puts other files in the place of sealed ones, a merge, a reclaim, an installation or a repair, from the
/// look at what is there to the change: what one counts on, no other takes away.
pub type Rewriting = Arc<Mutex<()>>;

/// Fetches what a checkpoint names and this volume lacks.
#[derive(Debug, Clone)]
pub struct Fetcher {
    pub store: Store,
    pub offload: Offload,
    pub connections: Connections,
    pub bytes_per_second_max: u64,
    pub rewriting: Rewriting,
}

impl Fetcher {
    /// Returns when every file of the checkpoint is here or staged. `progress` is told how many bytes of the
    /// checkpoint's files are there, at least with every chunk.
    pub async fn fetch(
        &self,
        checkpoint: &Checkpoint,
        giver: &Giver,
        mut progress: impl FnMut(u64),
    ) -> Result<(), FetchError> {
        let missing = self.store.missing(checkpoint);
        let lacking: u64 = missing.iter().map(|file| file.bytes).sum();
        let mut there = checkpoint.file_bytes().saturating_sub(lacking);
        let mut pace = Pace::new(self.bytes_per_second_max);
        progress(there);
        for file in missing {
            self.fetch_file(&file, giver, &mut pace, &mut |bytes| progress(there + bytes)).await?;
            there += file.bytes;
            progress(there);
        }
        Ok(())
    }

    async fn fetch_file(
        &self,
        file: &FileMeta,
        giver: &Giver,
        pace: &mut Pace,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), FetchError> {
        let (store, meta) = (self.store.clone(), file.clone());
        let mut staged = self.offload.run(move || store.stage(&meta)).await?;
        let mut peer = client(self.connections.open(&giver.address).map_err(Box::new)?);
        let request = v1::FetchFileRequest {
            envelope: Some(giver.envelope.clone()),
            name: file.name.clone(),
            digest: file.digest.to_vec().into(),
            bytes: file.bytes,
            offset: staged.received(),
        };
        let stalled = |_elapsed| FetchError::Stalled(file.name.clone());
        let mut chunks = tokio::time::timeout(limits::FETCH_STALL_MAX, peer.fetch_file(request))
            .await
            .map_err(stalled)?
            .map_err(Box::new)?
            .into_inner();
        while staged.received() < file.bytes {
            let next = tokio::time::timeout(limits::FETCH_STALL_MAX, chunks.message());
            let Some(message) = next.await.map_err(stalled)?.map_err(Box::new)? else { break };
            pace.wait(message.chunk.len()).await;
            staged =
                self.offload.run(move || staged.write(&message.chunk).map(|()| staged)).await?;
            progress(staged.received());
        }
        // Whether these are the bytes that the checkpoint names is checked here.
        self.offload.run(move || staged.finish()).await?;
        Ok(())
    }
}

/// Keeps a transfer to its pace: after each chunk it waits until the chunk's time has passed.
#[derive(Debug)]
struct Pace {
    bytes_per_second_max: u64,
    free_at: Instant,
}

impl Pace {
    fn new(bytes_per_second_max: u64) -> Self {
        Self { bytes_per_second_max: bytes_per_second_max.max(1), free_at: Instant::now() }
    }

    async fn wait(&mut self, bytes: usize) {
        tokio::time::sleep_until(self.free_at).await;
        let micros = (bytes as u64).saturating_mul(1_000_000) / self.bytes_per_second_max;
        // What was not used is not saved up: a burst would be what this is to prevent.
        self.free_at = self.free_at.max(Instant::now()) + Duration::from_micros(micros);
    }
}
