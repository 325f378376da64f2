//! What is refused, with its field, its values and a sentence.

use reckon_api::v1;
use reckon_api::v1::filter_term::Kind;

use crate::filter::{Filter, FilterErrorKind, query_items};

fn types(types: Vec<String>) -> Kind {
    Kind::Types(v1::EventTypes { types })
}

fn tags(tags: Vec<String>) -> Kind {
    Kind::Tags(v1::Tags { tags, all: false })
}

fn query(items: Vec<v1::QueryItem>) -> Kind {
    Kind::Query(v1::Query { items })
}

fn partition(index: u32, count: u32) -> Kind {
    Kind::Partition(v1::Partition { index, count })
}

fn invalid(value: &str) -> FilterErrorKind {
    FilterErrorKind::InvalidField { value: value.to_owned() }
}

fn limit(limit: &'static str, value: usize, maximum: usize) -> FilterErrorKind {
    FilterErrorKind::LimitExceeded { limit, value, maximum }
}

#[test]
fn every_refusal_names_its_field_and_its_values() {
    let pattern = |offset| FilterErrorKind::InvalidPattern { offset };
    let expression = |offset| FilterErrorKind::InvalidExpression { offset };
    let texts = |count: usize| (0..count).map(|number| number.to_string()).collect();
    let item = |types: Vec<String>, tags: Vec<String>| v1::QueryItem { types, tags };
    let long = |bytes: usize| "a".repeat(bytes);
    let table = [
        (Kind::StreamPattern(r"a\".to_owned()), "stream_pattern", pattern(1)),
        (Kind::StreamPattern(String::new()), "stream_pattern", invalid("")),
        (
            Kind::StreamPattern(long(1_025)),
            "stream_pattern",
            limit("stream_pattern_bytes_max", 1_025, 1_024),
        ),
        (Kind::StreamPrefix(String::new()), "stream_prefix", invalid("")),
        (Kind::StreamPrefix(long(513)), "stream_prefix", limit("stream_id_bytes_max", 513, 512)),
        (Kind::StreamSuffix(String::new()), "stream_suffix", invalid("")),
        (Kind::StreamSuffix(long(513)), "stream_suffix", limit("stream_id_bytes_max", 513, 512)),
        (Kind::StreamRegex("a(".to_owned()), "stream_regex", pattern(1)),
        (Kind::StreamRegex(String::new()), "stream_regex", invalid("")),
        (Kind::StreamRegex(long(1_025)), "stream_regex", limit("regex_bytes_max", 1_025, 1_024)),
        (Kind::StreamRegex("(a{100}){1000}".to_owned()), "stream_regex", pattern(0)),
        (Kind::Expression(String::new()), "expression", invalid("")),
        (Kind::Expression("event.x".to_owned()), "expression", expression(5)),
        (Kind::Expression("event.version".to_owned()), "expression", expression(0)),
        (Kind::Expression(long(5_000)), "expression", limit("expression_bytes_max", 5_000, 4_096)),
        (partition(0, 0), "partition.count", invalid("0")),
        (partition(3, 3), "partition.index", invalid("3")),
        (types(vec![]), "types", invalid("")),
        (types(vec!["a".to_owned(), String::new()]), "types.types[1]", invalid("")),
        (types(vec!["a\n".to_owned()]), "types.types[0]", invalid("a\n")),
        (types(vec![long(513)]), "types.types[0]", limit("event_type_bytes_max", 513, 512)),
        (types(texts(101)), "types.types", limit("filter_types_max", 101, 100)),
        (tags(vec![]), "tags", invalid("")),
        (tags(vec![String::new()]), "tags.tags[0]", invalid("")),
        (tags(vec![long(257)]), "tags.tags[0]", limit("tag_bytes_max", 257, 256)),
        (tags(texts(101)), "tags.tags", limit("filter_tags_max", 101, 100)),
        (query(vec![]), "query.items", invalid("")),
        (query(vec![item(vec![], vec![]); 101]), "query.items", limit("query_items_max", 101, 100)),
        (
            query(vec![item(vec![], vec![]), item(vec![], vec![long(257)])]),
            "query.items[1].tags[0]",
            limit("tag_bytes_max", 257, 256),
        ),
        (
            query(vec![item(texts(101), vec![])]),
            "query.items[0].types",
            limit("query_item_types_max", 101, 64),
        ),
    ];
    for (kind, field, expected) in table {
        let shown: String = format!("{kind:?}").chars().take(80).collect();
        let fine = v1::FilterTerm { negate: false, kind: Some(types(vec!["a".to_owned()])) };
        let term = v1::FilterTerm { negate: false, kind: Some(kind) };
        let error = Filter::compile(&v1::Filter { terms: vec![fine, term] }).unwrap_err();
        assert_eq!(error.field, format!("filter.terms[1].{field}"), "{shown}: {error}");
        assert_eq!(error.kind, expected, "{shown}: {error}");
        assert!(!error.sentence.is_empty() && !error.retryable());
    }
}

#[test]
fn a_term_says_something_and_there_are_not_too_many() {
    let nothing = v1::FilterTerm { negate: false, kind: None };
    let error = Filter::compile(&v1::Filter { terms: vec![nothing] }).unwrap_err();
    assert_eq!((error.field.as_str(), error.kind), ("filter.terms[0]", invalid("")));

    let term = v1::FilterTerm { negate: false, kind: Some(types(vec!["a".to_owned()])) };
    let error = Filter::compile(&v1::Filter { terms: vec![term; 17] }).unwrap_err();
    assert_eq!(
        (error.field.as_str(), error.kind),
        ("filter.terms", limit("filter_terms_max", 17, 16))
    );
}

#[test]
fn the_query_of_a_condition_is_checked_under_its_own_name() {
    let query = v1::Query { items: vec![] };
    let error = query_items("condition.query", &query).unwrap_err();
    assert_eq!(error.to_string(), "condition.query.items is empty; a query has at least one item");
}

#[test]
fn a_long_value_is_cut() {
    let value = "é".repeat(100) + "\n";
    let term = v1::FilterTerm { negate: false, kind: Some(types(vec![value])) };
    let error = Filter::compile(&v1::Filter { terms: vec![term] }).unwrap_err();
    assert_eq!(error.kind, invalid(&("é".repeat(64) + "…")));
}
