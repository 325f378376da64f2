//! `reckon.v1.Peer`: what members say to each other, on the peer port.
//!
//! Every call names who speaks to whom, in which store. What does not match is refused and changes nothing: an
//! old volume or a reused address must never speak under another's id.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use parking_lot::Mutex;
use reckon_api::{Reason, v1};
use tonic::{Request, Response, Status, Streaming};

use super::snapshots;
use super::wire::read_failed;
use crate::node::Node;
use crate::raft::{Member, wire};

/// The peer service of one node.
#[derive(Debug, Clone)]
pub struct PeerService {
    node: Node,
}

impl PeerService {
    pub const fn new(node: Node) -> Self {
        Self { node }
    }

    fn member(&self) -> Result<Arc<Member>, Status> {
        self.node.member().ok_or_else(|| {
            Reason::NotInitialised.plain("this node has no identity and takes no part in raft")
        })
    }

    /// Goes the way of a stale read, through the engine and into files where the newest event is in one.
    async fn read_newest_event(&self) -> Result<(), Status> {
        let member = self.member()?;
        self.node.recovered().map_err(|why| Reason::NotReady.plain(why))?;
        let reader = member.reader();
        let looking = move || match reader.next_position().checked_sub(1) {
            Some(newest) => reader.event_at(newest).map(drop),
            None => Ok(()),
        };
        member.offload().run(looking).await.map_err(read_failed)
    }

    fn addressed(&self, envelope: Option<&v1::Envelope>) -> Result<Arc<Member>, Status> {
        let member = self.member()?;
        check_envelope(&member, envelope)?;
        Ok(member)
    }
}

/// Refuses what was not meant for this member of this store.
fn check_envelope(member: &Member, envelope: Option<&v1::Envelope>) -> Result<(), Status> {
    let envelope =
        envelope.ok_or_else(|| Reason::UnknownMember.plain("the peer call names nobody"))?;
    let own = member.identity();
    let mismatch = |field: &str, got: String, own: String, reason: Reason| {
        let message = format!("a peer call names {field} {got}, but this member has {own}");
        Err(reason.status(message, [("field", field.to_owned()), ("value", got), ("own", own)]))
    };
    if envelope.cluster_id != own.cluster_id {
        let (got, own) = (envelope.cluster_id.clone(), own.cluster_id.clone());
        return mismatch("cluster_id", got, own, Reason::WrongStore);
    }
    if envelope.epoch != own.epoch {
        let (got, own) = (envelope.epoch.to_string(), own.epoch.to_string());
        return mismatch("epoch", got, own, Reason::Fenced);
    }
    if envelope.to_node_id != own.node_id {
        let (got, own) = (envelope.to_node_id.to_string(), own.node_id.to_string());
        return mismatch("to_node_id", got, own, Reason::UnknownMember);
    }
    if envelope.from_node_id == own.node_id || envelope.from_node_id == 0 {
        let (got, own) = (envelope.from_node_id.to_string(), own.node_id.to_string());
        return mismatch("from_node_id", got, own, Reason::UnknownMember);
    }
    Ok(())
}

/// Refuses entries while there is no room for them. What carries none is always taken.
fn check_room(member: &Member, message: &v1::ReplicateRequest) -> Result<(), Status> {
    if message.entries.is_empty() {
        return Ok(());
    }
    member.intake().take().map_err(|full| Reason::DiskFull.plain(full.to_string()))
}

#[tonic::async_trait]
impl v1::peer_server::Peer for PeerService {
    type ReplicateStream =
        Pin<Box<dyn Stream<Item = Result<v1::ReplicateResponse, Status>> + Send>>;

    async fn replicate(
        &self,
        request: Request<Streaming<v1::ReplicateRequest>>,
    ) -> Result<Response<Self::ReplicateStream>, Status> {
        let member = self.member()?;
        // A request that cannot be taken ends the input; why it ended follows the answers still owed.
        let ended = Arc::new(Mutex::new(None::<Status>));
        let input = futures::stream::unfold(
            (request.into_inner(), Arc::clone(&member), Arc::clone(&ended)),
            |(mut requests, member, ended)| async move {
                let taken = match requests.message().await {
                    Ok(None) => return None,
                    Ok(Some(message)) => check_envelope(&member, message.envelope.as_ref())
                        .and_then(|()| check_room(&member, &message))
                        .and_then(|()| wire::append_from_wire(message)),
                    Err(status) => Err(status),
                };
                match taken {
                    Ok(append) => {
                        member.prefetcher().offer_entries(&append.entries);
                        Some((append, (requests, member, ended)))
                    }
                    Err(status) => {
                        *ended.lock() = Some(status);
                        None
                    }
                }
            },
        );
        let answers = member.raft().stream_append(input).map(|answer| match answer {
            Ok(result) => Ok(wire::stream_result_to_wire(&result)),
            Err(fatal) => Err(Reason::NotReady.plain(format!("raft has stopped: {fatal}"))),
        });
        let why = futures::stream::once(async move { ended.lock().take() })
            .filter_map(|status| async move { status.map(Err) });
        Ok(Response::new(Box::pin(answers.chain(why))))
    }

