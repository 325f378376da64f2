//! The operator of a simulated store: founds it, takes members in, removes them, moves the leadership. It only asks,
//! like any operator, and asks again until it is done.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use reckon_api::v1;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use v1::cluster_client::ClusterClient;

use crate::network::{CLIENT_PORT, PEER_PORT, SimulatedDial};

/// The name of the store.
const CLUSTER: &str = "simulated-store";
/// How long one call may take.
const CALL: Duration = Duration::from_secs(3);
/// The pause before something is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// What the operator is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Found a store on these nodes, the first one first, and open it.
    Found(Vec<String>),
    /// Wait until the store, which founds itself, is open with so many voters.
    AwaitOpen(usize),
    /// Make a node on an empty volume a voter.
    TakeIn(String),
    /// Remove the member that is called like this node but lives on another volume than the node has now.
    Remove(String),
    /// Let somebody else lead.
    Transfer,
    /// Seal what is in memory.
    Checkpoint,
}

/// The operator's tasks, and what became of them.
#[derive(Debug, Clone, Default)]
pub struct Operator {
    tasks: Rc<RefCell<VecDeque<Task>>>,
    /// The task under way.
    busy: Rc<Cell<bool>>,
    pub nodes: Rc<RefCell<Vec<String>>>,
}

impl Operator {
    /// Adds a task behind the others.
    pub fn ask(&self, task: Task) {
        self.tasks.borrow_mut().push_back(task);
    }

    /// Whether there is nothing left to do.
    pub fn idle(&self) -> bool {
        self.tasks.borrow().is_empty() && !self.busy.get()
    }

    /// What is not done yet.
    pub fn pending(&self) -> Vec<Task> {
        self.tasks.borrow().iter().cloned().collect()
    }

