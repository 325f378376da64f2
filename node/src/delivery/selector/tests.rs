//! Selectors asked about events, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::filter::FilterErrorKind;
use crate::filter::tests::Given;

fn selector(kind: Kind) -> v1::Selector {
    v1::Selector { kind: Some(kind) }
}

fn fields(object: &str) -> Kind {
    let kind = Some(PatternKind::Fields(object.to_owned()));
    Kind::EventPattern(v1::EventPattern { kind })
}

fn pattern(pattern: &str) -> Kind {
    let kind = Some(PatternKind::Stream(pattern.to_owned()));
    Kind::EventPattern(v1::EventPattern { kind })
}

fn tags(names: &[&str], all: bool) -> Kind {
    Kind::Tags(v1::Tags { tags: names.iter().map(|&name| name.to_owned()).collect(), all })
}

fn condition(field: &str, operator: v1::PayloadOperator, value: &str) -> v1::PayloadCondition {
    let operator = operator.into();
    v1::PayloadCondition { field: field.to_owned(), operator, value: value.to_owned() }
}

fn payload(conditions: Vec<v1::PayloadCondition>, expression: &str) -> Kind {
    Kind::EventPayload(v1::EventPayload { conditions, expression: expression.to_owned() })
}

fn compiled(kind: Kind) -> Selector {
    Selector::compile("", Some(&selector(kind)), None, None)
        .unwrap_or_else(|error| panic!("it compiles: {error}"))
}

/// Whether an event is chosen, by both of the ways in which it is asked.
fn chooses(selector: &Selector, event: &RecordedEvent) -> bool {
    let selected = selector.selects(event).unwrap();
    assert!(!(selected && selector.rules_out(event.encoded())), "what is chosen is not ruled out");
    selected
}

fn refused(type_name: &str, kind: &Kind) -> FilterError {
    match Selector::compile(type_name, Some(&selector(kind.clone())), None, None) {
        Err(SelectorError::Selector(error)) => error,
        other => panic!("{kind:?} is refused: {other:?}"),
    }
}

#[test]
fn payload_conditions_compare_what_is_of_their_type() {
    use v1::PayloadOperator::{Eq, Gt, Gte, In, Lt, Lte, Ne};
    let event = Given::data(
        r#"{"total": 12, "half": 0.5, "big": 9007199254740993, "bigger": 18446744073709551615,
            "name": "Ada", "paid": true, "note": null, "list": [1], "to": {"city": "Köln"},
            "twice": 1, "twice": 2, "qu\"ote": "a\"b", "a.b": 1}"#,
    );
    for (field, operator, value, holds) in [
        ("total", Eq, "12", true),
        ("total", Eq, "12.0", true),
        ("total", Eq, "1.2e1", true),
        ("total", Eq, "\"12\"", false),
        ("total", Ne, "13", true),
        ("total", Ne, "12", false),
        ("total", Ne, "\"12\"", false),
        ("total", Gt, "11.5", true),
        ("total", Gt, "12", false),
        ("total", Gte, "12", true),
        ("total", Lt, "12.5", true),
        ("total", Lt, "12", false),
        ("total", Lte, "12.0", true),
        ("total", Gt, "\"1\"", false),
        ("half", Gt, "0", true),
        ("half", Lt, "1", true),
        // Neighbours that a double does not tell apart.
        ("big", Eq, "9007199254740992", false),
        ("big", Eq, "9007199254740993", true),
        ("big", Gt, "9007199254740992", true),
        ("big", Gt, "9007199254740992.0", true),
        ("bigger", Eq, "18446744073709551615", true),
        ("bigger", Gt, "18446744073709551614", true),
        ("bigger", Lt, "18446744073709551616.0", true),
        ("name", Eq, "\"Ada\"", true),
        ("name", Eq, "\"\\u0041da\"", true),
        ("name", Gt, "\"Acorn\"", true),
        ("name", Lt, "\"Bob\"", true),
        ("name", Ne, "\"Bob\"", true),
        ("name", Gt, "1", false),
        ("paid", Eq, "true", true),
        ("paid", Ne, "false", true),
        ("paid", Ne, "1", false),
        ("note", Eq, "null", true),
        ("note", Ne, "1", false),
        ("name", Eq, "null", false),
        ("list", Ne, "1", false),
        ("list", Eq, "1", false),
        ("to.city", Eq, "\"Köln\"", true),
        ("to.city.street", Eq, "1", false),
        ("to", Ne, "1", false),
        ("nothing", Eq, "1", false),
        ("nothing", Ne, "1", false),
        ("nothing", Eq, "null", false),
        ("nothing.at.all", Ne, "1", false),
        ("twice", Eq, "2", true),
        ("twice", Eq, "1", false),
        ("qu\"ote", Eq, r#""a\"b""#, true),
        ("a.b", Eq, "1", false),
        ("total", In, "[1, 12.0]", true),
        ("total", In, "[1, \"12\"]", false),
        ("name", In, "[12, null, \"Ada\"]", true),
        ("note", In, "[null]", true),
        ("nothing", In, "[null]", false),
    ] {
        let selector = compiled(payload(vec![condition(field, operator, value)], ""));
        assert_eq!(chooses(&selector, &event), holds, "{field} {operator:?} {value}");
    }
}

