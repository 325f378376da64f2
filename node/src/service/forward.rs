//! Forwarding: what only the leader can do goes to the leader, and its answer or refusal comes back unchanged.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reckon_api::{Reason, v1};
use tokio::time::Instant;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::consistency::no_leader;
use crate::environment::Dial;
use crate::limits;
use crate::raft::Member;
use crate::raft::network::Connections;

/// Marks a request that a member has already forwarded once; it is never forwarded again.
const FORWARDED: &str = "reckon-forwarded-by";

/// Where requests go that this node cannot decide.
#[derive(Debug, Clone)]
pub struct Forwarder {
    connections: Connections,
    channels: Arc<Mutex<HashMap<String, Channel>>>,
}

/// Who decides a request.
#[derive(Debug)]
pub enum Decider {
    /// This node.
    Here,
    /// The leader, over this connection.
    Leader(Leader),
}

/// The leader as another member reaches its client port.
#[derive(Debug)]
pub struct Leader {
    pub channel: Channel,
    address: String,
}

impl Forwarder {
    /// No connection yet.
    pub fn new(dial: Arc<dyn Dial>) -> Self {
        Self { connections: Connections::new(dial), channels: Arc::default() }
    }

    /// Finds who decides; waits for the end of an election up to a second, never past the deadline.
    pub async fn decider<T>(
        &self,
        member: &Member,
        request: &Request<T>,
        deadline: Instant,
    ) -> Result<Decider, Status> {
        self.decider_of(member, was_forwarded(request.metadata()), deadline).await
    }

    /// The same for a request of which only this is known: whether a member has forwarded it already.
    pub async fn decider_of(
        &self,
        member: &Member,
        forwarded: bool,
        deadline: Instant,
    ) -> Result<Decider, Status> {
        let give_up = deadline.min(Instant::now() + limits::LEADER_WAIT);
        loop {
            if member.leads() {
                return Ok(Decider::Here);
            }
            if let Some((_, node)) = member.other_leader() {
                if forwarded {
                    return Err(not_leader(&node.client_address));
                }
                return self.connect(node.client_address).map(Decider::Leader);
            }
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() || !member.wait_for_leader(left).await {
                return Err(no_leader());
            }
            // A leader may be known by its id before the membership says where it is.
            tokio::time::sleep(LEADER_POLL).await;
        }
    }

    fn connect(&self, address: String) -> Result<Leader, Status> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(&address) {
            return Ok(Leader { channel: channel.clone(), address });
        }
        let channel = self.connections.open(&address)?;
        channels.insert(address.clone(), channel.clone());
        Ok(Leader { channel, address })
    }

    /// Sends the request on. A refusal in the protocol's own words passes through; a broken connection becomes
    /// `lost`, because whether the leader took the request is then unknown.
    pub async fn send<T, R, F>(
        &self,
        leader: &Leader,
        message: T,
        deadline: Instant,
        lost: Reason,
        call: impl FnOnce(Request<T>) -> F,
    ) -> Result<Response<R>, Status>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let sent = self.try_send(leader, message, deadline, lost, call).await;
        sent.unwrap_or_else(|Unsent(status)| Err(status))
    }

    /// What the beginning of a call that was passed on to the leader led to. It may go to whoever leads next when it was
    /// not sent.
    pub fn answered<R>(
        &self,
        leader: &Leader,
        answer: Result<Response<R>, Status>,
    ) -> Result<Result<Response<R>, Status>, Unsent> {
        let status = match answer {
            Ok(response) => return Ok(Ok(response)),
            Err(status) => status,
        };
        if Reason::of(&status).is_some() || !is_transport(&status) {
            return Ok(Err(status));
        }
        self.channels.lock().remove(&leader.address);
        if never_connected(&status) {
            return Err(Unsent(unreachable_leader(leader)));
        }
        Ok(Err(status))
    }

    /// The same as [`Self::send`], with what was certainly not sent told apart: it may be sent to whoever leads next.
    pub async fn try_send<T, R, F>(
        &self,
        leader: &Leader,
        message: T,
        deadline: Instant,
        lost: Reason,
        call: impl FnOnce(Request<T>) -> F,
    ) -> Result<Result<Response<R>, Status>, Unsent>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let mut request = Request::new(message);
        mark(&mut request);
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        let status = match tokio::time::timeout_at(deadline, call(request)).await {
            Err(_elapsed) => return Ok(Err(deadline_exceeded())),
            Ok(Ok(response)) => return Ok(Ok(response)),
            Ok(Err(status)) => status,
        };
        if Reason::of(&status).is_some() || !is_transport(&status) {
            // A header of the forwarded answer must not leak into ours; message and details are what counts.
            let details = bytes::Bytes::copy_from_slice(status.details());
            return Ok(Err(Status::with_details(status.code(), status.message(), details)));
        }
        self.channels.lock().remove(&leader.address);
        if never_connected(&status) {
            return Err(Unsent(unreachable_leader(leader)));
        }
        let values = [("leader", leader.address.clone())];
        let message = format!(
            "the connection to the leader at {} broke: {}",
            leader.address,
            status.message()
        );
        Ok(Err(lost.status(message, values)))
    }
}

fn unreachable_leader(leader: &Leader) -> Status {
    let message = format!("the leader at {} cannot be reached from this node", leader.address);
    Reason::NoQuorum.status(message, [("leader", leader.address.clone())])
}

/// Marks a request that is sent on, so that it is not again.
pub fn mark<T>(request: &mut Request<T>) {
    request.metadata_mut().insert(FORWARDED, MetadataValue::from_static("member"));
}

/// The leader was not reached, so it has not seen the request.
#[derive(Debug)]
pub struct Unsent(pub Status);

/// Whether there was no connection over which anything could have been sent.
fn never_connected(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether a member has sent this request on already.
pub fn was_forwarded(metadata: &MetadataMap) -> bool {
    metadata.contains_key(FORWARDED)
}

const LEADER_POLL: Duration = Duration::from_millis(20);

/// The refusal of a request that reached a node which neither leads nor may forward.
pub fn not_leader(leader: &str) -> Status {
    Reason::NotLeader
        .status(format!("this node does not lead; the leader is at {leader}"), [("leader", leader)])
}

/// The refusal of a request whose time is up.
pub fn deadline_exceeded() -> Status {
    Reason::DeadlineExceeded.plain(
        "the deadline passed; what was asked may have taken effect: send it again, an append with the same event ids",
    )
}

fn is_transport(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal)
}

/// The membership that a change was decided on, if its caller named one.
pub fn seen(token: Option<v1::MembershipToken>) -> Option<v1::LogId> {
    token.map(|token| v1::LogId { term: token.log_term, index: token.log_index })
}

/// How long a membership change may take when its caller set no deadline.
pub const MEMBERSHIP_TIMEOUT: Duration = Duration::from_secs(10);
