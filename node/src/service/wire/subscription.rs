//! Definitions of subscriptions: what a caller may send, with every default filled in, and how they are answered.

use prost::Message as _;
use reckon_api::{Reason, v1};
use tonic::Status;
use uuid::Uuid;

use super::refusal::{Limit, check_name, check_text, invalid_field, limit_exceeded};
use super::selector::{key_refused, selector_refused};
use crate::delivery::definition::DefinitionError;
use crate::delivery::selector::{Selector, SelectorError, SelectorKind};
use crate::engine::SubscriptionState;
use crate::limits;

const NAME: Limit =
    Limit { name: "subscription_name_bytes_max", maximum: limits::SUBSCRIPTION_NAME_BYTES_MAX };
const DEFINITION: Limit = Limit {
    name: "subscription_definition_bytes_max",
    maximum: limits::SUBSCRIPTION_DEFINITION_BYTES_MAX,
};
const URL: Limit = Limit { name: "sink_url_bytes_max", maximum: limits::SINK_URL_BYTES_MAX };
const HEADERS: Limit = Limit { name: "sink_headers_max", maximum: limits::SINK_HEADERS_MAX };
const HEADER: Limit =
    Limit { name: "sink_header_bytes_max", maximum: limits::SINK_HEADER_BYTES_MAX };

/// The namespace of keys: UUIDv5 of the subscription's name.
const SUBSCRIPTION_KEYS: Uuid = Uuid::from_u128(0x6f1d_80a2_3c57_4c0b_a1a6_7be8_0e55_1f90);

/// The type that is asked for by its one name; empty: any.
pub fn subscription_type(name: &str) -> Result<Option<&'static str>, Status> {
    let declared = SelectorKind::declared(name);
    let kind = declared.map_err(|error| selector_refused(SelectorError::Selector(error)))?;
    Ok(kind.map(SelectorKind::as_str))
}

/// Whether a consumer may open like that.
pub fn check_consumer(open: &v1::OpenConsumer) -> Result<(), Status> {
    check_text(|| "consumer".to_owned(), &open.consumer, NAME)
}

/// The refusal of a definition that cannot be used.
pub fn definition_status(error: DefinitionError) -> Status {
    match error {
        DefinitionError::Decode(error) => Reason::Internal.plain(error.to_string()),
        DefinitionError::Selector(error) => selector_refused(error),
        DefinitionError::Key(error) => key_refused(error),
    }
}

/// The key of a subscription of this name.
pub fn subscription_key(name: &str) -> String {
    Uuid::new_v5(&SUBSCRIPTION_KEYS, name.as_bytes()).to_string()
}

