//! `AppendBatch`: independent appends over one stream, many under way at once, answered in their order.
//!
//! A unary call costs more than an append does; here a call is made once and then costs nothing. What is under
//! way is bounded by count and by bytes: beyond it no request is read, and the connection's flow control makes
//! the caller wait. The node's cap on appends counts these like all others, and refuses.

use std::time::Duration;

use futures::stream::{self, FuturesOrdered};
use futures::{FutureExt as _, StreamExt as _};
use prost::Message as _;
use reckon_api::v1;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::StreamsService;
use super::chunk::Chunk;
use crate::limits;
use crate::service::admission;
use crate::service::answer::Pages;
use crate::service::decide::Arrival;

impl StreamsService {
    /// Answers the appends of one stream until its caller closes it, the node stops, or nobody takes the answers.
    pub(super) fn answer_batch(
        &self,
        requests: Streaming<v1::AppendBatchRequest>,
        forwarded: bool,
    ) -> Pages<v1::AppendBatchResponse> {
        let (answers, receiver) = mpsc::channel(limits::APPEND_BATCH_IN_FLIGHT_MAX);
        let batch = Batch {
            service: self.clone(),
            forwarded,
            answers,
            open: true,
            end: Ok(()),
            under_way: 0,
            under_way_bytes: 0,
        };
        tokio::spawn(batch.run(requests));
        Box::pin(ReceiverStream::new(receiver).flat_map(stream::iter))
    }
}

type Answers = Vec<Result<v1::AppendBatchResponse, Status>>;

/// One stream of appends.
struct Batch {
    service: StreamsService,
    forwarded: bool,
    answers: mpsc::Sender<Answers>,
    /// Whether more requests may come.
    open: bool,
    /// How the stream ends, once everything that was taken is answered.
    end: Result<(), Status>,
    /// Appends that were taken and not answered yet, and their bytes.
    under_way: usize,
    under_way_bytes: usize,
}

impl Batch {
    async fn run(mut self, mut requests: Streaming<v1::AppendBatchRequest>) {
        let mut chunks = FuturesOrdered::new();
        let node = self.service.admission.node.clone();
        let drained = node.drained();
        tokio::pin!(drained);
        while self.open || !chunks.is_empty() {
            tokio::select! {
                biased;
                Some((answers, bytes)) = chunks.next(), if !chunks.is_empty() => {
                    let answers: Vec<_> = answers;
                    self.under_way -= answers.len();
                    self.under_way_bytes -= bytes;
                    if !self.tell(answers.into_iter().map(Ok).collect()).await {
                        // What is still under way may take effect, unheard; a retry finds it by its event ids.
                        return;
                    }
                }
                request = requests.message(), if self.open && self.has_room() => {
                    if let Some(first) = self.taken(request) {
                        for (chunk, bytes) in self.gather(first, &mut requests) {
                            let service = self.service.clone();
                            chunks.push_back(
                                async move { (service.answer_chunk(chunk).await, bytes) },
                            );
                        }
                    }
                }
                () = &mut drained, if self.open => {
                    self.open = false;
                    self.end = Err(admission::stopping());
                }
            }
        }
        if let Err(status) = std::mem::replace(&mut self.end, Ok(())) {
            self.tell(vec![Err(status)]).await;
        }
    }

    fn has_room(&self) -> bool {
        self.under_way < limits::APPEND_BATCH_IN_FLIGHT_MAX
            && self.under_way_bytes < limits::APPEND_BATCH_IN_FLIGHT_BYTES_MAX
    }

    /// A request that came, or what the stream's end means.
    fn taken(
        &mut self,
        request: Result<Option<v1::AppendBatchRequest>, Status>,
    ) -> Option<v1::AppendBatchRequest> {
        match request {
            Ok(Some(request)) => return Some(request),
            Ok(None) => self.open = false,
            Err(broken) => (self.open, self.end) = (false, Err(broken)),
        }
        None
    }

    /// The request with all that have come behind it, as far as there is room: chunks with the bytes of their
    /// requests. Their time begins now.
    fn gather(
        &mut self,
        first: v1::AppendBatchRequest,
        requests: &mut Streaming<v1::AppendBatchRequest>,
    ) -> Vec<(Chunk, usize)> {
        let mut chunks: Vec<(Chunk, usize)> = Vec::new();
        let now = Instant::now();
        let mut next = Some(first);
        let mut timeout_ms = None;
        while let Some(request) = next {
            let bytes = request.encoded_len();
            self.under_way += 1;
            self.under_way_bytes += bytes;
            let checked = self.service.check_append(request.append);
            let joins = |chunk: &Chunk| {
                timeout_ms == Some(request.timeout_ms) && chunk.has_room_for(&checked)
            };
            match chunks.last_mut() {
                Some((chunk, chunk_bytes)) if joins(chunk) => {
                    chunk.add(checked);
                    *chunk_bytes += bytes;
                }
                _ => {
                    let mut chunk = Chunk::new(self.arrival(now, request.timeout_ms));
                    chunk.add(checked);
                    chunks.push((chunk, bytes));
                    timeout_ms = Some(request.timeout_ms);
                }
            }
            let waiting = if self.has_room() { requests.message().now_or_never() } else { None };
            next = waiting.and_then(|request| self.taken(request));
        }
        chunks
    }

    fn arrival(&self, now: Instant, timeout_ms: u32) -> Arrival {
        let timeout = match timeout_ms {
            0 => self.service.admission.request_timeout,
            asked => Duration::from_millis(asked.into()),
        };
        Arrival { forwarded: self.forwarded, deadline: now + timeout }
    }

    /// Hands answers on; false when nobody takes them.
    async fn tell(&self, answers: Answers) -> bool {
        self.answers.send_timeout(answers, limits::READ_STALL_MAX).await.is_ok()
    }
}