    async fn vote(
        &self,
        request: Request<v1::VoteRequest>,
    ) -> Result<Response<v1::VoteResponse>, Status> {
        let request = request.into_inner();
        let member = self.addressed(request.envelope.as_ref())?;
        let vote = wire::vote_request_from_wire(&request)?;
        let answer = if request.pre_vote {
            member.raft().pre_vote(vote).await
        } else {
            member.raft().vote(vote).await
        };
        let answer = answer.map_err(|error| stopped(&error))?;
        Ok(Response::new(wire::vote_response_to_wire(&answer)))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::ReplicateRequest>,
    ) -> Result<Response<v1::ReplicateResponse>, Status> {
        let request = request.into_inner();
        let member = self.addressed(request.envelope.as_ref())?;
        let append = wire::append_from_wire(request)?;
        let (prev, last) = (append.prev_log_id, wire::last_log_id(&append));
        let answer = member.raft().append_entries(append).await.map_err(|error| stopped(&error))?;
        let result = wire::heartbeat_result(answer, prev, last);
        let full = member.intake().take().is_err();
        Ok(Response::new(v1::ReplicateResponse { full, ..wire::stream_result_to_wire(&result) }))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferRequest>,
    ) -> Result<Response<v1::TransferResponse>, Status> {
        let request = request.into_inner();
        let member = self.addressed(request.envelope.as_ref())?;
        let transfer = wire::transfer_from_wire(&request)?;
        let answer = member
            .raft()
            .handle_transfer_leader(transfer)
            .await
            .map_err(|error| stopped(&error))?;
        let refused = answer.err().map(|error| error.to_string()).unwrap_or_default();
        Ok(Response::new(v1::TransferResponse { refused }))
    }

    async fn read_index(
        &self,
        request: Request<v1::ReadIndexRequest>,
    ) -> Result<Response<v1::ReadIndexResponse>, Status> {
        let request = request.into_inner();
        let member = self.addressed(request.envelope.as_ref())?;
        let index = member.reads().next().await.map_err(super::consistency::read_index_status)?;
        Ok(Response::new(v1::ReadIndexResponse { index }))
    }

    async fn probe(
        &self,
        request: Request<v1::ProbeRequest>,
    ) -> Result<Response<v1::ProbeResponse>, Status> {
        if request.into_inner().store {
            self.read_newest_event().await?;
        }
        Ok(Response::new(self.node.probe()))
    }

    async fn status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(self.node.brief_status()))
    }

    type InstallSnapshotStream = snapshots::Progress;

    async fn install_snapshot(
        &self,
        request: Request<v1::InstallSnapshotRequest>,
    ) -> Result<Response<Self::InstallSnapshotStream>, Status> {
        let request = request.into_inner();
        let member = self.addressed(request.envelope.as_ref())?;
        snapshots::install(member, request).map(Response::new)
    }

    type FetchFileStream = snapshots::Chunks;

    async fn fetch_file(
        &self,
        request: Request<v1::FetchFileRequest>,
    ) -> Result<Response<Self::FetchFileStream>, Status> {
        let request = request.into_inner();
        let member = self.addressed(request.envelope.as_ref())?;
        snapshots::fetch(&member, request).await.map(Response::new)
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        let member = self.addressed(request.into_inner().envelope.as_ref())?;
        let checkpoint = member.store().checkpoint();
        let checkpoint = checkpoint.map(|checkpoint| checkpoint.encode()).unwrap_or_default();
        Ok(Response::new(v1::GetCheckpointResponse { checkpoint }))
    }
}

fn stopped(error: &impl std::fmt::Display) -> Status {
    Reason::NotReady.plain(format!("raft has stopped: {error}"))
}
