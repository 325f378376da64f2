//! An emitter: one subscription at work, on the leader. It reads the subscription's events, has the dispatch decide who
//! is given which, sends them, takes in what consumers say, and has what was done written down.
//!
//! All that must outlive this node is in the log: a new leader's emitter goes on from there. It runs while there are
//! consumers, and a little longer.

mod order;
mod report;
mod take_in;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use reckon_api::Reason;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub use order::{Attached, EmitterHandle, Ended, NewConsumer, Order, Running, Sent};
use report::Reporting;

use super::definition::{Definition, DefinitionError};
use super::dispatch::{ConsumerId, Counters, Delivery, Dispatch, Offered, Overflow};
use super::interests::{Interests, Registered};
use super::recorder::Recorder;
use super::source::{Source, Start};
use crate::engine::{
    ReadError, RecordedEvent, SelectError, StateReader, SubscriptionState, SubscriptionTarget,
};
use crate::limits;
use crate::metrics::SubscriptionMetrics;
use crate::offload::Offload;

/// What an emitter works with.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub reader: StateReader,
    pub offload: Offload,
    pub interests: Interests,
    pub recorder: Recorder,
    pub metrics: SubscriptionMetrics,
    /// In which this node leads.
    pub term: u64,
    /// Ends every emitter of this term.
    pub stop: CancellationToken,
}

/// Why an emitter cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum EmitterError {
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error("the subscription's events cannot be read: {0}")]
    Read(#[from] ReadError),
}

impl EmitterError {
    /// A file that cannot be read is mended.
    pub const fn retryable(&self) -> bool {
        matches!(self, Self::Read(_))
    }
}

/// A consumer as its emitter knows it.
#[derive(Debug)]
struct Outlet {
    name: String,
    messages: mpsc::UnboundedSender<Sent>,
    standby: bool,
    told_caught_up: bool,
}

/// One subscription at work.
#[derive(Debug)]
pub struct Emitter {
    around: Surroundings,
    target: SubscriptionTarget,
    generation: u64,
    revision: u64,
    definition: Definition,
    dispatch: Dispatch<RecordedEvent>,
    source: Source,
    woken: Registered,
    /// The source has handed out everything that there was.
    caught_up: bool,
    /// It has caught up before: what comes is live.
    live: bool,
    outlets: HashMap<ConsumerId, Outlet>,
    last_consumer: u64,
    /// Consumers that wait until everything is written down.
    leaving: Vec<Outlet>,
    acked: Vec<oneshot::Sender<Result<(), Status>>>,
    orders: mpsc::Receiver<Order>,
    reporting: Reporting,
    started: Instant,
    idle_since: Option<Instant>,
    /// What metrics were told of.
    counted: Counters,
}

impl Emitter {
    /// Starts from what the store knows of a subscription.
    pub async fn start(
        around: Surroundings,
        name: &str,
        state: &SubscriptionState,
    ) -> Result<EmitterHandle, EmitterError> {
        let (state, reader) = (state.clone(), around.reader.clone());
        let (loaded, state) = around
            .offload
            .run(move || {
                let definition = Definition::of(&state)?;
                Loaded::new(definition, &state, &reader).map(|loaded| (loaded, state))
            })
            .await?;
        let Loaded { definition, dispatch, source } = loaded;
        let (handle, orders) = EmitterHandle::new();
        let woken = around.interests.register(definition.selector.interest());
        let reporting = Reporting::new(dispatch.progress());
        let emitter = Self {
            target: SubscriptionTarget { name: name.to_owned(), id: state.id },
            generation: state.generation,
            revision: state.revision,
            definition,
            dispatch,
            source,
            woken,
            caught_up: false,
            live: false,
            outlets: HashMap::new(),
            last_consumer: 0,
            leaving: Vec::new(),
            acked: Vec::new(),
            orders,
            reporting,
            started: Instant::now(),
            idle_since: None,
            counted: Counters::default(),
            around,
        };
        let (metrics, kind) = (emitter.around.metrics.clone(), emitter.definition.selector.kind());
        let working = tokio::spawn(emitter.run());
        let subscription = name.to_owned();
        tokio::spawn(async move {
            // Its consumers see their calls end; whoever comes next has it begin again.
            if let Err(error) = working.await
                && error.is_panic()
            {
                tracing::error!(%error, subscription, "a subscription's work has failed");
                metrics.failed(kind);
            }
        });
        Ok(handle)
    }

