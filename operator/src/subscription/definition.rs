//! A subscription in the store's words, and what sets two of them apart.
//!
//! The store answers with every default filled in, so both sides are filled in the same way before they are compared.
//! The numbers are those of `node/proto/reckon/v1/subscription.proto`.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::core::Duration;
use reckon_api::v1;
use reckon_api::v1::{event_pattern, selector, start_from};
use reckon_crds::{
    EventPattern, EventPayload, PayloadCondition, PayloadOperator, Selector, Sink, SinkMode,
    StartFrom, Strategy, Subscription,
};

const POOL_SIZE_DEFAULT: u32 = 1;
const ACK_TIMEOUT_MS_DEFAULT: u64 = 30_000;
const MAX_RETRIES_DEFAULT: u32 = 10;
const RETRY_BACKOFF_MS_MIN_DEFAULT: u64 = 100;
const RETRY_BACKOFF_MS_MAX_DEFAULT: u64 = 30_000;
const MAX_IN_FLIGHT_DEFAULT: u32 = 1_000;
const BUFFER_SIZE_DEFAULT: u32 = 1_000;
const BUFFER_WARNING_PERCENT_DEFAULT: u32 = 80;
const SINK_BATCH_MAX_DEFAULT: u32 = 1;
const SINK_TIMEOUT_MS_DEFAULT: u64 = 10_000;
const SINK_CONCURRENCY_DEFAULT: u32 = 8;

/// Why a resource cannot be put in the store's words. The schema refuses all of these; a resource that was stored
/// under an earlier schema may have them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing is chosen.
    #[error("spec.selector says nothing of what to choose.")]
    NoSelector,
    /// No start is given.
    #[error("spec.startFrom says nothing of where to begin.")]
    NoStart,
    /// A time is before 1970.
    #[error("spec.startFrom.time is before 1970.")]
    BeforeTime,
    /// Neither a URL nor a Service is given.
    #[error("spec.sink has neither url nor service.")]
    NoUrl,
    /// A duration is negative, or longer than any clock.
    #[error("spec.{field} is no duration that makes sense.")]
    Duration { field: &'static str },
}

/// The name of a subscription in its store.
pub fn name(subscription: &Subscription) -> String {
    subscription.spec.name.clone().unwrap_or_else(|| subscription.name_any())
}

/// The definition that a resource asks for, filled in.
pub fn definition(subscription: &Subscription) -> Result<v1::SubscriptionDefinition, Error> {
    let spec = &subscription.spec;
    let namespace = subscription.namespace().unwrap_or_default();
    let strategy = match spec.strategy {
        Strategy::Block => v1::BufferStrategy::Block,
        Strategy::DropOldest => v1::BufferStrategy::DropOldest,
        Strategy::DropNewest => v1::BufferStrategy::DropNewest,
        Strategy::Error => v1::BufferStrategy::Error,
    };
    let partition = spec.partition.as_ref();
    Ok(filled(v1::SubscriptionDefinition {
        name: name(subscription),
        r#type: spec.type_.clone().unwrap_or_default(),
        selector: Some(v1::Selector { kind: Some(chosen(&spec.selector)?) }),
        start_from: spec.start_from.as_ref().map(start).transpose()?,
        pool_size: spec.pool_size,
        key_expression: spec.key_expression.clone().unwrap_or_default(),
        partition: partition.map(|share| v1::Partition { index: share.index, count: share.count }),
        ack_timeout_ms: milliseconds("ackTimeout", spec.ack_timeout)?,
        max_retries: Some(spec.max_retries),
        retry_backoff_ms_min: milliseconds("retryBackoff.min", spec.retry_backoff.min)?,
        retry_backoff_ms_max: milliseconds("retryBackoff.max", spec.retry_backoff.max)?,
        max_in_flight: spec.max_in_flight,
        buffer_size: spec.buffer_size,
        strategy: strategy.into(),
        buffer_warning_percent: spec.buffer_warning_percent,
        hold_key: spec.hold_key,
        sink: spec.sink.as_ref().map(|wanted| sink(wanted, &namespace)).transpose()?,
    }))
}

fn chosen(chosen: &Selector) -> Result<selector::Kind, Error> {
    let Selector { all, stream, event_type, event_pattern, event_payload, tags } = chosen;
    let all = all.filter(|all| *all).map(selector::Kind::All);
    let stream = || stream.clone().map(selector::Kind::Stream);
    let event_type = || event_type.clone().map(selector::Kind::EventType);
    let event_pattern = || event_pattern.as_ref().map(pattern).map(selector::Kind::EventPattern);
    let event_payload = || event_payload.as_ref().map(payload).map(selector::Kind::EventPayload);
    let tags = || {
        let tags = tags.as_ref()?;
        Some(selector::Kind::Tags(v1::Tags { tags: tags.names.clone(), all: tags.all }))
    };
    all.or_else(stream)
        .or_else(event_type)
        .or_else(event_pattern)
        .or_else(event_payload)
        .or_else(tags)
        .ok_or(Error::NoSelector)
}

