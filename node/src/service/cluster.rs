//! `reckon.v1.Cluster`: formation, membership and state.

use std::sync::Arc;

use reckon_api::{Reason, v1};
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use v1::cluster_client::ClusterClient;

use super::forward::{Decider, Forwarder, MEMBERSHIP_TIMEOUT, deadline_exceeded, not_leader, seen};
use super::{deadline, proposed};
use crate::engine::{Command, Outcome};
use crate::formation;
use crate::node::Node;
use crate::raft::membership::MembershipError;
use crate::raft::{Member, PeerNode, wire};

/// The cluster service of one node.
#[derive(Debug, Clone)]
pub struct ClusterService {
    node: Node,
    forwarder: Forwarder,
}

/// Runs a request here or, over the leader's connection, there.
macro_rules! decide {
    ($self:ident, $request:ident, $method:ident, |$member:ident, $message:ident| $here:expr) => {{
        let $member = $self.member()?;
        let deadline = deadline::of($request.metadata(), MEMBERSHIP_TIMEOUT);
        match $self.forwarder.decider(&$member, &$request, deadline).await? {
            Decider::Here => {
                let $message = $request.into_inner();
                within(deadline, $here).await.map(Response::new)
            }
            Decider::Leader(leader) => {
                let mut client = ClusterClient::new(leader.channel.clone());
                $self
                    .forwarder
                    .send(
                        &leader,
                        $request.into_inner(),
                        deadline,
                        Reason::OutcomeUnknown,
                        |request| async move { client.$method(request).await },
                    )
                    .await
            }
        }
    }};
}

impl ClusterService {
    pub const fn new(node: Node, forwarder: Forwarder) -> Self {
        Self { node, forwarder }
    }

    fn member(&self) -> Result<Arc<Member>, Status> {
        self.node.member().ok_or_else(not_initialised)
    }
}

#[tonic::async_trait]
impl v1::cluster_server::Cluster for ClusterService {
    async fn initialise(
        &self,
        request: Request<v1::InitialiseRequest>,
    ) -> Result<Response<v1::InitialiseResponse>, Status> {
        let deadline = deadline::of(request.metadata(), MEMBERSHIP_TIMEOUT);
        let request = request.into_inner();
        let mut node = self.node.peer_node();
        if !request.peer_address.is_empty() {
            node.peer_address = request.peer_address;
        }
        if !request.client_address.is_empty() {
            node.client_address = request.client_address;
        }
        let founding = async {
            let member =
                self.node.initialise(&request.cluster_id, &request.volume_id, node).await?;
            if request.activate {
                formation::activate(&member).await?;
            }
            let identity = member.identity();
            Ok(v1::InitialiseResponse {
                node_id: identity.node_id,
                cluster_id: identity.cluster_id.clone(),
            })
        };
        within(deadline, founding).await.map(Response::new)
    }

    async fn activate(
        &self,
        request: Request<v1::ActivateRequest>,
    ) -> Result<Response<v1::ActivateResponse>, Status> {
        let member = self.member()?;
        check_cluster(&member, &request.get_ref().cluster_id)?;
        decide!(self, request, activate, |member, _message| async {
            formation::activate(&member).await.map(|()| v1::ActivateResponse {})
        })
    }

    async fn join(
        &self,
        request: Request<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        let deadline = deadline::of(request.metadata(), MEMBERSHIP_TIMEOUT);
        let request = request.into_inner();
        if let Some(member) = self.node.member() {
            check_cluster(&member, &request.cluster_id)?;
            return Ok(Response::new(v1::JoinResponse { node_id: member.identity().node_id }));
        }
        let joining =
            formation::join(&self.node, &request.cluster_id, &request.volume_id, &request.members);
        let member = within(deadline, joining).await?;
        Ok(Response::new(v1::JoinResponse { node_id: member.identity().node_id }))
    }

    async fn allocate_node_id(
        &self,
        request: Request<v1::AllocateNodeIdRequest>,
    ) -> Result<Response<v1::AllocateNodeIdResponse>, Status> {
        let member = self.member()?;
        check_cluster(&member, &request.get_ref().cluster_id)?;
        decide!(self, request, allocate_node_id, |member, message| async {
            let command = Command::AllocateNodeId { volume_id: message.volume_id };
            match proposed(member.proposer().propose_regardless(command.encode()).await)? {
                Outcome::NodeIdAllocated(node_id) => {
                    Ok(v1::AllocateNodeIdResponse { node_id, epoch: member.identity().epoch })
                }
                other => {
                    Err(Reason::Internal.plain(format!("a node id was asked, {other:?} came")))
                }
            }
        })
    }

