//! What an emitter is told, and what its consumers are sent.

use reckon_api::v1;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use crate::delivery::dispatch::{ConsumerId, Delivery, Demand};
use crate::engine::RecordedEvent;
use crate::limits;

/// What an emitter is told.
#[derive(Debug)]
pub enum Order {
    Attach {
        consumer: NewConsumer,
        answer: oneshot::Sender<Attached>,
    },
    /// The consumer is gone. What it holds comes again.
    Detach(ConsumerId),
    /// The consumer has said all that it had to say, and waits until that is written down.
    Leave(ConsumerId),
    Demand(ConsumerId, v1::Demand),
    Settle(ConsumerId, v1::Settle),
    /// Everything up to the position, inclusive, is done.
    AckUpto {
        position: u64,
        answer: oneshot::Sender<Result<(), Status>>,
    },
    /// The subscription was changed in the store.
    Refresh,
    Health(oneshot::Sender<Running>),
}

/// A consumer as it comes.
#[derive(Debug)]
pub struct NewConsumer {
    /// Shown to people.
    pub name: String,
    pub demand: Demand,
    pub key_window: usize,
}

/// A consumer that was taken in.
#[derive(Debug)]
pub struct Attached {
    pub id: ConsumerId,
    pub standby: bool,
    /// What it is sent. Bounded by what a subscription has in flight.
    pub messages: mpsc::UnboundedReceiver<Sent>,
}

/// What a consumer is sent.
#[derive(Debug)]
pub enum Sent {
    Deliveries(Vec<Delivery<RecordedEvent>>),
    /// Everything below the position was delivered, here or to others.
    CaughtUp(u64),
    /// Whether it stands by from now on.
    Role {
        standby: bool,
    },
    /// Nothing follows.
    End(Status),
}

/// How a subscription is doing while it runs.
#[derive(Debug, Clone, Default)]
pub struct Running {
    pub consumers: Vec<String>,
    pub served: u32,
    pub standby: u32,
    pub caught_up: bool,
    pub buffered: u64,
    /// `None`: as much as there is.
    pub wanted: Option<u64>,
    pub in_flight: u64,
    pub counters: crate::delivery::dispatch::Counters,
    /// How long ago a consumer settled something, in milliseconds.
    pub settled_ms_ago: Option<u64>,
    /// How long the subscription has been running.
    pub running_ms: u64,
    pub progress: crate::engine::Progress,
}

/// A cheap way to an emitter.
#[derive(Debug, Clone)]
pub struct EmitterHandle(pub(super) mpsc::Sender<Order>);

/// The emitter has ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended;

impl EmitterHandle {
    pub(super) fn new() -> (Self, mpsc::Receiver<Order>) {
        let (orders, told) = mpsc::channel(limits::CONSUMER_ORDERS_MAX);
        (Self(orders), told)
    }

    /// Hands an order over as soon as there is room for it.
    pub async fn tell(&self, order: Order) -> Result<(), Ended> {
        self.0.send(order).await.map_err(|_gone| Ended)
    }

    /// Whether it takes no orders any more.
    pub fn has_ended(&self) -> bool {
        self.0.is_closed()
    }
}
