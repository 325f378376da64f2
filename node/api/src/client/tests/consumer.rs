//! Consumers of a subscription that a broker in memory serves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::*;
use crate::client::{Consumed, ConsumerOptions, Progress, Settlement};
use crate::testing::{Broker, Outcome};
use crate::v1::demand;

async fn broker() -> Broker {
    Broker::start(v1::SubscriptionDefinition::default()).await
}

/// Events of these keys in turn.
fn offer(broker: &Broker, keys: &[&str], count: usize) {
    for number in 0..count {
        broker.offer(keys[number % keys.len()], v1::Event::default());
    }
}

fn client_of(brokers: &[&Broker]) -> Client {
    Client::new(options(brokers.iter().map(|broker| broker.address))).unwrap()
}

fn until_caught_up() -> ConsumerOptions {
    ConsumerOptions { until_caught_up: true, ..ConsumerOptions::default() }
}

fn position(delivery: &v1::Delivery) -> u64 {
    delivery.event.as_ref().unwrap().position
}

/// The positions of what was acknowledged, in order.
fn acknowledged(broker: &Broker) -> Vec<u64> {
    let settled = broker.settled().into_iter();
    settled.filter(|one| one.outcome == Outcome::Ack).map(|one| one.position).collect()
}

#[tokio::test]
async fn every_event_is_handled_and_acknowledged_in_a_few_messages() {
    let broker = broker().await;
    offer(&broker, &["a", "b", "c", "d", "e", "f", "g"], 5000);
    let seen = Mutex::new(Vec::new());
    let handler = |delivery: v1::Delivery| {
        seen.lock().unwrap().push(position(&delivery));
        std::future::ready(())
    };
    client_of(&[&broker])
        .consumer("orders")
        .options(until_caught_up())
        .run(handler, std::future::pending())
        .await
        .unwrap();
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, (0..5000).collect::<Vec<_>>());
    assert_eq!(acknowledged(&broker).len(), 5000);
    assert!(broker.settle_messages() < 500, "{} messages", broker.settle_messages());
    assert!(broker.demand_messages() < 100, "{} messages", broker.demand_messages());
    assert_eq!(broker.calls(), (1, 1), "the consumer ended its call");
}

#[tokio::test]
async fn keys_run_side_by_side_and_one_key_in_order() {
    let broker = broker().await;
    offer(&broker, &["a", "b", "c"], 60);
    let running = Mutex::new(BTreeMap::<String, u64>::new());
    let most = AtomicUsize::new(0);
    let handler = |delivery: v1::Delivery| {
        let (running, most) = (&running, &most);
        async move {
            let (key, position) = (delivery.key.clone(), position(&delivery));
            {
                let mut running = running.lock().unwrap();
                assert!(!running.contains_key(&key), "two of {key} at once");
                running.insert(key.clone(), position);
                most.fetch_max(running.len(), Ordering::Relaxed);
            }
            // Lets the others begin.
            tokio::task::yield_now().await;
            running.lock().unwrap().remove(&key);
        }
    };
    let client = client_of(&[&broker]);
    client
        .consumer("orders")
        .options(until_caught_up())
        .run(handler, std::future::pending())
        .await
        .unwrap();
    assert_eq!(most.into_inner(), 3);
    for key in 0..3 {
        let of_key: Vec<_> =
            acknowledged(&broker).into_iter().filter(|position| position % 3 == key).collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
        assert_eq!(of_key.len(), 20);
    }
}

#[tokio::test]
async fn no_more_handlers_run_at_once_than_the_options_say() {
    let broker = broker().await;
    offer(&broker, &["a", "b", "c", "d", "e"], 50);
    let running = AtomicUsize::new(0);
    let handler = |_| async {
        assert!(running.fetch_add(1, Ordering::Relaxed) < 2);
        tokio::task::yield_now().await;
        running.fetch_sub(1, Ordering::Relaxed);
    };
    let options = ConsumerOptions { concurrency: 2, ..until_caught_up() };
    let client = client_of(&[&broker]);
    client.consumer("orders").options(options).run(handler, std::future::pending()).await.unwrap();
    assert_eq!(acknowledged(&broker).len(), 50);
    assert!(broker.settled().iter().all(|settled| settled.outcome == Outcome::Ack));
}

