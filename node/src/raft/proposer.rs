//! The proposer: drains commands into groups and keeps several groups in flight.
//!
//! A group is encoded and checksummed once; the same bytes go to disk, to peers and to apply. This is also
//! where back-pressure lives: apply never waits, so what cannot be taken must be refused here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, ForwardReason};
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use openraft::type_config::alias::OneshotReceiverOf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::RaftCore;
use super::intake::{Full, Intake};
use super::prefetcher::Prefetcher;
use super::types::{self, TypeConfig};
use crate::engine::{Outcome, encode_group};
use crate::environment::Clock;
use crate::limits;

/// What bounds the proposer.
#[derive(Debug, Clone)]
pub struct Options {
    pub group_bytes_max: usize,
    pub group_commands_max: usize,
    pub groups_in_flight_max: usize,
}

/// Why a command was not decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Certainly not appended: ask the leader.
    #[error("this node does not lead")]
    NotLeader,
    /// Certainly not appended: there is no room in memory or on disks.
    #[error(transparent)]
    Full(#[from] Full),
    /// Certainly not appended: the queue in front of the proposer is full.
    #[error("too many appends wait")]
    TooManyRequests,
    /// Certainly not appended: too few voters answer to prove that this node still leads.
    #[error("too few voters answer")]
    NoQuorum,
    /// Perhaps appended: the answer was lost with the leadership or the process.
    #[error("the answer was lost; whether the command took effect is unknown")]
    Unknown,
}

impl ProposeError {
    /// Whether the same command may be sent again at once, elsewhere or here.
    pub const fn retryable(&self) -> bool {
        true
    }
}

/// Commands that came together, and are decided in one group.
struct Proposal {
    commands: Vec<Bytes>,
    bytes: usize,
    /// The proposal's share of the bytes that may wait; given back when it is answered or dropped.
    room: OwnedSemaphorePermit,
    answer: oneshot::Sender<Result<Vec<Outcome>, ProposeError>>,
}

/// A cheap way to the proposer.
#[derive(Debug, Clone)]
pub struct Proposer {
    queue: mpsc::Sender<Proposal>,
    raft: RaftCore,
    intake: Arc<Intake>,
    room: Arc<Semaphore>,
}

impl Proposer {
    /// Starts the proposer's loop on the current runtime; it ends when the last handle is dropped.
    pub fn start(
        raft: RaftCore,
        intake: Arc<Intake>,
        prefetcher: Prefetcher,
        options: Options,
        clock: Clock,
    ) -> Self {
        let (queue, proposals) = mpsc::channel(limits::PROPOSALS_QUEUED_MAX);
        tokio::spawn(run(raft.clone(), prefetcher, options, clock, proposals));
        let room = Arc::new(Semaphore::new(limits::PROPOSALS_BYTES_MAX));
        Self { queue, raft, intake, room }
    }

    /// Proposes one encoded command of a client and waits for what apply decided.
    pub async fn propose(&self, command: Bytes) -> Result<Outcome, ProposeError> {
        one(self.propose_all(vec![command]).await)
    }

    /// Proposes commands that came together, at least one, and waits for what apply decided on each. They become part
    /// of one group: together they may be no larger than one command may be, or than
    /// [`limits::APPEND_CHUNK_BYTES_MAX`].
    pub async fn propose_all(&self, commands: Vec<Bytes>) -> Result<Vec<Outcome>, ProposeError> {
        self.intake.admit(|| {
            let metrics = self.raft.metrics();
            metrics.borrow_watched().membership_config.voter_ids().collect()
        })?;
        self.queue(commands).await
    }

    /// As [`Proposer::propose`], also when there is no room: for what makes room, or takes none.
    pub async fn propose_regardless(&self, command: Bytes) -> Result<Outcome, ProposeError> {
        one(self.queue(vec![command]).await)
    }

    async fn queue(&self, commands: Vec<Bytes>) -> Result<Vec<Outcome>, ProposeError> {
        let bytes = commands.iter().map(Bytes::len).sum();
        let share = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(share)
            .map_err(|_full| ProposeError::TooManyRequests)?;
        let (answer, decided) = oneshot::channel();
        let proposal = Proposal { commands, bytes, room, answer };
        self.queue.try_send(proposal).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::TooManyRequests,
            mpsc::error::TrySendError::Closed(_) => ProposeError::NotLeader,
        })?;
        decided.await.unwrap_or(Err(ProposeError::Unknown))
    }
}

fn one(decided: Result<Vec<Outcome>, ProposeError>) -> Result<Outcome, ProposeError> {
    decided.map(|mut outcomes| outcomes.pop().expect("each command of a proposal is decided"))
}

async fn run(
    raft: RaftCore,
    prefetcher: Prefetcher,
    options: Options,
    clock: Clock,
    mut proposals: mpsc::Receiver<Proposal>,
) {
    let in_flight = Arc::new(Semaphore::new(options.groups_in_flight_max));
    let mut left_over: Option<Proposal> = None;
    loop {
        let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await else { return };
        let first = match left_over.take() {
            Some(proposal) => proposal,
            None => match proposals.recv().await {
                Some(proposal) => proposal,
                None => return,
            },
        };
        if first.answer.is_closed() {
            // Nobody waits any more; it was never sent, so nothing is lost.
            continue;
        }
        let mut group = Group::beginning_with(first);
        while group.commands.len() < options.group_commands_max {
            let Ok(next) = proposals.try_recv() else { break };
            if next.answer.is_closed() {
                continue;
            }
            if !group.has_room_for(&next, &options) {
                left_over = Some(next);
                break;
            }
            group.add(next);
        }

        let Group { commands, answers, rooms, .. } = group;
        let bytes = encode_group(clock(), &commands);
        prefetcher.offer(&bytes);
        // The first try is made here, in order; only what an election turned away is tried again beside.
        let attempt = submit(&raft, bytes.clone()).await;
        let raft = raft.clone();
        tokio::spawn(async move {
            let decided = decide(&raft, bytes, attempt).await;
            drop((permit, rooms));
            answer_all(answers, decided);
        });
    }
}

