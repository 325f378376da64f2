//! How subscriptions are printed.

use reckon_api::v1::{self, selector, start_from};
use serde::Serialize;

use super::file::Definition;
use crate::failure::Failure;
use crate::output::{self, Output};

/// A subscription as JSON.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<&'static str>,
    key: &'a str,
    definition: Option<Definition>,
    created_at_us: u64,
    updated_at_us: u64,
    checkpoint: PrintedCheckpoint<'a>,
    parked: u64,
    dropped: u64,
    consumers: &'a [String],
}

#[derive(Debug, Default, Serialize)]
struct PrintedCheckpoint<'a> {
    next_position: u64,
    pending: &'a [u64],
    at_us: u64,
}

impl<'a> From<&'a v1::SubscriptionCheckpoint> for PrintedCheckpoint<'a> {
    fn from(checkpoint: &'a v1::SubscriptionCheckpoint) -> Self {
        let v1::SubscriptionCheckpoint { next_position, pending, at_us } = checkpoint;
        Self { next_position: *next_position, pending, at_us: *at_us }
    }
}

fn printed<'a>(subscription: &'a v1::Subscription, change: Option<&'static str>) -> Printed<'a> {
    Printed {
        change,
        key: &subscription.key,
        definition: subscription.definition.as_ref().map(Definition::from),
        created_at_us: subscription.created_at_us,
        updated_at_us: subscription.updated_at_us,
        checkpoint: subscription.checkpoint.as_ref().map(Into::into).unwrap_or_default(),
        parked: subscription.parked,
        dropped: subscription.dropped,
        consumers: &subscription.consumers,
    }
}

/// Prints one subscription with all that is known of it.
pub fn one(subscription: &v1::Subscription, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&printed(subscription, None));
    }
    let none = v1::SubscriptionDefinition::default();
    let definition = subscription.definition.as_ref().unwrap_or(&none);
    let checkpoint = subscription.checkpoint.clone().unwrap_or_default();
    let mut rows = vec![
        ("name", definition.name.clone()),
        ("key", subscription.key.clone()),
        ("type", definition.r#type.clone()),
        ("events", selector(definition.selector.as_ref())),
        ("from", start(definition.start_from.as_ref())),
        ("ordered by", or(&definition.key_expression, "stream")),
        ("pool size", definition.pool_size.to_string()),
        ("ack timeout", time(definition.ack_timeout_ms)),
        (
            "retries",
            format!(
                "{}, after {} to {}",
                definition.max_retries.map_or_else(|| "-".to_owned(), |max| max.to_string()),
                time(definition.retry_backoff_ms_min),
                time(definition.retry_backoff_ms_max)
            ),
        ),
        ("in flight", format!("at most {}", definition.max_in_flight)),
        (
            "buffer",
            format!(
                "{}, {}, warns above {} %",
                definition.buffer_size,
                strategy(definition.strategy()),
                definition.buffer_warning_percent
            ),
        ),
        ("holds keys", if definition.hold_key { "yes" } else { "no" }.to_owned()),
    ];
    if let Some(v1::Partition { index, count }) = definition.partition {
        rows.push(("partition", format!("{index}/{count}")));
    }
    if let Some(sink) = &definition.sink {
        rows.push(("sink", sink.url.clone()));
    }
    rows.extend([
        ("created", output::time(subscription.created_at_us)),
        ("updated", output::time(subscription.updated_at_us)),
        ("checkpoint", position(&checkpoint)),
        ("parked", subscription.parked.to_string()),
        ("dropped", subscription.dropped.to_string()),
        ("consumers", or(&subscription.consumers.join(", "), "-")),
    ]);
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    output.table(&["FIELD", "VALUE"], &[], rows)
}

/// Prints a list of subscriptions.
pub fn list(subscriptions: &[v1::Subscription], output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return subscriptions
            .iter()
            .try_for_each(|subscription| output.json(&printed(subscription, None)));
    }
    let rows = subscriptions.iter().map(|subscription| {
        let definition = subscription.definition.clone().unwrap_or_default();
        let checkpoint = subscription.checkpoint.clone().unwrap_or_default();
        vec![
            definition.name.clone(),
            definition.r#type.clone(),
            selector(definition.selector.as_ref()),
            checkpoint.next_position.to_string(),
            subscription.consumers.len().to_string(),
            subscription.parked.to_string(),
            subscription.dropped.to_string(),
        ]
    });
    output.table(
        &["NAME", "TYPE", "EVENTS", "CHECKPOINT", "CONSUMERS", "PARKED", "DROPPED"],
        &["CHECKPOINT", "CONSUMERS", "PARKED", "DROPPED"],
        rows,
    )
}

/// Prints what was done to a subscription.
pub fn changed(
    subscription: &v1::Subscription,
    change: &'static str,
    output: &mut Output,
) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&printed(subscription, Some(change)));
    }
    let name = subscription.definition.as_ref().map_or("", |definition| definition.name.as_str());
    let checkpoint = subscription.checkpoint.clone().unwrap_or_default();
    output.line(&format!(
        "{} is {change}; it goes on at {}",
        output::plain(name),
        position(&checkpoint)
    ))
}

/// Prints that a subscription is gone.
pub fn deleted(name: &str, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&serde_json::json!({ "change": "deleted", "subscription": name }));
    }
    output.line(&format!("{} is deleted", output::plain(name)))
}

/// Prints whether there is a subscription.
pub fn exists(exists: bool, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&serde_json::json!({ "exists": exists }));
    }
    output.line(if exists { "yes" } else { "no" })
}

