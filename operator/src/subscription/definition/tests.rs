//! Which changes the store can make, and that what can be written in several ways is the same.

use serde_json::{Value, json};

use super::*;

/// A resource with these fields in its specification, beside or instead of the usual ones; null removes one.
fn resource(fields: Value) -> Subscription {
    let mut spec =
        json!({ "storeRef": { "name": "orders" }, "selector": { "stream": "orders-1" } });
    let Value::Object(fields) = fields else { panic!("not fields: {fields}") };
    for (name, value) in fields {
        spec[name.as_str()] = value;
    }
    let whole = json!({
        "apiVersion": "reckon.dev/v1alpha1",
        "kind": "Subscription",
        "metadata": { "name": "billing", "namespace": "shop" },
        "spec": spec,
    });
    serde_json::from_value(whole).expect("a subscription")
}

fn defined(fields: Value) -> v1::SubscriptionDefinition {
    definition(&resource(fields)).expect("a definition")
}

#[test]
fn every_default_is_the_protocols() {
    let stated = v1::SubscriptionDefinition {
        name: "billing".to_owned(),
        r#type: "stream".to_owned(),
        selector: Some(v1::Selector { kind: Some(selector::Kind::Stream("orders-1".to_owned())) }),
        start_from: Some(v1::StartFrom { kind: Some(start_from::Kind::Beginning(true)) }),
        pool_size: 1,
        key_expression: String::new(),
        partition: None,
        ack_timeout_ms: 30_000,
        max_retries: Some(10),
        retry_backoff_ms_min: 100,
        retry_backoff_ms_max: 30_000,
        max_in_flight: 1_000,
        buffer_size: 1_000,
        strategy: v1::BufferStrategy::Block.into(),
        buffer_warning_percent: 80,
        hold_key: false,
        sink: None,
    };
    assert_eq!(defined(json!({})), stated);
    // What says nothing but which events is filled in the same way.
    let short = v1::SubscriptionDefinition {
        name: stated.name.clone(),
        selector: stated.selector.clone(),
        ..v1::SubscriptionDefinition::default()
    };
    assert_eq!(filled(short), stated);
    let sink = defined(json!({ "sink": { "url": "http://a" } })).sink.expect("a sink");
    let short = v1::Sink { url: "http://a".to_owned(), ..v1::Sink::default() };
    let of_protocol = filled(v1::SubscriptionDefinition {
        sink: Some(short),
        ..v1::SubscriptionDefinition::default()
    });
    assert_eq!(Some(sink), of_protocol.sink);
}

#[test]
fn filling_in_twice_changes_nothing() {
    for fields in every_field() {
        let once = defined(fields);
        assert_eq!(filled(once.clone()), once);
    }
}

/// Every field of a definition, each in a resource of its own, with another value than its default.
fn every_field() -> Vec<Value> {
    let mut all: Vec<Value> = changeable().into_iter().map(|(_, fields)| fields).collect();
    all.extend(fixed().into_iter().map(|(_, fields)| fields));
    all
}

fn changeable() -> Vec<(&'static str, Value)> {
    vec![
        ("poolSize", json!({ "poolSize": 4 })),
        ("ackTimeout", json!({ "ackTimeout": "1m" })),
        ("maxRetries", json!({ "maxRetries": 0 })),
        ("retryBackoff", json!({ "retryBackoff": { "min": "1s" } })),
        ("retryBackoff", json!({ "retryBackoff": { "max": "1m" } })),
        ("maxInFlight", json!({ "maxInFlight": 10 })),
        ("bufferSize", json!({ "bufferSize": 10 })),
        ("strategy", json!({ "strategy": "DropOldest" })),
        ("strategy", json!({ "strategy": "DropNewest" })),
        ("strategy", json!({ "strategy": "Error" })),
        ("bufferWarningPercent", json!({ "bufferWarningPercent": 50 })),
        ("holdKey", json!({ "holdKey": true })),
        ("sink", json!({ "sink": { "url": "http://a" } })),
        ("sink", json!({ "sink": { "url": "http://a", "mode": "Structured" } })),
        ("sink", json!({ "sink": { "url": "http://a", "batchMax": 10 } })),
        ("sink", json!({ "sink": { "url": "http://a", "timeout": "1s" } })),
        ("sink", json!({ "sink": { "url": "http://a", "concurrency": 1 } })),
        ("sink", json!({ "sink": { "url": "http://a", "headers": { "x-tenant": "shop" } } })),
    ]
}

fn fixed() -> Vec<(&'static str, Value)> {
    let selectors = [
        json!({ "stream": "orders-2" }),
        json!({ "all": true }),
        json!({ "eventType": "OrderPlaced" }),
        json!({ "eventPattern": { "stream": "orders-*" } }),
        json!({ "eventPattern": { "fields": { "actor_id": "7" } } }),
        json!({ "eventPayload": { "conditions": [{ "field": "total", "operator": "Gt", "value": 7 }] } }),
        json!({ "eventPayload": { "expression": "true" } }),
        json!({ "tags": { "names": ["eu"] } }),
        json!({ "tags": { "names": ["eu"], "all": true } }),
    ];
    let starts = [
        json!({ "end": true }),
        json!({ "position": 7 }),
        json!({ "version": 7 }),
        json!({ "time": "2026-03-02T12:00:00Z" }),
    ];
    let selectors = selectors.map(|selector| ("selector", json!({ "selector": selector })));
    let starts = starts.map(|start| ("startFrom", json!({ "startFrom": start })));
    let mut all = Vec::from(selectors);
    all.extend(starts);
    all.extend([
        ("partition", json!({ "partition": { "index": 1, "count": 3 } })),
        ("keyExpression", json!({ "keyExpression": "event.data.customer" })),
    ]);
    all
}