    async fn status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(self.node.status()))
    }

    async fn members(
        &self,
        request: Request<v1::MembersRequest>,
    ) -> Result<Response<v1::MembersResponse>, Status> {
        decide!(self, request, members, |member, _message| async {
            // The leader proves that it leads: a deposed one must not describe a membership of the past.
            member.reads().next().await.map_err(super::consistency::read_index_status)?;
            let metrics = member.metrics();
            Ok(v1::MembersResponse {
                membership: Some(member.membership()),
                leader_id: metrics.current_leader.unwrap_or_default(),
                term: metrics.current_term,
                cluster_id: member.identity().cluster_id.clone(),
            })
        })
    }

    async fn add_learner(
        &self,
        request: Request<v1::AddLearnerRequest>,
    ) -> Result<Response<v1::MembershipResponse>, Status> {
        decide!(self, request, add_learner, |member, message| async {
            require("node_id", message.node_id != 0)?;
            require("peer_address", !message.peer_address.is_empty())?;
            require("volume_id", !message.volume_id.is_empty())?;
            let node = PeerNode {
                name: message.name,
                peer_address: message.peer_address,
                client_address: message.client_address,
                volume_id: message.volume_id,
            };
            let seen = seen(message.seen).map(wire::log_id_from_wire);
            changed(member.add_learner(message.node_id, node, seen).await)
        })
    }

    async fn promote(
        &self,
        request: Request<v1::PromoteRequest>,
    ) -> Result<Response<v1::MembershipResponse>, Status> {
        decide!(self, request, promote, |member, message| async {
            let seen = seen(message.seen).map(wire::log_id_from_wire);
            changed(member.promote(message.node_id, seen).await)
        })
    }

    async fn remove(
        &self,
        request: Request<v1::RemoveRequest>,
    ) -> Result<Response<v1::MembershipResponse>, Status> {
        decide!(self, request, remove, |member, message| async {
            let seen = seen(message.seen).map(wire::log_id_from_wire);
            changed(member.remove(message.node_id, seen).await)
        })
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        decide!(self, request, transfer_leader, |member, message| async {
            let (leader_id, term) =
                member.transfer_leader(message.to_node_id).await.map_err(refused)?;
            Ok(v1::TransferLeaderResponse { leader_id, term })
        })
    }

    async fn checkpoint(
        &self,
        request: Request<v1::CheckpointRequest>,
    ) -> Result<Response<v1::CheckpointResponse>, Status> {
        decide!(self, request, checkpoint, |member, message| async {
            let command = Command::Seal.encode();
            let outcome = proposed(member.proposer().propose_regardless(command).await)?;
            let Outcome::Sealed { seal, position } = outcome else {
                let other = format!("a seal was asked, {outcome:?} came");
                return Err(Reason::Internal.plain(other));
            };
            if message.wait {
                let mut sealed = member.checkpoints();
                let stopping = |_closed| Reason::NotReady.plain("the node is stopping");
                sealed.wait_for(|durable| *durable >= seal).await.map_err(stopping)?;
            }
            Ok(v1::CheckpointResponse { seal, sealed_position: position })
        })
    }
}

async fn within<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    tokio::time::timeout_at(deadline, work).await.unwrap_or_else(|_| Err(deadline_exceeded()))
}

fn changed(
    outcome: Result<v1::Membership, MembershipError>,
) -> Result<v1::MembershipResponse, Status> {
    outcome
        .map(|membership| v1::MembershipResponse { membership: Some(membership) })
        .map_err(refused)
}

#[allow(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn refused(error: MembershipError) -> Status {
    let message = error.to_string();
    match error {
        MembershipError::NotLeader => not_leader("another member"),
        MembershipError::Busy => Reason::NotReady.plain(message),
        MembershipError::Changed => Reason::MembershipChanged.plain(message),
        MembershipError::UnknownMember(node_id) => {
            Reason::UnknownMember.status(message, [("node_id", node_id.to_string())])
        }
        MembershipError::Lags { node_id, lag_bytes, maximum } => Reason::MemberLags.status(
            message,
            [
                ("node_id", node_id.to_string()),
                ("lag_bytes", lag_bytes.to_string()),
                ("maximum", maximum.to_string()),
            ],
        ),
        MembershipError::Unsafe(_) => Reason::UnsafeMembershipChange.plain(message),
        MembershipError::TransferFailed(_) => Reason::TransferFailed.plain(message),
        MembershipError::Unknown => Reason::OutcomeUnknown.plain(message),
    }
}

fn require(field: &str, holds: bool) -> Result<(), Status> {
    if holds {
        return Ok(());
    }
    Err(Reason::InvalidArgument.status(format!("{field} must not be empty"), [("field", field)]))
}

fn check_cluster(member: &Member, asked: &str) -> Result<(), Status> {
    let own = &member.identity().cluster_id;
    if asked == own {
        return Ok(());
    }
    Err(Reason::WrongStore.status(
        format!("the request is for store {asked}, but this node belongs to store {own}"),
        [("field", "cluster_id"), ("value", asked), ("own", own.as_str())],
    ))
}

/// The refusal of a node that belongs to no store yet.
pub fn not_initialised() -> Status {
    Reason::NotInitialised
        .plain("this node belongs to no store yet: initialise it, or let it join one")
}
