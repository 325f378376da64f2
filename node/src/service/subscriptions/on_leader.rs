//! What the leader decides or knows best: calls about subscriptions go there, whichever node they reach.

use std::future::Future;
use std::sync::Arc;

use reckon_api::{Reason, v1};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use v1::subscriptions_client::SubscriptionsClient;

use super::SubscriptionsService;
use crate::engine::{Command, Outcome, SubscriptionCommand};
use crate::limits;
use crate::raft::Member;
use crate::raft::proposer::ProposeError;
use crate::service::admission::{RETRY_PAUSE, check_activated};
use crate::service::forward::{Decider, Unsent, deadline_exceeded};
use crate::service::{consistency, proposed};

/// The leader, as whoever answers there sees itself: it has shown that it leads.
#[derive(Debug, Clone)]
pub(super) struct Leading {
    pub member: Arc<Member>,
    /// In which it has shown that.
    pub term: u64,
    pub deadline: Instant,
}

impl Leading {
    /// Has a change decided.
    pub async fn decide(&self, command: SubscriptionCommand) -> Result<Outcome, Status> {
        let command = Command::Subscription(command).encode();
        let proposing = self.member.proposer().propose(command);
        let decided = tokio::time::timeout_at(self.deadline, proposing).await;
        proposed(decided.map_err(|_elapsed| deadline_exceeded())?)
    }
}

impl SubscriptionsService {
    /// Has a change of a subscription decided, and its emitter told of it: also when that takes so long that nobody waits
    /// for it any more, for the emitter would go on with what was, and nothing of that would be written down.
    pub(super) async fn change(
        &self,
        leading: &Leading,
        name: &str,
        command: SubscriptionCommand,
    ) -> Result<Outcome, Status> {
        let command = Command::Subscription(command).encode();
        let (proposer, name) = (leading.member.proposer().clone(), name.to_owned());
        let emitters = self.emitters(&leading.member).clone();
        let change = async move {
            let decided = proposer.propose(command).await;
            emitters.refresh(&name).await;
            decided
        };
        #[cfg(feature = "planted-bugs")]
        if crate::planted::has(crate::planted::Planted::RefreshLost) {
            let changed = tokio::time::timeout_at(leading.deadline, change).await;
            return proposed(changed.map_err(|_elapsed| deadline_exceeded())?);
        }
        let changing = tokio::spawn(change);
        let changed = tokio::time::timeout_at(leading.deadline, changing).await;
        let changed = changed.map_err(|_elapsed| deadline_exceeded())?;
        proposed(changed.unwrap_or(Err(ProposeError::Unknown)))
    }

    /// Answers here if this node leads, or has the leader answer. An election is waited for.
    pub(super) async fn on_leader<M, T, H, F>(
        &self,
        request: Request<M>,
        here: impl Fn(Leading, M) -> H,
        there: impl Fn(SubscriptionsClient<Channel>, Request<M>) -> F,
    ) -> Result<Response<T>, Status>
    where
        M: Clone,
        H: Future<Output = Result<T, Status>>,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let arrival = self.admission.arrival(&request);
        let message = request.into_inner();
        let member = self.admission.open_store()?;
        let _slot = self.admission.reads.enter()?;
        let give_up = arrival.deadline.min(Instant::now() + limits::LEADER_WAIT);
        loop {
            let forwarder = &self.admission.forwarder;
            let decider =
                forwarder.decider_of(&member, arrival.forwarded, arrival.deadline).await?;
            let refused = match decider {
                Decider::Here => {
                    let answering = async {
                        let leading = self.leading(&member, arrival.deadline).await?;
                        here(leading, message.clone()).await
                    };
                    match answering.await {
                        // Certainly not decided: whoever leads now may do it.
                        Err(status) if Reason::of(&status) == Some(Reason::NotLeader) => status,
                        answered => return answered.map(Response::new),
                    }
                }
                Decider::Leader(leader) => {
                    let client = client(leader.channel.clone());
                    let call = |request| there(client, request);
                    let lost = Reason::OutcomeUnknown;
                    let sent =
                        forwarder.try_send(&leader, message.clone(), arrival.deadline, lost, call);
                    match sent.await {
                        Ok(answered) => {
                            return answered.map(|answer| Response::new(answer.into_inner()));
                        }
                        Err(Unsent(status)) => status,
                    }
                }
            };
            if Instant::now() + RETRY_PAUSE >= give_up {
                return Err(refused);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// This node, once it has shown that it leads and has applied what was committed by then.
    pub(super) async fn leading(
        &self,
        member: &Arc<Member>,
        deadline: Instant,
    ) -> Result<Leading, Status> {
        let moved = || Reason::NotLeader.plain("the leadership moved; try again");
        let term = member.leads_in().ok_or_else(moved)?;
        consistency::ensure(member, None, deadline).await?;
        check_activated(member)?;
        Ok(Leading { member: Arc::clone(member), term, deadline })
    }
}

/// The same service on the leader.
pub(super) fn client(channel: Channel) -> SubscriptionsClient<Channel> {
    SubscriptionsClient::new(channel)
        .max_decoding_message_size(limits::CLIENT_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::CLIENT_MESSAGE_BYTES_MAX)
}
