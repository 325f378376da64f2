//! Between openraft's messages and those of the peer service. Pure; knows no connection.

use openraft::entry::RaftEntry as _;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use reckon_api::v1;
use tonic::Status;

use openraft::type_config::alias::CommittedLeaderIdOf;

use super::types::{Entry, LogId, TypeConfig, Vote};
use crate::log::entry;
use crate::storage::Identity;

/// What a follower says to one request of the replication stream.
pub type StreamAppendResult = Result<Option<LogId>, StreamAppendError<TypeConfig>>;

/// Who speaks to whom, in which store.
pub fn envelope(own: &Identity, to_node_id: u64) -> v1::Envelope {
    v1::Envelope {
        cluster_id: own.cluster_id.clone(),
        epoch: own.epoch,
        from_node_id: own.node_id,
        to_node_id,
    }
}

pub fn log_id_to_wire(log_id: &LogId) -> v1::LogId {
    v1::LogId { term: **log_id.committed_leader_id(), index: log_id.index() }
}

pub fn log_id_from_wire(log_id: v1::LogId) -> LogId {
    LogId::new(CommittedLeaderIdOf::<TypeConfig>::from(log_id.term), log_id.index)
}

pub fn vote_to_wire(vote: &Vote) -> v1::Vote {
    v1::Vote {
        term: vote.leader_id.term,
        node_id: vote.leader_id.voted_for,
        committed: vote.committed,
    }
}

pub fn vote_from_wire(vote: Option<v1::Vote>) -> Result<Vote, Status> {
    let vote = vote.ok_or_else(|| missing("vote"))?;
    Ok(if vote.committed {
        Vote::new_committed(vote.term, vote.node_id)
    } else {
        Vote::new(vote.term, vote.node_id)
    })
}

pub fn append_to_wire(
    envelope: v1::Envelope,
    request: &AppendEntriesRequest<TypeConfig>,
) -> v1::ReplicateRequest {
    v1::ReplicateRequest {
        envelope: Some(envelope),
        vote: Some(vote_to_wire(&request.vote)),
        prev_log_id: request.prev_log_id.as_ref().map(log_id_to_wire),
        leader_commit: request.leader_commit.as_ref().map(log_id_to_wire),
        entries: request.entries.iter().map(entry::encode).collect(),
    }
}

pub fn append_from_wire(
    request: v1::ReplicateRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, Status> {
    let entries =
        request.entries.into_iter().map(entry::decode).collect::<Result<Vec<Entry>, _>>().map_err(
            |error| Status::invalid_argument(format!("a replicated entry is damaged: {error}")),
        )?;
    Ok(AppendEntriesRequest {
        vote: vote_from_wire(request.vote)?,
        prev_log_id: request.prev_log_id.map(log_id_from_wire),
        leader_commit: request.leader_commit.map(log_id_from_wire),
        entries,
    })
}

/// The last log id of a request: what a full success acknowledges.
pub fn last_log_id(request: &AppendEntriesRequest<TypeConfig>) -> Option<LogId> {
    request.entries.last().map_or(request.prev_log_id, |entry| Some(entry.log_id()))
}

pub fn stream_result_to_wire(result: &StreamAppendResult) -> v1::ReplicateResponse {
    use v1::replicate_response::Outcome;
    let outcome = match result {
        Ok(matched) => Outcome::PartialSuccess(optional(matched.as_ref())),
        Err(StreamAppendError::Conflict(log_id)) => Outcome::Conflict(optional(Some(log_id))),
        Err(StreamAppendError::HigherVote(vote)) => Outcome::HigherVote(vote_to_wire(vote)),
    };
    v1::ReplicateResponse { full: false, outcome: Some(outcome) }
}

pub fn stream_result_from_wire(
    response: v1::ReplicateResponse,
) -> Result<StreamAppendResult, Status> {
    use v1::replicate_response::Outcome;
    Ok(match response.outcome.ok_or_else(|| missing("outcome"))? {
        Outcome::Success(_) => return Err(missing("partial_success")),
        Outcome::PartialSuccess(matched) => Ok(matched.log_id.map(log_id_from_wire)),
        Outcome::Conflict(at) => Err(StreamAppendError::Conflict(log_id_from_wire(
            at.log_id.ok_or_else(|| missing("conflict.log_id"))?,
        ))),
        Outcome::HigherVote(vote) => {
            Err(StreamAppendError::HigherVote(vote_from_wire(Some(vote))?))
        }
    })
}

pub fn heartbeat_result(
    response: AppendEntriesResponse<TypeConfig>,
    prev: Option<LogId>,
    last: Option<LogId>,
) -> StreamAppendResult {
    match (response, prev) {
        // An empty log conflicts with nothing; answering "nothing matched" keeps the conversion total.
        (AppendEntriesResponse::Conflict, None) => Ok(None),
        (response, prev) => response.into_stream_result(prev, last),
    }
}

pub fn vote_request_to_wire(
    envelope: v1::Envelope,
    request: &VoteRequest<TypeConfig>,
    pre_vote: bool,
) -> v1::VoteRequest {
    v1::VoteRequest {
        envelope: Some(envelope),
        vote: Some(vote_to_wire(&request.vote)),
        last_log_id: request.last_log_id.as_ref().map(log_id_to_wire),
        pre_vote,
        leadership_transfer: request.leadership_transfer,
    }
}

pub fn vote_request_from_wire(
    request: &v1::VoteRequest,
) -> Result<VoteRequest<TypeConfig>, Status> {
    Ok(VoteRequest {
        vote: vote_from_wire(request.vote)?,
        last_log_id: request.last_log_id.map(log_id_from_wire),
        leadership_transfer: request.leadership_transfer,
    })
}

pub fn vote_response_to_wire(response: &VoteResponse<TypeConfig>) -> v1::VoteResponse {
    v1::VoteResponse {
        vote: Some(vote_to_wire(&response.vote)),
        granted: response.vote_granted,
        last_log_id: response.last_log_id.as_ref().map(log_id_to_wire),
    }
}

pub fn vote_response_from_wire(
    response: v1::VoteResponse,
) -> Result<VoteResponse<TypeConfig>, Status> {
    Ok(VoteResponse {
        vote: vote_from_wire(response.vote)?,
        vote_granted: response.granted,
        last_log_id: response.last_log_id.map(log_id_from_wire),
    })
}

pub fn transfer_to_wire(
    envelope: v1::Envelope,
    request: &TransferLeaderRequest<TypeConfig>,
) -> v1::TransferRequest {
    v1::TransferRequest {
        envelope: Some(envelope),
        from_leader: Some(vote_to_wire(request.from_leader())),
        to_node_id: *request.to_node_id(),
        last_log_id: request.last_log_id().map(log_id_to_wire),
    }
}

pub fn transfer_from_wire(
    request: &v1::TransferRequest,
) -> Result<TransferLeaderRequest<TypeConfig>, Status> {
    Ok(TransferLeaderRequest::new(
        vote_from_wire(request.from_leader)?,
        request.to_node_id,
        request.last_log_id.map(log_id_from_wire),
    ))
}

fn optional(log_id: Option<&LogId>) -> v1::OptionalLogId {
    v1::OptionalLogId { log_id: log_id.map(log_id_to_wire) }
}

fn missing(field: &str) -> Status {
    Status::invalid_argument(format!("a peer message lacks its field {field}"))
}
