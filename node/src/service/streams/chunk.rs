//! Appends of one stream that came together: looked at one by one, proposed as one, answered in their order.
//!
//! What is done once for a chunk need not be done for each append: waking tasks, setting a timer, asking who leads. On
//! a node that does not lead, each append goes its own way.

use bytes::Bytes;
use futures::future::join_all;
use reckon_api::v1;
use reckon_api::v1::append_batch_response::Outcome as Answered;
use tokio::time::Instant;
use tonic::Status;

use super::StreamsService;
use crate::engine::Outcome;
use crate::limits;
use crate::metrics::AppendObserved;
use crate::raft::proposer::ProposeError;
use crate::service::admission;
use crate::service::decide::Arrival;
use crate::service::forward::deadline_exceeded;
use crate::service::{proposed, wire};

/// Appends with one deadline.
pub(super) struct Chunk {
    arrival: Arrival,
    appends: Vec<Arrived>,
    /// What was made of those that may be proposed.
    commands: Vec<Bytes>,
    command_bytes: usize,
}

/// One append: its request, or why it is refused.
struct Arrived {
    observed: AppendObserved,
    request: Result<v1::AppendRequest, Status>,
}

/// An append that was looked at; not of a chunk yet.
pub(super) struct Checked {
    arrived: Arrived,
    command: Option<Bytes>,
}

impl Checked {
    fn command_bytes(&self) -> usize {
        self.command.as_ref().map_or(0, Bytes::len)
    }
}

impl Chunk {
    pub fn new(arrival: Arrival) -> Self {
        Self { arrival, appends: Vec::new(), commands: Vec::new(), command_bytes: 0 }
    }

    /// Whether the append may go with the others.
    pub fn has_room_for(&self, next: &Checked) -> bool {
        self.appends.is_empty()
            || (self.appends.len() < limits::APPEND_CHUNK_MAX
                && self.command_bytes + next.command_bytes() <= limits::APPEND_CHUNK_BYTES_MAX)
    }

    pub fn add(&mut self, Checked { arrived, command }: Checked) {
        self.appends.push(arrived);
        if let Some(command) = command {
            self.command_bytes += command.len();
            self.commands.push(command);
        }
    }

    fn deadline(&self) -> Instant {
        self.arrival.deadline
    }
}

/// How the commands of a chunk were decided.
enum Decided {
    /// Each of the first so many; there was no room for the rest.
    Here(Result<Vec<Outcome>, ProposeError>),
    /// None of them, and all for the same reason.
    Refused(Status),
    /// Certainly not here: each is to go its own way.
    Elsewhere,
}

impl StreamsService {
    /// Checks an append of a stream.
    pub(super) fn check_append(&self, append: Option<v1::AppendRequest>) -> Checked {
        let appends = append.as_ref().map_or(&[][..], |append| &append.appends);
        let observed = self.admission.metrics.append_begins(appends);
        let checked = append.ok_or_else(wire::no_append).and_then(|request| {
            let command =
                wire::append_command(&request, &*self.admission.node.environment().new_id)?;
            Ok((request, command))
        });
        let (request, command) = match checked {
            Ok((request, command)) => (Ok(request), Some(command)),
            Err(refused) => (Err(refused), None),
        };
        Checked { arrived: Arrived { observed, request }, command }
    }

    /// Has a chunk decided, here or by the leader, and gives the answers in the order of its appends.
    pub(super) async fn answer_chunk(&self, mut chunk: Chunk) -> Vec<v1::AppendBatchResponse> {
        let commands = std::mem::take(&mut chunk.commands);
        let decided = self.decide_chunk(commands, chunk.deadline()).await;
        match decided {
            Decided::Elsewhere => self.answer_elsewhere(chunk).await,
            Decided::Here(Ok(outcomes)) => {
                let mut outcomes = outcomes.into_iter();
                answers(chunk, |request| match outcomes.next() {
                    Some(outcome) => appended(request, proposed(Ok(outcome))),
                    None => Err(self.admission.appends.full()),
                })
            }
            Decided::Here(Err(error)) => {
                answers(chunk, |request| appended(request, proposed(Err(error.clone()))))
            }
            Decided::Refused(status) => answers(chunk, |_request| Err(status.clone())),
        }
    }

    /// Has each append decided by whoever leads.
    async fn answer_elsewhere(&self, chunk: Chunk) -> Vec<v1::AppendBatchResponse> {
        let arrival = chunk.arrival;
        let each = chunk.appends.into_iter().map(|Arrived { observed, request }| async {
            let answer = match request {
                Ok(request) => self.decide_append(request, arrival).await,
                Err(refused) => Err(refused),
            };
            answered(observed, answer)
        });
        let mut answers = join_all(each).await;
        let leader = self.admission.node.member().and_then(|member| member.other_leader());
        if let Some((_, leader)) = leader {
            for answer in &mut answers {
                answer.leader.clone_from(&leader.client_address);
            }
        }
        answers
    }

    async fn decide_chunk(&self, mut commands: Vec<Bytes>, deadline: Instant) -> Decided {
        if commands.is_empty() {
            return Decided::Here(Ok(Vec::new()));
        }
        let member = match self.admission.open_store() {
            Ok(member) => member,
            Err(refused) => return Decided::Refused(refused),
        };
        if !member.leads() {
            return Decided::Elsewhere;
        }
        if let Err(refused) = admission::check_activated(&member) {
            return Decided::Refused(refused);
        }
        let (_slots, entered) = self.admission.appends.enter_some(commands.len());
        commands.truncate(entered);
        if commands.is_empty() {
            return Decided::Here(Ok(Vec::new()));
        }
        let proposing = member.proposer().propose_all(commands);
        match tokio::time::timeout_at(deadline, proposing).await {
            Err(_elapsed) => Decided::Refused(deadline_exceeded()),
            // Whoever leads now may decide it.
            Ok(Err(ProposeError::NotLeader)) => Decided::Elsewhere,
            Ok(decided) => Decided::Here(decided),
        }
    }
}

/// The answers to a chunk: `decide` is asked for each append that was not refused before.
fn answers(
    chunk: Chunk,
    mut decide: impl FnMut(v1::AppendRequest) -> Result<v1::AppendResponse, Status>,
) -> Vec<v1::AppendBatchResponse> {
    let each = chunk.appends.into_iter().map(|Arrived { observed, request }| {
        let answer = request.and_then(&mut decide);
        answered(observed, answer)
    });
    each.collect()
}

fn appended(
    request: v1::AppendRequest,
    outcome: Result<Outcome, Status>,
) -> Result<v1::AppendResponse, Status> {
    match outcome? {
        Outcome::Appended(appended) => Ok(wire::append_response(request, &appended)),
        _ => Err(wire::not_its_answer()),
    }
}

fn answered(
    observed: AppendObserved,
    answer: Result<v1::AppendResponse, Status>,
) -> v1::AppendBatchResponse {
    observed.ends(&answer);
    let outcome = match answer {
        Ok(appended) => Answered::Appended(appended),
        Err(refused) => Answered::Failed(v1::Failure::from(&refused)),
    };
    v1::AppendBatchResponse { outcome: Some(outcome), leader: String::new() }
}