#[test]
fn what_decides_on_events_is_fixed_and_everything_else_can_change() {
    let usual = defined(json!({}));
    for (field, fields) in changeable() {
        let difference = difference(&defined(fields.clone()), &usual);
        assert_eq!(difference.changeable, [field], "{fields}");
        assert_eq!(difference.fixed, Vec::<&str>::new(), "{fields}");
    }
    for (field, fields) in fixed() {
        let difference = difference(&defined(fields.clone()), &usual);
        assert_eq!(difference.changeable, Vec::<&str>::new(), "{fields}");
        assert!(difference.fixed.contains(&field), "{fields}: {difference:?}");
        assert!(difference.fixed.iter().all(|other| [field, "type"].contains(other)), "{fields}");
    }
}

#[test]
fn nothing_differs_from_itself() {
    for fields in every_field() {
        let (one, other) = (defined(fields.clone()), defined(fields));
        assert_eq!(difference(&one, &other), Difference::default());
    }
}

#[test]
fn every_difference_is_seen_from_both_sides() {
    let all: Vec<_> = every_field().into_iter().map(defined).collect();
    for (index, one) in all.iter().enumerate() {
        for other in &all[..index] {
            assert!(!difference(one, other).is_none(), "{one:?}\n{other:?}");
            assert_eq!(difference(one, other), difference(other, one));
        }
    }
}

#[test]
fn what_is_written_in_another_way_is_the_same() {
    let same = |one: Value, other: Value| {
        assert_eq!(difference(&defined(one), &defined(other)), Difference::default());
    };
    same(json!({}), json!({ "type": "by_stream" }));
    same(json!({}), json!({ "type": "stream", "startFrom": { "beginning": true } }));
    same(json!({ "ackTimeout": "90s" }), json!({ "ackTimeout": "1m30s" }));
    same(json!({}), json!({ "name": "billing" }));
    let sink =
        |header: &str| json!({ "sink": { "url": "http://a", "headers": { header: "shop" } } });
    same(sink("X-Tenant"), sink("x-tenant"));
    let tags = |tags: &[&str]| json!({ "selector": { "tags": { "names": tags } } });
    same(tags(&["a", "b"]), tags(&["b", "a", "b"]));
    // The store may write JSON as it likes.
    let wanted =
        defined(json!({ "selector": { "eventPattern": { "fields": { "b": 1, "a": [true] } } } }));
    let mut stored = wanted.clone();
    let pattern = event_pattern::Kind::Fields("{ \"a\": [ true ], \"b\": 1 }".to_owned());
    stored.selector = Some(v1::Selector {
        kind: Some(selector::Kind::EventPattern(v1::EventPattern { kind: Some(pattern) })),
    });
    assert_eq!(difference(&wanted, &stored), Difference::default());
}

#[test]
fn a_service_is_one_of_the_subscriptions_namespace() {
    let url = |service: Value| defined(json!({ "sink": { "service": service } })).sink.unwrap().url;
    assert_eq!(url(json!({ "name": "billing" })), "http://billing.shop.svc/");
    let full = json!({ "name": "billing", "port": 8443, "path": "/events", "scheme": "https" });
    assert_eq!(url(full), "https://billing.shop.svc:8443/events");
}

#[test]
fn values_of_conditions_are_json() {
    for (value, text) in [
        (json!("eu"), "\"eu\""),
        (json!(7.5), "7.5"),
        (json!(null), "null"),
        (json!([1, "a"]), "[1,\"a\"]"),
    ] {
        let condition = json!({ "field": "a.b", "operator": "Ne", "value": value });
        let fields = json!({ "selector": { "eventPayload": { "conditions": [condition] } } });
        let Some(selector::Kind::EventPayload(payload)) = defined(fields).selector.unwrap().kind
        else {
            panic!("another selector")
        };
        assert_eq!(payload.conditions[0].value, text);
        assert_eq!(payload.conditions[0].operator(), v1::PayloadOperator::Ne);
    }
}

#[test]
fn times_are_microseconds_and_never_before_1970() {
    let at = |time: &str| definition(&resource(json!({ "startFrom": { "time": time } })));
    let start = at("2026-03-02T12:00:00.000001Z").unwrap().start_from.unwrap();
    assert_eq!(start.kind, Some(start_from::Kind::TimeUs(1_772_452_800_000_001)));
    assert_eq!(at("1969-12-31T23:59:59Z"), Err(Error::BeforeTime));
}

#[test]
fn what_the_schema_would_refuse_is_an_error_and_no_panic() {
    for (fields, error) in [
        (json!({ "selector": {} }), Error::NoSelector),
        (json!({ "startFrom": {} }), Error::NoStart),
        (json!({ "sink": {} }), Error::NoUrl),
        (json!({ "ackTimeout": "-1s" }), Error::Duration { field: "ackTimeout" }),
    ] {
        assert_eq!(definition(&resource(fields)), Err(error));
    }
}
