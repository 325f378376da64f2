//! Definitions of subscriptions.

use std::path::Path;

use reckon_api::{Reason, v1};

use crate::service::wire;

fn given() -> v1::SubscriptionDefinition {
    v1::SubscriptionDefinition {
        name: "mail".to_owned(),
        selector: Some(v1::Selector { kind: Some(v1::selector::Kind::All(true)) }),
        ..v1::SubscriptionDefinition::default()
    }
}

#[test]
fn what_is_not_said_is_filled_in_as_the_page_on_subscriptions_says() {
    let sink = Some(v1::Sink { url: "http://mail/".to_owned(), ..v1::Sink::default() });
    let filled =
        wire::definition(Some(v1::SubscriptionDefinition { sink, ..given() })).expect("it is fine");
    let number = |number: u64| match number {
        thousands if thousands >= 1_000 => {
            format!("{},{:03}", thousands / 1_000, thousands % 1_000)
        }
        small => small.to_string(),
    };
    let sink = filled.sink.clone().expect("a sink");
    let numbers =
        |numbers: &[u64]| numbers.iter().copied().map(number).collect::<Vec<_>>().join(", ");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("SUBSCRIPTIONS.md");
    let page = std::fs::read_to_string(page).expect("the page");
    for (fields, defaults) in [
        ("`pool_size`", numbers(&[filled.pool_size.into()])),
        ("`ack_timeout_ms`", numbers(&[filled.ack_timeout_ms])),
        ("`max_retries`", numbers(&[filled.max_retries().into()])),
        (
            "`retry_backoff_ms_min`, `retry_backoff_ms_max`",
            numbers(&[filled.retry_backoff_ms_min, filled.retry_backoff_ms_max]),
        ),
        ("`max_in_flight`", numbers(&[filled.max_in_flight.into()])),
        ("`buffer_size`", numbers(&[filled.buffer_size.into()])),
        ("`buffer_warning_percent`", numbers(&[filled.buffer_warning_percent.into()])),
        ("`hold_key`", filled.hold_key.to_string()),
        (
            "`sink.batch_max`, `sink.timeout_ms`, `sink.concurrency`",
            numbers(&[sink.batch_max.into(), sink.timeout_ms, sink.concurrency.into()]),
        ),
    ] {
        let row = format!("| {fields} | {defaults} |");
        assert!(page.contains(&row), "the page says something else than {row}");
    }
    assert_eq!(filled.strategy(), v1::BufferStrategy::Block);
    let again = wire::definition(Some(filled.clone())).expect("it is fine");
    assert_eq!(again, filled, "what is filled in is taken as it is");
}

#[test]
fn a_longer_first_pause_than_the_usual_last_one_is_the_last_one_too() {
    let long = v1::SubscriptionDefinition { retry_backoff_ms_min: 60_000, ..given() };
    let filled = wire::definition(Some(long)).expect("it is fine");
    assert_eq!(filled.retry_backoff_ms_max, 60_000);
}

#[test]
fn a_number_out_of_its_range_is_refused_by_its_name_value_and_limits() {
    let wide = v1::SubscriptionDefinition { max_in_flight: 100_001, ..given() };
    let refused = wire::definition(Some(wide)).expect_err("it is too much");
    assert_eq!(Reason::of(&refused), Some(Reason::LimitExceeded));
    let said = refused.message();
    for part in ["definition.max_in_flight", "100001", "100000"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_key_is_made_of_the_name_alone() {
    let key = wire::subscription_key("mail");
    assert_eq!(key, wire::subscription_key("mail"));
    assert_ne!(key, wire::subscription_key("Mail"));
    assert_eq!(uuid::Uuid::try_parse(&key).map(|key| key.get_version_num()), Ok(5));
}

#[test]
fn only_what_decides_which_events_there_are_cannot_be_changed() {
    let before = given();
    let part = Some(v1::Partition { index: 0, count: 2 });
    for (after, field) in [
        (v1::SubscriptionDefinition { pool_size: 3, hold_key: true, ..given() }, None),
        (v1::SubscriptionDefinition { partition: part, ..given() }, Some("partition")),
        (
            v1::SubscriptionDefinition { key_expression: "event.actor_id".into(), ..given() },
            Some("key_expression"),
        ),
        (v1::SubscriptionDefinition { selector: None, ..given() }, Some("selector")),
    ] {
        assert_eq!(wire::unchangeable_difference(&before, &after), field);
    }
}

#[test]
fn a_definition_that_is_too_large_is_refused() {
    let headers = (0..60).map(|number| (format!("x-{number}"), "v".repeat(2_000))).collect();
    let url = "http://mail/".to_owned();
    let sink = Some(v1::Sink { url, headers, ..v1::Sink::default() });
    let large = v1::SubscriptionDefinition { sink, ..given() };
    let refused = wire::definition(Some(large)).expect_err("it is too much");
    assert_eq!(Reason::of(&refused), Some(Reason::LimitExceeded));
}
