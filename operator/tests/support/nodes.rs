//! Nodes that speak the admin protocol and share a membership in memory: Raft as it looks from outside when
//! nothing fails.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use reckon_api::Reason;
use reckon_api::testing::Checkup;
use reckon_api::v1::cluster_server::{Cluster, ClusterServer};
use reckon_api::v1::subscriptions_server::SubscriptionsServer;
use reckon_api::v1::*;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::api_server::ApiServer;
use super::subscriptions::FakeSubscriptions;

/// All nodes of a store, one on each loopback address from 127.0.0.10.
#[derive(Clone)]
pub struct FakeStore {
    pub port: u16,
    pub subscriptions: FakeSubscriptions,
    /// What its nodes find when they compare each other.
    pub health: Checkup,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cluster_id: String,
    activated: bool,
    leader: u64,
    next_id: u64,
    index: u64,
    /// Node ids by ordinal.
    nodes: BTreeMap<usize, u64>,
    members: Vec<Member>,
    initialised: Vec<InitialiseRequest>,
}

struct Node {
    ordinal: usize,
    store: FakeStore,
    server: ApiServer,
}

impl FakeStore {
    /// Starts `count` nodes, whose pods are those of `server`.
    pub async fn start(count: usize, server: &ApiServer) -> Self {
        let address = |ordinal: usize, port: u16| {
            let last = u8::try_from(10 + ordinal).expect("few nodes");
            SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port))
        };
        // A port that is free on all of the addresses.
        let listeners = 'port: loop {
            let first = TcpListener::bind(address(0, 0)).await.expect("a free port");
            let port = first.local_addr().expect("a bound socket").port();
            let mut listeners = vec![first];
            for ordinal in 1..count {
                match TcpListener::bind(address(ordinal, port)).await {
                    Ok(listener) => listeners.push(listener),
                    Err(_) => continue 'port,
                }
            }
            break listeners;
        };
        let port = listeners[0].local_addr().expect("a bound socket").port();
        let store = Self {
            port,
            subscriptions: FakeSubscriptions::default(),
            health: Checkup::start([Ok(ConsistencyResult::Healthy)]).await,
            state: Arc::default(),
        };
        for (ordinal, listener) in listeners.into_iter().enumerate() {
            let node = Node { ordinal, store: store.clone(), server: server.clone() };
            tokio::spawn(
                tonic::transport::Server::builder()
                    .add_service(ClusterServer::new(node))
                    .add_service(SubscriptionsServer::new(store.subscriptions.clone()))
                    .add_service(store.health.service())
                    .serve_with_incoming(TcpListenerStream::new(listener)),
            );
        }
        store
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with the lock")
    }

    /// Every request to initialise.
    pub fn initialised(&self) -> Vec<InitialiseRequest> {
        self.lock().initialised.clone()
    }

    pub fn activated(&self) -> bool {
        self.lock().activated
    }

    /// Whether the node of this pod has joined.
    pub fn joined(&self, pod: &str) -> bool {
        let ordinal = pod.rsplit('-').next().and_then(|text| text.parse().ok());
        ordinal.is_some_and(|ordinal: usize| self.lock().nodes.contains_key(&ordinal))
    }

    /// Makes another member the leader; its ordinal.
    pub fn elect_another(&self) -> usize {
        let mut state = self.lock();
        let heir =
            state.members.iter().find(|member| member.voter && member.node_id != state.leader);
        state.leader = heir.expect("another voter").node_id;
        let leader = state.leader;
        *state.nodes.iter().find(|(_, id)| **id == leader).expect("a node").0
    }

    /// The members: node id and whether it votes.
    pub fn members(&self) -> Vec<(u64, bool)> {
        self.lock().members.iter().map(|member| (member.node_id, member.voter)).collect()
    }
}

impl State {
    fn membership(&self) -> Membership {
        let members = self.members.iter().cloned().map(|mut member| {
            member.leader = member.node_id == self.leader;
            member.lag_bytes = Some(0);
            member.last_ack_age_ms = Some(1);
            member
        });
        Membership { log_term: 1, log_index: self.index, members: members.collect(), joint: false }
    }

    fn change(
        &mut self,
        seen: Option<MembershipToken>,
        change: impl FnOnce(&mut Vec<Member>),
    ) -> Result<Response<MembershipResponse>, Status> {
        if seen.is_none_or(|seen| seen.log_index != self.index) {
            return Err(Reason::MembershipChanged.plain("The membership changed."));
        }
        change(&mut self.members);
        self.index += 1;
        Ok(Response::new(MembershipResponse { membership: Some(self.membership()) }))
    }
}

