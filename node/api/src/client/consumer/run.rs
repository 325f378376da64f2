//! A consumer at work: calls, one after the other, and the handlers of what they bring.

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};

use futures::future::OptionFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::time::{Duration, Instant};

use super::consumption::{Consumed, Consumption};
use super::options::ConsumerOptions;
use super::order::{KeyOrder, Ticket};
use super::pace::Pace;
use super::settlement::{IntoSettlement, Settlement};
use super::{Consumer, Progress};
use crate::client::backoff::Backoff;
use crate::client::{Client, Error};
use crate::v1::{self, demand};

/// Handlers that are started in a row before results are sent and the call is looked at.
const BURST_EVENTS_MAX: usize = 256;

/// Results wait no longer than this while one handler after the other is started and is done at once.
const BURST_TIME_MAX: Duration = Duration::from_millis(2);

/// More is asked for when this part of the window is free: one message for many events.
const WINDOW_FREE_DIVISOR: usize = 4;

/// What a handler ended with, and for which delivery.
type Done = (Ticket, Settlement);

/// A handler at work. Its place in memory is used again when it is done at once.
type Slot<W> = Pin<Box<OptionFuture<W>>>;

/// Runs a handler for one delivery; a panic is a result like others.
pub(super) async fn work<H, F>(handler: &H, ticket: Ticket, delivery: v1::Delivery) -> Done
where
    H: Fn(v1::Delivery) -> F,
    F: Future<Output: IntoSettlement>,
{
    let handling = async { handler(delivery).await.into_settlement() };
    // Whatever the handler shares with others is the caller's; nothing of the consumer's own is seen half-way.
    let settlement = AssertUnwindSafe(handling).catch_unwind().await;
    (ticket, settlement.unwrap_or_else(|panic| Settlement::of_panic(&*panic)))
}

/// A consumer that has begun.
pub(super) struct Run<M, W: Future<Output = Done>> {
    client: Client,
    subscription: v1::SubscriptionRef,
    options: ConsumerOptions,
    observe: Box<dyn FnMut(Progress) + Send>,
    /// Makes the work of a delivery.
    work: M,
    order: KeyOrder,
    running: FuturesUnordered<Slot<W>>,
    spare: Option<Slot<W>>,
    /// Results that have not been sent.
    results: v1::Settle,
    results_count: usize,
    /// Events that were asked for and have not come.
    asked: usize,
    pace: Pace,
    settled: u64,
    /// The present call has said that all was delivered.
    caught_up: bool,
    /// Waits between calls that break before they have brought anything.
    backoff: Backoff,
}

/// Why a call is not gone on with.
enum End {
    /// Somebody wants it to end, or there is nothing more to do.
    Finished,
    Broken(Error),
}

