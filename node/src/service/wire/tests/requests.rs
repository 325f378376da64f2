//! Requests other than appends.

use super::*;
use crate::delivery::key::KeyExpression;
use crate::delivery::selector::Selector;
use crate::engine::{Direction, Expectation};

#[track_caller]
fn check<T: std::fmt::Debug>(
    refused: Result<T, Status>,
    reason: Reason,
    expected: &[(&str, &str)],
) {
    let (told_reason, message, values) = told(&refused.unwrap_err());
    assert_eq!(told_reason, reason, "{message}");
    for (key, value) in expected {
        let found = values.iter().find(|(found, _)| found == key);
        assert_eq!(found.map(|(_, value)| value.as_str()), Some(*value), "{key} in {message}");
    }
}

#[test]
fn reads_are_checked_but_may_name_the_servers_own_streams() {
    check_stream_id("$link:x").unwrap();
    check(check_stream_id(""), Reason::InvalidArgument, &[("field", "stream_id")]);
    check(check_stream_id(&"s".repeat(513)), Reason::LimitExceeded, &[("maximum", "512")]);
    assert_eq!(direction(0).unwrap(), Direction::Forward);
    assert_eq!(direction(2).unwrap(), Direction::Backward);
    check(direction(9), Reason::InvalidArgument, &[("field", "direction"), ("value", "9")]);
}

#[test]
fn a_read_begins_at_its_end_unless_it_says_where() {
    use v1::read_from::Kind;
    let begins = |kind| start(Some(v1::ReadFrom { kind }), Direction::Backward);
    assert_eq!(start(None, Direction::Forward).unwrap(), Start::First);
    assert_eq!(start(None, Direction::Backward).unwrap(), Start::Last);
    assert_eq!(begins(None).unwrap(), Start::Last);
    assert_eq!(begins(Some(Kind::At(7))).unwrap(), Start::At(7));
    assert_eq!(begins(Some(Kind::Start(true))).unwrap(), Start::First);
    assert_eq!(begins(Some(Kind::End(true))).unwrap(), Start::Last);
    assert_eq!(begins(Some(Kind::TimeUs(7))).unwrap(), Start::Time(7));
    for (kind, field) in [(Kind::Start(false), "from.start"), (Kind::End(false), "from.end")] {
        check(begins(Some(kind)), Reason::InvalidArgument, &[("field", field), ("value", "false")]);
    }
}

#[test]
fn bounds_in_the_wrong_order_are_refused_with_both() {
    times(Some(5), Some(5)).unwrap();
    times(Some(5), None).unwrap();
    let values = [("field", "since_us"), ("since_us", "6"), ("until_us", "5")];
    check(times(Some(6), Some(5)), Reason::InvalidArgument, &values);
    positions(Some(5), Some(5)).unwrap();
    let values = [("field", "from_position"), ("from_position", "6"), ("to_position", "5")];
    check(positions(Some(6), Some(5)), Reason::InvalidArgument, &values);
}

#[test]
fn what_ends_a_stream_is_checked_before_it_is_proposed() {
    use v1::expectation::Kind;

    let delete = |stream_id: &str, kind| {
        let expectation = Some(v1::Expectation { kind: Some(kind) });
        delete_command(&v1::DeleteRequest { stream_id: stream_id.to_owned(), expectation })
    };
    let command = Command::decode(&delete("s", Kind::Version(3)).unwrap()).unwrap();
    let expected =
        Command::Delete { stream_id: "s".to_owned(), expectation: Expectation::Exact(3) };
    assert_eq!(command, expected);
    let values = [("field", "expectation.version"), ("value", "-3")];
    check(delete("s", Kind::Version(-3)), Reason::InvalidArgument, &values);
    check(delete("", Kind::Version(3)), Reason::InvalidArgument, &[("field", "stream_id")]);
    check(delete("$streams", Kind::Version(3)), Reason::InvalidArgument, &[("field", "stream_id")]);

    let truncate =
        v1::TruncateRequest { stream_id: "s".to_owned(), before_version: 4, expectation: None };
    let command = Command::decode(&truncate_command(&truncate).unwrap()).unwrap();
    let expected = Command::Truncate {
        stream_id: "s".to_owned(),
        before_version: 4,
        expectation: Expectation::Any,
    };
    assert_eq!(command, expected);
    let own = v1::TruncateRequest { stream_id: "$link:x".to_owned(), ..truncate };
    check(truncate_command(&own), Reason::InvalidArgument, &[("field", "stream_id")]);
    let tombstone = v1::TombstoneRequest { stream_id: "a\n".to_owned(), expectation: None };
    check(tombstone_command(&tombstone), Reason::InvalidArgument, &[("field", "stream_id")]);
}