#[tokio::test]
async fn handlers_that_hang_are_not_sent_what_they_do_not_get_to() {
    let broker = broker().await;
    let keys: Vec<_> = (0..100).map(|key| key.to_string()).collect();
    offer(&broker, &keys.iter().map(String::as_str).collect::<Vec<_>>(), 100);
    let (begun, enough) = (AtomicUsize::new(0), Notify::new());
    let handler = |_| async {
        if begun.fetch_add(1, Ordering::Relaxed) == 7 {
            enough.notify_one();
        }
        std::future::pending::<()>().await;
    };
    let options = ConsumerOptions {
        concurrency: 8,
        drain_timeout: Duration::from_millis(1),
        ..ConsumerOptions::default()
    };
    let client = client_of(&[&broker]);
    client.consumer("orders").options(options).run(handler, enough.notified()).await.unwrap();
    assert_eq!(broker.delivered(), 8);
}

#[tokio::test]
async fn errors_and_panics_are_retries_and_hold_back_their_key() {
    let broker = broker().await;
    offer(&broker, &["a"], 20);
    let run = Mutex::new(Vec::new());
    let handler = |delivery: v1::Delivery| {
        run.lock().unwrap().push(position(&delivery));
        async move {
            match (position(&delivery), delivery.attempt) {
                (3, 1) => Err("not now"),
                (7, 1) => panic!("seven"),
                (9, 1) => Ok(Settlement::Retry {
                    reason: "later".to_owned(),
                    after: Some(Duration::from_secs(7)),
                }),
                (11, _) => Ok(Settlement::park("poison")),
                (12, _) => Ok(Settlement::Skip),
                _ => Ok(Settlement::Ack),
            }
        }
    };
    let stop = Notify::new();
    let client = client_of(&[&broker]);
    let consuming = client.consumer("orders").run(handler, stop.notified());
    let (ended, ()) = tokio::join!(consuming, async {
        broker.until_done(20).await;
        stop.notify_one();
    });
    ended.unwrap();
    let mut expected: Vec<u64> = (0..20).collect();
    for again in [9, 7, 3] {
        expected.insert(again, again as u64);
    }
    assert_eq!(run.into_inner().unwrap(), expected, "what was behind a failure waited for it");
    let others: Vec<_> = broker
        .settled()
        .into_iter()
        .filter(|settled| settled.outcome != Outcome::Ack)
        .map(|settled| (settled.position, settled.attempt, settled.outcome))
        .collect();
    assert!(others.contains(&(3, 1, Outcome::Retry("not now".to_owned(), None))), "{others:?}");
    let panicked = Outcome::Retry("the handler panicked: seven".to_owned(), None);
    assert!(others.contains(&(7, 1, panicked)), "{others:?}");
    assert!(others.contains(&(9, 1, Outcome::Retry("later".to_owned(), Some(7000)))), "{others:?}");
    assert!(others.contains(&(11, 1, Outcome::Park("poison".to_owned()))), "{others:?}");
    assert!(others.contains(&(12, 1, Outcome::Skip)), "{others:?}");
}

