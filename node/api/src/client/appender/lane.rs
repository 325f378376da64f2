//! One stream of appends, opened again whenever it breaks.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures::FutureExt as _;
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::job::{EncodedRequest, Job};
use crate::client::backoff::Backoff;
use crate::client::call::{breaks_connection, within};
use crate::client::endpoints::Target;
use crate::client::error::Error;
use crate::client::{Client, MESSAGE_BYTES_MAX};
use crate::v1;
use crate::v1::append_batch_response::Outcome;

/// Appends under way on one stream: as many as a node takes before it stops reading.
const IN_FLIGHT_MAX: usize = 1024;

/// Bytes of them, above which nothing more is sent: two of the largest appends.
const IN_FLIGHT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Jobs taken from the queue at once.
const JOBS_TAKEN_MAX: usize = 64;

/// How much later than promised an answer may come before the stream counts as dead.
const ANSWER_GRACE: Duration = Duration::from_secs(1);

/// A task's share of an appender.
pub(super) struct Lane {
    client: Client,
    queue: mpsc::Receiver<Job>,
    /// No job comes any more.
    closed: bool,
    /// To be sent, in this order.
    ready: VecDeque<Job>,
    /// To be sent again, not before their time; in the order of failure.
    resting: VecDeque<(Instant, Job)>,
    /// Sent and not answered, in the order of sending, each with the time by which an answer is due.
    sent: VecDeque<(Instant, Job)>,
    sent_bytes: usize,
    /// The leader is known to be elsewhere: once everything is answered the stream ends, and the next one goes there.
    moving: bool,
    /// Waits between streams that break before they have answered anything.
    backoff: Backoff,
    /// Endpoints that may still be tried before the next wait.
    untried: usize,
}

/// A stream that is open.
struct Open {
    target: Target,
    requests: mpsc::Sender<EncodedRequest>,
    answers: Streaming<v1::AppendBatchResponse>,
}

impl Lane {
    pub fn new(client: Client, queue: mpsc::Receiver<Job>) -> Self {
        let options = client.options();
        let backoff = Backoff::new(options.backoff_first, options.backoff_max);
        Self {
            queue,
            closed: false,
            ready: VecDeque::new(),
            resting: VecDeque::new(),
            sent: VecDeque::new(),
            sent_bytes: 0,
            moving: false,
            backoff,
            untried: client.shared.endpoints.count(),
            client,
        }
    }

    /// Runs until the last appender is dropped and every job is done.
    pub async fn run(mut self) {
        while self.has_work().await {
            let target = self.client.shared.endpoints.current();
            let error = match self.open(&target).await {
                Ok(mut open) => self.pump(&mut open).await,
                Err(error) => Some(error),
            };
            if let Some(error) = error {
                self.broken(&target, &error).await;
            }
        }
    }

    /// Waits until there is something to send; false: there never will be.
    async fn has_work(&mut self) -> bool {
        if self.ready.is_empty() && self.resting.is_empty() && !self.closed {
            match self.queue.recv().await {
                Some(job) => self.ready.push_back(job),
                None => self.closed = true,
            }
        }
        !(self.ready.is_empty() && self.resting.is_empty())
    }

    async fn open(&self, target: &Target) -> Result<Open, Error> {
        let (requests, outgoing) = mpsc::channel(IN_FLIGHT_MAX);
        let opening = append_batch(target.channel.clone(), ReceiverStream::new(outgoing));
        let timeout = self.client.options().attempt_timeout;
        let answers = within(&target.address, timeout, opening).await?.into_inner();
        Ok(Open { target: target.clone(), requests, answers })
    }

    /// Sends and takes answers until the stream is of no use any more (the error says why), or idle with no more to
    /// come, or answered whole with the leader elsewhere.
    async fn pump(&mut self, open: &mut Open) -> Option<Error> {
        let mut jobs = Vec::with_capacity(JOBS_TAKEN_MAX);
        // Set anew only when it has come, since setting a timer costs more than sending an append does.
        let mut due: Pin<Box<Sleep>> = Box::pin(tokio::time::sleep(ANSWER_GRACE));
        loop {
            self.send(open);
            if self.sent.is_empty() && (self.moving || self.closed && self.resting.is_empty()) {
                self.moving = false;
                return None;
            }
            let room = self.has_room();
            let taken = JOBS_TAKEN_MAX.min(IN_FLIGHT_MAX - self.sent.len());
            tokio::select! {
                biased;
                answer = open.answers.message() => {
                    let mut next = Some(answer);
                    while let Some(answer) = next {
                        if let Some(error) = self.heard(&open.target, answer) {
                            return Some(error);
                        }
                        next = open.answers.message().now_or_never();
                    }
                }
                count = self.queue.recv_many(&mut jobs, taken), if room && !self.closed => {
                    self.closed = count == 0;
                    self.ready.extend(jobs.drain(..));
                }
                () = until(self.resting.front().map(|(at, _)| *at)), if room => {
                    let (_, job) = self.resting.pop_front().expect("its time was waited for");
                    self.ready.push_back(job);
                }
                () = &mut due => {
                    let now = Instant::now();
                    match self.sent.front() {
                        Some(&(first, _)) if first <= now => return Some(Error::TimedOut {
                            endpoint: open.target.address.clone(),
                            timeout: self.client.options().attempt_timeout,
                        }),
                        // What is sent from now on may be due earlier, but not within the grace.
                        Some(&(first, _)) => due.as_mut().reset(first.min(now + ANSWER_GRACE)),
                        None => due.as_mut().reset(now + ANSWER_GRACE),
                    }
                }
            }
        }
    }

