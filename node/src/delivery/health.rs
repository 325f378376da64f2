//! How a subscription is doing: what it lags, who consumes it, and whether it has stopped getting on. Looks, and changes
//! nothing.

use reckon_api::v1;

use super::definition::{Definition, DefinitionError};
use super::emitter::Running;
use super::source::{Source, Start};
use crate::engine::{AllRead, ReadError, Select, StateReader, SubscriptionState};
use crate::limits;

/// Events that are not done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lag {
    pub events: u64,
    /// Counting was ended: there are more.
    pub is_at_least: bool,
    /// When the store took the oldest of them, microseconds since 1970 UTC.
    pub oldest_us: Option<u64>,
}

/// Why it cannot be told how a subscription is doing.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl HealthError {
    /// A file that cannot be read is mended.
    pub const fn retryable(&self) -> bool {
        matches!(self, Self::Read(_))
    }
}

/// Counts what a subscription has before it. May read files, and compiles the definition: not for a thread that drives
/// requests.
pub fn lag(
    reader: &StateReader,
    state: &SubscriptionState,
    running: Option<&Running>,
) -> Result<Lag, HealthError> {
    let definition = Definition::of(state)?;
    let progress = running.map(|running| &running.progress).or(state.progress.as_ref());
    let pending = progress.map_or(&[][..], |progress| &progress.pending);
    let start = progress.map_or_else(
        || definition.start(state),
        |progress| Start::Position(progress.next_position),
    );
    let mut lag = Lag::default();
    for pending in pending {
        // What was removed since is done.
        if let Some(event) = Source::event_at(reader, pending.position)? {
            lag.events += 1;
            lag.oldest_us.get_or_insert(event.epoch_us);
        }
    }
    count_from(reader, &definition, start, &mut lag)?;
    Ok(lag)
}

fn count_from(
    reader: &StateReader,
    definition: &Definition,
    start: Start,
    lag: &mut Lag,
) -> Result<(), ReadError> {
    let mut source = Source::new(definition.selector.clone(), start);
    // The first ones are read, for the time of the oldest; the rest is only counted, where there is more to read than one
    // stream.
    let pages_max = if definition.selector.stream().is_some() { COUNTED_PAGES_MAX } else { 1 };
    for _ in 0..pages_max {
        let page =
            source.page(reader, limits::READ_PAGE_EVENTS_MAX, limits::READ_PAGE_BYTES_MAX)?;
        lag.events += page.events.len() as u64;
        if let Some(first) = page.events.first() {
            lag.oldest_us.get_or_insert(first.epoch_us);
        }
        if page.caught_up {
            return Ok(());
        }
    }
    if definition.selector.stream().is_some() {
        lag.is_at_least = true;
        return Ok(());
    }
    let mut next = Some(source.next_position());
    for _ in 0..COUNTED_PAGES_MAX {
        let Some(from) = next else { return Ok(()) };
        let selector: &dyn Select = definition.selector.as_ref();
        let counted = reader.count(&AllRead {
            from,
            include_system: true,
            select: Some(selector),
            ..AllRead::default()
        })?;
        lag.events += counted.events;
        next = counted.next;
    }
    lag.is_at_least = next.is_some();
    Ok(())
}

/// Looks of a bounded number of records that one subscription's lag is worth.
const COUNTED_PAGES_MAX: usize = 20;

/// All that is told of a subscription. `running`: what its emitter says, if it has one.
pub fn health(
    definition: &v1::SubscriptionDefinition,
    key: String,
    state: &SubscriptionState,
    running: Option<Running>,
    lag: Lag,
    now_us: u64,
) -> v1::SubscriptionHealth {
    let has_emitter = running.is_some();
    let running = running.unwrap_or_default();
    let consumers = running.served + running.standby;
    let lag_ms = lag.oldest_us.map_or(0, |oldest| now_us.saturating_sub(oldest) / 1_000);
    let silent_ms = match running.settled_ms_ago {
        Some(ago) => ago,
        None if has_emitter => running.running_ms,
        None => u64::MAX,
    };
    let stalled = lag.events > 0 && lag_ms.min(silent_ms) > definition.ack_timeout_ms;
    let capacity = u64::from(definition.buffer_size);
    let buffer_warning =
        running.buffered * 100 >= capacity * u64::from(definition.buffer_warning_percent);
    let reason = match (stalled, consumers) {
        (true, 0) => "nobody consumes".to_owned(),
        (true, _) => format!("nothing was settled for {} s", silent_ms / 1_000),
        (false, _) => String::new(),
    };
    let mode = match (consumers, running.caught_up) {
        (0, _) => v1::SubscriptionMode::Idle,
        (_, false) => v1::SubscriptionMode::CatchingUp,
        (_, true) => v1::SubscriptionMode::Live,
    };
    let counters = running.counters;
    v1::SubscriptionHealth {
        name: definition.name.clone(),
        key,
        r#type: definition.r#type.clone(),
        lag_events: lag.events,
        lag_is_at_least: lag.is_at_least,
        lag_ms,
        consumers: running.served,
        standby: running.standby,
        mode: mode.into(),
        buffered: running.buffered,
        capacity,
        buffer_warning: buffer_warning && has_emitter,
        demand: running.wanted.unwrap_or_default(),
        demand_unlimited: has_emitter && running.wanted.is_none(),
        in_flight: running.in_flight,
        parked: state.parked.len(),
        dropped: state.dropped,
        delivered: counters.delivered,
        redelivered: counters.redelivered,
        acknowledged: counters.acknowledged,
        skipped: counters.skipped,
        stalled,
        reason,
        checkpoint_position: state.progress.as_ref().map_or(0, |it| it.next_position),
        checkpoint_at_us: state.progress.as_ref().map_or(0, |it| it.at_us),
        last_settled_at_us: running
            .settled_ms_ago
            .map_or(0, |ago| now_us.saturating_sub(ago.saturating_mul(1_000))),
    }
}
