//! The validation rules of `Subscription`, evaluated here as the API server would.

use reckon_crds::{SUBSCRIPTION_NAME_LENGTH_MAX, Subscription};
use serde_json::{Value, json};

/// A subscription with these fields in its specification, beside or instead of the usual ones; null removes one.
fn subscription(fields: Value) -> Subscription {
    let mut spec =
        json!({ "storeRef": { "name": "orders" }, "selector": { "stream": "orders-1" } });
    let Value::Object(fields) = fields else { panic!("not fields: {fields}") };
    for (name, value) in fields {
        if value.is_null() {
            spec.as_object_mut().expect("an object").remove(&name);
        } else {
            spec[name.as_str()] = value;
        }
    }
    serde_json::from_value(json!({
        "apiVersion": "reckon.dev/v1alpha1",
        "kind": "Subscription",
        "metadata": { "name": "invoices", "namespace": "shop" },
        "spec": spec,
    }))
    .expect("a subscription")
}

/// Checks that a subscription with these fields is refused with a message that has `expect` in it, or accepted
/// when `expect` is `None`.
#[track_caller]
fn check(fields: Value, expect: Option<&str>) {
    let subscription = subscription(fields);
    verdict(subscription.validate_cel().map_err(|errors| errors.to_string()), expect);
}

/// The same for a change from one to the other.
#[track_caller]
fn check_update(before: Value, after: Value, expect: Option<&str>) {
    let (old, new) = (subscription(before), subscription(after));
    verdict(new.validate_cel_update(&old).map_err(|errors| errors.to_string()), expect);
}

#[track_caller]
fn verdict(result: Result<(), String>, expect: Option<&str>) {
    match (result, expect) {
        (Ok(()), None) => {}
        (Err(message), Some(part)) if message.contains(part) => {}
        (result, expect) => panic!("expected {expect:?}, got {result:?}"),
    }
}

#[test]
fn a_subscription_needs_to_say_only_whose_and_which_events() {
    check(json!({}), None);
    let spec = serde_json::to_value(subscription(json!({})).spec).unwrap();
    let defaults = json!({
        "poolSize": 1,
        "ackTimeout": "30s",
        "maxRetries": 10,
        "retryBackoff": { "min": "100ms", "max": "30s" },
        "maxInFlight": 1000,
        "bufferSize": 1000,
        "strategy": "Block",
        "bufferWarningPercent": 80,
        "holdKey": false,
        "deletionPolicy": "Delete",
    });
    for (field, value) in defaults.as_object().unwrap() {
        assert_eq!(&spec[field], value, "{field}");
    }
}

#[test]
fn every_kind_of_selector_is_accepted_alone() {
    for selector in selectors() {
        check(json!({ "selector": selector }), None);
    }
}

/// One of each kind, in the order of the types.
fn selectors() -> [Value; 7] {
    [
        json!({ "all": true }),
        json!({ "stream": "orders-1" }),
        json!({ "eventType": "OrderPlaced" }),
        json!({ "eventPattern": { "stream": "orders-*" } }),
        json!({ "eventPattern": { "fields": { "event_type": "OrderPlaced", "region": { "eu": true } } } }),
        json!({ "eventPayload": { "conditions": [{ "field": "total", "operator": "Gt", "value": 100 }] } }),
        json!({ "tags": { "names": ["eu"] } }),
    ]
}

#[test]
fn a_selector_chooses_in_exactly_one_way() {
    let message = Some("selector must have exactly one of all, stream");
    check(json!({ "selector": {} }), message);
    let all = selectors();
    for (index, one) in all.iter().enumerate() {
        for other in &all[index + 1..] {
            let mut both = one.clone();
            both.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
            if both.as_object().unwrap().len() == 2 {
                check(json!({ "selector": both }), message);
            }
        }
    }
    check(json!({ "selector": { "all": false } }), Some("selector.all can only be true"));
}

#[test]
fn a_pattern_is_one_of_streams_or_fields() {
    let message = Some("selector.eventPattern must have exactly one of stream and fields");
    check(json!({ "selector": { "eventPattern": {} } }), message);
    let both = json!({ "stream": "orders-*", "fields": { "actor_id": "7" } });
    check(json!({ "selector": { "eventPattern": both } }), message);
}

