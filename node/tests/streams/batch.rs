//! `AppendBatch`, raw and through the client's appender.

use std::collections::BTreeSet;

use futures::future::join_all;
use reckon_api::client::{Expect, Options};
use reckon_api::{Client, Reason, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::calls::Calls;
use crate::messages::{
    append, event, events_to, expecting, in_batch, item, query, refused, refused_field, stream,
    tagged, unique, version,
};

pub async fn independent_appends_are_answered_in_order(calls: Calls) {
    // More than may be under way at once.
    let names: Vec<_> = (0..3_000).map(|_| unique("batched")).collect();
    let requests = names.iter().map(|name| in_batch(events_to(name, 1))).collect();
    let answers = calls.append_batch(requests).await;
    assert_eq!(answers.len(), names.len());
    let mut positions = BTreeSet::new();
    for (name, answer) in names.iter().zip(answers) {
        let answer = answer.unwrap();
        assert_eq!(&answer.streams[0].stream_id, name);
        assert!(positions.insert(answer.first_position), "every append has positions of its own");
    }
}

pub async fn a_refused_append_ends_neither_the_stream_nor_those_behind_it(calls: Calls) {
    let (name, tombstoned, tag) = (unique("batch"), unique("gone"), unique("tag"));
    calls.append(append(vec![stream(&name, vec![tagged("A", &[&tag])])])).await.unwrap();
    let tombstone = v1::TombstoneRequest { stream_id: tombstoned.clone(), expectation: None };
    calls.tombstone(tombstone).await.unwrap();
    let known = event("A");
    calls.append(append(vec![stream(&unique("known"), vec![known.clone()])])).await.unwrap();

    let condition =
        v1::AppendCondition { query: Some(query(vec![item(&[], &[&tag])])), after_position: None };
    let empty_query = v1::AppendCondition { query: None, after_position: None };
    let large = v1::NewEvent { data: vec![b'x'; 1 << 20].into(), ..event("A") };
    let good = || in_batch(events_to(&unique("good"), 1));
    let requests = vec![
        good(),
        in_batch(append(vec![expecting(stream(&name, vec![event("A")]), version(-1))])),
        in_batch(v1::AppendRequest { condition: Some(condition), ..events_to(&unique("b"), 1) }),
        in_batch(append(vec![stream(&unique("c"), vec![known])])),
        in_batch(events_to(&tombstoned, 1)),
        in_batch(append(vec![])),
        in_batch(append(vec![stream(&unique("d"), vec![large])])),
        in_batch(v1::AppendRequest { condition: Some(empty_query), ..events_to(&unique("e"), 1) }),
        v1::AppendBatchRequest { append: None, timeout_ms: 0 },
        good(),
    ];
    let mut answers = calls.append_batch(requests).await.into_iter();
    let mut next = || answers.next().expect("every append is answered");
    next().unwrap();
    refused(next(), Reason::WrongExpectedVersion);
    refused(next(), Reason::AppendConditionFailed);
    refused(next(), Reason::EventIdReused);
    refused(next(), Reason::StreamTombstoned);
    refused_field(next(), Reason::InvalidArgument, "appends");
    refused_field(next(), Reason::LimitExceeded, "appends[0].events[0]");
    refused(next(), Reason::InvalidArgument);
    refused_field(next(), Reason::InvalidArgument, "append");
    next().unwrap();
}

pub async fn a_stream_may_be_left_open_and_used_again(calls: Calls) {
    let (requests, outgoing) = mpsc::channel(1);
    let mut batch = calls.open_batch(ReceiverStream::new(outgoing)).await;
    for expected in -1..3 {
        let append = append(vec![expecting(stream("conversation", vec![event("A")]), version(-2))]);
        requests.send(in_batch(append)).await.unwrap();
        let answer = batch.next().await.expect("an answer").unwrap();
        assert!(i64::try_from(answer.streams[0].last_version).unwrap() > expected);
    }
    drop(requests);
    assert!(batch.next().await.is_none(), "a closed stream ends well");
}

pub async fn an_appender_of_the_client_serves_many_callers(calls: Calls) {
    let appender = Client::new(Options::new([calls.address()])).unwrap().appender();
    let name = unique("appender");
    let appends = (0..500).map(|number| {
        let (appender, name) = (appender.clone(), format!("{name}-{number}"));
        async move { appender.append_to(name, Expect::NoStream, vec![event("A")]).await }
    });
    let positions: BTreeSet<_> =
        join_all(appends).await.into_iter().map(|answer| answer.unwrap().first_position).collect();
    assert_eq!(positions.len(), 500);
}
