//! What members give each other of their sealed state: checkpoints to take in, and the files that those name.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use reckon_api::{Reason, v1};
use ring::digest;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use crate::limits;
use crate::raft::fetcher::Giver;
use crate::raft::installer::InstallError;
use crate::raft::types::Vote;
use crate::raft::{Member, wire};
use crate::storage::{FileMeta, Store, StoreError};

/// How an installation goes on: bytes that are there, and at last the vote that this member knows.
pub type Progress = Pin<Box<dyn Stream<Item = Result<v1::InstallSnapshotResponse, Status>> + Send>>;
/// The bytes of a file.
pub type Chunks = Pin<Box<dyn Stream<Item = Result<v1::FetchFileResponse, Status>> + Send>>;

/// Takes in the checkpoint that the leader offers. It goes on only while the leader listens; what was fetched when
/// it stops listening is kept for the next offer.
pub fn install(
    member: Arc<Member>,
    request: v1::InstallSnapshotRequest,
) -> Result<Progress, Status> {
    let vote = wire::vote_from_wire(request.vote)?;
    let from = request.envelope.map_or(0, |envelope| envelope.from_node_id);
    let giver = Giver {
        address: request.sender_address,
        envelope: wire::envelope(member.identity(), from),
    };
    let (tell, told) = watch::channel(0_u64);
    let installing = AbortOnDropHandle::new(tokio::spawn(async move {
        let progress = |bytes| {
            tell.send_replace(bytes);
        };
        member.installer().install(vote, request.checkpoint, giver, progress).await
    }));
    let under_way = UnderWay { installing, told };
    Ok(stream::unfold(Some(under_way), |under_way| async move { under_way?.next().await }).boxed())
}

struct UnderWay {
    installing: AbortOnDropHandle<Result<Vote, InstallError>>,
    told: watch::Receiver<u64>,
}

impl UnderWay {
    /// The next answer, and what follows it.
    async fn next(mut self) -> Option<(Result<v1::InstallSnapshotResponse, Status>, Option<Self>)> {
        use v1::install_snapshot_response::Progress;
        let answer = |progress| Ok(v1::InstallSnapshotResponse { progress: Some(progress) });
        tokio::select! {
            Ok(()) = self.told.changed() => {
                let fetched = *self.told.borrow_and_update();
                Some((answer(Progress::FetchedBytes(fetched)), Some(self)))
            }
            ended = &mut self.installing => Some((
                match ended {
                    Ok(Ok(vote)) => answer(Progress::Installed(wire::vote_to_wire(&vote))),
                    Ok(Err(error)) => Err(refused(&error)),
                    Err(panicked) => Err(Reason::Internal.plain(panicked.to_string())),
                },
                None,
            )),
        }
    }
}

fn refused(error: &InstallError) -> Status {
    tracing::warn!(%error, "a checkpoint was not installed");
    let reason = if error.retryable() { Reason::NotReady } else { Reason::Internal };
    reason.plain(error.to_string())
}

/// The rest of a sealed file from an offset on. A file that is not there with these bytes is not sent. One that is sent
/// whole is looked at on its way: when it is damaged it is fenced here, and the receiver asks another member.
pub async fn fetch(member: &Member, request: v1::FetchFileRequest) -> Result<Chunks, Status> {
    let digest = request.digest.as_ref().try_into().map_err(|_length| {
        Reason::InvalidArgument.status("digest must have 32 bytes", [("field", "digest")])
    })?;
    let wanted = FileMeta { name: request.name, bytes: request.bytes, digest };
    let (store, offload) = (member.store().clone(), member.offload().clone());
    let asked = wanted.clone();
    let opened = offload.run(move || store.open_for_sending(&asked)).await.map_err(internal)?;
    let Some(sent) = opened else {
        return Err(Reason::NotReady.status(
            format!("{} is not here with these bytes: ask for a newer checkpoint", wanted.name),
            [("file", wanted.name)],
        ));
    };
    let sent = Arc::new(sent);
    let store = member.store().clone();
    let digest = (request.offset == 0).then(|| digest::Context::new(&digest::SHA256));
    let chunks = stream::try_unfold((request.offset, digest), move |(offset, mut digest)| {
        let (store, sent, offload) = (store.clone(), Arc::clone(&sent), offload.clone());
        async move {
            let left = sent.meta().bytes.saturating_sub(offset);
            if left == 0 {
                return Ok(None);
            }
            let length = left.min(limits::FETCH_CHUNK_BYTES);
            let reading = Arc::clone(&sent);
            let read = offload.run(move || {
                let mut chunk = vec![0; length as usize];
                reading.read_at(offset, &mut chunk)?;
                if let Some(digest) = &mut digest {
                    digest.update(&chunk);
                }
                Ok((Bytes::from(chunk), digest))
            });
            let (chunk, digest) = read.await.map_err(internal)?;
            // The receiver waits for nothing behind the last chunk.
            let differs = |whole: digest::Context| whole.finish().as_ref() != sent.meta().digest;
            if length == left && digest.clone().is_some_and(differs) {
                return Err(damaged(&store, sent.meta()));
            }
            Ok(Some((v1::FetchFileResponse { chunk }, (offset + length, digest))))
        }
    });
    Ok(chunks.boxed())
}

fn damaged(store: &Store, file: &FileMeta) -> Status {
    let name = &file.name;
    tracing::error!(file = name, "a file was found damaged while it was sent");
    store.fence(name);
    Reason::Damaged.status(format!("{name} is damaged here"), [("file", name)])
}

#[allow(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn internal(error: StoreError) -> Status {
    Reason::Internal.plain(error.to_string())
}