    async fn run(mut self) {
        let ended = self.work().await;
        let status = match ended {
            End::Idle => return,
            End::Stopped => Reason::NotLeader.plain("the leadership moved; open another consumer"),
            End::Deleted => crate::service::wire::subscription_not_found(&self.target.name),
            End::Full => Reason::SubscriptionBufferFull.plain(
                "the consumers are slower than the store; the checkpoint is where it was, open another consumer",
            ),
            End::Failed(error) => {
                self.around.metrics.failed(self.definition.selector.kind());
                tracing::error!(%error, subscription = self.target.name, "a subscription cannot go on");
                match error {
                    EmitterError::Read(error) => crate::service::wire::read_failed(error),
                    EmitterError::Definition(error) => Reason::Internal.plain(error.to_string()),
                }
            }
        };
        self.orders.close();
        for outlet in self.outlets.into_values().chain(self.leaving) {
            let _ = outlet.messages.send(Sent::End(status.clone()));
        }
        for answer in self.acked {
            let _ = answer.send(Err(status.clone()));
        }
    }

    async fn work(&mut self) -> End {
        loop {
            self.dispatch.tick(self.now_ms());
            for _ in 0..limits::CONSUMER_ORDERS_MAX {
                let Ok(order) = self.orders.try_recv() else { break };
                if let Err(end) = self.obey(order).await {
                    return end;
                }
            }
            let read = match self.fill().await {
                Ok(read) => read,
                Err(end) => return end,
            };
            self.hand_out();
            self.begin_report();
            self.count();
            if self.is_idle() {
                return End::Idle;
            }
            if read {
                // Others of this thread have their turn; what was read may not be all.
                tokio::task::yield_now().await;
                if self.around.stop.is_cancelled() {
                    return End::Stopped;
                }
                if let Err(end) = self.take_report().await {
                    return end;
                }
                continue;
            }
            let until = self.wake_at();
            let reads = self.wants_more();
            let stop = self.around.stop.clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => return End::Stopped,
                order = self.orders.recv() => match order {
                    Some(order) => if let Err(end) = self.obey(order).await { return end },
                    None => return End::Idle,
                },
                () = self.reporting.done() => if let Err(end) = self.take_report().await {
                    return end;
                },
                () = self.woken.woken(), if self.caught_up && reads => {
                    // Whoever wakes has waited for others that came right behind.
                    self.caught_up = false;
                }
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// Reads as far as there is room; whether it read.
    async fn fill(&mut self) -> Result<bool, End> {
        if self.caught_up || !self.wants_more() {
            return Ok(false);
        }
        let room = self.dispatch.room();
        let events_max = if self.drops() { limits::READ_PAGE_EVENTS_MAX } else { room };
        let events_max = events_max.min(limits::READ_PAGE_EVENTS_MAX);
        let bytes_max = limits::READ_PAGE_BYTES_MAX;
        let page = if self.source.is_in_memory(&self.around.reader)
            && !self.definition.selector.is_costly()
        {
            self.source.page(&self.around.reader, events_max, bytes_max)
        } else {
            let reader = self.around.reader.clone();
            let mut source = self.source.clone();
            let reading =
                move || source.page(&reader, events_max, bytes_max).map(|it| (it, source));
            let read = self.around.offload.run(reading).await;
            read.map(|(page, source)| {
                self.source = source;
                page
            })
        };
        let page = match page {
            Ok(page) => page,
            Err(ReadError::Select(SelectError::TooCostly { position, steps_max })) => {
                self.park_unjudged(position, steps_max).await?;
                return Ok(true);
            }
            Err(error) => return Err(End::Failed(error.into())),
        };
        if !page.events.is_empty() {
            self.outlets.values_mut().for_each(|outlet| outlet.told_caught_up = false);
        }
        for event in page.events {
            let offered = Offered {
                position: event.position,
                key: self.definition.key(&event),
                weight: event.bytes(),
                event,
                failures: 0,
                replayed: false,
            };
            if self.dispatch.offer(offered).is_err() {
                return Err(End::Full);
            }
        }
        self.dispatch.set_read_to(self.source.next_position());
        self.caught_up = page.caught_up;
        self.live |= page.caught_up;
        Ok(true)
    }

    /// Parks an event of which the expression cannot say whether it is wanted: to leave it out would be to lose it, and to
    /// wait for it would be to wait for ever.
    async fn park_unjudged(&mut self, position: u64, steps_max: u64) -> Result<(), End> {
        let reader = self.around.reader.clone();
        let reading = move || Source::event_at(&reader, position);
        let event = self.around.offload.run(reading).await;
        if let Some(event) = event.map_err(|error| End::Failed(error.into()))? {
            let reason = format!("the selector's expression needs more than {steps_max} steps");
            let key = self.definition.key(&event);
            self.dispatch.park_unoffered(position, key, event, reason);
        }
        let start = Start::Position(position + 1);
        self.source = Source::new(Arc::clone(&self.definition.selector), start);
        self.dispatch.set_read_to(position + 1);
        Ok(())
    }

    /// Whether what comes is read also when there is no room for it.
    fn drops(&self) -> bool {
        self.live && self.dispatch.settings().strategy != Overflow::Block
    }

    /// Whether more may be read: there is somebody to give it to, and room for it.
    fn wants_more(&self) -> bool {
        !self.outlets.is_empty()
            && (self.drops() || self.dispatch.room() > 0)
            && self.dispatch.weight() < limits::SUBSCRIPTION_BYTES_MAX
            && self.dispatch.unreported_parked() < limits::SUBSCRIPTION_UNREPORTED_MAX
    }

    fn hand_out(&mut self) {
        let now_ms = self.now_ms();
        let mut batches: BTreeMap<ConsumerId, Batch> = BTreeMap::new();
        while let Some(delivery) = self.dispatch.next(now_ms) {
            let batch = batches.entry(delivery.consumer).or_default();
            batch.bytes += delivery.event.bytes();
            let to = delivery.consumer;
            batch.deliveries.push(delivery);
            if batch.deliveries.len() >= limits::DELIVERIES_MAX
                || batch.bytes >= limits::DELIVERIES_BYTES
            {
                let deliveries = std::mem::take(batch).deliveries;
                self.send(to, Sent::Deliveries(deliveries));
            }
        }
        for (to, batch) in batches {
            if !batch.deliveries.is_empty() {
                self.send(to, Sent::Deliveries(batch.deliveries));
            }
        }
        if self.caught_up && self.dispatch.buffered() == 0 {
            let position = self.source.next_position();
            for outlet in self.outlets.values_mut().filter(|outlet| !outlet.told_caught_up) {
                outlet.told_caught_up = true;
                let _ = outlet.messages.send(Sent::CaughtUp(position));
            }
        }
    }

    /// Tells metrics what happened since they were told last.
    fn count(&mut self) {
        let now = *self.dispatch.counters();
        if now != self.counted {
            let kind = self.definition.selector.kind();
            self.around.metrics.count(kind, &self.counted, &now);
            self.counted = now;
        }
    }

    /// A consumer that is gone says so by an order of its own.
    fn send(&self, to: ConsumerId, message: Sent) {
        if let Some(outlet) = self.outlets.get(&to) {
            let _ = outlet.messages.send(message);
        }
    }

    /// Tells consumers that are served from now on, or stand by.
    fn tell_roles(&mut self) {
        for (&id, outlet) in &mut self.outlets {
            let standby = !self.dispatch.is_served(id);
            if outlet.standby != standby {
                outlet.standby = standby;
                let _ = outlet.messages.send(Sent::Role { standby });
            }
        }
    }

    /// Milliseconds since it began: the time of the dispatch.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn wake_at(&self) -> Instant {
        let tick = self
            .dispatch
            .next_tick_ms()
            .map(|at| self.started + std::time::Duration::from_millis(at));
        let idle = self.idle_since.map(|since| since + limits::SUBSCRIPTION_IDLE);
        let soonest = tick.into_iter().chain(idle).chain(self.report_at()).min();
        soonest.unwrap_or_else(|| Instant::now() + limits::SUBSCRIPTION_IDLE)
    }

    /// Whether nobody has consumed for a while, and nothing waits to be written.
    fn is_idle(&mut self) -> bool {
        if !self.outlets.is_empty() || !self.leaving.is_empty() || !self.acked.is_empty() {
            self.idle_since = None;
            return false;
        }
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        since.elapsed() >= limits::SUBSCRIPTION_IDLE && !self.has_unreported()
    }
}

/// Deliveries that go together.
#[derive(Debug, Default)]
struct Batch {
    deliveries: Vec<Delivery<RecordedEvent>>,
    bytes: usize,
}

/// Why an emitter ends.
#[derive(Debug)]
enum End {
    /// Nobody consumes.
    Idle,
    /// This node does not lead any more, or stops.
    Stopped,
    /// The subscription is there no more.
    Deleted,
    /// The buffer is full, and that is an error.
    Full,
    Failed(EmitterError),
}

/// What an emitter begins with.
struct Loaded {
    definition: Definition,
    dispatch: Dispatch<RecordedEvent>,
    source: Source,
}

impl Loaded {
    /// Reads what was pending, and finds where to read on. May read files.
    fn new(
        definition: Definition,
        state: &SubscriptionState,
        reader: &StateReader,
    ) -> Result<Self, EmitterError> {
        let start = match &state.progress {
            None => definition.start(state),
            Some(progress) => Start::Position(progress.next_position),
        };
        let mut source = Source::new(Arc::clone(&definition.selector), start);
        let read_to = source.begin(reader)?;
        let mut dispatch = Dispatch::new(definition.settings(), read_to);
        dispatch.set_held(held_keys(state));
        for pending in state.progress.iter().flat_map(|progress| &progress.pending) {
            #[cfg(feature = "planted-bugs")]
            if crate::planted::has(crate::planted::Planted::PendingForgotten) {
                continue;
            }
            // What was removed since is done.
            let Some(event) = Source::event_at(reader, pending.position)? else { continue };
            offer(&mut dispatch, &definition, event, pending.failures, false);
        }
        for &position in &state.replaying {
            match Source::event_at(reader, position)? {
                Some(event) => offer(&mut dispatch, &definition, event, 0, true),
                None => dispatch.replay_is_done(position),
            }
        }
        Ok(Self { definition, dispatch, source })
    }
}

fn held_keys(state: &SubscriptionState) -> impl Iterator<Item = (super::dispatch::Key, u64)> {
    state.held.iter().map(|(key, &events)| (key.as_str().into(), events))
}

/// Offers an event that was taken in before.
fn offer(
    dispatch: &mut Dispatch<RecordedEvent>,
    definition: &Definition,
    event: RecordedEvent,
    failures: u32,
    replayed: bool,
) {
    let offered = Offered {
        position: event.position,
        key: definition.key(&event),
        weight: event.bytes(),
        event,
        failures,
        replayed,
    };
    // There is room for what was taken in before.
    let _ = dispatch.offer(offered);
}
