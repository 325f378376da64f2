//! `Append`: one append, decided here or by the leader.

use std::time::Duration;

use reckon_api::{Reason, v1};
use tokio::time::Instant;
use tonic::Status;
use v1::streams_client::StreamsClient;

use super::StreamsService;
use crate::engine::Outcome;
use crate::limits;
use crate::raft::proposer::ProposeError;
use crate::service::forward::{Decider, deadline_exceeded};
use crate::service::{proposed, wire};

impl StreamsService {
    /// Answers one append by `deadline`. `forwarded` says that another member has sent it on already.
    pub(super) async fn append_one(
        &self,
        request: v1::AppendRequest,
        forwarded: bool,
        deadline: Instant,
    ) -> Result<v1::AppendResponse, Status> {
        let observed = self.metrics.append_begins(&request.appends);
        let answer = self.decide_append(request, forwarded, deadline).await;
        observed.ends(&answer);
        answer
    }

    async fn decide_append(
        &self,
        request: v1::AppendRequest,
        forwarded: bool,
        deadline: Instant,
    ) -> Result<v1::AppendResponse, Status> {
        let member = self.open_store()?;
        let _slot = self.appends.enter()?;
        // Checked before it is forwarded too: what is wrong is said at once, and in the same words.
        let command = wire::append_command(&request, &*self.node.environment().new_id)?;
        loop {
            let leader =
                match self.forwarder.decider_of(&member, forwarded, deadline).await? {
                    Decider::Leader(leader) => leader,
                    Decider::Here => {
                        super::check_activated(&member)?;
                        let proposing = member.proposer().propose(command.clone());
                        let answer = tokio::time::timeout_at(deadline, proposing)
                            .await
                            .map_err(|_elapsed| deadline_exceeded())?;
                        if answer == Err(ProposeError::NotLeader) && Instant::now() < deadline {
                            // Certainly not appended: whoever leads now may have it.
                            tokio::time::sleep(LEADER_POLL).await;
                            continue;
                        }
                        return match proposed(answer)? {
                            Outcome::Appended(appended) => {
                                Ok(wire::append_response(&request, &appended))
                            }
                            other => Err(Reason::Internal
                                .plain(format!("an append was asked, {other:?} came"))),
                        };
                    }
                };
            let mut client = StreamsClient::new(leader.channel.clone())
                .max_decoding_message_size(limits::CLIENT_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(limits::CLIENT_MESSAGE_BYTES_MAX);
            let append = |request| async move { client.append(request).await };
            let lost = Reason::OutcomeUnknown;
            return self
                .forwarder
                .send(&leader, request, deadline, lost, append)
                .await
                .map(tonic::Response::into_inner);
        }
    }
}

/// How often a request looks for the leader while leadership moves.
const LEADER_POLL: Duration = Duration::from_millis(5);
