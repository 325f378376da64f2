//! A subscription's definition as YAML or JSON: what `get --output json` prints is what `--file` takes.

use std::collections::BTreeMap;

use reckon_api::v1::{self, event_pattern, selector, start_from};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::selector::operator_of;

/// A definition. The fields are those of the protocol; what is left out is the store's default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    name: String,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    selector: Selector,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_from: Option<StartFrom>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pool_size: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_expression: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition: Option<Partition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ack_timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_retries: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_backoff_ms_min: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_backoff_ms_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_in_flight: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    buffer_size: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    strategy: Option<Strategy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    buffer_warning_percent: Option<u32>,
    #[serde(default)]
    hold_key: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sink: Option<Sink>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Selector {
    All(bool),
    Stream(String),
    EventType(String),
    EventPattern(Pattern),
    EventPayload(Payload),
    Tags(Tags),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Pattern {
    Stream(String),
    Fields(Value),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<Condition>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    expression: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    field: String,
    #[serde(default = "equal")]
    operator: String,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tags {
    tags: Vec<String>,
    #[serde(default)]
    all: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StartFrom {
    Beginning(bool),
    End(bool),
    Position(u64),
    TimeUs(u64),
    Version(u64),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Partition {
    index: u32,
    count: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Strategy {
    Block,
    DropOldest,
    DropNewest,
    Error,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sink {
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<SinkMode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch_max: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    concurrency: Option<u32>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SinkMode {
    Binary,
    Structured,
}

fn equal() -> String {
    "eq".to_owned()
}

impl Definition {
    /// Reads YAML, of which JSON is a part; the error is a sentence.
    pub fn parse(text: &str) -> Result<v1::SubscriptionDefinition, String> {
        let definition: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        definition.into_message()
    }

    fn into_message(self) -> Result<v1::SubscriptionDefinition, String> {
        let strategy = match self.strategy {
            None => v1::BufferStrategy::Unspecified,
            Some(Strategy::Block) => v1::BufferStrategy::Block,
            Some(Strategy::DropOldest) => v1::BufferStrategy::DropOldest,
            Some(Strategy::DropNewest) => v1::BufferStrategy::DropNewest,
            Some(Strategy::Error) => v1::BufferStrategy::Error,
        };
        Ok(v1::SubscriptionDefinition {
            name: self.name,
            r#type: self.kind.unwrap_or_default(),
            selector: Some(v1::Selector { kind: Some(self.selector.into_message()?) }),
            start_from: self.start_from.map(StartFrom::into_message),
            pool_size: self.pool_size.unwrap_or_default(),
            key_expression: self.key_expression.unwrap_or_default(),
            partition: self
                .partition
                .map(|Partition { index, count }| v1::Partition { index, count }),
            ack_timeout_ms: self.ack_timeout_ms.unwrap_or_default(),
            max_retries: self.max_retries,
            retry_backoff_ms_min: self.retry_backoff_ms_min.unwrap_or_default(),
            retry_backoff_ms_max: self.retry_backoff_ms_max.unwrap_or_default(),
            max_in_flight: self.max_in_flight.unwrap_or_default(),
            buffer_size: self.buffer_size.unwrap_or_default(),
            strategy: strategy.into(),
            buffer_warning_percent: self.buffer_warning_percent.unwrap_or_default(),
            hold_key: self.hold_key,
            sink: self.sink.map(|sink| v1::Sink {
                url: sink.url,
                mode: match sink.mode {
                    None => v1::SinkMode::Unspecified,
                    Some(SinkMode::Binary) => v1::SinkMode::Binary,
                    Some(SinkMode::Structured) => v1::SinkMode::Structured,
                }
                .into(),
                batch_max: sink.batch_max.unwrap_or_default(),
                timeout_ms: sink.timeout_ms.unwrap_or_default(),
                concurrency: sink.concurrency.unwrap_or_default(),
                headers: sink.headers,
            }),
        })
    }
}

impl Selector {
    fn into_message(self) -> Result<selector::Kind, String> {
        Ok(match self {
            Self::All(all) => selector::Kind::All(all),
            Self::Stream(stream) => selector::Kind::Stream(stream),
            Self::EventType(event_type) => selector::Kind::EventType(event_type),
            Self::EventPattern(pattern) => selector::Kind::EventPattern(v1::EventPattern {
                kind: Some(match pattern {
                    Pattern::Stream(stream) => event_pattern::Kind::Stream(stream),
                    Pattern::Fields(fields) => event_pattern::Kind::Fields(fields.to_string()),
                }),
            }),
            Self::EventPayload(payload) => selector::Kind::EventPayload(v1::EventPayload {
                conditions: payload
                    .conditions
                    .into_iter()
                    .map(Condition::into_message)
                    .collect::<Result<_, _>>()?,
                expression: payload.expression,
            }),
            Self::Tags(Tags { tags, all }) => selector::Kind::Tags(v1::Tags { tags, all }),
        })
    }
}

impl Condition {
    fn into_message(self) -> Result<v1::PayloadCondition, String> {
        let operator = operator_of(&self.operator)
            .ok_or_else(|| format!("`{}` is none of eq ne gt gte lt lte in", self.operator))?;
        let value = self.value.to_string();
        Ok(v1::PayloadCondition { field: self.field, operator: operator.into(), value })
    }
}

impl StartFrom {
    const fn into_message(self) -> v1::StartFrom {
        let kind = match self {
            Self::Beginning(beginning) => start_from::Kind::Beginning(beginning),
            Self::End(end) => start_from::Kind::End(end),
            Self::Position(position) => start_from::Kind::Position(position),
            Self::TimeUs(time_us) => start_from::Kind::TimeUs(time_us),
            Self::Version(version) => start_from::Kind::Version(version),
        };
        v1::StartFrom { kind: Some(kind) }
    }
}

impl From<&v1::SubscriptionDefinition> for Definition {
    fn from(definition: &v1::SubscriptionDefinition) -> Self {
        let kind = definition.selector.as_ref().and_then(|selector| selector.kind.as_ref());
        Self {
            name: definition.name.clone(),
            kind: some(definition.r#type.clone()),
            selector: kind.map_or(Selector::All(false), Selector::from),
            start_from: definition
                .start_from
                .as_ref()
                .and_then(|from| from.kind.as_ref())
                .map(StartFrom::from),
            pool_size: some(definition.pool_size),
            key_expression: some(definition.key_expression.clone()),
            partition: definition
                .partition
                .map(|v1::Partition { index, count }| Partition { index, count }),
            ack_timeout_ms: some(definition.ack_timeout_ms),
            max_retries: definition.max_retries,
            retry_backoff_ms_min: some(definition.retry_backoff_ms_min),
            retry_backoff_ms_max: some(definition.retry_backoff_ms_max),
            max_in_flight: some(definition.max_in_flight),
            buffer_size: some(definition.buffer_size),
            strategy: match definition.strategy() {
                v1::BufferStrategy::Unspecified => None,
                v1::BufferStrategy::Block => Some(Strategy::Block),
                v1::BufferStrategy::DropOldest => Some(Strategy::DropOldest),
                v1::BufferStrategy::DropNewest => Some(Strategy::DropNewest),
                v1::BufferStrategy::Error => Some(Strategy::Error),
            },
            buffer_warning_percent: some(definition.buffer_warning_percent),
            hold_key: definition.hold_key,
            sink: definition.sink.as_ref().map(|sink| Sink {
                url: sink.url.clone(),
                mode: match sink.mode() {
                    v1::SinkMode::Unspecified => None,
                    v1::SinkMode::Binary => Some(SinkMode::Binary),
                    v1::SinkMode::Structured => Some(SinkMode::Structured),
                },
                batch_max: some(sink.batch_max),
                timeout_ms: some(sink.timeout_ms),
                concurrency: some(sink.concurrency),
                headers: sink.headers.clone(),
            }),
        }
    }
}

impl From<&selector::Kind> for Selector {
    fn from(kind: &selector::Kind) -> Self {
        match kind {
            selector::Kind::All(all) => Self::All(*all),
            selector::Kind::Stream(stream) => Self::Stream(stream.clone()),
            selector::Kind::EventType(event_type) => Self::EventType(event_type.clone()),
            selector::Kind::EventPattern(pattern) => Self::EventPattern(match &pattern.kind {
                Some(event_pattern::Kind::Fields(fields)) => Pattern::Fields(json(fields)),
                Some(event_pattern::Kind::Stream(stream)) => Pattern::Stream(stream.clone()),
                None => Pattern::Stream(String::new()),
            }),
            selector::Kind::EventPayload(payload) => Self::EventPayload(Payload {
                conditions: payload
                    .conditions
                    .iter()
                    .map(|condition| Condition {
                        field: condition.field.clone(),
                        operator: operator_name(condition.operator()).to_owned(),
                        value: json(&condition.value),
                    })
                    .collect(),
                expression: payload.expression.clone(),
            }),
            selector::Kind::Tags(v1::Tags { tags, all }) => {
                Self::Tags(Tags { tags: tags.clone(), all: *all })
            }
        }
    }
}

impl From<&start_from::Kind> for StartFrom {
    fn from(kind: &start_from::Kind) -> Self {
        match *kind {
            start_from::Kind::Beginning(beginning) => Self::Beginning(beginning),
            start_from::Kind::End(end) => Self::End(end),
            start_from::Kind::Position(position) => Self::Position(position),
            start_from::Kind::TimeUs(time_us) => Self::TimeUs(time_us),
            start_from::Kind::Version(version) => Self::Version(version),
        }
    }
}

const fn operator_name(operator: v1::PayloadOperator) -> &'static str {
    match operator {
        v1::PayloadOperator::Unspecified | v1::PayloadOperator::Eq => "eq",
        v1::PayloadOperator::Ne => "ne",
        v1::PayloadOperator::Gt => "gt",
        v1::PayloadOperator::Gte => "gte",
        v1::PayloadOperator::Lt => "lt",
        v1::PayloadOperator::Lte => "lte",
        v1::PayloadOperator::In => "in",
    }
}

/// The JSON that the text is; what is none stands as a text.
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// The value, unless it is what the protocol takes for nothing said.
fn some<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_taken_back() {
        let yaml = "
name: orders
type: by_event_payload
selector:
  event_payload:
    conditions:
      - {field: order.total, operator: '>', value: 100}
      - {field: state, operator: in, value: [open, \"5\"]}
    expression: event.tags.size() > 1
start_from: {time_us: 1700000000000000}
pool_size: 2
partition: {index: 0, count: 2}
max_retries: 0
strategy: drop_oldest
hold_key: true
sink: {url: 'https://billing/', mode: structured, batch_max: 10, headers: {a: b}}
";
        let message = Definition::parse(yaml).unwrap();
        assert_eq!(message.max_retries, Some(0));
        let Some(selector::Kind::EventPayload(payload)) = message.selector.clone().unwrap().kind
        else {
            panic!("{message:?}");
        };
        assert_eq!(payload.conditions[0].operator(), v1::PayloadOperator::Gt);
        assert_eq!(payload.conditions[1].value, "[\"open\",\"5\"]");
        let printed = serde_json::to_string(&Definition::from(&message)).unwrap();
        assert_eq!(Definition::parse(&printed).unwrap(), message);
    }

    #[test]
    fn every_kind_of_selector_can_be_written() {
        for selector in [
            "{all: true}",
            "{stream: orders-1}",
            "{event_type: T}",
            "{event_pattern: {stream: 'orders-*'}}",
            "{event_pattern: {fields: {actor_id: me, tags: [a]}}}",
            "{tags: {tags: [a, b], all: true}}",
        ] {
            let text = format!("{{name: n, selector: {selector}}}");
            let message = Definition::parse(&text).unwrap();
            let printed = serde_json::to_string(&Definition::from(&message)).unwrap();
            assert_eq!(Definition::parse(&printed).unwrap(), message, "{selector}");
        }
    }

    #[test]
    fn a_mistake_is_refused_with_its_name() {
        for (text, expected) in [
            ("{selector: {all: true}}", "name"),
            ("{name: n}", "selector"),
            ("{name: n, selector: {all: true}, pol_size: 3}", "pol_size"),
            (
                "{name: n, selector: {event_payload: {conditions: [{field: a, operator: like, value: 1}]}}}",
                "like",
            ),
        ] {
            let error = Definition::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