fn pattern(pattern: &EventPattern) -> v1::EventPattern {
    let fields = pattern.fields.clone().map(serde_json::Value::Object);
    let stream = pattern.stream.clone().map(event_pattern::Kind::Stream);
    let fields = fields.map(|fields| event_pattern::Kind::Fields(fields.to_string()));
    v1::EventPattern { kind: stream.or(fields) }
}

fn payload(payload: &EventPayload) -> v1::EventPayload {
    v1::EventPayload {
        conditions: payload.conditions.iter().map(condition).collect(),
        expression: payload.expression.clone().unwrap_or_default(),
    }
}

fn condition(condition: &PayloadCondition) -> v1::PayloadCondition {
    let operator = match condition.operator {
        PayloadOperator::Eq => v1::PayloadOperator::Eq,
        PayloadOperator::Ne => v1::PayloadOperator::Ne,
        PayloadOperator::Gt => v1::PayloadOperator::Gt,
        PayloadOperator::Gte => v1::PayloadOperator::Gte,
        PayloadOperator::Lt => v1::PayloadOperator::Lt,
        PayloadOperator::Lte => v1::PayloadOperator::Lte,
        PayloadOperator::In => v1::PayloadOperator::In,
    };
    v1::PayloadCondition {
        field: condition.field.clone(),
        operator: operator.into(),
        value: condition.value.to_string(),
    }
}

fn start(start: &StartFrom) -> Result<v1::StartFrom, Error> {
    let kind = match start {
        StartFrom { beginning: Some(true), .. } => start_from::Kind::Beginning(true),
        StartFrom { end: Some(true), .. } => start_from::Kind::End(true),
        StartFrom { position: Some(position), .. } => start_from::Kind::Position(*position),
        StartFrom { version: Some(version), .. } => start_from::Kind::Version(*version),
        StartFrom { time: Some(time), .. } => {
            let time_us =
                u64::try_from(time.0.as_microsecond()).map_err(|_early| Error::BeforeTime)?;
            start_from::Kind::TimeUs(time_us)
        }
        _ => return Err(Error::NoStart),
    };
    Ok(v1::StartFrom { kind: Some(kind) })
}

fn sink(sink: &Sink, namespace: &str) -> Result<v1::Sink, Error> {
    let of_service = sink.service.as_ref().map(|service| {
        let scheme = service.scheme.as_str();
        let port = service.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}://{}.{namespace}.svc{port}{}", service.name, service.path)
    });
    let mode = match sink.mode {
        SinkMode::Binary => v1::SinkMode::Binary,
        SinkMode::Structured => v1::SinkMode::Structured,
    };
    Ok(v1::Sink {
        url: sink.url.clone().or(of_service).ok_or(Error::NoUrl)?,
        mode: mode.into(),
        batch_max: sink.batch_max,
        timeout_ms: milliseconds("sink.timeout", sink.timeout)?,
        concurrency: sink.concurrency,
        headers: sink.headers.clone(),
    })
}

/// A duration in milliseconds. Nothing is below one, which the protocol would take for absent.
fn milliseconds(field: &'static str, duration: Duration) -> Result<u64, Error> {
    if duration.is_negative() {
        return Err(Error::Duration { field });
    }
    let duration: std::time::Duration = duration.into();
    u64::try_from(duration.as_millis()).map_or(Err(Error::Duration { field }), |ms| Ok(ms.max(1)))
}

/// What sets two definitions apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Fields that the store changes, as they are called in the resource.
    pub changeable: Vec<&'static str>,
    /// Fields that the store never changes: they decide which events there are, and where they begin.
    pub fixed: Vec<&'static str>,
}

impl Difference {
    /// Whether the two are the same.
    pub fn is_none(&self) -> bool {
        self.changeable.is_empty() && self.fixed.is_empty()
    }
}

