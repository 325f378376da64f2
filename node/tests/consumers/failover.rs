//! Consumers while leaders change, and through nodes that do not lead.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use reckon_api::client::{ConsumerOptions, Expect, Settlement};
use reckon_api::v1;

use crate::processes::{Store, eventually, read_all};
use crate::support::{Tested, append, client, create, event, events, health, to_all};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_at_any_node_is_served() {
    let store = Store::start(3);
    store.ready().await;
    let all = client(&store.nodes);
    let definition = v1::SubscriptionDefinition { pool_size: 3, ..to_all("mail") };
    create(&all, definition).await.unwrap();
    for (index, node) in store.nodes.iter().enumerate() {
        let own = client(std::slice::from_ref(node));
        let mut consumer = Tested::of(&own, "mail").await;
        let stream = format!("stream-{index}");
        append(&own, &[&stream]).await;
        assert_eq!(consumer.take(1).await, events(&[(&stream, 0)]));
        consumer.leave().await;
    }
    let health = health(&all).await;
    assert_eq!((health[0].lag_events, health[0].checkpoint_position), (0, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_arrives_in_the_order_of_its_key_while_leaders_are_killed() {
    const KEYS: usize = 5;
    let mut store = Store::start(3);
    store.ready().await;
    let client = client(&store.nodes);
    let definition = v1::SubscriptionDefinition { pool_size: 2, ..to_all("mail") };
    create(&client, definition).await.unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    // By key: the versions whose handler has ended well, in that order.
    let handled: Arc<Mutex<BTreeMap<String, Vec<u64>>>> = Arc::default();
    let consumers: Vec<_> = (0..2)
        .map(|_| {
            let (client, handled) = (client.clone(), Arc::clone(&handled));
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                let handle = move |delivery: v1::Delivery| {
                    let handled = Arc::clone(&handled);
                    async move {
                        let event = delivery.event.expect("an event");
                        if event.version % 7 == 3 && delivery.attempt == 1 {
                            return Settlement::retry("at first it never works");
                        }
                        handled.lock().entry(event.stream_id).or_default().push(event.version);
                        Settlement::Ack
                    }
                };
                let stopped = async {
                    while !stop.load(Ordering::Relaxed) {
                        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                    }
                };
                let options = ConsumerOptions::default();
                client.consumer("mail").options(options).run(handle, stopped).await
            })
        })
        .collect();

    let appended = Arc::new(Mutex::new([0_u64; KEYS]));
    let writing = {
        let (client, stop, appended) = (client.clone(), Arc::clone(&stop), Arc::clone(&appended));
        tokio::spawn(async move {
            let mut turn = 0;
            while !stop.load(Ordering::Relaxed) {
                let key = turn % KEYS;
                turn += 1;
                let event = event("Tested", "{}");
                // The client gives the event its id, and tries until it is taken.
                if client.append_to(format!("key-{key}"), Expect::Any, vec![event]).await.is_ok() {
                    appended.lock()[key] += 1;
                }
            }
        })
    };
    let count = || handled.lock().values().map(Vec::len).sum::<usize>();
    for _ in 0..3 {
        let before = count();
        eventually("events are handled", || async { (count() > before + 200).then_some(()) }).await;
        let leader = store.ready().await;
        store.nodes[leader].kill();
        let at_the_kill = count();
        eventually("they go on", || async { (count() > at_the_kill + 200).then_some(()) }).await;
        store.nodes[leader].start();
    }
    store.ready().await;
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    for consumer in consumers {
        consumer.await.unwrap().unwrap();
    }
    // What is left is taken by one more.
    let mut last = Tested::of(&client, "mail").await;
    last.until(|_| true).await;
    loop {
        let health = health(&client).await;
        if health[0].lag_events == 0 {
            break;
        }
        let delivery = last.next().await;
        let event = delivery.event.as_ref().unwrap();
        handled.lock().entry(event.stream_id.clone()).or_default().push(event.version);
        last.ack(&delivery);
    }

    let read = read_all(&store.nodes[0]).await.unwrap();
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for event in read.iter().filter(|event| event.stream_id.starts_with("key-")) {
        expected.insert(event.stream_id.clone(), event.version + 1);
    }
    let handled = handled.lock();
    for (stream, next_version) in expected {
        let mut next = 0;
        for &version in &handled[&stream] {
            assert!(version <= next, "{stream}: {version} was handled before {next}");
            next = next.max(version + 1);
        }
        assert_eq!(next, next_version, "{stream} was not handled to its end");
    }
}
