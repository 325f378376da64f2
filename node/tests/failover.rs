//! Appends while the leader changes, and through nodes that do not lead. Three real processes; the leader is killed
//! without a word.

mod processes;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use processes::{NodeProcess, Store, append, eventually, read_all};
use reckon_api::client::{Expect, Options};
use reckon_api::{Client, Reason, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use uuid::Uuid;
use v1::append_batch_response::Outcome;

/// An append that no retry would be taken for: it expects that its stream is new.
fn first_append(stream: &str) -> v1::AppendRequest {
    let mut request = append(stream, &Uuid::now_v7().to_string(), "{\"n\":1}");
    let kind = Some(v1::expectation::Kind::Version(-1));
    request.appends[0].expectation = Some(v1::Expectation { kind });
    request
}

async fn send(
    node: &NodeProcess,
    request: v1::AppendRequest,
) -> Result<v1::AppendResponse, Status> {
    node.streams().append(request).await.map(tonic::Response::into_inner)
}

/// Sends the same request until there is an answer.
async fn until_answered(node: &NodeProcess, request: &v1::AppendRequest) -> v1::AppendResponse {
    eventually("the append is answered", || async {
        match send(node, request.clone()).await {
            Ok(answer) => Some(answer),
            Err(status) => {
                let reason = Reason::of(&status);
                assert!(reason.is_none_or(Reason::retryable), "{status:?}");
                None
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_on_any_node_is_answered_as_the_first_try_was_after_the_leader_died() {
    let mut store = Store::start(3);
    for round in 0..3 {
        let leader = store.ready().await;
        let acknowledged = first_append(&format!("acknowledged-{round}"));
        let first = send(&store.nodes[leader], acknowledged.clone()).await.expect("an answer");
        // One more is on its way when the leader dies: perhaps it takes effect, perhaps not.
        let unheard = first_append(&format!("unheard-{round}"));
        let mut doomed = store.nodes[leader].streams();
        let on_its_way = {
            let unheard = unheard.clone();
            tokio::spawn(
                async move { doomed.append(unheard).await.map(tonic::Response::into_inner) },
            )
        };
        tokio::task::yield_now().await;
        store.nodes[leader].kill();
        let heard = on_its_way.await.expect("a request does not panic");

        let survivors = [(leader + 1) % 3, (leader + 2) % 3];
        let mut answers = Vec::new();
        for survivor in survivors {
            let node = &store.nodes[survivor];
            assert_eq!(until_answered(node, &acknowledged).await, first, "{}", node.name);
            answers.push(until_answered(node, &unheard).await);
        }
        assert_eq!(answers[0], answers[1], "the retry takes effect once, wherever it is sent");
        if let Ok(heard) = heard {
            assert_eq!(answers[0], heard);
        }
        store.nodes[leader].start();
        store.ready().await;
        let back = &store.nodes[leader];
        assert_eq!(
            until_answered(back, &acknowledged).await,
            first,
            "also on the one that was away"
        );
        assert_eq!(until_answered(back, &unheard).await, answers[0]);
    }
    for node in &store.nodes {
        assert_eq!(read_all(node).await.expect("a read").len(), 6, "{}", node.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_through_a_follower_are_those_of_the_leader() {
    let store = Store::start(3);
    let leader = store.ready().await;
    let (leader, follower) = (&store.nodes[leader], &store.nodes[(leader + 1) % 3]);
    let known = first_append("known");
    send(leader, known.clone()).await.expect("an answer");
    let gone = v1::TombstoneRequest { stream_id: "gone".to_owned(), expectation: None };
    let through = follower.streams().tombstone(gone.clone()).await.expect("an answer");
    let direct = leader.streams().tombstone(gone).await.expect("an answer");
    assert_eq!(through.into_inner(), direct.into_inner());

    let mut wrong = first_append("known");
    wrong.appends[0].events[0].data = "{}".into();
    let mut reused = known.clone();
    reused.appends[0].events[0].data = "{\"n\":2}".into();
    let mut conditional = first_append("conditional");
    let item = v1::QueryItem { types: vec!["Tested".to_owned()], tags: Vec::new() };
    conditional.condition = Some(v1::AppendCondition {
        query: Some(v1::Query { items: vec![item] }),
        after_position: None,
    });
    let mut malformed = first_append("malformed");
    malformed.appends[0].events.clear();
    for request in [known, wrong, reused, conditional, first_append("gone"), malformed] {
        let through = send(follower, request.clone()).await;
        let direct = send(leader, request).await;
        match (through, direct) {
            (Ok(through), Ok(direct)) => assert_eq!(through, direct),
            (Err(through), Err(direct)) => {
                assert_eq!(through.code(), direct.code());
                assert_eq!(through.message(), direct.message());
                assert_eq!(Reason::of(&through), Reason::of(&direct));
                assert!(Reason::of(&through).is_some());
            }
            (through, direct) => panic!("through {through:?}, directly {direct:?}"),
        }
    }
}

/// One append of a batch, its time short enough that a lost leader is noticed.
fn in_batch(append: v1::AppendRequest) -> v1::AppendBatchRequest {
    v1::AppendBatchRequest { append: Some(append), timeout_ms: 5_000 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_through_a_follower_is_answered_in_order_over_a_change_of_leaders() {
    let mut store = Store::start(3);
    let leader = store.ready().await;
    let follower = (leader + 1) % 3;
    let (requests, outgoing) = mpsc::channel(1);
    let batch = store.nodes[follower].streams().append_batch(ReceiverStream::new(outgoing)).await;
    let mut answers = batch.expect("a stream").into_inner();
    let sent: Vec<_> = (0..400).map(|number| first_append(&format!("batched-{number}"))).collect();
    let writing = {
        let sent = sent.clone();
        tokio::spawn(async move {
            for request in sent {
                requests.send(in_batch(request)).await.expect("the stream stays open");
            }
        })
    };

    let mut retried = 0;
    for (number, request) in sent.iter().enumerate() {
        if number == 100 {
            store.nodes[leader].kill();
        }
        let answer = answers.next().await.expect("every append is answered").expect("a message");
        let own = &request.appends[0].stream_id;
        match answer.outcome.expect("an answer says something") {
            Outcome::Appended(appended) => {
                assert_eq!(&appended.streams[0].stream_id, own, "in the order of the requests");
            }
            Outcome::Failed(failure) => {
                let status = Status::from(failure);
                assert!(Reason::of(&status).is_some_and(Reason::retryable), "{status:?}");
                until_answered(&store.nodes[follower], request).await;
                retried += 1;
            }
        }
    }
    writing.await.expect("writing does not panic");
    assert!(retried < sent.len(), "most were answered at their first try");
    assert!(answers.next().await.is_none(), "the stream ends well");

    store.nodes[leader].start();
    store.ready().await;
    for node in &store.nodes {
        let events = read_all(node).await.expect("a read");
        let ids: BTreeSet<_> = events.iter().map(|event| event.event_id.as_str()).collect();
        assert_eq!(
            (events.len(), ids.len()),
            (sent.len(), sent.len()),
            "each once, on {}",
            node.name
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_appender_outlives_the_leader_and_doubles_nothing() {
    let mut store = Store::start(3);
    let leader = store.ready().await;
    let endpoints = store.nodes.iter().map(|node| format!("127.0.0.1:{}", node.client));
    let options = Options { deadline: Duration::from_mins(1), ..Options::new(endpoints) };
    let appender = Client::new(options).expect("endpoints").appender();
    let event = || v1::NewEvent { event_type: "Tested".to_owned(), ..v1::NewEvent::default() };
    let writers = (0..20).map(|writer| {
        let appender = appender.clone();
        tokio::spawn(async move {
            let stream = format!("writer-{writer}");
            let mut expect = Expect::NoStream;
            for version in 0..100 {
                let answer = appender.append_to(stream.as_str(), expect, vec![event()]).await;
                let last = answer.expect("the store comes back in time").streams[0].last_version;
                assert_eq!(last, version, "nothing was doubled or lost");
                expect = Expect::Version(last);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    eventually("some are appended", || async {
        let status = store.nodes[leader].status().await.ok()?;
        (status.events > 200).then_some(())
    })
    .await;
    store.nodes[leader].kill();
    for writer in join_all(writers).await {
        writer.expect("a writer gets through");
    }
    let survivor = &store.nodes[(leader + 1) % 3];
    assert_eq!(read_all(survivor).await.expect("a read").len(), 2_000);
}