#[test]
fn a_payload_is_chosen_by_something() {
    let payload = |payload: Value| json!({ "selector": { "eventPayload": payload } });
    let message = Some("selector.eventPayload must have conditions, an expression, or both");
    check(payload(json!({})), message);
    check(payload(json!({ "conditions": [] })), message);
    check(payload(json!({ "expression": "event.data.total > 7" })), None);
    let conditions =
        json!([{ "field": "total" }, { "field": "a.b", "operator": "In", "value": ["x", 2] }]);
    check(payload(json!({ "conditions": conditions, "expression": "true" })), None);
}

#[test]
fn a_type_says_what_the_selector_says() {
    let types =
        ["all", "stream", "event_type", "event_pattern", "event_pattern", "event_payload", "tags"];
    for (selector, of_selector) in selectors().into_iter().zip(types) {
        let kind = subscription(json!({ "selector": selector.clone() })).spec.selector.kind();
        assert_eq!(kind, Some(of_selector));
        for type_ in types {
            let expect = (type_ != of_selector).then_some("type must be that of the selector");
            check(json!({ "selector": selector.clone(), "type": type_ }), expect);
            check(json!({ "selector": selector.clone(), "type": format!("by_{type_}") }), expect);
        }
    }
}

#[test]
fn a_start_is_one_place() {
    let time = "2026-03-02T12:00:00.000000Z";
    for start in [
        json!({ "beginning": true }),
        json!({ "end": true }),
        json!({ "position": 0 }),
        json!({ "time": time }),
        json!({ "version": 7 }),
    ] {
        check(json!({ "startFrom": start }), None);
    }
    let message =
        Some("startFrom must have exactly one of beginning, end, position, time and version");
    check(json!({ "startFrom": {} }), message);
    check(json!({ "startFrom": { "end": true, "position": 7 } }), message);
    check(json!({ "startFrom": { "time": time, "version": 7 } }), message);
    check(
        json!({ "startFrom": { "beginning": false } }),
        Some("startFrom.beginning can only be true"),
    );
    check(json!({ "startFrom": { "end": false } }), Some("startFrom.end can only be true"));
}

#[test]
fn a_version_is_of_one_stream() {
    let fields = json!({ "selector": { "all": true }, "startFrom": { "version": 7 } });
    check(fields, Some("startFrom.version is only for a selector of one stream"));
}

#[test]
fn durations_stay_in_their_bounds() {
    for (timeout, fits) in [
        ("99ms", false),
        ("100ms", true),
        ("30s", true),
        ("1h30m", true),
        ("12h", true),
        ("12h1ms", false),
    ] {
        let expect = (!fits).then_some("ackTimeout must be from 100ms to 12h");
        check(json!({ "ackTimeout": timeout }), expect);
    }
    let backoff = |min: &str, max: &str| json!({ "retryBackoff": { "min": min, "max": max } });
    check(backoff("1s", "1s"), None);
    check(backoff("2s", "1s"), Some("retryBackoff.min must not be longer than retryBackoff.max"));
    check(backoff("0s", "1s"), Some("retryBackoff.min must be at least 1ms"));
    check(backoff("1s", "13h"), Some("retryBackoff.max at most 12h"));
    check(json!({ "retryBackoff": { "min": "31s" } }), Some("which is 30s unless it is given"));
}

#[test]
fn a_share_is_one_of_those_there_are() {
    check(json!({ "partition": { "index": 2, "count": 3 } }), None);
    let message = Some("partition.index must be less than partition.count");
    check(json!({ "partition": { "index": 3, "count": 3 } }), message);
}

#[test]
fn a_sink_is_one_place() {
    let url = json!({ "url": "https://billing.example/events?source=orders" });
    let service = json!({ "service": { "name": "billing", "port": 8080 } });
    check(json!({ "sink": url }), None);
    check(json!({ "sink": service }), None);
    let message = Some("sink must have exactly one of url and service");
    check(json!({ "sink": {} }), message);
    check(json!({ "sink": { "url": "http://a", "service": { "name": "billing" } } }), message);
    for url in ["billing:80", "ftp://billing", "http://", "http:///events", "http://a b"] {
        check(
            json!({ "sink": { "url": url } }),
            Some("sink.url must be an absolute http:// or https:// URL"),
        );
    }
    let message = Some("sink.timeout must be from 1ms to 12h");
    check(json!({ "sink": { "url": "http://a", "timeout": "0s" } }), message);
    check(json!({ "sink": { "url": "http://a", "timeout": "13h" } }), message);
}