#[tokio::test]
async fn a_consumer_goes_on_elsewhere_when_its_call_breaks() {
    let first = broker().await;
    let second = first.replica().await;
    offer(&first, &["a", "b"], 300);
    second.refuse(Reason::NotReady, []);
    first.refuse(Reason::NotLeader, [("leader", second.address.to_string())]);
    second.refuse(Reason::NoQuorum, []);
    let count = AtomicUsize::new(0);
    let handler = |_| {
        if count.fetch_add(1, Ordering::Relaxed) == 100 {
            first.break_off();
        }
        std::future::ready(())
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    let seen = interrupted.clone();
    let client = client_of(&[&first, &second]);
    client
        .consumer("orders")
        .options(until_caught_up())
        .observe(move |progress| {
            if let Progress::Interrupted(error) = progress {
                assert!(error.retryable());
                seen.store(true, Ordering::Relaxed);
            }
        })
        .run(handler, std::future::pending())
        .await
        .unwrap();
    let mut done = acknowledged(&first);
    done.sort_unstable();
    assert_eq!(done, (0..300).collect::<Vec<_>>(), "each is acknowledged once");
    assert!(interrupted.load(Ordering::Relaxed));
}

#[tokio::test]
async fn after_a_break_a_key_waits_for_the_handler_that_still_runs() {
    let broker = broker().await;
    offer(&broker, &["a"], 1);
    let go_on = Notify::new();
    let running = AtomicUsize::new(0);
    let handler = |delivery: v1::Delivery| {
        let (go_on, running) = (&go_on, &running);
        async move {
            assert_eq!(running.fetch_add(1, Ordering::Relaxed), 0, "one of a key at a time");
            if delivery.attempt == 1 {
                go_on.notified().await;
            }
            running.fetch_sub(1, Ordering::Relaxed);
            if delivery.attempt == 1 { Settlement::Ack } else { Settlement::park("again") }
        }
    };
    let stop = Notify::new();
    let client = client_of(&[&broker]);
    let consuming = client.consumer("orders").run(handler, stop.notified());
    let (ended, ()) = tokio::join!(consuming, async {
        broker.until_delivered(1).await;
        while running.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        broker.break_off();
        broker.until_delivered(2).await;
        go_on.notify_one();
        broker.until_done(1).await;
        stop.notify_one();
    });
    ended.unwrap();
    // Ids begin anew with each call: the first result, of the first id, was nobody's.
    assert_eq!(broker.settled()[0].outcome, Outcome::Park("again".to_owned()));
}

#[tokio::test]
async fn an_event_that_is_taken_away_is_not_settled_and_what_waited_behind_it_comes_again() {
    let broker = broker().await;
    offer(&broker, &["a"], 3);
    let go_on = Notify::new();
    let run = Mutex::new(Vec::new());
    let handler = |delivery: v1::Delivery| {
        let (go_on, run) = (&go_on, &run);
        async move {
            run.lock().unwrap().push((position(&delivery), delivery.attempt));
            if (position(&delivery), delivery.attempt) == (0, 1) {
                go_on.notified().await;
            }
        }
    };
    let stop = Notify::new();
    let caught_up = Arc::new(Notify::new());
    let told = caught_up.clone();
    let client = client_of(&[&broker]);
    let consumer = client.consumer("orders").observe(move |progress| {
        if let Progress::CaughtUp { .. } = progress {
            told.notify_one();
        }
    });
    let consuming = consumer.run(handler, stop.notified());
    let (ended, ()) = tokio::join!(consuming, async {
        caught_up.notified().await;
        while run.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        broker.take_back("a");
        // Whoever has heard this has all that came again.
        caught_up.notified().await;
        go_on.notify_one();
        broker.until_done(3).await;
        stop.notify_one();
    });
    ended.unwrap();
    let run = run.into_inner().unwrap();
    assert_eq!(run, [(0, 1), (0, 2), (1, 1), (2, 1)]);
    assert_eq!(acknowledged(&broker), [0, 1, 2]);
}

#[tokio::test]
async fn at_the_end_running_handlers_are_waited_for_and_their_results_sent() {
    let broker = broker().await;
    offer(&broker, &["a", "a", "b"], 3);
    let (begun, go_on) = (AtomicUsize::new(0), Notify::new());
    let handler = |_| async {
        begun.fetch_add(1, Ordering::Relaxed);
        go_on.notified().await;
    };
    let stop = Notify::new();
    let client = client_of(&[&broker]);
    let consuming = client.consumer("orders").run(handler, stop.notified());
    let (ended, ()) = tokio::join!(consuming, async {
        while begun.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        stop.notify_one();
        // A turn for the consumer to hear of it, then the handlers may end.
        tokio::task::yield_now().await;
        go_on.notify_waiters();
    });
    ended.unwrap();
    // The second event of `a` was here and had not begun.
    assert_eq!(acknowledged(&broker), [0, 2]);
    assert_eq!(broker.calls(), (1, 1), "the consumer ended its call, and the server heard it");
}

#[tokio::test]
async fn a_handler_that_does_not_end_is_dropped_after_the_drain_timeout() {
    let broker = broker().await;
    offer(&broker, &["a"], 1);
    let begun = Notify::new();
    let handler = |_| {
        begun.notify_one();
        std::future::pending::<()>()
    };
    let options =
        ConsumerOptions { drain_timeout: Duration::from_millis(1), ..ConsumerOptions::default() };
    let client = client_of(&[&broker]);
    client.consumer("orders").options(options).run(handler, begun.notified()).await.unwrap();
    assert!(broker.settled().is_empty());
}

#[tokio::test]
async fn a_limit_ends_a_consumer_and_asks_for_no_more() {
    let broker = broker().await;
    offer(&broker, &["a", "b"], 100);
    let count = AtomicUsize::new(0);
    let handler = |_| {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(())
    };
    let options = ConsumerOptions { limit: Some(7), ..ConsumerOptions::default() };
    client_of(&[&broker])
        .consumer("orders")
        .options(options)
        .run(handler, std::future::pending())
        .await
        .unwrap();
    assert_eq!((count.into_inner(), acknowledged(&broker).len()), (7, 7));
}

#[tokio::test]
async fn a_refusal_that_no_retry_can_help_ends_a_consumer() {
    let broker = broker().await;
    broker.refuse(Reason::SubscriptionNotFound, []);
    let handler = |_| std::future::ready(());
    let error = client_of(&[&broker])
        .consumer("unheard-of")
        .run(handler, std::future::pending())
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Some(Reason::SubscriptionNotFound));
}