/// Proposals on their way into one entry of the log.
#[derive(Default)]
struct Group {
    commands: Vec<Bytes>,
    bytes: usize,
    /// How many commands each proposal has, and who waits for what becomes of them; in the order of the commands.
    answers: Vec<(usize, Answer)>,
    rooms: Vec<OwnedSemaphorePermit>,
}

type Answer = oneshot::Sender<Result<Vec<Outcome>, ProposeError>>;

impl Group {
    fn beginning_with(first: Proposal) -> Self {
        let mut group = Self::default();
        group.add(first);
        group
    }

    fn has_room_for(&self, next: &Proposal, options: &Options) -> bool {
        self.bytes + next.bytes <= options.group_bytes_max
            && self.commands.len() + next.commands.len() <= options.group_commands_max
    }

    fn add(&mut self, proposal: Proposal) {
        let Proposal { commands, bytes, room, answer } = proposal;
        self.bytes += bytes;
        self.answers.push((commands.len(), answer));
        self.rooms.push(room);
        if self.commands.is_empty() {
            self.commands = commands;
        } else {
            self.commands.extend(commands);
        }
    }
}

type Submitted = Result<OneshotReceiverOf<TypeConfig, ClientWriteResult<TypeConfig>>, ProposeError>;

/// Hands a group to Raft under the term this node leads.
async fn submit(raft: &RaftCore, bytes: Bytes) -> Submitted {
    let Ok(leader) = raft.as_leader() else { return Err(ProposeError::NotLeader) };
    let (responder, complete) = ProgressResponder::complete_only();
    raft.write(types::Group(bytes))
        .with_leader(leader.to_committed_leader_id())
        .responder(responder)
        .await
        .map_err(|_fatal| ProposeError::Unknown)?;
    Ok(complete)
}

/// Waits for the decision. A group that was turned away by an election's lease or a transfer was certainly not
/// appended; it is held and tried again for up to a second.
async fn decide(
    raft: &RaftCore,
    bytes: Bytes,
    first: Submitted,
) -> Result<Vec<Outcome>, ProposeError> {
    let hold_until = Instant::now() + limits::PROPOSAL_HOLD;
    let mut attempt = first;
    loop {
        let complete = attempt?;
        match complete.await {
            Err(_dropped) => return Err(ProposeError::Unknown),
            Ok(Ok(response)) => return Ok(response.data.0),
            Ok(Err(ClientWriteError::ForwardToLeader(forward))) => {
                let passing = matches!(
                    forward.reason,
                    ForwardReason::LeaseExpired | ForwardReason::LeadershipTransfer
                );
                if !passing {
                    return Err(ProposeError::NotLeader);
                }
                if Instant::now() >= hold_until {
                    let isolated = forward.reason == ForwardReason::LeaseExpired;
                    return Err(if isolated {
                        ProposeError::NoQuorum
                    } else {
                        ProposeError::NotLeader
                    });
                }
                tokio::time::sleep(HOLD_POLL).await;
                attempt = submit(raft, bytes.clone()).await;
            }
            Ok(Err(_discarded_or_refused)) => return Err(ProposeError::Unknown),
        }
    }
}

/// How often a held group looks whether it may go now.
const HOLD_POLL: Duration = Duration::from_millis(5);

fn answer_all(answers: Vec<(usize, Answer)>, decided: Result<Vec<Outcome>, ProposeError>) {
    match decided {
        Ok(outcomes) => {
            let commands: usize = answers.iter().map(|(commands, _)| commands).sum();
            debug_assert_eq!(outcomes.len(), commands, "each command is decided");
            let mut outcomes = outcomes.into_iter();
            for (commands, answer) in answers {
                // A caller that went away needs no answer.
                let _ = answer.send(Ok(outcomes.by_ref().take(commands).collect()));
            }
        }
        Err(error) => {
            for (_, answer) in answers {
                let _ = answer.send(Err(error.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Told = oneshot::Receiver<Result<Vec<Outcome>, ProposeError>>;

    fn waiting(commands: usize) -> ((usize, Answer), Told) {
        let (answer, decided) = oneshot::channel();
        ((commands, answer), decided)
    }

    #[test]
    fn each_proposal_is_told_what_became_of_its_own_commands() {
        let sealed = |seal| Outcome::Sealed { seal, position: 0 };
        let (first, mut told_first) = waiting(2);
        let (second, mut told_second) = waiting(1);
        answer_all(vec![first, second], Ok(vec![sealed(1), sealed(2), sealed(3)]));
        assert_eq!(told_first.try_recv().unwrap().unwrap(), [sealed(1), sealed(2)]);
        assert_eq!(told_second.try_recv().unwrap().unwrap(), [sealed(3)]);
    }

    #[test]
    fn what_befalls_a_group_befalls_all_proposals_in_it() {
        let (first, mut told_first) = waiting(2);
        let (second, mut told_second) = waiting(1);
        answer_all(vec![first, second], Err(ProposeError::Unknown));
        assert_eq!(told_first.try_recv().unwrap(), Err(ProposeError::Unknown));
        assert_eq!(told_second.try_recv().unwrap(), Err(ProposeError::Unknown));
    }
}
