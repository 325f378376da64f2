//! How fresh a read must be, and the wait until this node is that fresh.

use std::time::Duration;

use reckon_api::{Reason, v1};
use tokio::time::Instant;
use tonic::Status;

use super::wire;
use crate::limits;
use crate::raft::reads::ReadIndexError;
use crate::raft::{Member, wire as peer_wire};

/// Returns when what this node has applied satisfies `wanted`, or says why that cannot be had by `deadline`.
pub async fn ensure(
    member: &Member,
    wanted: Option<v1::Consistency>,
    deadline: Instant,
) -> Result<(), Status> {
    use v1::consistency::Kind;
    match wanted.and_then(|consistency| consistency.kind) {
        None | Some(Kind::Linearizable(true)) => {
            let index = read_index(member, deadline).await?;
            applied(member, deadline, |applied| applied.next_index > index).await
        }
        Some(Kind::Stale(true)) => Ok(()),
        Some(Kind::Linearizable(false)) => Err(wire::ambiguous("consistency.linearizable")),
        Some(Kind::Stale(false)) => Err(wire::ambiguous("consistency.stale")),
        Some(Kind::AtLeastPosition(position)) => {
            applied(member, deadline, |applied| applied.next_position > position).await
        }
    }
}

async fn applied(
    member: &Member,
    deadline: Instant,
    enough: impl Fn(&crate::raft::state_machine::Applied) -> bool,
) -> Result<(), Status> {
    let mut progress = member.applied();
    match tokio::time::timeout_at(deadline, progress.wait_for(|now| enough(now))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_closed)) => Err(Reason::NotReady.plain("the node is stopping")),
        Err(_elapsed) => Err(Reason::DeadlineExceeded.plain(
            "this node did not catch up in time; ask again, ask another node, or ask for less",
        )),
    }
}

/// The read index, from this node if it leads and from the leader otherwise. An election is waited for.
async fn read_index(member: &Member, deadline: Instant) -> Result<u64, Status> {
    let give_up = deadline.min(Instant::now() + limits::LEADER_WAIT);
    loop {
        let refused = match attempt(member).await {
            Ok(index) => return Ok(index),
            Err(status) => status,
        };
        let passing = Reason::of(&refused).is_none_or(|reason| {
            matches!(reason, Reason::NotLeader | Reason::NoQuorum | Reason::NotReady)
        });
        if !passing || Instant::now() + RETRY_DELAY >= give_up {
            return Err(refused);
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

const RETRY_DELAY: Duration = Duration::from_millis(20);

async fn attempt(member: &Member) -> Result<u64, Status> {
    if member.leads() {
        return member.reads().next().await.map_err(read_index_status);
    }
    let Some((leader, node)) = member.other_leader() else {
        return Err(no_leader());
    };
    let envelope = peer_wire::envelope(member.identity(), leader);
    let mut client = member.connections().control(&node.peer_address)?;
    let call = client.read_index(v1::ReadIndexRequest { envelope: Some(envelope) });
    match tokio::time::timeout(limits::PEER_CALL_TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner().index),
        Ok(Err(status)) if Reason::of(&status).is_some() => Err(status),
        Ok(Err(_)) | Err(_) => {
            member.connections().drop_control(&node.peer_address);
            Err(Reason::NoQuorum.plain("the leader cannot be reached from this node"))
        }
    }
}

/// The status of a read index that could not be had.
pub fn read_index_status(error: ReadIndexError) -> Status {
    match error {
        ReadIndexError::NotLeader => Reason::NotLeader.plain("this node does not lead (any more)"),
        ReadIndexError::NoQuorum => Reason::NoQuorum
            .plain("too few voters answer to prove that this node leads; stale reads still work"),
        ReadIndexError::TooManyRequests => {
            Reason::TooManyRequests.plain("too many linearizable reads wait on this node")
        }
        ReadIndexError::Stopped => Reason::NotReady.plain("the node is stopping"),
    }
}

/// The status when nobody is known to lead.
pub fn no_leader() -> Status {
    Reason::NoQuorum.plain("no leader is known: an election is under way, or too few voters are up")
}
