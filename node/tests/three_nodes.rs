//! Three real processes on loopback. Killing a process proves nothing about disks; it proves that elections,
//! retries and replays keep what was acknowledged.

mod processes;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use processes::{NodeProcess, Store, append, eventually, read_all};
use reckon_api::v1::append_batch_response::Outcome;
use reckon_api::{Reason, v1};
use tonic::Code;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_leader_is_killed_during_appends() {
    let mut store = Store::start(3);
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged_so_far = Arc::new(AtomicUsize::new(0));
    store.ready().await;

    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let endpoints: Vec<_> = store.nodes.iter().map(NodeProcess::streams).collect();
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&acknowledged_so_far));
            tokio::spawn(async move {
                let stream = format!("writer-{writer}");
                let mut acknowledged = Vec::new();
                let mut turn = writer;
                while !stop.load(Ordering::Relaxed) {
                    let event_id = Uuid::now_v7().to_string();
                    // The same event, with the same id, until some node acknowledges it.
                    loop {
                        let mut client = endpoints[turn % endpoints.len()].clone();
                        let mut request = tonic::Request::new(append(&stream, &event_id, "{}"));
                        request.set_timeout(std::time::Duration::from_secs(2));
                        if let Ok(answer) = client.append(request).await {
                            acknowledged.push((event_id, answer.into_inner().first_position));
                            count.fetch_add(1, Ordering::Relaxed);
                            break;
                        }
                        turn += 1;
                        tokio::task::yield_now().await;
                    }
                }
                (stream, acknowledged)
            })
        })
        .collect();

    for _ in 0..3 {
        let before = acknowledged_so_far.load(Ordering::Relaxed);
        eventually("appends are acknowledged", || async {
            (acknowledged_so_far.load(Ordering::Relaxed) > before + 50).then_some(())
        })
        .await;
        let leader = store.ready().await;
        store.nodes[leader].kill();
        let at_the_kill = acknowledged_so_far.load(Ordering::Relaxed);
        eventually("the others go on", || async {
            (acknowledged_so_far.load(Ordering::Relaxed) > at_the_kill + 50).then_some(())
        })
        .await;
        store.nodes[leader].start();
        store.ready().await;
    }
    stop.store(true, Ordering::Relaxed);

    let mut expected = HashMap::new();
    for writer in writers {
        let (stream, acknowledged) = writer.await.expect("a writer does not panic");
        expected.insert(stream, acknowledged);
    }
    store.ready().await;
    for node in &store.nodes {
        let events = read_all(node).await.expect("every node serves reads");
        for (index, event) in events.iter().enumerate() {
            assert_eq!(event.position, index as u64, "positions have no gap");
        }
        for (stream, acknowledged) in &expected {
            let own: Vec<_> = events.iter().filter(|event| event.stream_id == *stream).collect();
            for (index, event) in own.iter().enumerate() {
                assert_eq!(event.version, index as u64, "versions have no gap");
            }
            let stored: Vec<_> =
                own.iter().map(|event| (event.event_id.clone(), event.position)).collect();
            assert_eq!(&stored, acknowledged, "exactly the acknowledged events, once and in order");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_takes_every_request_and_refuses_alike() {
    let store = Store::start(3);
    store.ready().await;
    for (index, node) in store.nodes.iter().enumerate() {
        let stream = format!("order-{index}");
        let mut request = append(&stream, &Uuid::now_v7().to_string(), "{\"n\":1}");
        request.appends[0].expectation =
            Some(v1::Expectation { kind: Some(v1::expectation::Kind::Version(-1)) });
        let answer = node.streams().append(request.clone()).await.expect("an answer").into_inner();
        assert_eq!(answer.streams[0].last_version, 0);

        let again = node.streams().append(request.clone()).await.expect("a retry").into_inner();
        assert_eq!(again, answer, "a retried append returns the first result");

        request.appends[0].events[0].event_id = Some(Uuid::now_v7().to_string());
        let refused = node.streams().append(request).await.expect_err("the stream exists");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(Reason::of(&refused), Some(Reason::WrongExpectedVersion));

        // Read your own write through every other node: linearizable by default.
        for other in &store.nodes {
            let events = read_all(other).await.expect("a read");
            assert!(events.iter().any(|event| event.stream_id == stream), "{}", other.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_passes_on_appends_of_a_stream_names_the_leader() {
    let store = Store::start(3);
    let leader = store.ready().await;
    let address = format!("127.0.0.1:{}", store.nodes[leader].client);
    for (index, node) in store.nodes.iter().enumerate() {
        let append = append("orders", &Uuid::now_v7().to_string(), "{}");
        let request = v1::AppendBatchRequest { append: Some(append), timeout_ms: 0 };
        let answers = node.streams().append_batch(futures::stream::iter([request])).await;
        let answer = answers.expect("answers").into_inner().message().await.expect("an answer");
        let answer = answer.expect("an append is answered");
        assert!(matches!(answer.outcome, Some(Outcome::Appended(_))), "{answer:?}");
        let named = if index == leader { "" } else { address.as_str() };
        assert_eq!(answer.leader, named, "{}", node.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_leader_hands_over_and_ends_without_an_error() {
    let mut store = Store::start(3);
    let leader = store.ready().await;
    let old = store.nodes[leader].status().await.expect("a status");
    assert!(store.nodes[leader].terminate(), "SIGTERM ends the process cleanly");
    let next = store.ready().await;
    let new = store.nodes[next].status().await.expect("a status");
    assert_ne!(new.leader_id, old.node_id);
    assert!(new.term > old.term);

    store.nodes[leader].start();
    store.ready().await;
    let back = store.nodes[leader].status().await.expect("a status");
    assert_eq!(back.node_id, old.node_id, "a volume keeps its member");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_volume_was_emptied_joins_as_a_new_member() {
    let mut store = Store::start(3);
    let leader = store.ready().await;
    let victim = (leader + 1) % 3;
    let old = store.nodes[victim].status().await.expect("a status");
    store.nodes[leader]
        .streams()
        .append(append("kept", &Uuid::now_v7().to_string(), "{}"))
        .await
        .expect("an append");

    store.nodes[victim].kill();
    std::fs::remove_dir_all(&store.nodes[victim].data).expect("the volume is emptied");
    store.nodes[victim].start();
    let new = eventually("the node joins", || async {
        let status = store.nodes[victim].status().await.ok()?;
        (status.node_id != 0).then_some(status)
    })
    .await;
    assert_eq!(new.cluster_id, old.cluster_id);
    assert_ne!(new.node_id, old.node_id, "an id is never used twice");
    assert_ne!(new.volume_id, old.volume_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_log_is_gone_refuses_to_start_and_vote() {
    let mut store = Store::start(1);
    store.ready().await;
    store.nodes[0].kill();
    let log = store.nodes[0].data.join("log");
    std::fs::remove_dir_all(&log).expect("the log is lost");
    std::fs::create_dir(&log).expect("an empty folder in its place");

    store.nodes[0].start();
    assert!(!store.nodes[0].ends_by_itself().await, "a member without its log ends with an error");
    assert_eq!(std::fs::read_dir(&log).expect("the folder").count(), 0, "and begins no other");
}
