//! How the operator speaks to the nodes' own service: by the addresses of their pods inside the cluster,
//! through the API server's port-forward outside of it.
//!
//! Never by a name: names tell where somebody is, not who it is.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use reckon_api::v1;
use reckon_api::v1::cluster_client::ClusterClient;
use reckon_api::v1::health_client::HealthClient;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};

use crate::resources::PORT_CLIENT;

/// How long a node may take to say how it is. Short, since the leader label waits for all answers.
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the leader may take to list the members, over a node that forwards.
const MEMBERS_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a change may take: it is committed by a majority when it returns.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(8);

/// Connections that nobody used for so long are closed.
const IDLE_MAX: Duration = Duration::from_mins(1);

/// Where a node is, and which pod it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    pub ip: IpAddr,
}

/// The way to the nodes.
#[derive(Clone)]
enum Reach {
    Address { port: u16 },
    PortForward { client: Client, port: u16 },
}

/// A pod at an address. A pod whose machine was switched off comes back under its UID with another address, so
/// neither alone names a connection.
type Place = (String, IpAddr);

/// Connections to nodes, one per place.
pub struct Nodes {
    reach: Reach,
    channels: Mutex<HashMap<Place, (Channel, Instant)>>,
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Nodes").finish_non_exhaustive()
    }
}

impl Nodes {
    /// Reaches nodes by the addresses of their pods.
    pub fn by_address() -> Self {
        Self::by_address_on(PORT_CLIENT.unsigned_abs() as u16)
    }

    /// Like [`Nodes::by_address`], on another port.
    pub fn by_address_on(port: u16) -> Self {
        Self::new(Reach::Address { port })
    }

    /// Reaches nodes through the API server.
    pub fn by_port_forward(client: Client) -> Self {
        Self::new(Reach::PortForward { client, port: PORT_CLIENT.unsigned_abs() as u16 })
    }

    fn new(reach: Reach) -> Self {
        Self { reach, channels: Mutex::default() }
    }

    /// What a node says of itself; `None` if it does not answer, or answers for another pod.
    pub async fn status(&self, address: &Address) -> Option<v1::StatusResponse> {
        let mut client = self.client(address);
        let answer = within(
            STATUS_TIMEOUT,
            |request| async move { client.status(request).await },
            v1::StatusRequest {},
        );
        match answer.await {
            Ok(status) if status.pod_uid == address.uid => Some(status),
            Ok(status) => {
                tracing::debug!(pod = address.pod, uid = status.pod_uid, "another pod answered");
                None
            }
            Err(error) => {
                tracing::debug!(pod = address.pod, %error, "a node did not answer");
                None
            }
        }
    }

    /// The committed membership, as the leader sees it.
    pub async fn members(&self, address: &Address) -> Result<v1::MembersResponse, Status> {
        let mut client = self.client(address);
        within(
            MEMBERS_TIMEOUT,
            |request| async move { client.members(request).await },
            v1::MembersRequest {},
        )
        .await
    }

    /// What the node found when it compared all members last.
    pub async fn consistency(&self, address: &Address) -> Result<v1::ConsistencyReport, Status> {
        let mut client = HealthClient::new(self.channel(address));
        let answer = within(
            MEMBERS_TIMEOUT,
            |request| async move { client.consistency(request).await },
            v1::ConsistencyRequest {},
        );
        answer.await.map(|answer| answer.report.unwrap_or_default())
    }

    /// Makes the first member.
    pub async fn initialise(
        &self,
        address: &Address,
        request: v1::InitialiseRequest,
    ) -> Result<v1::InitialiseResponse, Status> {
        let mut client = self.client(address);
        within(CHANGE_TIMEOUT, |request| async move { client.initialise(request).await }, request)
            .await
    }

    /// Opens the store to clients.
    pub async fn activate(
        &self,
        address: &Address,
        request: v1::ActivateRequest,
    ) -> Result<v1::ActivateResponse, Status> {
        let mut client = self.client(address);
        within(CHANGE_TIMEOUT, |request| async move { client.activate(request).await }, request)
            .await
    }

    /// Tells a node which store to join.
    pub async fn join(
        &self,
        address: &Address,
        request: v1::JoinRequest,
    ) -> Result<v1::JoinResponse, Status> {
        let mut client = self.client(address);
        within(CHANGE_TIMEOUT, |request| async move { client.join(request).await }, request).await
    }

