//! `Append`: expectations, atomicity, retries, limits.

use reckon_api::{Reason, v1};
use uuid::Uuid;

use crate::calls::Calls;
use crate::messages::{
    append, event, events_to, expecting, refused, refused_field, stream, stream_exists, tagged,
    unique, value, version, versions,
};

pub async fn an_append_over_several_streams_is_answered_stream_by_stream(calls: Calls) {
    let (one, two) = (unique("one"), unique("two"));
    calls.append(events_to(&two, 1)).await.unwrap();
    let request =
        append(vec![stream(&two, vec![event("A"), event("B")]), stream(&one, vec![event("A")])]);
    let answer = calls.append(request).await.unwrap();
    let last: Vec<_> =
        answer.streams.iter().map(|own| (own.stream_id.as_str(), own.last_version)).collect();
    assert_eq!(last, [(two.as_str(), 2), (one.as_str(), 0)], "in the order of the request");
    assert_eq!(answer.last_position, answer.first_position + 2);
    assert!(answer.epoch_us > 1_700_000_000_000_000, "{}", answer.epoch_us);
}

pub async fn expectations_are_met_or_refused_with_the_actual_version(calls: Calls) {
    let name = unique("expected");
    let with = |expectation| append(vec![expecting(stream(&name, vec![event("A")]), expectation)]);
    let wrong = async |expectation, actual: &str| {
        let status = refused(calls.append(with(expectation)).await, Reason::WrongExpectedVersion);
        assert_eq!(value(&status, "actual"), actual);
        assert_eq!(value(&status, "stream"), name);
    };
    wrong(version(0), "-1").await;
    wrong(stream_exists(), "-1").await;
    calls.append(with(version(-1))).await.unwrap();
    wrong(version(-1), "0").await;
    wrong(version(1), "0").await;
    calls.append(with(version(0))).await.unwrap();
    calls.append(with(stream_exists())).await.unwrap();
    calls.append(with(version(-2))).await.unwrap();
    wrong(version(2), "3").await;

    calls.delete(v1::DeleteRequest { stream_id: name.clone(), expectation: None }).await.unwrap();
    wrong(stream_exists(), "3").await;
    calls.append(with(version(3))).await.expect("the exact last version is met after a deletion");
    calls.delete(v1::DeleteRequest { stream_id: name.clone(), expectation: None }).await.unwrap();
    calls.append(with(version(-1))).await.expect("and so is no stream");

    let tombstone = v1::TombstoneRequest { stream_id: name.clone(), expectation: None };
    calls.tombstone(tombstone).await.unwrap();
    for expectation in [version(-2), version(-1), version(5), stream_exists()] {
        refused(calls.append(with(expectation)).await, Reason::StreamTombstoned);
    }
}

pub async fn one_stream_that_is_not_as_expected_keeps_all_others_from_changing(calls: Calls) {
    let (new, old) = (unique("new"), unique("old"));
    calls.append(events_to(&old, 2)).await.unwrap();
    let request = append(vec![
        stream(&new, vec![event("A")]),
        expecting(stream(&old, vec![event("A")]), version(7)),
    ]);
    refused(calls.append(request).await, Reason::WrongExpectedVersion);
    let described =
        calls.get_stream(v1::GetStreamRequest { stream_id: new, consistency: None }).await.unwrap();
    assert!(!described.stream.unwrap().exists);
}

pub async fn a_retry_is_answered_as_the_first_try_was(calls: Calls) {
    let name = unique("retried");
    let request = append(vec![
        expecting(stream(&name, vec![event("A"), event("B")]), version(-1)),
        stream(&unique("beside"), vec![event("C")]),
    ]);
    let first = calls.append(request.clone()).await.unwrap();
    calls.append(events_to(&name, 1)).await.unwrap();
    let again = calls.append(request).await.expect("ids are looked at before expectations");
    assert_eq!(again, first);
    let read = v1::ReadRequest { stream_id: name, ..v1::ReadRequest::default() };
    assert_eq!(versions(&calls.read(read).await.unwrap().1), [0, 1, 2]);
}

pub async fn an_id_is_never_used_for_other_content(calls: Calls) {
    let name = unique("ids");
    let (one, two) = (event("A"), event("B"));
    calls.append(append(vec![stream(&name, vec![one.clone(), two.clone()])])).await.unwrap();
    let reused = async |events: Vec<v1::NewEvent>| {
        let request = append(vec![stream(&name, events)]);
        refused(calls.append(request).await, Reason::EventIdReused);
    };
    reused(vec![v1::NewEvent { data: "{\"other\":1}".into(), ..one.clone() }]).await;
    reused(vec![two.clone(), one.clone()]).await;
    reused(vec![one.clone(), event("C")]).await;
    let elsewhere = append(vec![stream(&unique("elsewhere"), vec![one.clone()])]);
    refused(calls.append(elsewhere).await, Reason::EventIdReused);
    let twice = event("D");
    reused(vec![twice.clone(), twice]).await;
}

pub async fn what_is_malformed_or_too_large_is_refused_by_field_and_limit(calls: Calls) {
    use Reason::{InvalidArgument, LimitExceeded};
    let name = unique("refused");
    let refuse = async |request, reason, field: &str| {
        refused_field(calls.append(request).await, reason, field);
    };
    let with = |event| append(vec![stream(&name, vec![event])]);
    refuse(append(vec![]), InvalidArgument, "appends").await;
    refuse(events_to("$mine", 1), InvalidArgument, "appends[0].stream_id").await;
    refuse(events_to(&"s".repeat(513), 1), LimitExceeded, "appends[0].stream_id").await;
    refuse(
        append(vec![expecting(stream(&name, vec![event("A")]), version(-3))]),
        InvalidArgument,
        "appends[0].expectation.version",
    )
    .await;
    refuse(
        with(v1::NewEvent { event_id: Some("17".to_owned()), ..event("A") }),
        InvalidArgument,
        "appends[0].events[0].event_id",
    )
    .await;
    let tags: Vec<_> = (0..65).map(|number| number.to_string()).collect();
    let tags: Vec<_> = tags.iter().map(String::as_str).collect();
    refuse(with(tagged("A", &tags)), LimitExceeded, "appends[0].events[0].tags").await;
    let large = v1::NewEvent { data: vec![b'x'; 1 << 20].into(), ..event("A") };
    refuse(with(large), LimitExceeded, "appends[0].events[0]").await;
    let many = (0..101).map(|_| stream(&unique("many"), vec![event("A")])).collect();
    refuse(append(many), LimitExceeded, "appends").await;
    let absent = v1::NewEvent { event_id: None, ..event("A") };
    let given = calls.append(with(absent)).await.expect("an id is given where there is none");
    let read = v1::ReadRequest { stream_id: name, ..v1::ReadRequest::default() };
    let events = calls.read(read).await.unwrap().1;
    assert_eq!(events[0].position, given.first_position);
    assert_eq!(Uuid::parse_str(&events[0].event_id).unwrap().get_version_num(), 7);
}
