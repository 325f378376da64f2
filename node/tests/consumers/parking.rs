//! Events that cannot be handled: retried, parked, looked at, delivered again, forgotten.

use futures::TryStreamExt as _;
use reckon_api::{Client, v1};

use crate::processes::eventually;
use crate::support::{Tested, append, create, event, events, get, of, one_node, selects, to_all};

async fn parked(client: &Client) -> Vec<v1::ParkedEvent> {
    let subscription = Some("mail".into());
    let request = v1::ListParkedRequest { subscription, page_size: 2, ..Default::default() };
    client.list_parked(request).try_collect().await.expect("a list")
}

async fn replay(client: &Client, positions: &[u64]) -> u64 {
    let (subscription, positions) = (Some("mail".into()), positions.to_vec());
    let request = v1::ReplayParkedRequest { subscription, positions };
    client.replay_parked(request).await.expect("an answer").replayed
}

async fn discard(client: &Client, positions: &[u64], all: bool) -> u64 {
    let (subscription, positions) = (Some("mail".into()), positions.to_vec());
    let request = v1::DiscardParkedRequest { subscription, positions, all };
    client.discard_parked(request).await.expect("an answer").discarded
}

async fn until_parked(client: &Client, number: u64) {
    eventually("events are parked", || async {
        let subscription = get(client, "mail").await.ok()?;
        (subscription.parked == number).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_fails_too_often_is_parked_with_its_reason_and_holds_nothing_back() {
    let (mut store, client) = one_node().await;
    append(&client, &["a", "a", "b"]).await;
    let definition = v1::SubscriptionDefinition { max_retries: Some(2), ..to_all("mail") };
    create(&client, definition).await.unwrap();
    let mut consumer = Tested::of(&client, "mail").await;
    let mut attempts = Vec::new();
    let mut others = Vec::new();
    while attempts.len() < 3 || others.len() < 2 {
        let delivery = consumer.next().await;
        if of(&delivery) == ("a".into(), 0) {
            attempts.push(delivery.attempt);
            consumer.retry(&delivery, "no such customer", None);
        } else {
            consumer.ack(&delivery);
            others.push(of(&delivery));
        }
    }
    assert_eq!(attempts, [1, 2, 3]);
    assert!(others.contains(&("a".to_owned(), 1)), "the key goes on");
    until_parked(&client, 1).await;
    let listed = parked(&client).await;
    assert_eq!((listed[0].stream_id.as_str(), listed[0].version), ("a", 0));
    assert_eq!((listed[0].reason.as_str(), listed[0].attempts), ("no such customer", 3));
    drop(consumer);

    store.nodes[0].kill();
    store.nodes[0].start();
    store.ready().await;
    assert_eq!(parked(&client).await, listed, "parked events outlive a crash");
    let mut consumer = Tested::of(&client, "mail").await;
    consumer.until(|it| it.caught_up.is_some()).await;
    consumer.is_silent().await;
    assert_eq!(replay(&client, &[]).await, 1);
    let again = consumer.next().await;
    assert_eq!((of(&again), again.replayed), (("a".into(), 0), true));
    consumer.ack(&again);
    consumer.leave().await;
    let subscription = get(&client, "mail").await.unwrap();
    assert_eq!(subscription.parked, 0);
    let mut consumer = Tested::of(&client, "mail").await;
    consumer.is_silent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_event_that_holds_its_key_is_replayed_before_those_behind_it() {
    let (_store, client) = one_node().await;
    append(&client, &["a", "a", "b"]).await;
    let definition = v1::SubscriptionDefinition { hold_key: true, ..to_all("mail") };
    create(&client, definition).await.unwrap();
    let mut consumer = Tested::of(&client, "mail").await;
    let first = consumer.next().await;
    consumer.park(&first, "broken");
    assert_eq!(consumer.take(1).await, events(&[("b", 0)]));
    append(&client, &["a", "b"]).await;
    assert_eq!(consumer.take(1).await, events(&[("b", 1)]));
    until_parked(&client, 3).await;
    assert_eq!(replay(&client, &[]).await, 3);
    assert_eq!(consumer.take(3).await, events(&[("a", 0), ("a", 1), ("a", 2)]));
    until_parked(&client, 0).await;
    append(&client, &["a"]).await;
    assert_eq!(consumer.take(1).await, events(&[("a", 3)]), "the key is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_events_that_are_discarded_are_done() {
    let (_store, client) = one_node().await;
    append(&client, &["a", "b", "c"]).await;
    create(&client, to_all("mail")).await.unwrap();
    let mut consumer = Tested::of(&client, "mail").await;
    for _ in 0..3 {
        let delivery = consumer.next().await;
        consumer.park(&delivery, "broken");
    }
    until_parked(&client, 3).await;
    assert_eq!(discard(&client, &[1, 77], false).await, 1);
    let left: Vec<u64> = parked(&client).await.iter().map(|it| it.position).collect();
    assert_eq!(left, [0, 2]);
    assert_eq!(replay(&client, &[2]).await, 1);
    assert_eq!(consumer.take(1).await, events(&[("c", 0)]));
    assert_eq!(discard(&client, &[], true).await, 1);
    assert_eq!(parked(&client).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_an_expression_cannot_judge_is_parked_and_the_rest_goes_on() {
    let (_store, client) = one_node().await;
    let loops = "event.data.l.map(a, event.data.l.map(b, event.data.l.map(c, a + b + c)))";
    let payload =
        v1::EventPayload { conditions: Vec::new(), expression: format!("{loops}.size() >= 0") };
    let definition = v1::SubscriptionDefinition {
        selector: selects(v1::selector::Kind::EventPayload(payload)),
        ..to_all("mail")
    };
    create(&client, definition).await.unwrap();
    let numbers: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let heavy = event("Tested", &format!("{{\"l\": [{}]}}", numbers.join(",")));
    let light = event("Tested", "{\"l\": [1]}");
    let events = vec![light.clone(), heavy, light];
    client.append_to("a", reckon_api::client::Expect::Any, events).await.unwrap();
    let open = v1::OpenConsumer { key_window: 10, ..crate::support::opens("mail") };
    let mut consumer = Tested::open(&client, open).await;
    let taken: Vec<u64> = consumer.take(2).await.into_iter().map(|(_, version)| version).collect();
    assert_eq!(taken, [0, 2]);
    until_parked(&client, 1).await;
    let parked = parked(&client).await;
    assert_eq!(parked[0].version, 1);
    assert!(parked[0].reason.contains("steps"), "{}", parked[0].reason);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_parked_again_is_delivered_again_as_often_as_that_is_asked() {
    let (_store, client) = one_node().await;
    append(&client, &["a"]).await;
    create(&client, to_all("mail")).await.unwrap();
    let mut consumer = Tested::of(&client, "mail").await;
    let first = consumer.next().await;
    consumer.park(&first, "not now");
    for _ in 0..3 {
        until_parked(&client, 1).await;
        assert_eq!(replay(&client, &[]).await, 1);
        let again = consumer.next().await;
        assert!(again.replayed);
        consumer.park(&again, "nor now");
    }
    until_parked(&client, 1).await;
}