/// A definition as it is kept: checked, with every default filled in, so that equal ones are equal bytes. What it
/// selects is checked by compiling it.
pub fn definition(
    definition: Option<v1::SubscriptionDefinition>,
) -> Result<v1::SubscriptionDefinition, Status> {
    let Some(mut definition) = definition else {
        return Err(invalid_field("definition", "", "is missing"));
    };
    check_name(|| field("name"), &definition.name, NAME)?;
    let Some(selector) = &definition.selector else {
        return Err(Reason::InvalidSelector.status(
            "definition.selector is missing: say which events are wanted",
            [("field", "definition.selector")],
        ));
    };
    definition.selector = Some(Selector::canonical(selector));
    definition.start_from = Some(start_from(
        definition.start_from.take(),
        definition.selector.as_ref(),
        &field("start_from"),
    )?);
    let ranges = [
        Range::new("pool_size", &mut definition.pool_size, 1, 1..=limits::CONSUMERS_SERVED_MAX),
        Range::new(
            "max_in_flight",
            &mut definition.max_in_flight,
            limits::SUBSCRIPTION_EVENTS_DEFAULT,
            1..=limits::SUBSCRIPTION_EVENTS_MAX,
        ),
        Range::new(
            "buffer_size",
            &mut definition.buffer_size,
            limits::SUBSCRIPTION_EVENTS_DEFAULT,
            1..=limits::SUBSCRIPTION_EVENTS_MAX,
        ),
        Range::new("buffer_warning_percent", &mut definition.buffer_warning_percent, 80, 1..=100),
    ];
    ranges.into_iter().try_for_each(Range::fill)?;
    let backoff_ms_min = definition.retry_backoff_ms_min;
    let times = [
        Range::new(
            "ack_timeout_ms",
            &mut definition.ack_timeout_ms,
            limits::ACK_TIMEOUT_MS_DEFAULT,
            limits::ACK_TIMEOUT_MS_MIN..=limits::ACK_TIMEOUT_MS_MAX,
        ),
        Range::new(
            "retry_backoff_ms_min",
            &mut definition.retry_backoff_ms_min,
            limits::RETRY_BACKOFF_MS_MIN_DEFAULT,
            1..=limits::RETRY_BACKOFF_MS_MAX,
        ),
        Range::new(
            "retry_backoff_ms_max",
            &mut definition.retry_backoff_ms_max,
            limits::RETRY_BACKOFF_MS_MAX_DEFAULT.max(backoff_ms_min),
            1..=limits::RETRY_BACKOFF_MS_MAX,
        ),
    ];
    times.into_iter().try_for_each(Range::fill)?;
    if definition.retry_backoff_ms_min > definition.retry_backoff_ms_max {
        let value = definition.retry_backoff_ms_min.to_string();
        let what =
            format!("is more than retry_backoff_ms_max, {}", definition.retry_backoff_ms_max);
        return Err(invalid_field(&field("retry_backoff_ms_min"), &value, &what));
    }
    definition.max_retries.get_or_insert(limits::MAX_RETRIES_DEFAULT);
    definition.strategy = strategy(definition.strategy)?.into();
    if let Some(sink) = &mut definition.sink {
        fill_sink(sink)?;
    }
    if definition.encoded_len() > DEFINITION.maximum {
        let bytes = definition.encoded_len();
        return Err(limit_exceeded("definition", DEFINITION, bytes, "bytes; ask for less"));
    }
    Ok(definition)
}

fn field(name: &str) -> String {
    format!("definition.{name}")
}

/// A number with a default in the place of 0, and the range that it has to be in.
struct Range<'a, T> {
    name: &'static str,
    value: &'a mut T,
    default: T,
    within: std::ops::RangeInclusive<T>,
}

impl<'a, T: Copy + Default + PartialOrd + std::fmt::Display> Range<'a, T> {
    const fn new(
        name: &'static str,
        value: &'a mut T,
        default: T,
        within: std::ops::RangeInclusive<T>,
    ) -> Self {
        Self { name, value, default, within }
    }

    fn fill(self) -> Result<(), Status> {
        let Self { name, value, default, within } = self;
        if *value == T::default() {
            *value = default;
        }
        if within.contains(value) {
            return Ok(());
        }
        let (minimum, maximum) = (within.start(), within.end());
        Err(Reason::LimitExceeded.status(
            format!("definition.{name} is {value}; it takes {minimum} to {maximum}"),
            [
                ("field", field(name)),
                ("limit", name.to_owned()),
                ("value", value.to_string()),
                ("minimum", minimum.to_string()),
                ("maximum", maximum.to_string()),
            ],
        ))
    }
}

/// Where a subscription begins or is put; absent is the beginning.
pub fn start_from(
    start: Option<v1::StartFrom>,
    selector: Option<&v1::Selector>,
    field: &str,
) -> Result<v1::StartFrom, Status> {
    use v1::start_from::Kind;
    let kind = start.and_then(|start| start.kind).unwrap_or(Kind::Beginning(true));
    match kind {
        Kind::Beginning(false) => Err(super::ambiguous(&format!("{field}.beginning"))),
        Kind::End(false) => Err(super::ambiguous(&format!("{field}.end"))),
        Kind::Version(version) if !is_stream(selector) => Err(invalid_field(
            &format!("{field}.version"),
            &version.to_string(),
            "is only for subscriptions to one stream; name a position",
        )),
        kind => Ok(v1::StartFrom { kind: Some(kind) }),
    }
}

fn is_stream(selector: Option<&v1::Selector>) -> bool {
    matches!(
        selector.and_then(|selector| selector.kind.as_ref()),
        Some(v1::selector::Kind::Stream(_))
    )
}