/// Prints how far a subscription has come.
pub fn checkpoint(
    checkpoint: &v1::SubscriptionCheckpoint,
    output: &mut Output,
) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&PrintedCheckpoint::from(checkpoint));
    }
    output.line(&format!("it goes on at {}", position(checkpoint)))
}

fn position(checkpoint: &v1::SubscriptionCheckpoint) -> String {
    let next = checkpoint.next_position;
    match checkpoint.pending.len() {
        0 => format!("position {next}"),
        pending => format!("position {next}, with {pending} pending before it"),
    }
}

/// Which events, in a few words.
fn selector(selector: Option<&v1::Selector>) -> String {
    use v1::event_pattern::Kind as Pattern;
    match selector.and_then(|selector| selector.kind.as_ref()) {
        None => "-".to_owned(),
        Some(selector::Kind::All(_)) => "all".to_owned(),
        Some(selector::Kind::Stream(text) | selector::Kind::EventType(text)) => text.clone(),
        Some(selector::Kind::EventPattern(pattern)) => match &pattern.kind {
            Some(Pattern::Stream(text) | Pattern::Fields(text)) => text.clone(),
            None => "-".to_owned(),
        },
        Some(selector::Kind::EventPayload(payload)) => {
            let conditions = payload.conditions.iter().map(|condition| {
                let name = condition.operator().as_str_name();
                let name = name.trim_start_matches("PAYLOAD_OPERATOR_").to_lowercase();
                let name = if name == "unspecified" { "eq" } else { &name };
                format!("{} {name} {}", condition.field, condition.value)
            });
            let expression = Some(payload.expression.clone()).filter(|text| !text.is_empty());
            conditions.chain(expression).collect::<Vec<_>>().join(" and ")
        }
        Some(selector::Kind::Tags(tags)) => tags.tags.join(if tags.all { " and " } else { " or " }),
    }
}

fn start(from: Option<&v1::StartFrom>) -> String {
    match from.and_then(|from| from.kind.as_ref()) {
        None | Some(start_from::Kind::Beginning(_)) => "beginning".to_owned(),
        Some(start_from::Kind::End(_)) => "end".to_owned(),
        Some(start_from::Kind::Position(position)) => format!("position {position}"),
        Some(start_from::Kind::TimeUs(time_us)) => output::time(*time_us),
        Some(start_from::Kind::Version(version)) => format!("version {version}"),
    }
}

const fn strategy(strategy: v1::BufferStrategy) -> &'static str {
    match strategy {
        v1::BufferStrategy::Unspecified | v1::BufferStrategy::Block => "block",
        v1::BufferStrategy::DropOldest => "drop-oldest",
        v1::BufferStrategy::DropNewest => "drop-newest",
        v1::BufferStrategy::Error => "error",
    }
}

fn time(ms: u64) -> String {
    format!("{ms} ms")
}

fn or(text: &str, instead: &str) -> String {
    if text.is_empty() { instead } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;

    fn subscription() -> v1::Subscription {
        let payload = v1::EventPayload {
            conditions: vec![v1::PayloadCondition {
                field: "total".to_owned(),
                operator: v1::PayloadOperator::Gt.into(),
                value: "100".to_owned(),
            }],
            expression: "true".to_owned(),
        };
        let definition = v1::SubscriptionDefinition {
            name: "billing".to_owned(),
            r#type: "event_payload".to_owned(),
            selector: Some(v1::Selector { kind: Some(selector::Kind::EventPayload(payload)) }),
            ..v1::SubscriptionDefinition::default()
        };
        v1::Subscription {
            definition: Some(definition),
            checkpoint: Some(v1::SubscriptionCheckpoint {
                next_position: 12,
                pending: vec![3, 7],
                at_us: 0,
            }),
            parked: 1,
            consumers: vec!["a".to_owned()],
            ..v1::Subscription::default()
        }
    }

    #[test]
    fn a_list_tells_at_a_glance_which_events_and_how_far() {
        let (mut output, written) = Output::to_memory(Format::Text);
        list(&[subscription()], &mut output).unwrap();
        assert_eq!(
            written.text(),
            "NAME     TYPE           EVENTS                 CHECKPOINT  CONSUMERS  PARKED  DROPPED\n\
             billing  event_payload  total gt 100 and true          12          1       1        0\n"
        );
    }

    #[test]
    fn a_change_is_one_sentence() {
        let (mut output, written) = Output::to_memory(Format::Text);
        changed(&subscription(), "created", &mut output).unwrap();
        assert_eq!(
            written.text(),
            "billing is created; it goes on at position 12, with 2 pending before it\n"
        );
    }

    #[test]
    fn one_subscription_has_a_line_for_each_field() {
        let (mut output, written) = Output::to_memory(Format::Text);
        one(&subscription(), &mut output).unwrap();
        let text = written.text();
        assert!(text.contains("\nordered by   stream\n"), "{text}");
        assert!(text.contains("\nconsumers    a\n"), "{text}");
    }

    #[test]
    fn a_program_finds_the_definition_as_a_file_has_it() {
        let (mut output, written) = Output::to_memory(Format::Json);
        one(&subscription(), &mut output).unwrap();
        let object: serde_json::Value = serde_json::from_str(&written.text()).unwrap();
        let back = Definition::parse(&object["definition"].to_string()).unwrap();
        assert_eq!(Some(back), subscription().definition);
        assert_eq!(object["checkpoint"]["pending"][1], 7);
    }
}
