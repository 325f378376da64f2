//! Events that go together in one request.
//!
//! The consumer gives out one event of a key at a time, so whatever waits here may go together, and a key is never in two
//! requests at once.

use std::sync::Arc;

use reckon_api::client::Settlement;
use reckon_api::v1;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::request::Requests;

/// An event that waits to be sent, and whoever wants to know what becomes of it.
type Waiting = (v1::Delivery, oneshot::Sender<Settlement>);

/// Puts events into requests.
#[derive(Debug)]
pub struct Batches {
    waiting: mpsc::UnboundedSender<Waiting>,
}

impl Batches {
    /// To be made inside of a tokio runtime. No more events wait than the consumer runs handlers.
    pub fn new(requests: Arc<Requests>, batch_max: usize, concurrency: usize) -> Self {
        let (waiting, queue) = mpsc::unbounded_channel();
        tokio::task::spawn(send_all(requests, queue, batch_max, concurrency));
        Self { waiting }
    }

    /// Has an event sent; resolves when it is known what becomes of it.
    pub fn deliver(&self, delivery: v1::Delivery) -> impl Future<Output = Settlement> + use<> {
        let (settle, settled) = oneshot::channel();
        // The task that sends ends with this queue and not before.
        let _ = self.waiting.send((delivery, settle));
        async move { settled.await.unwrap_or_else(|_| Settlement::retry("the sink has ended")) }
    }
}

/// Sends what waits, as much of it in one request as may be, and so many requests at once.
async fn send_all(
    requests: Arc<Requests>,
    mut queue: mpsc::UnboundedReceiver<Waiting>,
    batch_max: usize,
    concurrency: usize,
) {
    let room = Arc::new(Semaphore::new(concurrency));
    loop {
        // First a place, then the events: those that come while all places are taken go together.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let mut batch = Vec::new();
        if queue.recv_many(&mut batch, batch_max).await == 0 {
            return;
        }
        let requests = requests.clone();
        tokio::task::spawn(async move {
            send(&requests, batch).await;
            drop(place);
        });
    }
}

async fn send(requests: &Requests, batch: Vec<Waiting>) {
    let (deliveries, settle): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
    let together = requests.send(&deliveries).await;
    let alone = deliveries.len() > 1 && matches!(together, Settlement::Park { .. });
    for (delivery, settle) in deliveries.iter().zip(settle) {
        // Somebody refuses the whole for perhaps one of them: which one, shows when each comes alone.
        let settlement = if alone {
            requests.send(std::slice::from_ref(delivery)).await
        } else {
            together.clone()
        };
        tell(delivery, &settlement);
        // Whoever was given up on at the end does not want to know.
        let _ = settle.send(settlement);
    }
}

fn tell(delivery: &v1::Delivery, settlement: &Settlement) {
    let (position, stream) = match &delivery.event {
        Some(event) => (event.position, event.stream_id.as_str()),
        None => return,
    };
    let attempt = delivery.attempt;
    match settlement {
        Settlement::Retry { reason, after } => {
            tracing::warn!(position, stream, attempt, reason, ?after, "to be tried again");
        }
        Settlement::Park { reason } => {
            tracing::error!(position, stream, attempt, reason, "parked");
        }
        Settlement::Ack | Settlement::Skip => {
            tracing::debug!(position, stream, attempt, "delivered");
        }
    }
}