fn strategy(strategy: i32) -> Result<v1::BufferStrategy, Status> {
    use v1::BufferStrategy;
    match BufferStrategy::try_from(strategy) {
        Ok(BufferStrategy::Unspecified) => Ok(BufferStrategy::Block),
        Ok(strategy) => Ok(strategy),
        Err(_unknown) => Err(invalid_field(
            &field("strategy"),
            &strategy.to_string(),
            "is no strategy: 1 blocks, 2 drops the oldest, 3 drops the newest, 4 is an error",
        )),
    }
}

fn fill_sink(sink: &mut v1::Sink) -> Result<(), Status> {
    check_name(|| field("sink.url"), &sink.url, URL)?;
    let uri = sink.url.parse::<http::Uri>().ok();
    let is_http = uri.as_ref().is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    });
    if !is_http {
        let what = "is no URL of http or https with a host";
        return Err(invalid_field(&field("sink.url"), &sink.url, what));
    }
    sink.mode = match v1::SinkMode::try_from(sink.mode) {
        Ok(v1::SinkMode::Unspecified | v1::SinkMode::Binary) => v1::SinkMode::Binary,
        Ok(v1::SinkMode::Structured) => v1::SinkMode::Structured,
        Err(_unknown) => {
            let what = "is no mode: 1 is binary, 2 is structured";
            return Err(invalid_field(&field("sink.mode"), &sink.mode.to_string(), what));
        }
    }
    .into();
    Range::new("sink.batch_max", &mut sink.batch_max, 1, 1..=limits::SINK_BATCH_MAX).fill()?;
    Range::new(
        "sink.timeout_ms",
        &mut sink.timeout_ms,
        limits::SINK_TIMEOUT_MS_DEFAULT,
        1..=limits::SINK_TIMEOUT_MS_MAX,
    )
    .fill()?;
    Range::new("sink.concurrency", &mut sink.concurrency, 8, 1..=limits::SINK_CONCURRENCY_MAX)
        .fill()?;
    if sink.headers.len() > HEADERS.maximum {
        return Err(limit_exceeded(&field("sink.headers"), HEADERS, sink.headers.len(), "headers"));
    }
    for (name, value) in &sink.headers {
        let path = || field(&format!("sink.headers[{name:?}]"));
        check_name(path, name, HEADER)?;
        check_text(path, value, HEADER)?;
        let is_header =
            name.parse::<http::HeaderName>().is_ok() && value.parse::<http::HeaderValue>().is_ok();
        if !is_header {
            return Err(invalid_field(&path(), value, "is no header of HTTP"));
        }
    }
    Ok(())
}

/// The first field in which two definitions differ that cannot be changed; `None`: there is no such difference.
pub fn unchangeable_difference(
    before: &v1::SubscriptionDefinition,
    after: &v1::SubscriptionDefinition,
) -> Option<&'static str> {
    let differences = [
        ("type", before.r#type != after.r#type),
        ("selector", before.selector != after.selector),
        ("start_from", before.start_from != after.start_from),
        ("key_expression", before.key_expression != after.key_expression),
        ("partition", before.partition != after.partition),
    ];
    differences.into_iter().find(|(_, differ)| *differ).map(|(name, _)| name)
}

/// A definition as the log keeps it.
pub fn decode_definition(bytes: &[u8]) -> Result<v1::SubscriptionDefinition, Status> {
    v1::SubscriptionDefinition::decode(bytes)
        .map_err(|error| Reason::Internal.plain(format!("a definition cannot be read: {error}")))
}

/// A subscription as clients see it.
pub fn subscription(
    state: &SubscriptionState,
    consumers: Vec<String>,
) -> Result<v1::Subscription, Status> {
    let definition = decode_definition(&state.definition)?;
    Ok(v1::Subscription {
        key: subscription_key(&definition.name),
        created_at_us: state.created_at_us,
        updated_at_us: state.updated_at_us,
        checkpoint: Some(subscription_checkpoint(state)),
        parked: state.parked.len(),
        dropped: state.dropped,
        consumers,
        definition: Some(definition),
    })
}

/// How far a subscription has come, as clients see it.
pub fn subscription_checkpoint(state: &SubscriptionState) -> v1::SubscriptionCheckpoint {
    let Some(progress) = &state.progress else { return v1::SubscriptionCheckpoint::default() };
    v1::SubscriptionCheckpoint {
        next_position: progress.next_position,
        pending: progress.pending.iter().map(|pending| pending.position).collect(),
        at_us: progress.at_us,
    }
}
