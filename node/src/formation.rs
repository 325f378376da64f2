//! How a store comes to be: founding, joining, and forming without an operator.
//!
//! In Kubernetes the operator decides; this module only carries out. Without an operator `expect: N` lets the
//! nodes do it, and only when all N are there, all empty, and all name the same set.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reckon_api::{Reason, v1};
use tonic::transport::Channel;
use tonic::{Request, Status};
use v1::cluster_client::ClusterClient;

use crate::discovery::Discovery;
use crate::engine::{Command, Outcome};
use crate::limits;
use crate::node::{FIRST_NODE_ID, Node};
use crate::raft::{Member, network::Connections};
use crate::service::{consistency::no_leader, proposed};
use crate::storage::{FORMAT_VERSION, Identity};

/// Opens a store to clients. Idempotent.
pub async fn activate(member: &Member) -> Result<(), Status> {
    if !member.wait_for_leader(limits::LEADER_WAIT).await {
        return Err(no_leader());
    }
    if member.activated() {
        return Ok(());
    }
    match proposed(member.proposer().propose_regardless(Command::Activate.encode()).await)? {
        Outcome::Activated => Ok(()),
        other => Err(Reason::Internal.plain(format!("an activation was asked, {other:?} came"))),
    }
}

/// Asks the members of a store for a node id, keeps it with the volume, and starts Raft. The leader then has
/// to take the node in as a learner. A volume that asks twice is given the same id.
pub async fn join(
    node: &Node,
    cluster_id: &str,
    volume_id: &str,
    members: &[String],
) -> Result<Arc<Member>, Status> {
    let mut refused =
        Reason::InvalidArgument.status("members must not be empty", [("field", "members")]);
    let connections = Connections::new(Arc::clone(&node.environment().dial));
    for address in members {
        let mut client = ClusterClient::new(connections.open(address)?);
        let mut request = Request::new(v1::AllocateNodeIdRequest {
            cluster_id: cluster_id.to_owned(),
            volume_id: volume_id.to_owned(),
        });
        request.set_timeout(limits::PEER_CALL_TIMEOUT);
        let call = client.allocate_node_id(request);
        match tokio::time::timeout(limits::PEER_CALL_TIMEOUT, call).await {
            Ok(Ok(answer)) => {
                let answer = answer.into_inner();
                let identity = Identity {
                    node_id: answer.node_id,
                    cluster_id: cluster_id.to_owned(),
                    epoch: answer.epoch,
                    format_version: FORMAT_VERSION,
                };
                return node.adopt(identity, volume_id).await;
            }
            Ok(Err(status)) => refused = status,
            Err(_elapsed) => {
                refused = Reason::NoQuorum.plain(format!("the member at {address} did not answer"));
            }
        }
    }
    Err(refused)
}

/// Forms or joins a store without an operator, and returns when this node is a voter of a store of at least
/// `expect` voters that is open to clients. Tries for ever: the others may start whenever they like.
pub async fn form(
    node: Node,
    discovery: Arc<dyn Discovery>,
    expect: u32,
    cluster_id: Option<String>,
) {
    let connections = Connections::new(Arc::clone(&node.environment().dial));
    let mut last_reported = String::new();
    loop {
        let step =
            step(&node, discovery.as_ref(), &connections, expect, cluster_id.as_deref()).await;
        match step {
            Ok(Progress::Formed) => return,
            Ok(Progress::Again) => {}
            Err(why) => {
                // Said once per reason, not once per round.
                if why != last_reported {
                    tracing::info!(%why, "the store is not formed yet");
                    last_reported = why;
                }
            }
        }
        tokio::time::sleep(ROUND_DELAY).await;
    }
}

const ROUND_DELAY: Duration = Duration::from_millis(200);

enum Progress {
    Again,
    Formed,
}

async fn step(
    node: &Node,
    discovery: &dyn Discovery,
    connections: &Connections,
    expect: u32,
    cluster_id: Option<&str>,
) -> Result<Progress, String> {
    if let Some(member) = node.member() {
        return settle(node, &member, expect, discovery, connections).await;
    }
    let peers = discover(discovery).await?;
    node.set_expects(peers.iter().cloned().collect());
    let answers = probe_all(connections, &peers).await;

    if let Some(formed) = answers.iter().find(|answer| !answer.cluster_id.is_empty()) {
        let clusters: BTreeSet<_> = answers
            .iter()
            .map(|answer| answer.cluster_id.as_str())
            .filter(|id| !id.is_empty())
            .collect();
        if clusters.len() > 1 {
            return Err(format!(
                "the peers belong to several stores: {clusters:?}; nothing is done"
            ));
        }
        let members: Vec<String> = answers
            .iter()
            .filter(|answer| !answer.cluster_id.is_empty())
            .map(|answer| answer.client_address.clone())
            .collect();
        join(node, &formed.cluster_id, &node.volume_id(), &members)
            .await
            .map_err(|status| format!("joining is refused: {}", status.message()))?;
        return Ok(Progress::Again);
    }

    let volumes: BTreeSet<&str> = answers.iter().map(|answer| answer.volume_id.as_str()).collect();
    if peers.len() != expect as usize || volumes.len() != expect as usize {
        return Err(format!(
            "{expect} nodes are expected, discovery names {}, and {} empty ones answer",
            peers.len(),
            volumes.len()
        ));
    }
    let expected: Vec<String> = peers.into_iter().collect();
    if answers.iter().any(|answer| answer.expects != expected || answer.expect != expect) {
        return Err("the nodes do not name the same set of peers yet".to_owned());
    }
    // All N are there, all are empty, all agree who they are: the one with the lowest volume id founds.
    let own = node.volume_id();
    if volumes.first() != Some(&own.as_str()) {
        return Err("all nodes agree; another one founds the store".to_owned());
    }
    let cluster_id =
        cluster_id.map_or_else(|| (node.environment().new_id)().to_string(), str::to_owned);
    node.initialise(&cluster_id, &own, node.peer_node())
        .await
        .map_err(|status| format!("founding failed: {}", status.message()))?;
    tracing::info!(cluster_id, "founded the store");
    Ok(Progress::Again)
}

