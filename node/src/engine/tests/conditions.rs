//! Append conditions: dynamic consistency boundaries.

use super::*;

/// Items are separated by `|`; each is its types, `/`, its tags.
fn query(items: &str) -> Query {
    let texts = |texts: &str| texts.split_terminator(',').map(str::to_owned).collect();
    let item = |item: &str| {
        let (types, tags) = item.split_once('/').unwrap();
        QueryItem { types: texts(types), tags: texts(tags) }
    };
    Query { items: items.split('|').map(item).collect() }
}

/// Positions 0 to 5: the types `placed` and `paid`, the tags `x` and `y` in turn over two records of two streams, then
/// one event of the server's own.
fn tagged() -> Tested {
    let mut tested = Tested::default();
    let given = |id, event_type, tags| Given { id, event_type, tags, data: "" };
    for (stream, events) in [
        ("a", [given(1, "placed", &["x"] as &[&str]), given(2, "paid", &["y"])]),
        ("b", [given(3, "placed", &["x", "y"]), given(4, "paid", &[])]),
    ] {
        tested.append(vec![part_of(Expectation::Any, stream, &events)]);
    }
    let own = part_of(Expectation::Any, "$own", &[given(5, "placed", &["z"])]);
    tested.append(vec![own]);
    tested
}

fn append_if(tested: &mut Tested, query: Query, after_position: Option<u64>) -> Option<u64> {
    let appends = vec![part(Expectation::Any, "new", &[(99, "")])];
    let condition = Some(AppendCondition { query, after_position });
    match tested.command(Command::Append { appends, condition }) {
        Outcome::Refused(Refusal::AppendConditionFailed { position }) => Some(position),
        Outcome::Appended(_) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_condition_fails_with_the_first_event_that_matches() {
    for (items, after, first) in [
        ("placed/", None, Some(0)),
        ("placed/", Some(0), Some(2)),
        ("placed/", Some(2), None),
        ("paid/y", None, Some(1)),
        // No single event has both the tag and the type, though a record does.
        ("paid/x", None, None),
        ("/x,y", None, Some(2)),
        ("/z", None, None),
        ("unknown/|/y", Some(1), Some(2)),
        ("unknown,paid/", Some(1), Some(3)),
        ("/", Some(2), Some(3)),
        ("/", Some(3), None),
        ("/", Some(u64::MAX), None),
    ] {
        let found = append_if(&mut tagged(), query(items), after);
        assert_eq!(found, first, "{items:?} after {after:?}");
    }
}

#[test]
fn a_condition_does_not_see_what_was_removed() {
    let mut tested = tagged();
    tested.truncate("a", 1);
    assert_eq!(append_if(&mut tested, query("placed/"), None), Some(2));
    tested.delete("b");
    assert_eq!(append_if(&mut tested, query("placed/"), None), None);
}

#[test]
fn retries_and_expectations_come_before_the_condition() {
    let mut tested = tagged();
    let condition = || Some(AppendCondition { query: query("placed/"), after_position: Some(2) });
    let append = |expectation| Command::Append {
        appends: vec![part(expectation, "new", &[(9, "9")])],
        condition: condition(),
    };
    assert_eq!(
        tested.command(append(Expectation::StreamExists)),
        unexpected("new", Expectation::StreamExists, -1)
    );
    let first = tested.command(append(Expectation::NoStream));
    tested.append(vec![part_of(
        Expectation::Any,
        "c",
        &[Given { event_type: "placed", ..event(10, "") }],
    )]);
    // It would fail now, but it is a retry.
    assert_eq!(tested.command(append(Expectation::NoStream)), first);
}