#[test]
fn all_conditions_and_the_expression_have_to_hold() {
    use v1::PayloadOperator::{Eq, Unspecified};
    let event = Given::data(r#"{"a": 1, "b": "x"}"#);
    let both = |a, b, expression| {
        let conditions = vec![condition("a", Unspecified, a), condition("b", Eq, b)];
        chooses(&compiled(payload(conditions, expression)), &event)
    };
    assert!(both("1", "\"x\"", ""));
    assert!(!both("2", "\"x\"", "") && !both("1", "\"y\"", ""));
    assert!(both("1", "\"x\"", "event.data.a == 1"));
    assert!(!both("1", "\"x\"", "event.data.a == 2"));
    assert!(chooses(&compiled(payload(Vec::new(), "event.version == 7")), &event));
}

#[test]
fn data_that_is_no_json_object_never_matches() {
    let any = |operator| compiled(payload(vec![condition("a", operator, "1")], ""));
    for (data, data_content_type) in [
        (r#"{"a": 1}"#, "text/plain"),
        (r#"{"a": 1"#, "application/json"),
        (r#"[{"a": 1}]"#, "application/json"),
        ("", "application/json"),
        ("null", "application/json"),
    ] {
        let event = Given { data, data_content_type, ..Given::default() }.event();
        for operator in [v1::PayloadOperator::Eq, v1::PayloadOperator::Ne] {
            assert!(!chooses(&any(operator), &event), "{data}");
        }
    }
    let json = Given { data_content_type: "application/x+json", ..Given::default() };
    let event = Given { data: r#"{"a": 1}"#, ..json }.event();
    assert!(chooses(&any(v1::PayloadOperator::Eq), &event));
}

#[test]
fn an_object_is_a_subset_of_the_envelope_or_of_the_metadata() {
    let event = Given {
        tags: &["eu", "vip"],
        data: r#"{"total": 12}"#,
        metadata: r#"{"user": "ada", "roles": ["a", "b"], "from": {"ip": "::1", "port": 80}, "n": null}"#,
        correlation_id: Some("c-1"),
        ..Given::default()
    }
    .event();
    for (object, holds) in [
        (r#"{"event_type": "OrderPlaced"}"#, true),
        (r#"{"event_type": "OrderPaid"}"#, false),
        (r#"{"stream_id": "orders-1", "version": 7, "position": 42.0}"#, true),
        (r#"{"stream_id": "orders-2"}"#, false),
        (r#"{"tags": ["vip"]}"#, true),
        (r#"{"tags": ["vip", "eu"]}"#, true),
        (r#"{"tags": []}"#, true),
        (r#"{"tags": ["vip", "us"]}"#, false),
        (r#"{"correlation_id": "c-1", "causation_id": null}"#, true),
        (r#"{"correlation_id": null}"#, false),
        (r#"{"schema_version": 1, "data_content_type": "application/json"}"#, true),
        (r#"{"user": "ada"}"#, true),
        (r#"{"user": "ada", "event_type": "OrderPlaced"}"#, true),
        (r#"{"user": "ada", "event_type": "OrderPaid"}"#, false),
        (r#"{"user": "bob"}"#, false),
        (r#"{"user": null}"#, false),
        (r#"{"n": null}"#, true),
        (r#"{"nothing": null}"#, false),
        (r#"{"roles": ["b"]}"#, true),
        (r#"{"roles": "b"}"#, false),
        (r#"{"roles": ["b", "c"]}"#, false),
        (r#"{"from": {"port": 80}}"#, true),
        (r#"{"from": {"port": 81}}"#, false),
        (r#"{"from": {}}"#, true),
        (r#"{"metadata": {"user": "ada"}}"#, true),
        (r#"{"data": {"total": 12}}"#, true),
        (r#"{"data": {"total": 13}}"#, false),
        (r#"{"total": 12}"#, false),
    ] {
        assert_eq!(chooses(&compiled(fields(object)), &event), holds, "{object}");
    }
}

#[test]
fn names_may_hold_any_characters() {
    for stream_id in ["a-b", "a.b", "a*b", "$a", "a$", "*", "orders-1.2-$x*", "ä?"] {
        let event = Given { stream_id, ..Given::default() }.event();
        assert!(chooses(&compiled(Kind::Stream(stream_id.to_owned())), &event), "{stream_id}");
        let other = compiled(Kind::Stream(format!("{stream_id}x")));
        assert!(!chooses(&other, &event), "{stream_id}");
        let escaped: String = stream_id.chars().flat_map(|c| ['\\', c]).collect();
        let system = stream_id.starts_with('$');
        assert_eq!(chooses(&compiled(pattern(&escaped)), &event), !system, "{escaped}");
    }
}

#[test]
fn the_servers_streams_are_for_whoever_names_one_or_includes_them() {
    let event = Given { stream_id: "$streams", tags: &["t"], ..Given::default() }.event();
    for kind in [
        Kind::All(true),
        Kind::Stream(ALL_STREAM.to_owned()),
        Kind::EventType("OrderPlaced".to_owned()),
        pattern("*"),
        pattern("\\$streams"),
        fields(r#"{"stream_id": "$streams"}"#),
        payload(Vec::new(), "true"),
        tags(&["t"], false),
    ] {
        let selector = compiled(kind.clone());
        assert!(!chooses(&selector, &event), "{kind:?}");
        assert!(chooses(&selector.including_system(true), &event), "{kind:?}");
    }
    let named = compiled(Kind::Stream("$streams".to_owned()));
    assert!(chooses(&named, &event));
    assert_eq!(named.stream(), Some("$streams"));
}

#[test]
fn types_go_by_one_name_each() {
    let all = || Kind::All(true);
    for (type_name, kind, name) in [
        ("", all(), "all"),
        ("all", all(), "all"),
        ("by_stream", Kind::Stream("a".to_owned()), "stream"),
        ("BY_Event_Type", Kind::EventType("a".to_owned()), "event_type"),
        ("by_event_pattern", pattern("a*"), "event_pattern"),
        ("event_payload", payload(Vec::new(), "true"), "event_payload"),
        ("tags", tags(&["a"], true), "tags"),
        ("stream", Kind::Stream("$all".to_owned()), "all"),
        ("all", Kind::Stream("$all".to_owned()), "all"),
    ] {
        let compiled = Selector::compile(type_name, Some(&selector(kind)), None, None).unwrap();
        assert_eq!(compiled.type_name(), name, "{type_name}");
        assert_eq!(compiled.stream().is_some(), name == "stream");
    }
    for type_name in ["", "all", "by_all"] {
        assert_eq!(Selector::compile(type_name, None, None, None).unwrap().type_name(), "all");
    }
    let empty = v1::Selector::default();
    assert!(Selector::compile("all", Some(&empty), None, None).is_ok());
    for (type_name, selector) in [("", Some(&empty)), ("stream", Some(&empty)), ("tags", None)] {
        let error = Selector::compile(type_name, selector, None, None).unwrap_err();
        let SelectorError::Selector(error) = error else { panic!("{error:?}") };
        assert_eq!(error.field, "selector", "{type_name}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_field() {
    use v1::PayloadOperator::{Eq, Gt, In, Ne};
    let field = |field: &str| payload(vec![condition(field, Eq, "1")], "");
    let value = |operator, value: &str| {
        let good = condition("a", Eq, "1");
        payload(vec![good, condition("a", operator, value)], "")
    };
    let many = (0..=limits::PAYLOAD_CONDITIONS_MAX).map(|_| condition("a", Eq, "1")).collect();
    let unknown = v1::PayloadCondition { operator: 99, ..condition("a", Eq, "1") };
    let list = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(16), "]".repeat(16));
    let conditions = "selector.event_payload.conditions";
    for (type_name, kind, at) in [
        ("nothing", Kind::All(true), "type"),
        ("stream", Kind::All(true), "type"),
        ("all", Kind::Stream("a".to_owned()), "type"),
        ("", Kind::All(false), "selector.all"),
        ("", Kind::Stream(String::new()), "selector.stream"),
        ("", Kind::Stream("a".repeat(513)), "selector.stream"),
        ("", Kind::Stream("a\n".to_owned()), "selector.stream"),
        ("", Kind::EventType(String::new()), "selector.event_type"),
        ("", Kind::EventPattern(v1::EventPattern::default()), "selector.event_pattern"),
        ("", pattern(""), "selector.event_pattern.stream"),
        ("", pattern("a\\"), "selector.event_pattern.stream"),
        ("", fields(""), "selector.event_pattern.fields"),
        ("", fields("{"), "selector.event_pattern.fields"),
        ("", fields("[]"), "selector.event_pattern.fields"),
        ("", fields("{}"), "selector.event_pattern.fields"),
        ("", fields(r#"{"tags": "vip"}"#), "selector.event_pattern.fields"),
        ("", fields(r#"{"tags": [1]}"#), "selector.event_pattern.fields"),
        ("", fields(r#"{"version": "7"}"#), "selector.event_pattern.fields"),
        ("", fields(r#"{"version": 7.5}"#), "selector.event_pattern.fields"),
        ("", fields(r#"{"event_type": null}"#), "selector.event_pattern.fields"),
        ("", fields(&deep), "selector.event_pattern.fields"),
        ("", fields(&format!(r#"{{"a": {}}}"#, list(100))), "selector.event_pattern.fields"),
        (
            "",
            fields(&format!("{{\"a\": \"{}\"}}", "a".repeat(4_096))),
            "selector.event_pattern.fields",
        ),
        ("", payload(Vec::new(), ""), "selector.event_payload"),
        ("", payload(many, ""), conditions),
        ("", payload(vec![unknown], ""), &format!("{conditions}[0].operator")),
        ("", field(""), &format!("{conditions}[0].field")),
        ("", field("a..b"), &format!("{conditions}[0].field")),
        ("", field(".a"), &format!("{conditions}[0].field")),
        ("", field(&"a".repeat(513)), &format!("{conditions}[0].field")),
        ("", field(&["a"; 17].join(".")), &format!("{conditions}[0].field")),
        ("", value(Eq, ""), &format!("{conditions}[1].value")),
        ("", value(Eq, "abc"), &format!("{conditions}[1].value")),
        ("", value(Eq, "1e999"), &format!("{conditions}[1].value")),
        ("", value(Eq, "[1]"), &format!("{conditions}[1].value")),
        ("", value(Eq, "{}"), &format!("{conditions}[1].value")),
        ("", value(Ne, "null"), &format!("{conditions}[1].value")),
        ("", value(Gt, "null"), &format!("{conditions}[1].value")),
        ("", value(Gt, "true"), &format!("{conditions}[1].value")),
        ("", value(In, "1"), &format!("{conditions}[1].value")),
        ("", value(In, "[]"), &format!("{conditions}[1].value")),
        ("", value(In, "[[1]]"), &format!("{conditions}[1].value")),
        ("", value(In, &list(101)), &format!("{conditions}[1].value")),
        ("", payload(Vec::new(), "event.nothing"), "selector.event_payload.expression"),
        ("", tags(&[], false), "selector.tags"),
        ("", tags(&["a", ""], false), "selector.tags.tags[1]"),
    ] {
        let error = refused(type_name, &kind);
        assert_eq!(error.field, at, "{kind:?}: {error}");
        assert!(error.to_string().starts_with(at));
    }
    assert_eq!(refused("", &pattern("a\\")).kind, FilterErrorKind::InvalidPattern { offset: 1 });
    let expression = refused("", &payload(Vec::new(), "1 +"));
    assert_eq!(expression.kind, FilterErrorKind::InvalidExpression { offset: 3 });
    let partition = Some(v1::Partition { index: 2, count: 2 });
    let error = Selector::compile("", None, partition, None).unwrap_err();
    let SelectorError::Selector(error) = error else { panic!("{error:?}") };
    assert_eq!(error.field, "partition.index");
}

#[test]
fn partition_and_filter_hold_together_with_the_selector() {
    let event = Given { tags: &["vip"], ..Given::default() }.event();
    let term = |kind| v1::FilterTerm { negate: false, kind: Some(kind) };
    let tags_term = |tag: &str| {
        let tags = v1::Tags { tags: vec![tag.to_owned()], all: false };
        v1::Filter { terms: vec![term(v1::filter_term::Kind::Tags(tags))] }
    };
    let chosen = |index, tag: &str, stream: &str| {
        let partition = Some(v1::Partition { index, count: 4 });
        let selector = selector(Kind::Stream(stream.to_owned()));
        let compiled =
            Selector::compile("", Some(&selector), partition, Some(&tags_term(tag))).unwrap();
        chooses(&compiled, &event)
    };
    assert!(chosen(0, "vip", "orders-1"));
    assert!(!chosen(1, "vip", "orders-1"));
    assert!(!chosen(0, "eu", "orders-1"));
    assert!(!chosen(0, "vip", "orders-2"));
    let none = v1::FilterTerm::default();
    let filter = v1::Filter { terms: vec![none] };
    let error = Selector::compile("", None, None, Some(&filter)).unwrap_err();
    assert!(matches!(error, SelectorError::Filter(error) if error.field == "filter.terms[0]"));
}

#[test]
fn interests_are_what_the_indexes_know() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let everything = Interest::Everything { system: false };
    for (kind, interest) in [
        (Kind::All(true), everything.clone()),
        (Kind::Stream("a".to_owned()), Interest::Stream("a".to_owned())),
        (Kind::EventType("t".to_owned()), Interest::Types(names(&["t"]))),
        (pattern("a*"), everything.clone()),
        (payload(Vec::new(), "true"), everything),
        (tags(&["a", "bb"], false), Interest::Tags(names(&["a", "bb"]))),
        (tags(&["a", "bb"], true), Interest::Tags(names(&["bb"]))),
        (fields(r#"{"stream_id": "a", "tags": ["t"]}"#), Interest::Stream("a".to_owned())),
        (fields(r#"{"event_type": "t", "user": 1}"#), Interest::Types(names(&["t"]))),
        (fields(r#"{"event_type": "t", "tags": ["a"]}"#), Interest::Tags(names(&["a"]))),
    ] {
        assert_eq!(compiled(kind.clone()).interest(), interest, "{kind:?}");
    }
    let with_system = compiled(Kind::EventType("t".to_owned())).including_system(true);
    assert_eq!(with_system.interest(), Interest::Everything { system: true });
}

#[test]
fn selectors_with_one_meaning_have_one_form() {
    use v1::PayloadOperator::{Eq, Gt, In, Unspecified};
    for (one, other) in [
        (Kind::Stream("$all".to_owned()), Kind::All(true)),
        (tags(&["b", "a", "b"], true), tags(&["a", "b"], true)),
        (tags(&["a"], true), tags(&["a"], false)),
        (
            fields(r#"{ "b": [2, 1.0, 1], "a": {"y": 1e2, "x": null} }"#),
            fields(r#"{"a":{"x":null,"y":100},"b":[1,2]}"#),
        ),
        (
            payload(vec![condition("b", Gt, "1.50"), condition("a", Unspecified, " \"x\" ")], ""),
            payload(vec![condition("a", Eq, "\"\\u0078\""), condition("b", Gt, "1.5")], ""),
        ),
        (
            payload(vec![condition("a", In, "[2, 1]"), condition("a", In, "[1,2,2.0]")], ""),
            payload(vec![condition("a", In, "[1,2]")], ""),
        ),
    ] {
        let canonical = |kind: &Kind| Selector::canonical(&selector(kind.clone()));
        assert_eq!(canonical(&one), canonical(&other));
        assert_eq!(Selector::canonical(&canonical(&one)), canonical(&one));
    }
    let different = [fields(r#"{"a": 1}"#), fields(r#"{"a": "1"}"#), fields(r#"{"a": 1.5}"#)];
    for (place, one) in different.iter().enumerate() {
        for other in &different[place + 1..] {
            let canonical = |kind: &Kind| Selector::canonical(&selector(kind.clone()));
            assert_ne!(canonical(one), canonical(other));
        }
    }
}

/// Strings with everything that JSON may write in two ways.
fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!['a', 'b', '"', '\\', 'é', '\n', '/']), 0..4)
        .prop_map(String::from_iter)
}

/// A string as JSON, with escapes where they are needed, or everywhere.
fn json(text: &str, escaped: bool) -> String {
    if !escaped {
        return serde_json::to_string(text).unwrap();
    }
    let units: Vec<String> = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{}\"", units.concat())
}

proptest! {
    #[test]
    fn how_json_writes_a_string_makes_no_difference(
        asked in text(), found in text(), name in "[a-c]", escaped: bool, name_escaped: bool
    ) {
        let data = format!("{{{}: {}}}", json(&name, name_escaped), json(&found, escaped));
        let metadata = data.clone();
        let event = Given { data: &data, metadata: &metadata, ..Given::default() }.event();
        let eq = v1::PayloadOperator::Eq;
        let by_data = compiled(payload(vec![condition("a", eq, &json(&asked, false))], ""));
        prop_assert_eq!(chooses(&by_data, &event), name == "a" && asked == found);
        let by_metadata = compiled(fields(&format!("{{\"a\": {}}}", json(&asked, false))));
        prop_assert_eq!(chooses(&by_metadata, &event), name == "a" && asked == found);
    }
}
