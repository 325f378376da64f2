//! The peer network: how this node speaks Raft to others.
//!
//! Two connections per peer: one for the ordered replication stream, one for votes and heartbeats, so that a
//! large batch can never hold up what keeps a leader. Names are resolved anew for every connection, and a
//! connection that failed is dropped: pods keep their name and change their address.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use openraft::{OptionalSend, RaftNetworkFactory};
use parking_lot::Mutex;
use reckon_api::v1;
use reckon_api::v1::peer_client::PeerClient;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::intake::Intake;
use super::sends::SnapshotSends;
use super::snapshot::SnapshotData;
use super::types::{PeerNode, TypeConfig, Vote};
use super::wire::{self, StreamAppendResult};
use crate::environment::Dial;
use crate::limits;
use crate::storage::{Identity, Store};

/// Opens connections to peers by address and closes those that failed.
#[derive(Debug, Clone)]
pub struct Connections {
    dial: Arc<dyn Dial>,
    control: Arc<Mutex<HashMap<String, Channel>>>,
}

impl Connections {
    /// No connection yet.
    pub fn new(dial: Arc<dyn Dial>) -> Self {
        Self { dial, control: Arc::default() }
    }

    /// A connection of its own, made when first used. Keep-alives notice a peer that vanished without a word.
    pub fn open(&self, address: &str) -> Result<Channel, Status> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| Status::invalid_argument(format!("{address} is no address: {error}")))?
            .tcp_nodelay(true)
            .http2_keep_alive_interval(limits::PEER_KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(limits::PEER_KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(limits::PEER_WINDOW_BYTES)
            .initial_connection_window_size(limits::PEER_WINDOW_BYTES);
        Ok(self.dial.dial(endpoint))
    }

    /// The connection for votes, heartbeats and read indexes; shared by all users of an address.
    pub fn control(&self, address: &str) -> Result<PeerClient<Channel>, Status> {
        let mut channels = self.control.lock();
        if let Some(channel) = channels.get(address) {
            return Ok(client(channel.clone()));
        }
        let channel = self.open(address)?;
        channels.insert(address.to_owned(), channel.clone());
        Ok(client(channel))
    }

    /// Forgets a connection that failed, so that the next call resolves the name again.
    pub fn drop_control(&self, address: &str) {
        self.control.lock().remove(address);
    }
}

/// A client of the peer service over a connection.
pub fn client(channel: Channel) -> PeerClient<Channel> {
    PeerClient::new(channel)
        .max_decoding_message_size(limits::PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::PEER_MESSAGE_BYTES_MAX)
}

/// Makes a client per peer for openraft.
#[derive(Debug, Clone)]
pub struct PeerNetwork {
    identity: Identity,
    connections: Connections,
    intake: Arc<Intake>,
    source: Arc<CheckpointSource>,
    election_timeout: Duration,
}

/// What checkpoints are offered from.
#[derive(Debug)]
pub struct CheckpointSource {
    pub store: Store,
    pub sends: SnapshotSends,
    /// Where peers reach this member, `host:port`.
    pub own_address: String,
}

impl PeerNetwork {
    pub fn new(
        identity: Identity,
        connections: Connections,
        intake: Arc<Intake>,
        source: Arc<CheckpointSource>,
        election_timeout: Duration,
    ) -> Self {
        Self { identity, connections, intake, source, election_timeout }
    }

