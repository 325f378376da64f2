//! What expressions say of events, and what is refused.

use super::Given;
use super::asked::check;
use crate::filter::expression::{Expression, StaticType};
use crate::filter::{ExpressionError, check_expression};

#[test]
fn every_field_of_an_event_can_be_asked_for() {
    let event = Given {
        tags: &["vip", "eu"],
        data: r#"{"total": 12, "items": [{"sku": "a"}, {"sku": "b"}]}"#,
        data_content_type: "application/vnd.order+json; v=1",
        metadata: r#"{"user": "é"}"#,
        correlation_id: Some("c-1"),
        occurred_at_us: Some(5),
        ..Given::default()
    };
    check(
        &event.event(),
        &[
            "event.event_id == '01900000-0000-7000-8000-000000000001'",
            "event.stream_id == 'orders-1' && event.stream_id.startsWith('orders-')",
            "event.version == 7 && event.version + 1 == 8",
            "event.position >= 42",
            "event.event_type in ['OrderPlaced', 'OrderPaid']",
            "event.data.total == 12 && event.data.total > 11.5 && event.data['total'] < 13u",
            "event.data.items.exists(item, item.sku == 'b')",
            "event.data.items.all(item, size(item.sku) == 1)",
            "event.data.items.exists_one(item, item.sku == 'a')",
            "event.data.items.map(item, item.sku) == ['a', 'b']",
            "event.data.items.filter(item, item.sku != 'a').size() == 1",
            "event.data.items[1].sku == 'b'",
            "has(event.data.total) && !has(event.data.nothing)",
            "has(event.data) && has(event.causation_id)",
            "event.metadata.user == 'é' && size(event.metadata.user) == 1",
            "'vip' in event.tags && !('us' in event.tags)",
            "event.tags.exists(tag, tag.matches('^v.p$'))",
            "event.causation_id == null",
            "event.correlation_id == 'c-1'",
            "event.actor_id == null",
            "event.schema_version == 1",
            "event.occurred_at_us == 5",
            "event.epoch_us > 1600000000000000",
            "timestamp(event.epoch_us / 1000000) > timestamp('2023-01-01T00:00:00Z')",
            "timestamp(event.epoch_us / 1000000).getFullYear() == 2023",
            "event.data_content_type == 'application/vnd.order+json; v=1'",
            "event.metadata_content_type == 'application/json'",
            "type(event.data.total) == int",
            "math.greatest(event.data.total, 3) == 12",
            "event.stream_id.upperAscii().substring(0, 6) == 'ORDERS'",
            "event.data.total > 100 ? false : event.data.total % 2 == 0",
        ],
        &["event.data.total == 13", "event.version != 7", "!(event.position == 42)"],
    );
}