#[test]
fn a_header_has_one_value() {
    let sink = |header: &str| {
        json!({ "sink": {
            "url": "http://a",
            "headers": { header: "shop" },
            "headersFrom": [{ "name": "Authorization", "secretKeyRef": { "name": "billing", "key": "token" } }],
        } })
    };
    check(sink("X-Tenant"), None);
    check(
        sink("Authorization"),
        Some("sink.headersFrom must not name a header that is in sink.headers"),
    );
}

#[test]
fn names_fit_the_store_and_the_labels() {
    check(json!({ "name": "§ every name of 256 bytes or less" }), None);
    check(json!({ "name": "ä".repeat(128) }), None);
    check(json!({ "name": "ä".repeat(129) }), Some("name must have at most 256 bytes"));
    for name in ["a\nb", "\u{7f}", "\u{85}"] {
        check(json!({ "name": name }), Some("name must not have control characters"));
    }
    for (length, expect) in [
        (SUBSCRIPTION_NAME_LENGTH_MAX, None),
        (SUBSCRIPTION_NAME_LENGTH_MAX + 1, Some("metadata.name must have at most 58 characters")),
    ] {
        let mut subscription = subscription(json!({}));
        subscription.metadata.name = Some("a".repeat(length));
        verdict(subscription.validate_cel().map_err(|errors| errors.to_string()), expect);
    }
    const { assert!(SUBSCRIPTION_NAME_LENGTH_MAX + "-sink".len() <= 63) };
}

#[test]
fn what_the_store_cannot_change_is_immutable() {
    let partition = |index: u32| json!({ "partition": { "index": index, "count": 3 } });
    for (before, after, field) in [
        (json!({ "name": "a" }), json!({ "name": "b" }), "name"),
        (json!({}), json!({ "name": "b" }), "name"),
        (json!({ "name": "a" }), json!({}), "name"),
        (json!({}), json!({ "storeRef": { "name": "payments" } }), "storeRef"),
        (json!({}), json!({ "selector": { "stream": "orders-2" } }), "selector"),
        (json!({}), json!({ "selector": { "all": true } }), "selector"),
        (
            json!({ "selector": { "eventPattern": { "fields": { "a": 1 } } } }),
            json!({ "selector": { "eventPattern": { "fields": { "a": 2 } } } }),
            "selector",
        ),
        (json!({}), json!({ "startFrom": { "end": true } }), "startFrom"),
        (
            json!({ "startFrom": { "time": "2026-03-02T12:00:00.000000Z" } }),
            json!({ "startFrom": { "time": "2026-03-02T12:00:00.000001Z" } }),
            "startFrom",
        ),
        (json!({ "startFrom": { "position": 7 } }), json!({}), "startFrom"),
        (partition(1), partition(2), "partition"),
        (partition(1), json!({}), "partition"),
        (json!({}), json!({ "keyExpression": "event.stream_id" }), "keyExpression"),
    ] {
        let message = format!("{field} is immutable");
        check_update(before.clone(), after, Some(&message));
        check_update(before.clone(), before, None);
    }
    let message = Some("type must be that of the selector, and is as immutable");
    check_update(json!({ "type": "stream" }), json!({ "type": "tags" }), message);
    check_update(json!({}), json!({ "type": "by_stream" }), None);
}

#[test]
fn what_the_store_can_change_may_change() {
    let changed = json!({
        "poolSize": 4,
        "ackTimeout": "1m",
        "maxRetries": 0,
        "retryBackoff": { "min": "1s", "max": "1m" },
        "maxInFlight": 10,
        "bufferSize": 10,
        "strategy": "DropOldest",
        "bufferWarningPercent": 50,
        "holdKey": true,
        "sink": { "url": "http://a", "mode": "Structured", "replicas": 0 },
        "deletionPolicy": "Retain",
    });
    check_update(json!({}), changed.clone(), None);
    check_update(changed, json!({}), None);
}