#[tokio::test]
async fn a_consumer_that_finds_no_node_tries_until_it_is_told_to_end() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let options = Options { deadline: Duration::from_millis(20), ..options([nobody]) };
    let interrupted = Arc::new(Notify::new());
    let told = interrupted.clone();
    Client::new(options)
        .unwrap()
        .consumer("orders")
        .observe(move |_| told.notify_one())
        .run(|_| std::future::ready(()), interrupted.notified())
        .await
        .unwrap();
}

#[tokio::test]
async fn one_call_can_be_used_without_handlers() {
    let broker = broker().await;
    offer(&broker, &["a", "b"], 4);
    let open = v1::OpenConsumer {
        subscription: Some("orders".into()),
        pull: true,
        ..v1::OpenConsumer::default()
    };
    let mut call = client_of(&[&broker]).consume(open).await.unwrap();
    assert!(!call.opened().standby);
    call.demand(demand::Kind::Add(3));
    let mut seen = 0;
    while seen < 3 {
        let Some(Consumed::Deliveries(deliveries)) = call.next().await.unwrap() else { continue };
        seen += deliveries.len();
        let ack = deliveries.iter().map(|delivery| delivery.id).collect();
        call.settle(v1::Settle { ack, ..v1::Settle::default() });
    }
    call.finish();
    while call.next().await.unwrap().is_some() {}
    assert_eq!(acknowledged(&broker).len(), 3);
}

#[tokio::test]
async fn a_consumer_can_be_sent_to_another_thread() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let broker = broker().await;
    let consumer = client_of(&[&broker]).consumer("orders").options(until_caught_up());
    let handler = |_: v1::Delivery| async { tokio::task::yield_now().await };
    is_send(consumer.run(handler, std::future::pending())).await.unwrap();
}
