//! What the leader decides: appends and the ends of streams. Any node takes them; the answer is the leader's.

use std::time::Duration;

use bytes::Bytes;
use reckon_api::Reason;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::admission::Admission;
use crate::engine::Outcome;
use crate::limits;
use crate::raft::proposer::ProposeError;
use crate::service::forward::{Decider, Unsent, deadline_exceeded};
use crate::service::{proposed, wire};

/// How a request got here, and until when it has to be answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// Another member has sent it on already.
    pub forwarded: bool,
    pub deadline: Instant,
}

/// A request with what was made of it.
pub(super) struct Decision<M> {
    /// What goes to the leader, if it is another node.
    pub request: M,
    /// What is proposed if it is this one. Checked before the request is forwarded too: what is wrong is said at
    /// once, and in the same words.
    pub command: Bytes,
}

impl Admission {
    /// Has a command decided here or by the leader.
    pub(super) async fn decided<M, T, F>(
        &self,
        decision: Decision<M>,
        arrival: Arrival,
        forward: impl Fn(Channel, Request<M>) -> F,
        answer: impl FnOnce(M, Outcome) -> Option<T>,
    ) -> Result<T, Status>
    where
        M: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let Decision { request, command } = decision;
        let Arrival { forwarded, deadline } = arrival;
        let member = self.open_store()?;
        let _slot = self.appends.enter()?;
        let give_up = deadline.min(Instant::now() + limits::LEADER_WAIT);
        loop {
            let leader = match self.forwarder.decider_of(&member, forwarded, deadline).await? {
                Decider::Leader(leader) => leader,
                Decider::Here => {
                    super::admission::check_activated(&member)?;
                    let proposing = member.proposer().propose(command.clone());
                    let decided = tokio::time::timeout_at(deadline, proposing)
                        .await
                        .map_err(|_elapsed| deadline_exceeded())?;
                    if decided == Err(ProposeError::NotLeader) && Instant::now() < deadline {
                        // Certainly not decided: whoever leads now may do it.
                        tokio::time::sleep(LEADER_POLL).await;
                        continue;
                    }
                    let outcome = proposed(decided)?;
                    return answer(request, outcome).ok_or_else(wire::not_its_answer);
                }
            };
            let channel = leader.channel.clone();
            let send = |request| forward(channel, request);
            let (message, lost) = (request.clone(), Reason::OutcomeUnknown);
            match self.forwarder.try_send(&leader, message, deadline, lost, send).await {
                Ok(answered) => return answered.map(Response::into_inner),
                Err(Unsent(status)) if Instant::now() + UNREACHED_PAUSE >= give_up => {
                    return Err(status);
                }
                // It is gone; another one may be elected in the time that there is.
                Err(Unsent(_)) => tokio::time::sleep(UNREACHED_PAUSE).await,
            }
        }
    }
}

/// How long a leader that cannot be reached is left alone.
const UNREACHED_PAUSE: Duration = Duration::from_millis(20);

/// How often a request looks for the leader while leadership moves.
const LEADER_POLL: Duration = Duration::from_millis(5);