impl<M, W> Run<M, W>
where
    M: Fn(Ticket, v1::Delivery) -> W,
    W: Future<Output = Done>,
{
    pub fn new(consumer: Consumer, work: M) -> Self {
        let Consumer { client, subscription, mut options, observe } = consumer;
        options.concurrency = options.concurrency.max(1);
        options.window = options.window.max(1);
        options.key_window = options.key_window.max(1);
        Self {
            order: KeyOrder::new(options.window),
            running: FuturesUnordered::new(),
            spare: None,
            results: v1::Settle::default(),
            results_count: 0,
            asked: 0,
            pace: Pace::new(options.concurrency, options.window, Instant::now()),
            settled: 0,
            caught_up: false,
            backoff: backoff(&client),
            client,
            subscription,
            options,
            observe,
            work,
        }
    }

    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let mut shutdown = pin!(shutdown.fuse());
        let mut wait = Duration::ZERO;
        while !self.is_finished() {
            let Some(opened) = self.open(wait, shutdown.as_mut()).await else { break };
            let error = match opened {
                Ok(mut call) => {
                    self.opened(call.opened());
                    match self.serve(&mut call, shutdown.as_mut()).await {
                        End::Finished => {
                            self.drain(Some(call)).await;
                            return Ok(());
                        }
                        End::Broken(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.disconnected();
            if !error.retryable() {
                self.drain(None).await;
                return Err(error);
            }
            tracing::debug!(%error, "a consumer was interrupted");
            wait = self.backoff.next().max(error.retry_after().unwrap_or_default());
            (self.observe)(Progress::Interrupted(error));
        }
        self.drain(None).await;
        Ok(())
    }

    /// Opens a call after a while, and lets handlers of the one before end meanwhile. `None`: it is to end.
    async fn open<S>(
        &mut self,
        wait: Duration,
        mut shutdown: Pin<&mut S>,
    ) -> Option<Result<Consumption, Error>>
    where
        S: Future<Output = ()>,
    {
        let client = self.client.clone();
        let open = v1::OpenConsumer {
            subscription: Some(self.subscription.clone()),
            consumer: self.options.name.clone(),
            key_window: self.options.key_window,
            pull: true,
        };
        let mut opening = pin!(async move {
            tokio::time::sleep(wait).await;
            client.consume(open).await
        });
        loop {
            tokio::select! {
                biased;
                () = shutdown.as_mut() => return None,
                opened = opening.as_mut() => return Some(opened),
                Some(done) = self.running.next(), if !self.running.is_empty() => self.ended(done),
            }
        }
    }

    fn opened(&mut self, opened: &v1::ConsumerOpened) {
        let definition = opened.subscription.as_ref().and_then(|one| one.definition.as_ref());
        let ack_timeout_ms = definition.map_or(0, |definition| definition.ack_timeout_ms);
        self.pace.ack_timeout(Duration::from_millis(ack_timeout_ms));
        (self.observe)(Progress::Opened(Box::new(opened.clone())));
    }

    /// Takes what a call brings and gives back what becomes of it.
    async fn serve<S>(&mut self, call: &mut Consumption, mut shutdown: Pin<&mut S>) -> End
    where
        S: Future<Output = ()>,
    {
        loop {
            let more = self.start();
            self.send_results(call);
            if self.is_finished() {
                return End::Finished;
            }
            self.ask(call);
            tokio::select! {
                biased;
                () = shutdown.as_mut() => return End::Finished,
                heard = call.next() => {
                    let mut next = Some(heard);
                    while let Some(heard) = next {
                        match heard {
                            Ok(Some(consumed)) => self.heard(consumed),
                            Ok(None) => unreachable!("a call that was not finished ends with an error"),
                            Err(error) => return End::Broken(error),
                        }
                        next = call.next().now_or_never();
                    }
                }
                Some(done) = self.running.next(), if !self.running.is_empty() => {
                    let mut next = Some(done);
                    while let Some(done) = next {
                        self.ended(done);
                        next = self.running.next().now_or_never().flatten();
                    }
                }
                () = tokio::task::yield_now(), if more => {}
            }
        }
    }

    /// Whether the options say that it is over.
    fn is_finished(&self) -> bool {
        self.options.limit.is_some_and(|limit| self.settled >= limit)
            || self.options.until_caught_up && self.caught_up && self.order.held() == 0
    }

    /// Starts what may run, as far as there is room for handlers. True: there is more that could be started at once.
    fn start(&mut self) -> bool {
        let mut started = 0;
        let began = Instant::now();
        while self.running.len() < self.options.concurrency {
            if started == BURST_EVENTS_MAX || began.elapsed() > BURST_TIME_MAX {
                return self.order.is_ready();
            }
            let Some((ticket, delivery)) = self.order.take() else { return false };
            started += 1;
            let mut slot = self.spare.take().unwrap_or_else(|| Box::pin(None.into()));
            slot.as_mut().set(Some((self.work)(ticket, delivery)).into());
            // Most handlers that do little are done at once: those need no place among the ones that wait.
            match slot.as_mut().now_or_never() {
                Some(done) => {
                    slot.as_mut().set(None.into());
                    self.spare = Some(slot);
                    self.ended(done);
                }
                None => self.running.push(slot),
            }
        }
        false
    }

    /// A handler has ended.
    fn ended(&mut self, done: Option<Done>) {
        let (ticket, settlement) = done.expect("a slot with a handler ends with its result");
        self.pace.ended();
        let retry = matches!(settlement, Settlement::Retry { .. });
        if self.order.finish(ticket, retry) {
            settlement.add_to(&mut self.results, ticket.id);
            self.results_count += 1;
            self.settled += 1;
        }
    }

    fn send_results(&mut self, call: &Consumption) {
        if self.results_count > 0 {
            self.results_count = 0;
            call.settle(std::mem::take(&mut self.results));
        }
    }

    /// Asks for more once enough of the window is free. Only after results were sent: what is asked for from then on
    /// comes from a server that knows of every retry.
    fn ask(&mut self, call: &Consumption) {
        let left = self.options.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.settled));
        let hold = self.pace.hold(self.order.held(), Instant::now());
        let window = hold.min(usize::try_from(left).unwrap_or(usize::MAX));
        let free = window.saturating_sub(self.order.held() + self.asked);
        if free > 0 && free >= window / WINDOW_FREE_DIVISOR {
            self.asked += free;
            call.demand(demand::Kind::Add(free as u64));
        }
    }

    fn heard(&mut self, consumed: Consumed) {
        match consumed {
            Consumed::Deliveries(deliveries) => {
                self.backoff = backoff(&self.client);
                self.asked = self.asked.saturating_sub(deliveries.len());
                for delivery in deliveries {
                    self.order.push(delivery);
                }
            }
            Consumed::CaughtUp { next_position } => {
                self.caught_up = true;
                (self.observe)(Progress::CaughtUp { next_position });
            }
            Consumed::Standby(standby) => (self.observe)(Progress::Standby(standby)),
        }
    }

    /// The call is no more: nobody wants to know what became of its events.
    fn disconnected(&mut self) {
        self.order.disconnected();
        self.results = v1::Settle::default();
        self.results_count = 0;
        self.asked = 0;
        self.caught_up = false;
    }

    /// Lets running handlers end, and sends their results.
    async fn drain(&mut self, mut call: Option<Consumption>) {
        let over_at = Instant::now() + self.options.drain_timeout;
        if let Some(call) = &call {
            call.demand(demand::Kind::Set(0));
        }
        while !self.running.is_empty() {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(over_at) => break,
                // What still comes is not run, but says which events were taken away.
                heard = heard_of(&mut call) => if let Ok(Some(consumed)) = heard {
                    self.heard(consumed);
                } else {
                    call = None;
                    self.disconnected();
                },
                Some(done) = self.running.next() => self.ended(done),
            }
            if let Some(call) = &call {
                self.send_results(call);
            }
        }
        let Some(mut call) = call else { return };
        self.send_results(&call);
        call.finish();
        let ended = async { while let Ok(Some(_)) = call.next().await {} };
        // A server that does not end the call has the results all the same.
        let _ = tokio::time::timeout(self.client.options().attempt_timeout, ended).await;
    }
}

/// What a call brings next; nothing, for ever, without one.
async fn heard_of(call: &mut Option<Consumption>) -> Result<Option<Consumed>, Error> {
    match call {
        Some(call) => call.next().await,
        None => std::future::pending().await,
    }
}

fn backoff(client: &Client) -> Backoff {
    let options = client.options();
    Backoff::new(options.backoff_first, options.backoff_max)
}