#[test]
fn what_cannot_be_evaluated_does_not_hold() {
    let event = Given::data(r#"{"text": "a", "number": 1, "list": [1]}"#);
    check(
        &event,
        &[
            // One side decides, whatever the other one is.
            "event.data.nothing == 1 || true",
            "!(event.data.nothing == 1 && false)",
            "event.data.list.exists(x, x == 1 || x.nothing)",
        ],
        &[
            "event.data.nothing == 1",
            "event.data.nothing != 1",
            "event.data.text > 1",
            "event.data.text + 1 == 2",
            "event.data.number.nothing == 1",
            "event.data.list[5] == 1",
            "event.data.list[dyn(0.5)] == 1",
            "event.data[event.data] == 1",
            "event.data.number / 0 == 1",
            "9223372036854775807 + event.data.number > 0",
            "event.data.number",
            "event.data.text",
            "event.data.text.all(x, true)",
            "event.data.number.startsWith('1')",
            "timestamp(event.data.text) > timestamp('2023-01-01T00:00:00Z')",
            "int(event.data.text) == 1",
        ],
    );
}

#[test]
fn data_that_is_not_json_is_null() {
    for (data, data_content_type) in [
        ("{\"a\": 1}", "text/plain"),
        ("{\"a\": 1", "application/json"),
        ("", "application/json"),
        ("{} {}", "application/json"),
        ("\u{1}", "application/octet-stream"),
    ] {
        let event = Given { data, data_content_type, ..Given::default() }.event();
        check(&event, &["event.data == null"], &["event.data.a == 1", "has(event.data.a)"]);
    }
    check(&Given::data("null"), &["event.data == null"], &[]);
    check(&Given::data("17"), &["event.data == 17", "event.data + 1 == 18"], &[]);
    let nested = "[".repeat(200) + &"]".repeat(200);
    check(&Given::data(&nested), &["event.data == null"], &[]);
}

#[test]
fn json_numbers_keep_what_they_are() {
    let event = Given::data(
        r#"{"int": -9223372036854775808, "uint": 18446744073709551615, "double": 1e3, "twice": 1, "twice": 2}"#,
    );
    check(
        &event,
        &[
            "type(event.data.int) == int && event.data.int < 0",
            "type(event.data.uint) == uint && event.data.uint > 18446744073709551614u",
            "type(event.data.double) == double && event.data.double == 1000",
            "event.data.twice == 2",
        ],
        &[],
    );
}

#[test]
fn loops_over_maps_go_by_the_order_of_keys() {
    let keys: Vec<String> = (0..50).map(|key| format!("\"k{key:02}\": {key}")).collect();
    let event = Given::data(&format!("{{{}}}", keys.join(",")));
    for _ in 0..20 {
        check(&event, &["event.data.map(key, key)[49] == 'k49'"], &[]);
        check(&event, &["{3: 'c', 1: 'a', 2: 'b'}.map(key, key) == [1, 2, 3]"], &[]);
    }
    check(&event, &["event.data.all(key, event.data[key] < 50)"], &[]);
}

#[test]
fn the_variable_of_a_loop_hides_what_is_outside() {
    let event = Given::data(r#"{"list": [{"data": 1}]}"#);
    check(
        &event,
        &[
            "event.data.list.exists(event, event.data == 1)",
            "[1].exists(int, int == 1)",
            "[[1, 2], [3]].exists(x, x.exists(y, y == 3) && size(x) == 1)",
        ],
        &[],
    );
}

#[test]
fn expressions_are_typed_as_far_as_can_be_told() {
    use StaticType::*;
    for (expression, gives, variables) in [
        ("true", Bool, &[][..]),
        ("event.version + 1", Int, &["event.version"]),
        ("1u + 1u", Uint, &[]),
        ("1.5 * 2.0", Double, &[]),
        ("event.event_type + 'a'", String, &["event.event_type"]),
        ("b'a'", Bytes, &[]),
        ("event.tags", List, &["event.tags"]),
        ("event.tags.map(t, t)", List, &["event.tags"]),
        ("{'a': 1}", Map, &[]),
        ("timestamp(event.epoch_us / 1000000)", Timestamp, &["event.epoch_us"]),
        ("timestamp(1) - timestamp(0)", Duration, &[]),
        ("null", Null, &[]),
        ("type(1)", Type, &[]),
        ("event.data.total", Dyn, &["event.data"]),
        ("event.data.a + event.metadata.b", Dyn, &["event.data", "event.metadata"]),
        ("event.data.total + 1", Int, &["event.data"]),
        ("event.data.total > 1", Bool, &["event.data"]),
        ("event.tags.exists(t, t == 'a')", Bool, &["event.tags"]),
        ("event.tags.exists_one(t, t == 'a')", Bool, &["event.tags"]),
        ("true ? 1 : 2", Int, &[]),
        ("true ? 1 : 'a'", Dyn, &[]),
    ] {
        let checked = check_expression(expression).unwrap();
        assert_eq!(checked.gives, gives, "{expression}");
        assert_eq!(checked.filter, matches!(gives, Bool | Dyn), "{expression}");
        assert_eq!(checked.variables, variables, "{expression}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_its_byte() {
    for (expression, offset) in [
        // Malformed.
        ("", 0),
        ("event.version ==", 16),
        ("'é🦀' + (", 12),
        ("true &&\n  'é' == (", 19),
        ("event.version @ 1", 14),
        ("'abc", 0),
        ("has(1)", 4),
        ("'é' == '' && has(1)", 18),
        ("event.tags.exists(1, true)", 18),
        ("event.data.?total == 1", 10),
        ("99999999999999999999 > 1", 0),
        // Unknown names.
        ("evnt.version == 1", 0),
        ("'é' == other", 8),
        ("event.typ == 'a'", 5),
        ("event == event", 0),
        ("[1].exists(x, y == 1)", 14),
        ("[1].exists(x, true) && x == 1", 23),
        ("now() > 1", 0),
        ("'é' == '' || random() > 0.5", 14),
        ("event.data.foo()", 11),
        ("math.foo(1) == 1", 5),
        ("@pay(1, 2)", 0),
        ("Foo{a: 1} == 1", 0),
        // Functions of the library that are not linear, and the forms with time zones.
        ("event.data.a.replace('a', 'b') == ''", 13),
        ("event.data.a.split('') == []", 13),
        ("event.data.a.join('') == ''", 13),
        ("lists.range(100000000) == []", 0),
        ("timestamp(0).getHours('Europe/Berlin') == 1", 13),
        // Types that do not go together.
        ("1 + 'a' == 2", 2),
        ("event.version == 'a'", 14),
        ("event.version < 'a'", 14),
        ("event.version && true", 5),
        ("!event.version", 0),
        ("-'a' == 'a'", 0),
        ("1 ? true : false", 0),
        ("event.version.foo == 1", 13),
        ("event.version.all(x, true)", 5),
        ("event.version[0] == 1", 13),
        ("event.tags['a'] == 1", 10),
        ("event.tags[0.5] == 'a'", 10),
        ("1 in 2", 2),
        ("size(1) == 1", 0),
        ("event.tags.exists(t, 1)", 21),
        ("event.version.startsWith('a')", 14),
        // Regular expressions.
        ("event.stream_id.matches('(')", 24),
        ("event.stream_id.matches(event.event_type)", 29),
        ("matches(event.stream_id, '[')", 25),
    ] {
        match check_expression(expression) {
            Err(ExpressionError::Invalid { offset: at, reason }) => {
                assert_eq!(at, offset, "{expression}: {reason}");
            }
            other => panic!("{expression} is refused: {other:?}"),
        }
    }
}

#[test]
fn only_what_may_give_a_bool_is_a_filter() {
    for expression in ["1", "'a'", "event.tags", "null", "event.version + 1"] {
        assert!(check_expression(expression).is_ok());
        assert!(matches!(
            Expression::compile(expression),
            Err(ExpressionError::Invalid { offset: 0, .. })
        ));
    }
}

#[test]
fn greatest_is_called_by_its_name() {
    let error = check_expression("math.greatest(event.tags, event.stream_id) == 1").unwrap_err();
    let ExpressionError::Invalid { offset: 5, reason } = &error else { panic!("{error:?}") };
    assert_eq!(reason, "calls math.greatest with list, string");
}
