//! Terms of every kind, and what the indexes are told of them.

use proptest::prelude::*;
use reckon_api::v1;
use reckon_api::v1::filter_term::Kind;

use super::Given;
use crate::filter::{Filter, QueryItem, Select as _, SelectError};

fn term(kind: Kind) -> v1::FilterTerm {
    v1::FilterTerm { negate: false, kind: Some(kind) }
}

fn not(kind: Kind) -> v1::FilterTerm {
    v1::FilterTerm { negate: true, kind: Some(kind) }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn types(types: &[&str]) -> Kind {
    Kind::Types(v1::EventTypes { types: strings(types) })
}

fn any_tag(tags: &[&str]) -> Kind {
    Kind::Tags(v1::Tags { tags: strings(tags), all: false })
}

fn all_tags(tags: &[&str]) -> Kind {
    Kind::Tags(v1::Tags { tags: strings(tags), all: true })
}

fn query(items: &[(&[&str], &[&str])]) -> Kind {
    let items = items
        .iter()
        .map(|(types, tags)| v1::QueryItem { types: strings(types), tags: strings(tags) })
        .collect();
    Kind::Query(v1::Query { items })
}

fn filter(terms: impl IntoIterator<Item = v1::FilterTerm>) -> Filter {
    Filter::compile(&v1::Filter { terms: terms.into_iter().collect() }).unwrap()
}

fn selects(terms: impl IntoIterator<Item = v1::FilterTerm>, given: &Given<'_>) -> bool {
    filter(terms).selects(&given.event()).unwrap()
}

#[test]
fn every_kind_of_term_holds_or_does_not_and_can_be_negated() {
    let given = Given {
        stream_id: "orders-eu-7",
        event_type: "OrderPlaced",
        tags: &["customer:1", "eu", "vip"],
        data: r#"{"total": 12}"#,
        ..Given::default()
    };
    let partition = |index, count| Kind::Partition(v1::Partition { index, count });
    let table = [
        (types(&["OrderPaid", "OrderPlaced"]), true),
        (types(&["OrderPaid"]), false),
        (types(&["orderplaced"]), false),
        (any_tag(&["us", "vip"]), true),
        (any_tag(&["us"]), false),
        (all_tags(&["vip", "eu", "vip"]), true),
        (all_tags(&["vip", "us"]), false),
        (query(&[(&["OrderPaid"], &[]), (&["OrderPlaced"], &["eu"])]), true),
        (query(&[(&["OrderPaid"], &[]), (&["OrderPlaced"], &["us"])]), false),
        (query(&[(&[], &["customer:1", "vip"])]), true),
        (query(&[(&[], &[])]), true),
        (Kind::StreamPattern("orders-*-?".to_owned()), true),
        (Kind::StreamPattern("orders-?".to_owned()), false),
        (Kind::StreamPrefix("orders-".to_owned()), true),
        (Kind::StreamPrefix("rders-".to_owned()), false),
        (Kind::StreamSuffix("-7".to_owned()), true),
        (Kind::StreamSuffix("-".to_owned()), false),
        (Kind::StreamRegex("eu-[0-9]".to_owned()), true),
        (Kind::StreamRegex("^eu".to_owned()), false),
        (Kind::Expression("event.data.total > 10".to_owned()), true),
        (Kind::Expression("event.data.missing > 10".to_owned()), false),
        (partition(0, 1), true),
    ];
    for (kind, holds) in table {
        assert_eq!(selects([term(kind.clone())], &given), holds, "{kind:?}");
        assert_eq!(selects([not(kind.clone())], &given), !holds, "not {kind:?}");
    }
    let shares = (0..5).filter(|&index| selects([term(partition(index, 5))], &given)).count();
    assert_eq!(shares, 1);
}

#[test]
fn every_term_has_to_hold() {
    let given = Given { tags: &["eu"], ..Given::default() };
    let prefix = |prefix: &str| Kind::StreamPrefix(prefix.to_owned());
    assert!(selects([], &given), "no terms ask for nothing");
    assert!(selects([term(types(&["OrderPlaced"])), not(any_tag(&["us"]))], &given));
    assert!(!selects([term(types(&["OrderPlaced"])), term(any_tag(&["us"]))], &given));
    assert!(!selects([term(prefix("orders-")), not(prefix("orders-1"))], &given));
}

#[test]
fn data_counts_by_its_content_and_not_by_its_type_alone() {
    let kind = || Kind::Expression("event.data == null".to_owned());
    let given = Given { data: "1", data_content_type: "text/plain", ..Given::default() };
    assert!(selects([term(kind())], &given));
    assert!(!selects([term(kind())], &Given { data: "1", ..Given::default() }));
}

#[test]
fn an_event_that_costs_too_much_is_an_error_and_neither_left_out_nor_let_through() {
    let numbers = format!("[{}1]", "1,".repeat(20_000));
    let event = Given::data(&numbers);
    let costly = || Kind::Expression("event.data.all(a, event.data.all(b, a == b))".to_owned());
    for filter in [filter([term(costly())]), filter([not(costly())])] {
        let refused = filter.selects(&event).unwrap_err();
        assert!(matches!(refused, SelectError::TooCostly { position: 42, .. }), "{refused}");
    }
    // Cheaper terms are asked first.
    let cheaper = filter([term(costly()), term(types(&["Another"]))]);
    assert_eq!(cheaper.selects(&event), Ok(false));
}

fn item(types: &[&str], tags: &[&str]) -> QueryItem {
    QueryItem { types: strings(types), tags: strings(tags) }
}

#[test]
fn the_indexes_are_told_the_most_that_they_can_answer() {
    let regex = || term(Kind::StreamRegex("a".to_owned()));
    let table = [
        (vec![], None),
        (vec![regex()], None),
        (vec![not(types(&["A"]))], None),
        (vec![term(query(&[(&["A"], &[]), (&[], &[])]))], None),
        (vec![term(types(&["B", "A", "B"]))], Some(vec![item(&["A", "B"], &[])])),
        (vec![regex(), term(types(&["A"]))], Some(vec![item(&["A"], &[])])),
        (vec![term(all_tags(&["y", "x"]))], Some(vec![item(&[], &["x", "y"])])),
        (vec![term(any_tag(&["y", "x"]))], Some(vec![item(&[], &["x"]), item(&[], &["y"])])),
        (
            vec![term(query(&[(&["A"], &["x"]), (&[], &["y"])]))],
            Some(vec![item(&["A"], &["x"]), item(&[], &["y"])]),
        ),
        // What several terms ask for comes together.
        (
            vec![term(types(&["A"])), term(all_tags(&["x"])), not(types(&["B"]))],
            Some(vec![item(&["A"], &["x"])]),
        ),
        (
            vec![term(any_tag(&["x", "y"])), term(types(&["A"])), term(all_tags(&["y", "z"]))],
            Some(vec![item(&["A"], &["y", "z"])]),
        ),
        (
            vec![term(any_tag(&["x", "y"])), term(types(&["A"]))],
            Some(vec![item(&["A"], &["x"]), item(&["A"], &["y"])]),
        ),
        // An item that names types of its own keeps them.
        (
            vec![term(query(&[(&["A"], &["x"]), (&[], &["y"])])), term(types(&["B"]))],
            Some(vec![item(&["A"], &["x"]), item(&["B"], &["y"])]),
        ),
    ];
    for (terms, candidates) in table {
        let shown = format!("{terms:?}");
        assert_eq!(filter(terms).candidates(), candidates.as_deref(), "{shown}");
    }
}

#[test]
fn events_without_a_name_that_every_chosen_one_has_are_ruled_out_by_their_bytes() {
    let event = Given { event_type: "Placed", tags: &["customer:7"], ..Given::default() }.event();
    let ruled_out = |terms| filter(terms).rules_out(event.encoded());
    let (paid, other) = (types(&["Paid"]), any_tag(&["customer:8"]));
    assert!(ruled_out(vec![term(paid.clone())]));
    assert!(ruled_out(vec![term(other.clone())]));
    assert!(ruled_out(vec![
        term(types(&["Placed"])),
        term(all_tags(&["customer:7", "customer:80"]))
    ]));
    assert!(ruled_out(vec![term(query(&[(&["Placed"], &["customer:8"])]))]));
    // What is common to all that may be, is in each of them.
    assert!(ruled_out(vec![term(any_tag(&["customer:7", "customer:9"])), term(paid.clone())]));
    // Whoever carries one of several need not have any one of them.
    assert!(!ruled_out(vec![term(any_tag(&["customer:8", "customer:9"]))]));
    assert!(!ruled_out(vec![term(query(&[(&["Paid"], &[]), (&["Placed"], &[])]))]));
    assert!(!ruled_out(vec![not(paid), not(other)]));
    assert!(!ruled_out(vec![term(types(&["Placed"])), term(any_tag(&["customer:7"]))]));
}

/// Kinds of terms over few names, so that they often hold.
fn kinds() -> impl Strategy<Value = Kind> {
    let names = || prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..3);
    let maybe_names = || prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..3);
    prop_oneof![
        names().prop_map(|names| types(&names)),
        names().prop_map(|names| any_tag(&names)),
        names().prop_map(|names| all_tags(&names)),
        prop::collection::vec((maybe_names(), maybe_names()), 1..3).prop_map(|items| {
            let items: Vec<(&[&str], &[&str])> =
                items.iter().map(|(types, tags)| (types.as_slice(), tags.as_slice())).collect();
            query(&items)
        }),
        Just(Kind::StreamPrefix("a".to_owned())),
    ]
}

