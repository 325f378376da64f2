//! A server with one subscription, in memory, for tests of what consumes it; and one that tells how its store is.
//!
//! The first keeps the rules of `reckon.v1.Subscriptions.Consume`: events of a key in order, as many ahead as the consumer
//! takes, epochs, demand. It differs from a store where a test would have to wait: what is to be tried again comes again
//! at once, whatever it was asked.

mod calls;
mod checkup;
mod stock;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;

use crate::v1::subscriptions_server::SubscriptionsServer;
use crate::{Reason, v1};
pub use checkup::{Checkup, Said};
use stock::Stock;
pub use stock::{Outcome, Settled};

/// A server with one subscription. Clones are the same server; see [`Self::replica`] for another one.
#[derive(Debug, Clone)]
pub struct Broker {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    refusals: Arc<Mutex<VecDeque<Refusal>>>,
}

/// A reason and the values that it speaks of.
type Refusal = (Reason, Vec<(&'static str, String)>);

#[derive(Debug)]
struct Shared {
    stock: Mutex<Stock>,
    /// Counts changes of the stock.
    changed: watch::Sender<u64>,
}

impl Broker {
    /// Starts a server for this definition; its events are those that are [offered](Self::offer).
    pub async fn start(definition: v1::SubscriptionDefinition) -> Self {
        let shared =
            Shared { stock: Mutex::new(Stock::new(definition)), changed: watch::Sender::new(0) };
        Self::listen(Arc::new(shared)).await
    }

    /// Another server with the same subscription.
    pub async fn replica(&self) -> Self {
        Self::listen(self.shared.clone()).await
    }

    async fn listen(shared: Arc<Shared>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it listens");
        let broker = Self { address, shared, refusals: Arc::default() };
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(SubscriptionsServer::new(broker.clone()))
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        broker
    }

    /// Adds an event; its position, and its version if it is of one stream, is the number of events before it. Without
    /// a key it is kept in order by its stream.
    pub fn offer(&self, key: &str, event: v1::Event) {
        self.stock().offer(key, event);
        self.tell();
    }

    /// The next call of this server is refused so.
    pub fn refuse(&self, reason: Reason, values: impl IntoIterator<Item = (&'static str, String)>) {
        let refusal = (reason, values.into_iter().collect());
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).push_back(refusal);
    }

    /// Breaks the call that is served.
    pub fn break_off(&self) {
        self.stock().close();
        self.tell();
    }

    /// Takes the events of a key back from whoever has them, as when the consumer was too slow.
    pub fn take_back(&self, key: &str) {
        self.stock().take_back(key);
        self.tell();
    }

    /// What became of events, in the order in which the server was told.
    pub fn settled(&self) -> Vec<Settled> {
        self.stock().settled.clone()
    }

    /// How many messages it was told in.
    pub fn settle_messages(&self) -> usize {
        self.stock().settle_messages
    }

    /// Ids in such messages that were nobody's any more.
    pub fn passed_over(&self) -> usize {
        self.stock().passed_over
    }

    /// How many messages asked for events.
    pub fn demand_messages(&self) -> usize {
        self.stock().demand_messages
    }

    /// Deliveries that were made.
    pub fn delivered(&self) -> u64 {
        self.stock().delivered
    }

    /// Calls that were opened, and those that the consumer has ended.
    pub fn calls(&self) -> (u64, u64) {
        let stock = self.stock();
        (stock.opened, stock.finished)
    }

    /// Waits until so many events are done: acknowledged, skipped or parked.
    pub async fn until_done(&self, count: usize) {
        self.until(|stock| stock.done >= count).await;
    }

    /// Waits until so many deliveries were made.
    pub async fn until_delivered(&self, count: u64) {
        self.until(|stock| stock.delivered >= count).await;
    }

    async fn until(&self, holds: impl Fn(&Stock) -> bool) {
        let mut changes = self.shared.changed.subscribe();
        while !holds(&self.stock()) {
            changes.changed().await.expect("the server is at hand");
        }
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.shared.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.shared.changed.send_modify(|changes| *changes += 1);
    }
}