#[tonic::async_trait]
impl Cluster for Node {
    async fn initialise(
        &self,
        request: Request<InitialiseRequest>,
    ) -> Result<Response<InitialiseResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.store.lock();
        state.initialised.push(request.clone());
        state.cluster_id.clone_from(&request.cluster_id);
        (state.leader, state.next_id, state.index) = (1, 1, 1);
        state.nodes.insert(self.ordinal, 1);
        state.members = vec![Member {
            node_id: 1,
            voter: true,
            name: format!("orders-{}", self.ordinal),
            volume_id: request.volume_id,
            ..Member::default()
        }];
        Ok(Response::new(InitialiseResponse { node_id: 1, cluster_id: request.cluster_id }))
    }

    async fn activate(
        &self,
        _: Request<ActivateRequest>,
    ) -> Result<Response<ActivateResponse>, Status> {
        self.store.lock().activated = true;
        Ok(Response::new(ActivateResponse {}))
    }

    async fn join(&self, _: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let mut state = self.store.lock();
        state.next_id += 1;
        let node_id = state.next_id;
        state.nodes.insert(self.ordinal, node_id);
        Ok(Response::new(JoinResponse { node_id }))
    }

    async fn allocate_node_id(
        &self,
        _: Request<AllocateNodeIdRequest>,
    ) -> Result<Response<AllocateNodeIdResponse>, Status> {
        Err(Status::unimplemented("only nodes ask this"))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let name = format!("orders-{}", self.ordinal);
        let pod = self.server.get(&format!("/api/v1/namespaces/shop/pods/{name}"));
        let pod = pod.ok_or_else(|| Status::unavailable("no such pod"))?;
        let state = self.store.lock();
        let node_id = state.nodes.get(&self.ordinal).copied().unwrap_or(0);
        let role = match node_id {
            0 => Role::Unspecified,
            id if id == state.leader => Role::Leader,
            _ => Role::Follower,
        };
        Ok(Response::new(StatusResponse {
            volume_id: format!("volume-{}", self.ordinal),
            node_id,
            cluster_id: if node_id == 0 { String::new() } else { state.cluster_id.clone() },
            pod_uid: pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
            pod_name: name.clone(),
            version: "9.9.9".to_owned(),
            role: role.into(),
            term: state.leader,
            leader_id: state.leader,
            activated: state.activated,
            ready: node_id != 0,
            membership: Some(state.membership()),
            client_address: format!("{name}:7430"),
            peer_address: format!("{name}:7431"),
            ..StatusResponse::default()
        }))
    }

    async fn members(
        &self,
        _: Request<MembersRequest>,
    ) -> Result<Response<MembersResponse>, Status> {
        let state = self.store.lock();
        Ok(Response::new(MembersResponse {
            membership: Some(state.membership()),
            leader_id: state.leader,
            term: 1,
            cluster_id: state.cluster_id.clone(),
        }))
    }

    async fn add_learner(
        &self,
        request: Request<AddLearnerRequest>,
    ) -> Result<Response<MembershipResponse>, Status> {
        let request = request.into_inner();
        self.store.lock().change(request.seen, |members| {
            members.push(Member {
                node_id: request.node_id,
                name: request.name,
                volume_id: request.volume_id,
                client_address: request.client_address,
                peer_address: request.peer_address,
                ..Member::default()
            });
        })
    }

    async fn promote(
        &self,
        request: Request<PromoteRequest>,
    ) -> Result<Response<MembershipResponse>, Status> {
        let request = request.into_inner();
        self.store.lock().change(request.seen, |members| {
            let learner = members.iter_mut().find(|member| member.node_id == request.node_id);
            learner.expect("a learner to promote").voter = true;
        })
    }

    async fn remove(
        &self,
        request: Request<RemoveRequest>,
    ) -> Result<Response<MembershipResponse>, Status> {
        let request = request.into_inner();
        self.store.lock().change(request.seen, |members| {
            members.retain(|member| member.node_id != request.node_id);
        })
    }

    async fn transfer_leader(
        &self,
        request: Request<TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderResponse>, Status> {
        let mut state = self.store.lock();
        state.leader = request.into_inner().to_node_id;
        Ok(Response::new(TransferLeaderResponse { leader_id: state.leader, term: 1 }))
    }

    async fn checkpoint(
        &self,
        _: Request<CheckpointRequest>,
    ) -> Result<Response<CheckpointResponse>, Status> {
        Err(Status::unimplemented("no test seals"))
    }
}
