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
use super::types::{Group, TypeConfig};
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

struct Proposal {
    command: Bytes,
    /// The proposal's share of the bytes that may wait; given back when it is answered or dropped.
    room: OwnedSemaphorePermit,
    answer: oneshot::Sender<Result<Outcome, ProposeError>>,
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
        self.intake.admit(|| {
            let metrics = self.raft.metrics();
            metrics.borrow_watched().membership_config.voter_ids().collect()
        })?;
        self.propose_regardless(command).await
    }

    /// As [`Proposer::propose`], also when there is no room: for what makes room, or takes none.
    pub async fn propose_regardless(&self, command: Bytes) -> Result<Outcome, ProposeError> {
        let share = u32::try_from(command.len()).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(share)
            .map_err(|_full| ProposeError::TooManyRequests)?;
        let (answer, decided) = oneshot::channel();
        self.queue.try_send(Proposal { command, room, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::TooManyRequests,
            mpsc::error::TrySendError::Closed(_) => ProposeError::NotLeader,
        })?;
        decided.await.unwrap_or(Err(ProposeError::Unknown))
    }
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
        let mut group = vec![first];
        let mut group_bytes = group[0].command.len();
        while group.len() < options.group_commands_max {
            let Ok(next) = proposals.try_recv() else { break };
            if next.answer.is_closed() {
                continue;
            }
            if group_bytes + next.command.len() > options.group_bytes_max {
                left_over = Some(next);
                break;
            }
            group_bytes += next.command.len();
            group.push(next);
        }

        let mut commands = Vec::with_capacity(group.len());
        let mut answers = Vec::with_capacity(group.len());
        let mut rooms = Vec::with_capacity(group.len());
        for Proposal { command, room, answer } in group {
            commands.push(command);
            rooms.push(room);
            answers.push(answer);
        }
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

type Submitted = Result<OneshotReceiverOf<TypeConfig, ClientWriteResult<TypeConfig>>, ProposeError>;

/// Hands a group to Raft under the term this node leads.
async fn submit(raft: &RaftCore, bytes: Bytes) -> Submitted {
    let Ok(leader) = raft.as_leader() else { return Err(ProposeError::NotLeader) };
    let (responder, complete) = ProgressResponder::complete_only();
    raft.write(Group(bytes))
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

fn answer_all(
    answers: Vec<oneshot::Sender<Result<Outcome, ProposeError>>>,
    decided: Result<Vec<Outcome>, ProposeError>,
) {
    match decided {
        Ok(outcomes) => {
            debug_assert_eq!(outcomes.len(), answers.len());
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // A caller that went away needs no answer.
                let _ = answer.send(Ok(outcome));
            }
        }
        Err(error) => {
            for answer in answers {
                let _ = answer.send(Err(error.clone()));
            }
        }
    }
}