/// A member sees to its own place: known as a learner, then a voter; the store opens when `expect` vote.
async fn settle(
    node: &Node,
    member: &Member,
    expect: u32,
    discovery: &dyn Discovery,
    connections: &Connections,
) -> Result<Progress, String> {
    let own = member.identity().node_id;
    let membership = member.membership();
    let token =
        v1::MembershipToken { log_term: membership.log_term, log_index: membership.log_index };
    let voters = membership.members.iter().filter(|known| known.voter).count();
    match membership.members.iter().find(|known| known.node_id == own) {
        Some(known) if known.voter => {
            if voters < expect as usize {
                return Err(format!("{voters} of {expect} voters have joined"));
            }
            if !member.leads() {
                // The leader opens the store; this node waits to see it open.
                let open = member.activated();
                return if open { Ok(Progress::Formed) } else { Ok(Progress::Again) };
            }
            activate(member).await.map_err(|status| status.message().to_owned())?;
            Ok(Progress::Formed)
        }
        Some(_learner) if voters < expect as usize => {
            let request = v1::PromoteRequest { node_id: own, seen: Some(token) };
            let others = other_members(member, discovery, connections).await?;
            ask_each(connections, others, |mut client| async move { client.promote(request).await })
                .await
        }
        Some(_learner) => Err(format!(
            "the store has its {expect} voters; this node stays a learner until one is removed"
        )),
        None => {
            if own == FIRST_NODE_ID && member.metrics().last_log_index.is_none() {
                // The founder died between its identity and its first entry: it goes on where it was.
                let cluster_id = &member.identity().cluster_id;
                node.initialise(cluster_id, &node.volume_id(), node.peer_node())
                    .await
                    .map_err(|status| format!("founding failed: {}", status.message()))?;
                return Ok(Progress::Again);
            }
            let peer = node.peer_node();
            // Before the first contact this node knows no membership; the leader checks then.
            let request = v1::AddLearnerRequest {
                node_id: own,
                seen: None,
                peer_address: peer.peer_address,
                client_address: peer.client_address,
                name: peer.name,
                volume_id: peer.volume_id,
            };
            let others = other_members(member, discovery, connections).await?;
            ask_each(connections, others, |mut client| {
                let request = request.clone();
                async move { client.add_learner(request).await }
            })
            .await
        }
    }
}

/// Asks one member after the other until one of them, or the leader behind it, does what is asked. Others that
/// are about to join know no leader either and refuse.
async fn ask_each<T, F>(
    connections: &Connections,
    addresses: Vec<String>,
    ask: impl Fn(ClusterClient<Channel>) -> F,
) -> Result<Progress, String>
where
    F: Future<Output = Result<tonic::Response<T>, Status>>,
{
    let mut refused = "no other member of the store answers".to_owned();
    for address in addresses {
        let channel = connections.open(&address).map_err(|status| status.message().to_owned())?;
        match ask(ClusterClient::new(channel)).await {
            Ok(_) => return Ok(Progress::Again),
            Err(status) => status.message().clone_into(&mut refused),
        }
    }
    Err(refused)
}

/// Where the leader is reached if it is known, else where other members may be: each forwards.
async fn other_members(
    member: &Member,
    discovery: &dyn Discovery,
    connections: &Connections,
) -> Result<Vec<String>, String> {
    if let Some((_, leader)) = member.other_leader() {
        return Ok(vec![leader.client_address]);
    }
    let peers = discover(discovery).await?;
    let own = member.identity();
    Ok(probe_all(connections, &peers)
        .await
        .into_iter()
        .filter(|peer| peer.cluster_id == own.cluster_id && peer.node_id != own.node_id)
        .map(|peer| peer.client_address)
        .collect())
}

async fn discover(discovery: &dyn Discovery) -> Result<BTreeSet<String>, String> {
    let peers = discovery.peers().await.map_err(|error| error.to_string())?;
    Ok(peers.iter().map(ToString::to_string).collect())
}

async fn probe_all(connections: &Connections, peers: &BTreeSet<String>) -> Vec<v1::ProbeResponse> {
    let probes = peers.iter().map(|peer| probe(connections, peer));
    futures::future::join_all(probes).await.into_iter().flatten().collect()
}

async fn probe(connections: &Connections, peer: &str) -> Option<v1::ProbeResponse> {
    let mut client = connections.control(peer).ok()?;
    let call = client.probe(v1::ProbeRequest { store: false });
    if let Ok(Ok(answer)) = tokio::time::timeout(limits::PEER_CALL_TIMEOUT, call).await {
        return Some(answer.into_inner());
    }
    connections.drop_control(peer);
    None
}