    fn peer(&self, target: u64, node: &PeerNode, lane: Lane) -> PeerLink {
        PeerLink {
            envelope: wire::envelope(&self.identity, target),
            address: node.peer_address.clone(),
            connections: self.connections.clone(),
            intake: Arc::clone(&self.intake),
            source: Arc::clone(&self.source),
            lane,
            answer_timeout: self.election_timeout,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for PeerNetwork {
    type Network = PeerLink;

    async fn new_client(&mut self, target: u64, node: &PeerNode) -> PeerLink {
        self.peer(target, node, Lane::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &PeerNode) -> PeerLink {
        self.peer(target, node, Lane::Control)
    }
}

/// Which of the two connections appends take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Replication,
    Control,
}

/// One peer as openraft reaches it.
#[derive(Debug)]
pub struct PeerLink {
    envelope: v1::Envelope,
    address: String,
    connections: Connections,
    /// Where the peer's answers about its room go.
    intake: Arc<Intake>,
    source: Arc<CheckpointSource>,
    lane: Lane,
    answer_timeout: Duration,
}

type Answers<'s> = BoxStream<'s, Result<StreamAppendResult, RPCError<TypeConfig>>>;

impl PeerLink {
    /// One unary call on the control connection, bounded by openraft's own limit for it.
    async fn unary<T, F>(
        &self,
        option: &RPCOption,
        call: impl FnOnce(PeerClient<Channel>) -> F,
    ) -> Result<T, RPCError<TypeConfig>>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let client = self.connections.control(&self.address).map_err(unreachable)?;
        // Our own timeout says nothing about the connection, which may still be in the making: keep-alives notice
        // a dead one, and dropping it at every missed heartbeat could keep it from ever standing.
        let outcome =
            tokio::time::timeout(option.hard_ttl(), call(client)).await.map_err(|_| {
                unreachable(Status::deadline_exceeded("the peer did not answer in time"))
            })?;
        outcome.map(tonic::Response::into_inner).map_err(|status| {
            if is_connection_failure(&status) {
                self.connections.drop_control(&self.address);
            }
            rpc_error(status)
        })
    }

    /// Heartbeats: a request at a time, each a unary call.
    fn heartbeats<S>(&mut self, input: S, option: RPCOption) -> Answers<'_>
    where
        S: futures::Stream<Item = AppendEntriesRequest<TypeConfig>>
            + OptionalSend
            + Unpin
            + 'static,
    {
        let link = &*self;
        stream::unfold(Some(input), move |input| {
            let option = option.clone();
            async move {
                let mut input = input?;
                let request = input.next().await?;
                let message = wire::append_to_wire(link.envelope.clone(), &request);
                let answer = link
                    .unary(&option, |mut client| async move { client.heartbeat(message).await })
                    .await
                    .and_then(|answer| {
                        link.intake.set_peer_full(link.envelope.to_node_id, answer.full);
                        wire::stream_result_from_wire(answer).map_err(rpc_error)
                    });
                let ended = !matches!(answer, Ok(Ok(_)));
                Some((answer, (!ended).then_some(input)))
            }
        })
        .boxed()
    }

    /// The ordered stream: many requests under way, bounded in bytes, answered in order.
    async fn replicate<S>(&mut self, mut input: S) -> Result<Answers<'_>, RPCError<TypeConfig>>
    where
        S: futures::Stream<Item = AppendEntriesRequest<TypeConfig>>
            + OptionalSend
            + Unpin
            + 'static,
    {
        // openraft waits out its backoff before it hands over a request: a peer that is down is dialled no more often.
        let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
        let mut input = stream::iter([first]).chain(input);
        let (requests, outgoing) = mpsc::channel(limits::REPLICATION_REQUESTS_QUEUED_MAX);
        let (in_flight, in_flight_answers) = mpsc::unbounded_channel::<InFlight>();
        let budget = Arc::new(Semaphore::new(limits::REPLICATION_IN_FLIGHT_BYTES_MAX));
        let envelope = self.envelope.clone();
        let pump = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Some(request) = input.next().await {
                let message = wire::append_to_wire(envelope.clone(), &request);
                let bytes: usize = message.entries.iter().map(bytes::Bytes::len).sum();
                let share = bytes.clamp(1, limits::REPLICATION_IN_FLIGHT_BYTES_MAX) as u32;
                let Ok(permit) = Arc::clone(&budget).acquire_many_owned(share).await else {
                    return;
                };
                let under_way = InFlight { bytes: bytes as u64, _room: permit };
                if in_flight.send(under_way).is_err() || requests.send(message).await.is_err() {
                    return;
                }
            }
        }));

        let channel = self.connections.open(&self.address).map_err(unreachable)?;
        let mut client = client(channel);
        let opening = client.replicate(ReceiverStream::new(outgoing));
        let answers = tokio::time::timeout(self.answer_timeout, opening)
            .await
            .map_err(|_| {
                unreachable(Status::deadline_exceeded("the peer did not accept the stream"))
            })?
            .map_err(rpc_error)?
            .into_inner();

        let state = Replication {
            answers,
            in_flight: in_flight_answers,
            answer_timeout: self.answer_timeout,
            _pump: pump,
        };
        Ok(stream::unfold(Some(state), |state| async move {
            let mut state = state?;
            let answer = state.next_answer().await?;
            let ended = !matches!(answer, Ok(Ok(_)));
            Some((answer, (!ended).then_some(state)))
        })
        .boxed())
    }
}

/// A request that waits for its answer, with its share of what may be under way.
struct InFlight {
    bytes: u64,
    _room: OwnedSemaphorePermit,
}

/// The receiving half of one replication stream.
struct Replication {
    answers: tonic::Streaming<v1::ReplicateResponse>,
    in_flight: mpsc::UnboundedReceiver<InFlight>,
    answer_timeout: Duration,
    /// Takes requests from openraft and sends them; none is taken any more once nobody awaits the answers.
    _pump: AbortOnDropHandle<()>,
}

