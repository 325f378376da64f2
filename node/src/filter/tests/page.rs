//! The reference page says what is so.

use serde_json::Value;

use reckon_api::v1;
use v1::event_pattern::Kind as PatternKind;
use v1::selector::Kind;

use super::Given;
use super::asked::check;
use crate::delivery::selector::{Selector, SelectorError};
use crate::engine::Select as _;
use crate::filter::check_expression;
use crate::filter::expression::{Expression, function_names};
use crate::filter::partition::Partition;
use crate::{engine::RecordedEvent, limits};

const PAGE: &str = include_str!("../../../FILTERS.md");

/// The lines of every block of the page that is fenced with these words.
fn blocks(fence: &str) -> Vec<&'static str> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in PAGE.lines() {
        if let Some(opened) = line.strip_prefix("```") {
            inside = !inside && opened == fence;
        } else if inside {
            lines.push(line);
        }
    }
    assert!(!lines.is_empty(), "the page has a block of {fence}");
    lines
}

/// The event that the page shows.
fn event() -> RecordedEvent {
    let shown: Value = serde_json::from_str(&blocks("json").concat()).unwrap();
    let text = |name: &str| shown[name].as_str().unwrap();
    let tags: Vec<&str> =
        shown["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
    let event = Given {
        stream_id: text("stream_id"),
        event_type: text("event_type"),
        tags: &tags,
        data: &shown["data"].to_string(),
        metadata: &shown["metadata"].to_string(),
        correlation_id: Some(text("correlation_id")),
        ..Given::default()
    }
    .event();
    assert_eq!(shown["version"].as_u64(), Some(event.version));
    assert_eq!(shown["epoch_us"].as_u64(), Some(event.epoch_us));
    event
}

#[test]
fn the_expressions_of_the_page_do_what_it_says() {
    check(&event(), &blocks("cel"), &blocks("cel fails"));
    for expression in blocks("cel refused") {
        assert!(Expression::compile(expression).is_err(), "{expression} is refused");
    }
}

fn compile(kind: Kind) -> Result<Selector, SelectorError> {
    Selector::compile("", Some(&v1::Selector { kind: Some(kind) }), None, None)
}

fn fields(object: &str) -> Result<Selector, SelectorError> {
    let kind = Some(PatternKind::Fields(object.to_owned()));
    compile(Kind::EventPattern(v1::EventPattern { kind }))
}

/// A condition as the page writes it: field, operator, value.
fn condition(text: &str) -> Result<Selector, SelectorError> {
    let [field, operator, value] = text.splitn(3, ' ').collect::<Vec<_>>()[..] else {
        panic!("{text} is a field, an operator and a value")
    };
    let name = format!("PAYLOAD_OPERATOR_{}", operator.to_ascii_uppercase());
    let operator = v1::PayloadOperator::from_str_name(&name).unwrap();
    let condition = v1::PayloadCondition {
        field: field.to_owned(),
        operator: operator.into(),
        value: value.to_owned(),
    };
    let expression = String::new();
    compile(Kind::EventPayload(v1::EventPayload { conditions: vec![condition], expression }))
}

#[test]
fn the_selectors_of_the_page_do_what_it_says() {
    type Compile = fn(&str) -> Result<Selector, SelectorError>;
    for (name, compile) in [("fields", fields as Compile), ("conditions", condition)] {
        for (fence, chosen) in [(name.to_owned(), true), (format!("{name} fails"), false)] {
            for text in blocks(&fence) {
                let selector = compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
                assert_eq!(selector.selects(&event()), Ok(chosen), "{text}");
            }
        }
        for text in blocks(&format!("{name} refused")) {
            assert!(compile(text).is_err(), "{text} is refused");
        }
    }
}

#[test]
fn the_page_names_every_function() {
    for name in function_names() {
        assert!(PAGE.contains(&format!("`{name}`")), "the page names {name}");
    }
}

#[test]
fn the_page_names_every_field() {
    let refused = check_expression("event.nothing").unwrap_err().to_string();
    let (_, names) = refused.split_once("has: ").unwrap();
    let (names, _) = names.rsplit_once(" (at").unwrap();
    for name in names.split(", ") {
        assert!(PAGE.contains(&format!("`event.{name}`")), "the page names {name}");
    }
}

#[test]
fn the_partitions_of_the_page_are_those_of_the_code() {
    let mut rows = 0;
    for line in PAGE.lines() {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let ["", stream_id, hash, of_4, of_10, ""] = cells.as_slice() else { continue };
        let Ok(hash) = u64::from_str_radix(hash, 16) else { continue };
        for (count, index) in [(4, of_4), (10, of_10)] {
            let index: u32 = index.parse().unwrap();
            assert_eq!(hash % u64::from(count), u64::from(index), "{stream_id} of {count}");
            assert!(Partition::new(index, count).unwrap().holds(stream_id));
        }
        rows += 1;
    }
    assert_eq!(rows, 3);
}

#[test]
fn the_limits_of_the_page_are_those_of_the_code() {
    for (name, maximum) in [
        ("filter_terms_max", limits::FILTER_TERMS_MAX),
        ("filter_types_max", limits::FILTER_TYPES_MAX),
        ("filter_tags_max", limits::FILTER_TAGS_MAX),
        ("query_items_max", limits::QUERY_ITEMS_MAX),
        ("stream_pattern_bytes_max", limits::STREAM_PATTERN_BYTES_MAX),
        ("regex_bytes_max", limits::REGEX_BYTES_MAX),
        ("expression_bytes_max", limits::EXPRESSION_BYTES_MAX),
        ("expression_nesting_max", usize::from(limits::EXPRESSION_NESTING_MAX)),
        ("expression_depth_max", limits::EXPRESSION_DEPTH_MAX),
        ("expression_nodes_max", limits::EXPRESSION_NODES_MAX),
        ("expression_regexes_max", limits::EXPRESSION_REGEXES_MAX),
        ("payload_conditions_max", limits::PAYLOAD_CONDITIONS_MAX),
        ("payload_field_bytes_max", limits::PAYLOAD_FIELD_BYTES_MAX),
        ("selector_json_bytes_max", limits::SELECTOR_JSON_BYTES_MAX),
        ("selector_nesting_max", limits::SELECTOR_NESTING_MAX),
        ("selector_values_max", limits::SELECTOR_VALUES_MAX),
    ] {
        let row = PAGE.lines().find(|line| line.starts_with(&format!("| `{name}`")));
        let row = row.unwrap_or_else(|| panic!("the page has {name}"));
        assert!(row.ends_with(&format!("| {maximum} |")), "{row}");
    }
    assert_eq!(
        (limits::EXPRESSION_STEPS_MAX, limits::EXPRESSION_STEPS_PER_EVENT_BYTE),
        (20_000, 8)
    );
}
