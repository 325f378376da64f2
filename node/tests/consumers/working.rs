//! Delivering: order, demand, retries, pools, strategies, and what a checkpoint is worth.

use reckon_api::Reason;
use reckon_api::v1::{self, demand, selector};

use v1::BufferStrategy::{DropNewest, DropOldest, Error};
use v1::start_from::Kind;

use crate::processes::{Store, eventually};
use crate::support::{
    Tested, append, client, create, event, events, get, health, of, one_node, opens, read_stream,
    reason_of, selects, to_all,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_does_not_come_again_after_a_crash_and_the_rest_does() {
    let (mut store, client) = one_node().await;
    append(&client, &["a", "b", "a", "c"]).await;
    create(&client, to_all("mail")).await.unwrap();
    let mut consumer = Tested::of(&client, "mail").await;
    let first = consumer.next().await;
    let second = consumer.next().await;
    assert_eq!((of(&first), of(&second)), (("a".into(), 0), ("b".into(), 0)));
    consumer.ack(&second);
    let third = consumer.next().await;
    assert_eq!(of(&third), ("c".into(), 0), "`a` is held by its first event");
    consumer.ack(&third);
    // Written down: two are done, although an earlier one is not.
    eventually("the checkpoint is written", || async {
        let subscription = get(&client, "mail").await.ok()?;
        let checkpoint = subscription.checkpoint?;
        (checkpoint.pending == [0, 2] && checkpoint.next_position == 4).then_some(())
    })
    .await;
    store.nodes[0].kill();
    store.nodes[0].start();
    store.ready().await;
    let mut consumer = Tested::of(&client, "mail").await;
    assert_eq!(consumer.take(2).await, events(&[("a", 0), ("a", 1)]));
    consumer.until(|it| it.caught_up.is_some()).await;
    append(&client, &["d"]).await;
    assert_eq!(consumer.take(1).await, events(&[("d", 0)]), "the next event after a restart");
    consumer.leave().await;
    let subscription = get(&client, "mail").await.unwrap();
    assert_eq!(subscription.checkpoint.unwrap().pending, Vec::<u64>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_pulls_is_given_what_it_asked_for_and_no_more() {
    let (_store, client) = one_node().await;
    append(&client, &["a", "b", "c", "d", "e"]).await;
    create(&client, to_all("mail")).await.unwrap();
    let mut consumer =
        Tested::open(&client, v1::OpenConsumer { pull: true, ..opens("mail") }).await;
    consumer.is_silent().await;
    consumer.demand(demand::Kind::Add(1));
    consumer.demand(demand::Kind::Add(1));
    assert_eq!(consumer.take(2).await, events(&[("a", 0), ("b", 0)]));
    consumer.is_silent().await;
    consumer.demand(demand::Kind::Set(1));
    assert_eq!(consumer.take(1).await, events(&[("c", 0)]));
    consumer.is_silent().await;
    consumer.demand(demand::Kind::Unlimited(true));
    assert_eq!(consumer.take(2).await, events(&[("d", 0), ("e", 0)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_is_served_in_parallel_and_whoever_vanishes_frees_its_keys() {
    let (_store, client) = one_node().await;
    let definition = v1::SubscriptionDefinition { pool_size: 2, ..to_all("mail") };
    create(&client, definition).await.unwrap();
    let mut one = Tested::of(&client, "mail").await;
    let mut two = Tested::of(&client, "mail").await;
    let mut three = Tested::of(&client, "mail").await;
    assert_eq!((one.standby, two.standby, three.standby), (false, false, true));
    append(&client, &["a", "b", "a", "b"]).await;
    let (first, second) = (one.next().await, two.next().await);
    let mut both = [of(&first), of(&second)];
    both.sort();
    assert_eq!(both.to_vec(), events(&[("a", 0), ("b", 0)]));
    three.is_silent().await;
    // Gone without a word: its event comes to whoever is served now, and the rest of its key behind it.
    let (lost, kept) = (of(&first), of(&second));
    drop(one);
    three.until(|it| !it.standby).await;
    two.ack(&second);
    let mut rest = Vec::new();
    while rest.len() < 3 {
        let (next, by) = tokio::select! {
            next = two.next() => (next, &two),
            next = three.next() => (next, &three),
        };
        by.ack(&next);
        rest.push((of(&next), next.attempt));
    }
    rest.sort();
    let mut expected = [((lost.0.clone(), 0), 2), ((lost.0, 1), 1), ((kept.0, 1), 1)];
    expected.sort();
    assert_eq!(rest, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_not_settled_in_time_is_given_to_somebody_else_and_a_late_word_changes_nothing()
 {
    let (_store, client) = one_node().await;
    let definition =
        v1::SubscriptionDefinition { pool_size: 2, ack_timeout_ms: 2_000, ..to_all("mail") };
    create(&client, definition).await.unwrap();
    append(&client, &["a", "a"]).await;
    let mut slow = Tested::of(&client, "mail").await;
    let held = slow.next().await;
    let mut other = Tested::of(&client, "mail").await;
    let again = loop {
        // It may come to the slow one again, which goes on being slow.
        let next = tokio::select! {
            next = other.next() => Some(next),
            _ = slow.next() => None,
        };
        if let Some(next) = next {
            break next;
        }
    };
    assert_eq!(of(&again), ("a".into(), 0));
    assert!(again.attempt > 1 && again.epoch > held.epoch);
    slow.ack(&held);
    other.ack(&again);
    // What it said is taken in, and written down, when this returns.
    other.leave().await;
    let health = health(&client).await;
    assert_eq!(health[0].acknowledged, 1, "the late word counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_with_a_window_is_given_a_key_ahead_and_loses_it_all_with_a_retry() {
    let (_store, client) = one_node().await;
    create(&client, to_all("mail")).await.unwrap();
    append(&client, &["a", "a", "a"]).await;
    let open = v1::OpenConsumer { key_window: 10, ..opens("mail") };
    let mut consumer = Tested::open(&client, open).await;
    let mut first = Vec::new();
    for _ in 0..3 {
        first.push(consumer.next().await);
    }
    consumer.retry(&first[0], "not now", Some(1));
    // Void: they come again behind the one that failed.
    consumer.ack(&first[1]);
    consumer.ack(&first[2]);
    let again = consumer.next().await;
    assert_eq!((of(&again), again.attempt), (("a".into(), 0), 2));
    assert!(again.epoch > first[2].epoch);
    consumer.ack(&again);
    assert_eq!(consumer.take(2).await, events(&[("a", 1), ("a", 2)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_selector_delivers_whatever_stands_in_stream_ids() {
    let (_store, client) = one_node().await;
    for stream in ["orders-1", "a.b$c*-x", "$$odd", "*"] {
        if stream.starts_with('$') {
            continue;
        }
        let mut one = event("Placed", r#"{"price": 12, "to": {"city": "Bonn"}}"#);
        one.tags = vec!["vip".to_owned(), stream.to_owned()];
        one.metadata = r#"{"tenant": "t1"}"#.into();
        let other = event("Other", r#"{"price": 3}"#);
        client.append_to(stream, reckon_api::client::Expect::Any, vec![one, other]).await.unwrap();
    }
    let pattern = |kind| selector::Kind::EventPattern(v1::EventPattern { kind: Some(kind) });
    let condition = |field: &str, value: &str| v1::PayloadCondition {
        field: field.to_owned(),
        operator: v1::PayloadOperator::Eq.into(),
        value: value.to_owned(),
    };
    let payload = |conditions, expression: &str| {
        let expression = expression.to_owned();
        selector::Kind::EventPayload(v1::EventPayload { conditions, expression })
    };
    let tags = |tags: &[&str], all| {
        let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
        selector::Kind::Tags(v1::Tags { tags, all })
    };
    let placed = [("orders-1", 0), ("a.b$c*-x", 0), ("*", 0)];
    let all =
        [("orders-1", 0), ("orders-1", 1), ("a.b$c*-x", 0), ("a.b$c*-x", 1), ("*", 0), ("*", 1)];
    let selectors = [
        ("all", selector::Kind::All(true), &all[..]),
        ("by_stream", selector::Kind::Stream("$all".to_owned()), &all[..]),
        ("by_stream", selector::Kind::Stream("a.b$c*-x".to_owned()), &all[2..4]),
        ("stream", selector::Kind::Stream("*".to_owned()), &all[4..]),
        ("by_event_type", selector::Kind::EventType("Placed".to_owned()), &placed[..]),
        (
            "by_event_pattern",
            pattern(v1::event_pattern::Kind::Stream("a.*\\*-?".into())),
            &all[2..4],
        ),
        (
            "event_pattern",
            pattern(v1::event_pattern::Kind::Fields(
                r#"{"event_type":"Placed","tenant":"t1"}"#.into(),
            )),
            &placed[..],
        ),
        (
            "by_event_payload",
            payload(vec![condition("price", "12"), condition("to.city", "\"Bonn\"")], ""),
            &placed[..],
        ),
        ("", payload(vec![], "event.data.price > 10"), &placed[..]),
        ("by_tags", tags(&["vip", "orders-1"], true), &placed[..1]),
        ("tags", tags(&["orders-1", "*"], false), &[("orders-1", 0), ("*", 0)]),
    ];
    for (number, (type_name, kind, expected)) in selectors.into_iter().enumerate() {
        let name = format!("sub$-.*{number}");
        // `$all` is not one stream.
        let type_name = if matches!(&kind, selector::Kind::Stream(id) if id == "$all") {
            ""
        } else {
            type_name
        };
        let definition = v1::SubscriptionDefinition {
            r#type: type_name.to_owned(),
            selector: selects(kind),
            ..to_all(&name)
        };
        create(&client, definition).await.unwrap();
        let open = v1::OpenConsumer { key_window: 10, ..opens(&name) };
        let mut consumer = Tested::open(&client, open).await;
        assert_eq!(consumer.take(expected.len()).await, events(expected), "{name}");
        consumer.until(|it| it.caught_up.is_some()).await;
        consumer.is_silent().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_begins_where_it_is_told_to() {
    let (_store, client) = one_node().await;
    append(&client, &["a", "a", "a"]).await;
    let read = read_stream(&client, "a").await;
    let time_us = read[1].epoch_us;
    let starts = [
        (Kind::Beginning(true), &[0, 1, 2][..]),
        (Kind::End(true), &[]),
        (Kind::Position(1), &[1, 2]),
        (Kind::Version(2), &[2]),
        (Kind::TimeUs(time_us), &[1, 2]),
    ];
    let mut consumers = Vec::new();
    for (number, (kind, expected)) in starts.into_iter().enumerate() {
        let name = format!("sub-{number}");
        let definition = v1::SubscriptionDefinition {
            selector: selects(selector::Kind::Stream("a".to_owned())),
            start_from: Some(v1::StartFrom { kind: Some(kind) }),
            ..to_all(&name)
        };
        create(&client, definition).await.unwrap();
        consumers.push((name, expected));
    }
    append(&client, &["a"]).await;
    for (name, expected) in consumers {
        let expected = expected.iter().chain(&[3]).map(|&version| ("a".to_owned(), version));
        let expected: Vec<_> = expected.collect();
        let mut consumer = Tested::of(&client, &name).await;
        assert_eq!(consumer.take(expected.len()).await, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_buffer_drops_what_comes_live_or_ends_the_consumer_as_was_asked() {
    let (_store, client) = one_node().await;
    for (strategy, expected) in [
        (DropOldest, Some(&[("a", 0), ("a", 3), ("a", 4)][..])),
        (DropNewest, Some(&[("a", 0), ("a", 1), ("a", 2)][..])),
        (Error, None),
    ] {
        let name = format!("sub-{strategy:?}");
        let definition = v1::SubscriptionDefinition {
            selector: selects(selector::Kind::Stream(name.clone())),
            strategy: strategy.into(),
            buffer_size: 2,
            max_in_flight: 1,
            ..to_all(&name)
        };
        create(&client, definition).await.unwrap();
        let mut consumer = Tested::of(&client, &name).await;
        consumer.until(|it| it.caught_up.is_some()).await;
        append(&client, &[&name]).await;
        let held = consumer.next().await;
        append(&client, &[&name, &name, &name, &name]).await;
        let Some(expected) = expected else {
            let ended = consumer.try_next().await.unwrap_err();
            assert_eq!(reason_of(&ended), Some(Reason::SubscriptionBufferFull));
            let mut again = Tested::of(&client, &name).await;
            assert_eq!(again.take(5).await.len(), 5, "history is not dropped");
            continue;
        };
        eventually("two were dropped", || async {
            let subscription = get(&client, name.as_str()).await.ok()?;
            (subscription.dropped == 2).then_some(())
        })
        .await;
        consumer.ack(&held);
        let rest = consumer.take(2).await;
        let expected: Vec<_> = expected[1..].iter().map(|(_, it)| (name.clone(), *it)).collect();
        assert_eq!(rest, expected, "{strategy:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_all_nodes_restarted_an_old_subscription_delivers_the_next_event() {
    let mut store = Store::start(3);
    store.ready().await;
    let client = client(&store.nodes);
    create(&client, to_all("mail")).await.unwrap();
    append(&client, &["a"]).await;
    let mut consumer = Tested::of(&client, "mail").await;
    consumer.take(1).await;
    consumer.leave().await;
    for node in &mut store.nodes {
        node.kill();
    }
    for node in &mut store.nodes {
        node.start();
    }
    store.ready().await;
    append(&client, &["b"]).await;
    let mut consumer = Tested::of(&client, "mail").await;
    assert_eq!(consumer.take(1).await, events(&[("b", 0)]));
}
