//! A consumer of a subscription, which takes everything and notes it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use reckon_api::{
    Client,
    client::{ConsumerOptions, Error, Settlement},
    v1::{Delivery, Event},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::arrivals::{Arrivals, Delivered};
use crate::wait::until;

/// A consumer at work. Dropping it ends it; what it has not settled comes again.
#[derive(Debug)]
pub struct Consuming {
    arrivals: Arc<Arrivals>,
    stop: CancellationToken,
    task: AbortOnDropHandle<Result<(), Error>>,
}

impl Consuming {
    /// Starts to consume the subscription of this name.
    #[must_use]
    pub fn start(client: &Client, subscription: &str) -> Self {
        let (arrivals, stop) = (Arc::new(Arrivals::default()), CancellationToken::new());
        let options = ConsumerOptions { name: "e2e".into(), ..ConsumerOptions::default() };
        let consumer = client.consumer(subscription).options(options);
        let (noted, told) = (arrivals.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let take = |delivery: Delivery| {
                noted.note(delivery.event.unwrap_or_default().event_id);
                std::future::ready(Settlement::Ack)
            };
            consumer.run(take, told.cancelled_owned()).await
        });
        Self { arrivals, stop, task: AbortOnDropHandle::new(task) }
    }

    /// Waits until all of these events have arrived, but no longer than `limit`; then ends the consumer, and says what
    /// came and what did not. Fails when the consumer did, or when something came that was not to, or out of order.
    pub async fn finish(self, expected: &[&Event], limit: Duration) -> Result<Delivered> {
        let compare = || self.arrivals.check(expected.iter().copied());
        let waited = until("delivery of everything", limit, || async {
            let waits = compare().is_ok_and(|found| found.missing > 0);
            Ok((!waits || self.task.is_finished()).then_some(()))
        });
        if let Err(error) = waited.await {
            tracing::warn!("{error:#}");
        }
        self.stop.cancel();
        self.task.await.context("the consumer panicked")?.context("the consumer was refused")?;
        self.arrivals.check(expected.iter().copied())
    }
}
