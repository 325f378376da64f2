//! Append conditions: dynamic consistency boundaries.

use reckon_api::{Reason, v1};

use crate::calls::Calls;
use crate::messages::{append, item, query, refused, refused_field, stream, tagged, unique, value};

fn unless(
    append: v1::AppendRequest,
    items: Vec<v1::QueryItem>,
    after: Option<u64>,
) -> v1::AppendRequest {
    let condition = v1::AppendCondition { query: Some(query(items)), after_position: after };
    v1::AppendRequest { condition: Some(condition), ..append }
}

fn one(event_type: &str, tags: &[&str]) -> v1::AppendRequest {
    append(vec![stream(&unique("boundary"), vec![tagged(event_type, tags)])])
}

pub async fn an_event_that_matches_fails_the_append_and_is_named_by_its_position(calls: Calls) {
    let (seat, kind) = (unique("seat"), unique("Reserved"));
    let seat = seat.as_str();
    let free = || vec![item(&[&kind, "Blocked"], &[seat, "row-1"])];
    let reserve = || unless(one(&kind, &[seat, "row-1"]), free(), None);
    calls.append(one(&kind, &[seat])).await.unwrap();
    calls.append(one("Looked", &[seat, "row-1"])).await.unwrap();
    let taken = calls.append(reserve()).await.expect("only some of the tags, or another type");
    let status = refused(calls.append(reserve()).await, Reason::AppendConditionFailed);
    assert_eq!(value(&status, "position"), taken.first_position.to_string());

    // Any item will do.
    let either = vec![item(&[], &[&unique("unheard-of")]), item(&[&kind], &[])];
    let status = refused(
        calls.append(unless(one("Other", &[]), either, None)).await,
        Reason::AppendConditionFailed,
    );
    let first: u64 = value(&status, "position").parse().unwrap();
    assert!(first < taken.first_position, "the first that matched is named");
}

pub async fn only_events_after_the_position_count(calls: Calls) {
    let tag = unique("tag");
    let items = || vec![item(&[], &[&tag])];
    let before = calls.append(one("A", &[&tag])).await.unwrap().last_position;
    let decided = unless(one("A", &[&tag]), items(), Some(before));
    let after = calls.append(decided).await.expect("nothing came after").last_position;
    let late = unless(one("A", &[&tag]), items(), Some(before));
    let status = refused(calls.append(late).await, Reason::AppendConditionFailed);
    assert_eq!(value(&status, "position"), after.to_string());
}

pub async fn what_was_removed_fails_no_append(calls: Calls) {
    let (tag, name) = (unique("tag"), unique("removed"));
    let items = || vec![item(&[], &[&tag])];
    calls.append(append(vec![stream(&name, vec![tagged("A", &[&tag])])])).await.unwrap();
    refused(
        calls.append(unless(one("B", &[]), items(), None)).await,
        Reason::AppendConditionFailed,
    );
    calls.delete(v1::DeleteRequest { stream_id: name, expectation: None }).await.unwrap();
    calls.append(unless(one("B", &[]), items(), None)).await.expect("its events are gone");
}

pub async fn a_retry_is_recognised_before_its_condition_is_looked_at(calls: Calls) {
    let tag = unique("tag");
    let request = unless(one("A", &[&tag]), vec![item(&[], &[&tag])], None);
    let first = calls.append(request.clone()).await.unwrap();
    assert_eq!(calls.append(request).await.expect("its own event fails no retry"), first);
}

pub async fn a_condition_that_asks_for_nothing_or_too_much_is_refused(calls: Calls) {
    let refuse = async |items, reason, field: &str| {
        refused_field(calls.append(unless(one("A", &[]), items, None)).await, reason, field);
    };
    refuse(vec![], Reason::InvalidArgument, "condition.query.items").await;
    let unnamed = vec![item(&[""], &[])];
    refuse(unnamed, Reason::InvalidArgument, "condition.query.items[0].types[0]").await;
    let many = (0..101).map(|_| item(&["A"], &[])).collect();
    refuse(many, Reason::LimitExceeded, "condition.query.items").await;
}
