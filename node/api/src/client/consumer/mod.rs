//! Consumers of a subscription: a handler for each event, and all that keeps it going.
//!
//! A consumer asks for events as it settles them, runs the handler for many keys side by side and for one key in order,
//! says what became of each event, and goes on elsewhere when a call breaks. Every event comes at least once: what was
//! not settled when a call broke comes again.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use reckon_api::client::{ConsumerOptions, Options, Settlement};
//! use reckon_api::{Client, v1};
//!
//! async fn handle(delivery: v1::Delivery) -> Result<Settlement, std::io::Error> {
//!     let Some(event) = delivery.event else { return Ok(Settlement::Skip) };
//!     if event.data.is_empty() {
//!         // Nobody can make anything of it: it waits until somebody has looked at it.
//!         return Ok(Settlement::park("the order is empty"));
//!     }
//!     // An error is a retry, too, after the subscription's own backoff.
//!     let known = tokio::fs::try_exists(format!("/orders/{}", event.stream_id)).await?;
//!     if !known {
//!         let after = Some(Duration::from_secs(5));
//!         return Ok(Settlement::Retry { reason: "it is not known yet".to_owned(), after });
//!     }
//!     Ok(Settlement::Ack)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new(Options::new(["orders.shop.svc:7430"]))?;
//! let options = ConsumerOptions { concurrency: 32, ..ConsumerOptions::default() };
//! let shutdown = async {
//!     let _ = tokio::signal::ctrl_c().await;
//! };
//! client.consumer("orders-to-billing").options(options).run(handle, shutdown).await?;
//! # Ok(())
//! # }
//! ```

mod consumption;
mod options;
mod order;
mod pace;
mod run;
mod settlement;

pub use consumption::{Consumed, Consumption};
pub use options::ConsumerOptions;
pub use settlement::{IntoSettlement, Settlement};

use super::Client;
use super::error::Error;
use crate::v1;
use run::{Run, work};

/// A consumer of one subscription that has not begun yet.
pub struct Consumer {
    client: Client,
    subscription: v1::SubscriptionRef,
    options: ConsumerOptions,
    observe: Box<dyn FnMut(Progress) + Send>,
}

/// What a consumer tells of itself while it runs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Progress {
    /// A call has been opened: the first one, or the next one after an interruption.
    Opened(Box<v1::ConsumerOpened>),
    /// The consumer stands by, since as many as the subscription's pool holds are served; or it is served now.
    Standby(bool),
    /// All that the store has was delivered, here or to others.
    CaughtUp {
        /// The first position that has not been looked at.
        next_position: u64,
    },
    /// A call broke, or none could be opened within the client's deadline; the consumer tries again.
    Interrupted(Error),
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer")
            .field("subscription", &self.subscription)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A consumer of this subscription: of this name, or whatever the reference says.
    pub fn consumer(&self, subscription: impl Into<v1::SubscriptionRef>) -> Consumer {
        Consumer {
            client: self.clone(),
            subscription: subscription.into(),
            options: ConsumerOptions::default(),
            observe: Box::new(|_| {}),
        }
    }
}

impl Consumer {
    /// Replaces the default options.
    #[must_use]
    pub fn options(mut self, options: ConsumerOptions) -> Self {
        self.options = options;
        self
    }

    /// Has this called with what happens to the consumer. It is called between events and must not take long.
    #[must_use]
    pub fn observe(mut self, observe: impl FnMut(Progress) + Send + 'static) -> Self {
        self.observe = Box::new(observe);
        self
    }

    /// Runs `handler` for every event until `shutdown` is over, or the options say that it is done; then running
    /// handlers are waited for, for the options' drain timeout, and their results sent.
    ///
    /// Handlers run inside of this future, many at once but on one thread: one that computes for long should do so in a
    /// task of its own. A handler that ends with an error, or panics, asks for a retry.
    ///
    /// An error: the store refused for good, for instance because there is no such subscription. Nodes that cannot be
    /// reached are no error; they are tried until `shutdown` is over.
    pub async fn run<H, F>(
        self,
        handler: H,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Error>
    where
        H: Fn(v1::Delivery) -> F,
        F: Future<Output: IntoSettlement>,
    {
        let handler = &handler;
        Run::new(self, |ticket, delivery| work(handler, ticket, delivery)).run(shutdown).await
    }
}
