//! `Count` and `Any`: bounds, and what is refused.

use reckon_api::{Reason, v1};

use crate::calls::Calls;
use crate::messages::{events_to, filter, of_prefix, refused, refused_field, unique};

pub async fn counts_stay_within_their_bounds(calls: Calls) {
    let prefix = unique("counted");
    let mut appended = Vec::new();
    for number in 0..4 {
        appended.push(calls.append(events_to(&format!("{prefix}-{number}"), 10)).await.unwrap());
    }
    let count = async |request: v1::CountRequest| {
        let request = v1::CountRequest { filter: filter(vec![of_prefix(&prefix)]), ..request };
        calls.count(request).await.unwrap()
    };
    let all = count(v1::CountRequest::default()).await;
    assert_eq!(all.events, 40);
    assert!(all.next_position > appended[3].last_position);
    let positions = v1::CountRequest {
        from_position: Some(appended[1].first_position),
        to_position: Some(appended[2].last_position - 1),
        ..v1::CountRequest::default()
    };
    assert_eq!(count(positions).await.events, 19, "both bounds are inclusive");
    let times = v1::CountRequest {
        since_us: Some(appended[1].epoch_us),
        until_us: Some(appended[2].epoch_us),
        ..v1::CountRequest::default()
    };
    let within = |own: &&v1::AppendResponse| {
        (appended[1].epoch_us..=appended[2].epoch_us).contains(&own.epoch_us)
    };
    let expected = 10 * appended.iter().filter(within).count() as u64;
    assert_eq!(count(times).await.events, expected);
    let nothing = v1::CountRequest { from_position: Some(u64::MAX), ..v1::CountRequest::default() };
    assert_eq!(count(nothing).await.events, 0);
}

pub async fn any_names_the_first_position(calls: Calls) {
    let prefix = unique("any");
    let ask = async |from_position, to_position| {
        let request = v1::AnyRequest {
            from_position,
            to_position,
            filter: filter(vec![of_prefix(&prefix)]),
            ..v1::AnyRequest::default()
        };
        let answer = calls.any(request).await.unwrap();
        assert_eq!(answer.any, answer.position.is_some());
        answer.position
    };
    assert_eq!(ask(None, None).await, None);
    let appended = calls.append(events_to(&prefix, 3)).await.unwrap();
    assert_eq!(ask(None, None).await, Some(appended.first_position));
    let second = appended.first_position + 1;
    assert_eq!(ask(Some(second), None).await, Some(second));
    assert_eq!(ask(None, appended.first_position.checked_sub(1)).await, None);
    assert_eq!(ask(Some(appended.last_position + 1), None).await, None);
}

pub async fn malformed_counts_are_refused(calls: Calls) {
    let times =
        v1::CountRequest { since_us: Some(2), until_us: Some(1), ..v1::CountRequest::default() };
    refused(calls.count(times).await, Reason::InvalidArgument);
    let times =
        v1::AnyRequest { since_us: Some(2), until_us: Some(1), ..v1::AnyRequest::default() };
    refused(calls.any(times).await, Reason::InvalidArgument);
    let terms: Vec<_> = (0..17).map(|_| of_prefix("a")).collect();
    let many = v1::CountRequest { filter: filter(terms.clone()), ..v1::CountRequest::default() };
    refused_field(calls.count(many).await, Reason::LimitExceeded, "filter.terms");
    let many = v1::AnyRequest { filter: filter(terms), ..v1::AnyRequest::default() };
    refused_field(calls.any(many).await, Reason::LimitExceeded, "filter.terms");
}