#[test]
fn other_fields_are_checked_too() {
    check(event_id("no"), Reason::InvalidArgument, &[("field", "event_id"), ("value", "no")]);
    assert_eq!(event_id(&NEW_ID.to_string()).unwrap(), NEW_ID);
    assert_eq!(page_token("").unwrap(), None);
    assert_eq!(page_token("a").unwrap().as_deref(), Some("a"));
    check(page_token("a\0"), Reason::InvalidArgument, &[("field", "page_token")]);
    check_features(&[]).unwrap();
    check_features(&[1]).unwrap();
    check(check_features(&[1, 0]), Reason::InvalidArgument, &[("field", "features")]);
    check(check_features(&[77]), Reason::InvalidArgument, &[("value", "77")]);
}

#[test]
fn filters_are_refused_with_their_field_and_place() {
    use v1::filter_term::Kind;
    let compiled = |kind| {
        let term = v1::FilterTerm { negate: false, kind: Some(kind) };
        filter(Some(&v1::Filter { terms: vec![term] }))
    };
    assert!(filter(None).unwrap().is_none());
    assert!(filter(Some(&v1::Filter::default())).unwrap().is_none());
    assert!(compiled(Kind::StreamPrefix("a".into())).unwrap().is_some());
    let values = [("field", "filter.terms[0].stream_regex"), ("offset", "1")];
    check(compiled(Kind::StreamRegex("a(".into())), Reason::InvalidPattern, &values);
    let values = [("field", "filter.terms[0].expression"), ("offset", "5")];
    check(compiled(Kind::Expression("event.typo".into())), Reason::InvalidExpression, &values);
    let none = Kind::Types(v1::EventTypes::default());
    check(compiled(none), Reason::InvalidArgument, &[("field", "filter.terms[0].types")]);
    let long = Kind::StreamPrefix("a".repeat(513));
    check(compiled(long), Reason::LimitExceeded, &[("limit", "stream_id_bytes_max")]);
    let list = v1::ListStreamsRequest { pattern: r"a\".to_owned(), ..Default::default() };
    check(stream_names(&list), Reason::InvalidPattern, &[("field", "pattern"), ("offset", "1")]);
    check(checked_expression("1 +"), Reason::InvalidExpression, &[("field", "expression")]);
    assert!(checked_expression("event.version > 1").unwrap().filter);
}

#[test]
fn selectors_are_refused_under_their_own_reason_and_filters_beside_them_under_theirs() {
    use v1::selector::Kind;
    let compile = |kind, filter: Option<&v1::Filter>| {
        let selector = v1::Selector { kind: Some(kind) };
        Selector::compile("", Some(&selector), None, filter).map_err(selector_refused)
    };
    let payload = |conditions, expression: &str| {
        let expression = expression.to_owned();
        Kind::EventPayload(v1::EventPayload { conditions, expression })
    };
    let condition = v1::PayloadCondition {
        field: "a".to_owned(),
        value: "x".to_owned(),
        ..v1::PayloadCondition::default()
    };
    let field = "selector.event_payload.conditions[0].value";
    let refused = compile(payload(vec![condition], ""), None);
    check(refused, Reason::InvalidSelector, &[("field", field), ("value", "x")]);
    let field = "selector.event_payload.expression";
    let refused = compile(payload(Vec::new(), "1 +"), None);
    check(refused, Reason::InvalidSelector, &[("field", field), ("offset", "3")]);
    let refused = compile(Kind::Stream("s".repeat(513)), None);
    let values = [("field", "selector.stream"), ("limit", "stream_id_bytes_max"), ("value", "513")];
    check(refused, Reason::InvalidSelector, &values);
    let pattern = Some(v1::filter_term::Kind::StreamPattern("a\\".to_owned()));
    let filter = v1::Filter { terms: vec![v1::FilterTerm { negate: false, kind: pattern }] };
    let field = "filter.terms[0].stream_pattern";
    let refused = compile(Kind::All(true), Some(&filter));
    check(refused, Reason::InvalidPattern, &[("field", field), ("offset", "1")]);
    let key = KeyExpression::compile("1.5").map_err(key_refused);
    check(key, Reason::InvalidExpression, &[("field", "key_expression"), ("offset", "0")]);
}