    /// Takes what came over the stream. An error: it is of no use any more.
    fn heard(
        &mut self,
        target: &Target,
        heard: Result<Option<v1::AppendBatchResponse>, Status>,
    ) -> Option<Error> {
        match heard {
            Ok(Some(answer)) => self.answered(target, answer),
            Ok(None) => Some(Error::Unreachable {
                endpoint: target.address.clone(),
                message: "the stream of appends was closed".to_owned(),
            }),
            Err(status) => Some(Error::of_status(&target.address, &status)),
        }
    }

    fn has_room(&self) -> bool {
        !self.moving && self.sent.len() < IN_FLIGHT_MAX && self.sent_bytes < IN_FLIGHT_BYTES_MAX
    }

    /// Sends what is ready, as far as there is room.
    fn send(&mut self, open: &Open) {
        let now = Instant::now();
        while self.has_room()
            && let Some(mut job) = self.ready.pop_front()
        {
            if job.is_over() {
                continue;
            }
            let left = job.deadline().saturating_duration_since(now);
            let timeout = left.min(self.client.options().attempt_timeout);
            let message = job.attempt(timeout);
            self.sent_bytes += job.bytes();
            // A stream that takes nothing has broken or is about to say so; the job goes with the others then.
            let _ = open.requests.try_send(message);
            self.sent.push_back((now + timeout + ANSWER_GRACE, job));
        }
    }

    /// Settles the oldest append under way. An error: the node is not the one to ask.
    fn answered(&mut self, target: &Target, answer: v1::AppendBatchResponse) -> Option<Error> {
        let Some((_, mut job)) = self.sent.pop_front() else {
            return Some(Error::Protocol { message: "an answer came to no append".to_owned() });
        };
        self.sent_bytes -= job.bytes();
        if !answer.leader.is_empty() {
            self.moving = self.client.heard_of_leader(target, &answer.leader);
        }
        let error = match answer.outcome {
            Some(Outcome::Appended(appended)) => {
                self.answers_again();
                job.finish(Ok(appended));
                return None;
            }
            Some(Outcome::Failed(failure)) => {
                Error::of_status(&target.address, &Status::from(failure))
            }
            None => Error::Protocol { message: "an answer says nothing".to_owned() },
        };
        if !error.retryable() {
            self.answers_again();
            job.finish(Err(error));
            return None;
        }
        if let Some(at) = job.retry_at(error.clone(), self.client.options()) {
            self.resting.push_back((at, job));
        }
        breaks_connection(&error).then_some(error)
    }

    fn answers_again(&mut self) {
        let options = self.client.options();
        self.backoff = Backoff::new(options.backoff_first, options.backoff_max);
        self.untried = self.client.shared.endpoints.count();
    }

    /// After a stream broke: what is unanswered will be sent again, first and in its order; then the next endpoint's
    /// turn comes, after a wait if all of them have had theirs.
    async fn broken(&mut self, target: &Target, error: &Error) {
        tracing::debug!(endpoint = target.address, %error, "a stream of appends broke");
        self.client.shared.endpoints.move_on(target, error);
        self.sent_bytes = 0;
        self.moving = false;
        for (_, job) in self.sent.drain(..).rev() {
            self.ready.push_front(job);
        }
        self.untried = self.untried.saturating_sub(1);
        let wait = if self.untried > 0 {
            Duration::ZERO
        } else {
            self.untried = self.client.shared.endpoints.count();
            self.backoff.next().max(error.retry_after().unwrap_or_default())
        };
        let options = self.client.options();
        let go_on = Instant::now() + wait;
        let gives_up = |job: &mut Job| {
            let late = !error.retryable() || job.deadline() <= go_on;
            if late && error.retryable() {
                job.give_up(error.clone(), options);
            } else if late {
                job.finish(Err(error.clone()));
            }
            late || job.is_over()
        };
        self.ready.retain_mut(|job| !gives_up(job));
        self.resting.retain_mut(|(_, job)| !gives_up(job));
        tokio::time::sleep_until(go_on).await;
    }
}

/// Opens the call with appends that are encoded already; otherwise as generated code does.
async fn append_batch(
    channel: Channel,
    requests: ReceiverStream<EncodedRequest>,
) -> Result<Response<Streaming<v1::AppendBatchResponse>>, Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static("/reckon.v1.Streams/AppendBatch");
    grpc.streaming(Request::new(requests), path, ProstCodec::default()).await
}

/// Waits for a moment; for ever when there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