/// What sets the definition that is wanted apart from the one that the store has. Names are not compared: by them
/// the two were found.
pub fn difference(
    wanted: &v1::SubscriptionDefinition,
    stored: &v1::SubscriptionDefinition,
) -> Difference {
    let (wanted, stored) = (filled(wanted.clone()), filled(stored.clone()));
    let differing = |fields: &[(&'static str, bool)]| {
        fields.iter().filter(|(_, same)| !same).map(|(field, _)| *field).collect()
    };
    Difference {
        fixed: differing(&[
            ("type", wanted.r#type == stored.r#type),
            ("selector", wanted.selector == stored.selector),
            ("startFrom", wanted.start_from == stored.start_from),
            ("partition", wanted.partition == stored.partition),
            ("keyExpression", wanted.key_expression == stored.key_expression),
        ]),
        changeable: differing(&[
            ("poolSize", wanted.pool_size == stored.pool_size),
            ("ackTimeout", wanted.ack_timeout_ms == stored.ack_timeout_ms),
            ("maxRetries", wanted.max_retries == stored.max_retries),
            (
                "retryBackoff",
                wanted.retry_backoff_ms_min == stored.retry_backoff_ms_min
                    && wanted.retry_backoff_ms_max == stored.retry_backoff_ms_max,
            ),
            ("maxInFlight", wanted.max_in_flight == stored.max_in_flight),
            ("bufferSize", wanted.buffer_size == stored.buffer_size),
            ("strategy", wanted.strategy == stored.strategy),
            (
                "bufferWarningPercent",
                wanted.buffer_warning_percent == stored.buffer_warning_percent,
            ),
            ("holdKey", wanted.hold_key == stored.hold_key),
            ("sink", wanted.sink == stored.sink),
        ]),
    }
}

/// The same definition with every default filled in, and what can be written in several ways written in one.
pub fn filled(mut definition: v1::SubscriptionDefinition) -> v1::SubscriptionDefinition {
    let given = definition.r#type.strip_prefix("by_").unwrap_or(&definition.r#type);
    definition.r#type = match (given, definition.selector.as_ref().and_then(|of| of.kind.as_ref()))
    {
        ("", Some(selector::Kind::All(_))) => "all",
        ("", Some(selector::Kind::Stream(_))) => "stream",
        ("", Some(selector::Kind::EventType(_))) => "event_type",
        ("", Some(selector::Kind::EventPattern(_))) => "event_pattern",
        ("", Some(selector::Kind::EventPayload(_))) => "event_payload",
        ("", Some(selector::Kind::Tags(_))) => "tags",
        (given, _) => given,
    }
    .to_owned();
    match definition.selector.as_mut().and_then(|of| of.kind.as_mut()) {
        Some(selector::Kind::EventPattern(pattern)) => {
            if let Some(event_pattern::Kind::Fields(fields)) = &mut pattern.kind {
                canonical(fields);
            }
        }
        Some(selector::Kind::EventPayload(payload)) => {
            for condition in &mut payload.conditions {
                canonical(&mut condition.value);
                if condition.operator == i32::from(v1::PayloadOperator::Unspecified) {
                    condition.operator = v1::PayloadOperator::Eq.into();
                }
            }
        }
        Some(selector::Kind::Tags(tags)) => {
            tags.tags.sort_unstable();
            tags.tags.dedup();
        }
        _ => {}
    }
    let start = definition.start_from.get_or_insert_default();
    start.kind.get_or_insert(start_from::Kind::Beginning(true));
    or_default(&mut definition.pool_size, POOL_SIZE_DEFAULT);
    or_default(&mut definition.ack_timeout_ms, ACK_TIMEOUT_MS_DEFAULT);
    definition.max_retries.get_or_insert(MAX_RETRIES_DEFAULT);
    or_default(&mut definition.retry_backoff_ms_min, RETRY_BACKOFF_MS_MIN_DEFAULT);
    or_default(&mut definition.retry_backoff_ms_max, RETRY_BACKOFF_MS_MAX_DEFAULT);
    or_default(&mut definition.max_in_flight, MAX_IN_FLIGHT_DEFAULT);
    or_default(&mut definition.buffer_size, BUFFER_SIZE_DEFAULT);
    or_default(&mut definition.buffer_warning_percent, BUFFER_WARNING_PERCENT_DEFAULT);
    or_default(&mut definition.strategy, v1::BufferStrategy::Block.into());
    if let Some(sink) = &mut definition.sink {
        or_default(&mut sink.mode, v1::SinkMode::Binary.into());
        or_default(&mut sink.batch_max, SINK_BATCH_MAX_DEFAULT);
        or_default(&mut sink.timeout_ms, SINK_TIMEOUT_MS_DEFAULT);
        or_default(&mut sink.concurrency, SINK_CONCURRENCY_DEFAULT);
        let headers = std::mem::take(&mut sink.headers);
        sink.headers = headers
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect::<BTreeMap<_, _>>();
    }
    definition
}

fn or_default<T: Default + PartialEq>(field: &mut T, default: T) {
    if *field == T::default() {
        *field = default;
    }
}

/// JSON in one way of writing it: without spaces, fields in the order of their names.
fn canonical(json: &mut String) {
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(json) {
        *json = value.to_string();
    }
}

#[cfg(test)]
mod tests;