impl Replication {
    /// The next answer in order. Nothing outstanding: waits for a request first, for as long as it takes.
    /// Something outstanding and no answer for an election timeout: an error, since a hung stream would
    /// otherwise hold this peer back for ever.
    async fn next_answer(&mut self) -> Option<Result<StreamAppendResult, RPCError<TypeConfig>>> {
        let under_way = self.in_flight.recv().await?;
        // A large entry needs its time on a slow link, or it would be sent from the start for ever.
        let carrying = Duration::from_millis(
            under_way.bytes.saturating_mul(1000) / limits::PEER_LINK_BYTES_PER_SECOND_MIN,
        );
        let limit = self.answer_timeout + carrying;
        let answer = match tokio::time::timeout(limit, self.answers.message()).await {
            Err(_) => Err(Status::deadline_exceeded("the peer did not answer the stream in time")),
            Ok(Ok(None)) => Err(Status::unavailable("the peer closed the stream")),
            Ok(Ok(Some(answer))) => wire::stream_result_from_wire(answer),
            Ok(Err(status)) => Err(status),
        };
        Some(answer.map_err(rpc_error))
    }
}

impl NetStreamAppend<TypeConfig> for PeerLink {
    fn stream_append<S>(
        &mut self,
        input: S,
        option: RPCOption,
    ) -> futures::future::BoxFuture<'_, Result<Answers<'_>, RPCError<TypeConfig>>>
    where
        S: futures::Stream<Item = AppendEntriesRequest<TypeConfig>>
            + OptionalSend
            + Unpin
            + 'static,
    {
        Box::pin(async move {
            match self.lane {
                Lane::Control => Ok(self.heartbeats(input, option)),
                Lane::Replication => self.replicate(input).await,
            }
        })
    }
}

impl NetVote<TypeConfig> for PeerLink {
    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_for_vote(&request, &option, false).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_for_vote(&request, &option, true).await
    }
}

impl PeerLink {
    async fn ask_for_vote(
        &self,
        request: &VoteRequest<TypeConfig>,
        option: &RPCOption,
        pre_vote: bool,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = wire::vote_request_to_wire(self.envelope.clone(), request, pre_vote);
        let answer =
            self.unary(option, |mut client| async move { client.vote(message).await }).await?;
        wire::vote_response_from_wire(answer).map_err(rpc_error)
    }
}

impl NetTransferLeader<TypeConfig> for PeerLink {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = wire::transfer_to_wire(self.envelope.clone(), &request);
        let answer = self
            .unary(&option, |mut client| async move { client.transfer_leader(message).await })
            .await?;
        if answer.refused.is_empty() {
            return Ok(Ok(()));
        }
        tracing::warn!(to = self.address, why = answer.refused, "the peer refused to take over");
        let expected: Vote = *request.from_leader();
        Ok(Err(TransferLeaderError::VoteChanged { expected, actual: expected }))
    }
}

impl NetSnapshot<TypeConfig> for PeerLink {
    type SnapshotData = SnapshotData;

    /// Offers the checkpoint, and waits while the peer fetches what it lacks. A fault here is one of the network and
    /// never of storage, which would end the leader.
    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let checkpoint = snapshot.snapshot;
        // The files, and the log behind them, stay until the peer has both.
        let _pin = self.source.store.pin();
        let _sending = self.source.sends.begin(checkpoint.applied.index);
        let offer = v1::InstallSnapshotRequest {
            envelope: Some(self.envelope.clone()),
            vote: Some(wire::vote_to_wire(&vote)),
            checkpoint: checkpoint.encode(),
            sender_address: self.source.own_address.clone(),
        };
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = self.offer(offer) => match answer {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(status) => Err(StreamingError::from(unreachable(status))),
            },
        }
    }
}

impl PeerLink {
    /// The vote that the peer knows once it has installed the checkpoint.
    async fn offer(&self, offer: v1::InstallSnapshotRequest) -> Result<Vote, Status> {
        use v1::install_snapshot_response::Progress;
        let stalled = |_elapsed| Status::deadline_exceeded("the peer takes nothing in any more");
        let mut client = client(self.connections.open(&self.address)?);
        let opening = client.install_snapshot(offer);
        let mut answers = tokio::time::timeout(limits::FETCH_STALL_MAX, opening)
            .await
            .map_err(stalled)??
            .into_inner();
        loop {
            let next = tokio::time::timeout(limits::INSTALL_STALL_MAX, answers.message());
            let Some(answer) = next.await.map_err(stalled)?? else {
                return Err(Status::unavailable("the peer closed the stream"));
            };
            if let Some(Progress::Installed(vote)) = answer.progress {
                return wire::vote_from_wire(Some(vote));
            }
        }
    }
}

impl NetBackoff<TypeConfig> for PeerLink {
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(limits::PEER_RETRY_DELAY)))
    }
}

fn is_connection_failure(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown
    )
}

fn rpc_error(status: Status) -> RPCError<TypeConfig> {
    if is_connection_failure(&status) {
        unreachable(status)
    } else {
        RPCError::Network(NetworkError::from_string(status.message()))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn unreachable(status: Status) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::from_string(status.message()))
}

#[cfg(test)]
mod tests;
