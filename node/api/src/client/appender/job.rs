//! One append on its way through an appender.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::client::backoff::Backoff;
use crate::client::error::Error;
use crate::client::options::Options;
use crate::v1;

/// `AppendBatchRequest` with its append encoded before: an append is encoded once, by its caller, and however often it
/// is sent it is not copied until it is written to a connection. A message and its bytes look the same on the wire.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EncodedRequest {
    #[prost(bytes = "bytes", tag = "1")]
    append: Bytes,
    #[prost(uint32, tag = "2")]
    timeout_ms: u32,
}

/// An append and whoever waits for its answer.
#[derive(Debug)]
pub(super) struct Job {
    request: Bytes,
    deadline: Instant,
    attempts: u32,
    backoff: Option<Backoff>,
    /// Taken when it is answered: a job may be done before its place in the stream's order comes up.
    answer: Option<oneshot::Sender<Result<v1::AppendResponse, Error>>>,
}

impl Job {
    pub fn new(
        request: &v1::AppendRequest,
        deadline: Instant,
        answer: oneshot::Sender<Result<v1::AppendResponse, Error>>,
    ) -> Self {
        let request = prost::Message::encode_to_vec(request).into();
        Self { request, deadline, attempts: 0, backoff: None, answer: Some(answer) }
    }

    /// Size of the request on the wire.
    pub fn bytes(&self) -> usize {
        self.request.len()
    }

    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Nobody waits for it any more, or it is answered.
    pub fn is_over(&self) -> bool {
        self.answer.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// The message of the next attempt, which has so long.
    pub fn attempt(&mut self, timeout: Duration) -> EncodedRequest {
        self.attempts += 1;
        EncodedRequest {
            append: self.request.clone(),
            // 0 would be the server's own choice.
            timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1),
        }
    }

    pub fn finish(&mut self, answer: Result<v1::AppendResponse, Error>) {
        if let Some(waiting) = self.answer.take() {
            // A caller that went away needs no answer.
            let _ = waiting.send(answer);
        }
    }

    /// After an attempt failed in a way that a retry may better: when to try again, or `None` when no time is
    /// left for that, and the caller has been told.
    pub fn retry_at(&mut self, error: Error, options: &Options) -> Option<Instant> {
        let backoff = self
            .backoff
            .get_or_insert_with(|| Backoff::new(options.backoff_first, options.backoff_max));
        let at = Instant::now() + backoff.next().max(error.retry_after().unwrap_or_default());
        if at < self.deadline {
            return Some(at);
        }
        self.give_up(error, options);
        None
    }

    /// The deadline has passed, or will before anything can be done.
    pub fn give_up(&mut self, last: Error, options: &Options) {
        let attempts = self.attempts;
        let deadline = options.deadline;
        self.finish(Err(Error::GaveUp { deadline, attempts, last: Box::new(last) }));
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn an_append_encoded_before_reads_as_one_that_was_not() {
        let events = vec![v1::NewEvent { event_type: "T".to_owned(), ..Default::default() }];
        let append = v1::StreamAppend { stream_id: "s".to_owned(), events, ..Default::default() };
        let request = v1::AppendRequest { appends: vec![append], condition: None };
        let (answer, _answered) = oneshot::channel();
        let mut job = Job::new(&request, Instant::now(), answer);
        let sent = job.attempt(Duration::from_millis(70)).encode_to_vec();
        let plain = v1::AppendBatchRequest { append: Some(request), timeout_ms: 70 };
        assert_eq!(v1::AppendBatchRequest::decode(&*sent).unwrap(), plain);
    }
}