    /// Does the tasks one after the other until told to end.
    pub async fn run(self, ending: Rc<Cell<bool>>) -> turmoil::Result {
        let dial = SimulatedDial::new("operator");
        while !(ending.get() && self.idle()) {
            let task = self.tasks.borrow().front().cloned();
            let Some(task) = task else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            self.busy.set(true);
            match self.step(&dial, &task).await {
                Ok(true) => {
                    self.tasks.borrow_mut().pop_front();
                }
                Ok(false) => tokio::time::sleep(AGAIN).await,
                Err(status) => {
                    tracing::debug!(?task, status = status.message(), "not yet");
                    // What is done for the sake of disturbance is not insisted on.
                    if matches!(task, Task::Transfer | Task::Checkpoint) {
                        self.tasks.borrow_mut().pop_front();
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
            self.busy.set(false);
        }
        Ok(())
    }

    /// One step towards the end of a task; whether it is done.
    async fn step(&self, dial: &SimulatedDial, task: &Task) -> Result<bool, Status> {
        match task {
            Task::Found(nodes) => self.found(dial, nodes).await,
            Task::AwaitOpen(voters) => {
                let first = self.nodes.borrow()[0].clone();
                let status = status(dial, &first).await?;
                let members = status.membership.unwrap_or_default().members;
                let count = members.iter().filter(|member| member.voter).count();
                Ok(status.activated && count >= *voters)
            }
            Task::TakeIn(node) => self.take_in(dial, node).await,
            Task::Remove(node) => self.remove(dial, node).await,
            Task::Transfer => {
                let request = v1::TransferLeaderRequest { to_node_id: 0 };
                self.anywhere(dial, |mut client| {
                    let request = timed(request);
                    async move { client.transfer_leader(request).await }
                })
                .await
                .map(|_| true)
            }
            Task::Checkpoint => {
                let request = v1::CheckpointRequest { wait: false };
                self.anywhere(dial, |mut client| {
                    let request = timed(request);
                    async move { client.checkpoint(request).await }
                })
                .await
                .map(|_| true)
            }
        }
    }

    async fn found(&self, dial: &SimulatedDial, nodes: &[String]) -> Result<bool, Status> {
        let first = &nodes[0];
        let volume_id = status(dial, first).await?.volume_id;
        let request = v1::InitialiseRequest {
            cluster_id: CLUSTER.to_owned(),
            volume_id,
            activate: false,
            ..v1::InitialiseRequest::default()
        };
        answer(client(dial, first).initialise(timed(request))).await?;
        for node in &nodes[1..] {
            if !self.take_in(dial, node).await? {
                return Ok(false);
            }
        }
        let request = v1::ActivateRequest { cluster_id: CLUSTER.to_owned() };
        answer(client(dial, first).activate(timed(request))).await?;
        Ok(true)
    }

    async fn take_in(&self, dial: &SimulatedDial, node: &str) -> Result<bool, Status> {
        let own = status(dial, node).await?;
        let members = self.members(dial).await?;
        if own.node_id == 0 {
            let join = v1::JoinRequest {
                cluster_id: members.cluster_id,
                volume_id: own.volume_id,
                members: self.nodes.borrow().iter().map(|name| client_address(name)).collect(),
            };
            answer(client(dial, node).join(timed(join))).await?;
            return Ok(false);
        }
        let membership = members.membership.unwrap_or_default();
        let seen = Some(v1::MembershipToken {
            log_term: membership.log_term,
            log_index: membership.log_index,
        });
        match membership.members.iter().find(|member| member.node_id == own.node_id) {
            Some(member) if member.voter => Ok(true),
            Some(member) => {
                let request = v1::PromoteRequest { node_id: member.node_id, seen };
                self.anywhere(dial, |mut client| {
                    let request = timed(request);
                    async move { client.promote(request).await }
                })
                .await?;
                Ok(false)
            }
            None => {
                let request = v1::AddLearnerRequest {
                    node_id: own.node_id,
                    seen,
                    peer_address: format!("{node}:{PEER_PORT}"),
                    client_address: client_address(node),
                    name: node.to_owned(),
                    volume_id: own.volume_id,
                };
                self.anywhere(dial, |mut client| {
                    let request = timed(request.clone());
                    async move { client.add_learner(request).await }
                })
                .await?;
                Ok(false)
            }
        }
    }

    async fn remove(&self, dial: &SimulatedDial, node: &str) -> Result<bool, Status> {
        let volume_id = status(dial, node).await?.volume_id;
        let members = self.members(dial).await?;
        let membership = members.membership.unwrap_or_default();
        let seen = Some(v1::MembershipToken {
            log_term: membership.log_term,
            log_index: membership.log_index,
        });
        let gone = membership
            .members
            .iter()
            .find(|member| member.name == node && member.volume_id != volume_id);
        let Some(gone) = gone else { return Ok(true) };
        if gone.node_id == members.leader_id {
            let request = v1::TransferLeaderRequest { to_node_id: 0 };
            self.anywhere(dial, |mut client| {
                let request = timed(request);
                async move { client.transfer_leader(request).await }
            })
            .await?;
            return Ok(false);
        }
        let request = v1::RemoveRequest { node_id: gone.node_id, seen };
        self.anywhere(dial, |mut client| {
            let request = timed(request);
            async move { client.remove(request).await }
        })
        .await?;
        Ok(false)
    }

    async fn members(&self, dial: &SimulatedDial) -> Result<v1::MembersResponse, Status> {
        self.anywhere(dial, |mut client| async move {
            client.members(timed(v1::MembersRequest {})).await
        })
        .await
    }

    /// Asks one node after the other until one does what is asked.
    async fn anywhere<T, F>(
        &self,
        dial: &SimulatedDial,
        call: impl Fn(ClusterClient<Channel>) -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let nodes = self.nodes.borrow().clone();
        let mut refused = Status::unavailable("there are no nodes");
        for node in nodes {
            match answer(call(client(dial, &node))).await {
                Ok(answer) => return Ok(answer),
                Err(status) => refused = status,
            }
        }
        Err(refused)
    }
}

/// What a node says of itself.
pub async fn status(dial: &SimulatedDial, node: &str) -> Result<v1::StatusResponse, Status> {
    answer(client(dial, node).status(timed(v1::StatusRequest {}))).await
}

async fn answer<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(CALL, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_elapsed) => Err(Status::deadline_exceeded("no answer in time")),
    }
}

fn client(dial: &SimulatedDial, node: &str) -> ClusterClient<Channel> {
    ClusterClient::new(dial.client_port(node))
}

fn client_address(node: &str) -> String {
    format!("{node}:{CLIENT_PORT}")
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}
