//! `AppendBatch`: independent appends over one stream, many under way at once, answered in their order.
//!
//! A unary call costs more than an append does; here a call is made once and then costs nothing. What is under
//! way is bounded by count and by bytes: beyond it no request is read, and the connection's flow control makes
//! the caller wait. The node's cap on appends counts these like all others, and refuses.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use prost::Message as _;
use reckon_api::v1;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::StreamsService;
use super::decide::Arrival;
use super::pages::Pages;
use crate::limits;
use crate::service::wire;

impl StreamsService {
    /// Answers the appends of one stream until its caller closes it, the node stops, or nobody takes the answers.
    pub(super) fn answer_batch(
        &self,
        requests: Streaming<v1::AppendBatchRequest>,
        forwarded: bool,
    ) -> Pages<v1::AppendBatchResponse> {
        let (answers, receiver) = mpsc::channel(limits::APPEND_BATCH_IN_FLIGHT_MAX);
        let batch = Batch { service: self.clone(), forwarded, answers };
        tokio::spawn(batch.run(requests));
        Box::pin(ReceiverStream::new(receiver))
    }
}

/// One stream of appends.
struct Batch {
    service: StreamsService,
    forwarded: bool,
    answers: mpsc::Sender<Result<v1::AppendBatchResponse, Status>>,
}

impl Batch {
    async fn run(self, mut requests: Streaming<v1::AppendBatchRequest>) {
        let mut under_way = FuturesOrdered::new();
        let mut bytes = 0_usize;
        let mut open = true;
        // How the stream ends, once everything that was taken is answered.
        let mut end = Ok(());
        let drained = self.service.node.drained();
        tokio::pin!(drained);
        while open || !under_way.is_empty() {
            let room = under_way.len() < limits::APPEND_BATCH_IN_FLIGHT_MAX
                && bytes < limits::APPEND_BATCH_IN_FLIGHT_BYTES_MAX;
            tokio::select! {
                biased;
                Some((answer, answered_bytes)) = under_way.next(), if !under_way.is_empty() => {
                    bytes -= answered_bytes;
                    if !self.tell(Ok(answer)).await {
                        // What is still under way may take effect, unheard; a retry finds it by its event ids.
                        return;
                    }
                }
                request = requests.message(), if open && room => match request {
                    Ok(Some(request)) => {
                        let request_bytes = request.encoded_len();
                        bytes += request_bytes;
                        let answer = self.answer(request);
                        under_way.push_back(async move { (answer.await, request_bytes) });
                    }
                    Ok(None) => open = false,
                    Err(broken) => (open, end) = (false, Err(broken)),
                },
                () = &mut drained, if open => {
                    (open, end) = (false, Err(super::stopping()));
                }
            }
        }
        if let Err(status) = end {
            self.tell(Err(status)).await;
        }
    }

    /// One append, from its arrival to its answer; its time begins now.
    fn answer(
        &self,
        request: v1::AppendBatchRequest,
    ) -> impl Future<Output = v1::AppendBatchResponse> + use<> {
        let timeout = match request.timeout_ms {
            0 => self.service.request_timeout,
            asked => Duration::from_millis(asked.into()),
        };
        let deadline = Instant::now() + timeout;
        let (service, forwarded) = (self.service.clone(), self.forwarded);
        async move {
            use v1::append_batch_response::Outcome;
            let answer = match request.append {
                Some(append) => service.append_one(append, Arrival { forwarded, deadline }).await,
                None => Err(wire::no_append()),
            };
            let outcome = match answer {
                Ok(appended) => Outcome::Appended(appended),
                Err(refused) => Outcome::Failed(v1::Failure::from(&refused)),
            };
            v1::AppendBatchResponse { outcome: Some(outcome) }
        }
    }

    /// Hands an answer on; false when nobody takes it.
    async fn tell(&self, answer: Result<v1::AppendBatchResponse, Status>) -> bool {
        self.answers.send_timeout(answer, limits::READ_STALL_MAX).await.is_ok()
    }
}