/// What a term means, said as plainly as can be.
fn holds_plainly(term: &v1::FilterTerm, stream: &str, event_type: &str, tags: &[&str]) -> bool {
    let has = |tag: &String| tags.contains(&tag.as_str());
    let holds = match term.kind.as_ref().unwrap() {
        Kind::Types(named) => named.types.iter().any(|named| named == event_type),
        Kind::Tags(named) if named.all => named.tags.iter().all(has),
        Kind::Tags(named) => named.tags.iter().any(has),
        Kind::Query(query) => query.items.iter().any(|item| {
            (item.types.is_empty() || item.types.iter().any(|named| named == event_type))
                && item.tags.iter().all(has)
        }),
        Kind::StreamPrefix(prefix) => stream.starts_with(prefix),
        _ => unreachable!("not generated"),
    };
    holds != term.negate
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn filters_select_what_their_terms_say_and_candidates_miss_nothing(
        kinds in prop::collection::vec((kinds(), any::<bool>()), 0..4),
        stream_id in "[ab]",
        event_type in "[abcd]",
        tags in prop::collection::btree_set("[abcd]", 0..4),
    ) {
        let terms: Vec<v1::FilterTerm> = kinds
            .into_iter()
            .map(|(kind, negate)| v1::FilterTerm { negate, kind: Some(kind) })
            .collect();
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let given =
            Given { stream_id: &stream_id, event_type: &event_type, tags: &tags, ..Given::default() };
        let selected =
            terms.iter().all(|term| holds_plainly(term, &stream_id, &event_type, &tags));
        let filter = filter(terms);
        let event = given.event();
        prop_assert_eq!(filter.selects(&event), Ok(selected));
        prop_assert!(!(selected && filter.rules_out(event.encoded())), "{:?}", filter);
        if let (true, Some(items)) = (selected, filter.candidates()) {
            let fulfilled = items.iter().any(|item| {
                (item.types.is_empty() || item.types.contains(&event_type))
                    && item.tags.iter().all(|tag| tags.contains(&tag.as_str()))
            });
            prop_assert!(fulfilled, "{:?}", items);
        }
    }
}