    /// Adds a learner.
    pub async fn add_learner(
        &self,
        address: &Address,
        request: v1::AddLearnerRequest,
    ) -> Result<v1::MembershipResponse, Status> {
        let mut client = self.client(address);
        within(CHANGE_TIMEOUT, |request| async move { client.add_learner(request).await }, request)
            .await
    }

    /// Makes a learner a voter.
    pub async fn promote(
        &self,
        address: &Address,
        request: v1::PromoteRequest,
    ) -> Result<v1::MembershipResponse, Status> {
        let mut client = self.client(address);
        within(CHANGE_TIMEOUT, |request| async move { client.promote(request).await }, request)
            .await
    }

    /// Removes a member.
    pub async fn remove(
        &self,
        address: &Address,
        request: v1::RemoveRequest,
    ) -> Result<v1::MembershipResponse, Status> {
        let mut client = self.client(address);
        within(CHANGE_TIMEOUT, |request| async move { client.remove(request).await }, request).await
    }

    /// Hands leadership over.
    pub async fn transfer_leader(
        &self,
        address: &Address,
        request: v1::TransferLeaderRequest,
    ) -> Result<v1::TransferLeaderResponse, Status> {
        let mut client = self.client(address);
        within(
            CHANGE_TIMEOUT,
            |request| async move { client.transfer_leader(request).await },
            request,
        )
        .await
    }

    fn client(&self, address: &Address) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel(address))
    }

    /// The connection to this pod, for whichever service of it; connects when first used.
    pub(crate) fn channel(&self, address: &Address) -> Channel {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        channels.retain(|_, (_, used)| now.duration_since(*used) < IDLE_MAX);
        let (channel, used) = channels
            .entry((address.uid.clone(), address.ip))
            .or_insert_with(|| (self.reach.channel(address), now));
        *used = now;
        channel.clone()
    }
}

impl Reach {
    fn channel(&self, address: &Address) -> Channel {
        match self {
            Self::Address { port } => {
                let socket = SocketAddr::new(address.ip, *port);
                endpoint(&format!("http://{socket}")).connect_lazy()
            }
            Self::PortForward { client, port } => {
                let pods: Api<Pod> = Api::namespaced(client.clone(), &address.namespace);
                let (pod, port) = (address.pod.clone(), *port);
                endpoint(&format!("http://{pod}")).connect_with_connector_lazy(tower::service_fn(
                    move |_: Uri| {
                        let (pods, pod) = (pods.clone(), pod.clone());
                        async move {
                            let mut forwarder =
                                pods.portforward(&pod, &[port]).await.map_err(io::Error::other)?;
                            let stream = forwarder
                                .take_stream(port)
                                .ok_or_else(|| io::Error::other("the port is not forwarded"))?;
                            Ok::<_, io::Error>(TokioIo::new(stream))
                        }
                    },
                ))
            }
        }
    }
}

fn endpoint(uri: &str) -> Endpoint {
    Endpoint::from_shared(uri.to_owned())
        .expect("an address or a pod's name makes a valid URI")
        .connect_timeout(STATUS_TIMEOUT)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(3))
        .user_agent(concat!("reckon-operator/", env!("CARGO_PKG_VERSION")))
        .expect("name and version are a valid header")
}

/// Sends a request with a deadline that both sides know.
pub(crate) async fn within<M, R, F>(
    timeout: Duration,
    call: impl FnOnce(Request<M>) -> F,
    message: M,
) -> Result<R, Status>
where
    F: Future<Output = Result<tonic::Response<R>, Status>>,
{
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    match tokio::time::timeout(timeout, call(request)).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("the node did not answer in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pod_that_comes_back_at_another_address_is_connected_to_anew() {
        let nodes = Nodes::by_address();
        let before = Address {
            namespace: "shop".to_owned(),
            pod: "orders-0".to_owned(),
            uid: "6f1c".to_owned(),
            ip: IpAddr::from([10, 0, 0, 1]),
        };
        let after = Address { ip: IpAddr::from([10, 0, 0, 2]), ..before.clone() };
        let connections = || nodes.channels.lock().unwrap().len();
        drop((nodes.client(&before), nodes.client(&before)));
        assert_eq!(connections(), 1, "a place keeps its connection");
        drop(nodes.client(&after));
        assert_eq!(connections(), 2, "the old connection leads to nobody");
    }
}
