//! Subscriptions as they are registered.

use reckon_api::Reason;
use reckon_api::v1::{self, SubscriptionRef, selector};

use futures::TryStreamExt as _;

use crate::support::{
    Tested, ack_upto, append, create, delete, events, exists, get, one_node, reason_of, reset,
    selects, to_all, update,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creating_is_idempotent_and_another_definition_is_refused() {
    let (_store, client) = one_node().await;
    let first = create(&client, to_all("mail")).await.unwrap();
    assert!(first.created);
    let subscription = first.subscription.unwrap();
    let definition = subscription.definition.clone().unwrap();
    assert_eq!(definition.r#type, "all");
    assert_eq!((definition.pool_size, definition.ack_timeout_ms), (1, 30_000));
    assert_eq!((definition.max_retries, definition.buffer_size), (Some(10), 1_000));
    // Also with the defaults spelled out, and under an alias.
    let again = v1::SubscriptionDefinition { r#type: "by_all".to_owned(), ..definition.clone() };
    let again = create(&client, again).await.unwrap();
    assert!(!again.created);
    assert_eq!(again.subscription.unwrap().key, subscription.key);

    let other = v1::SubscriptionDefinition { pool_size: 3, ..to_all("mail") };
    let refused = create(&client, other.clone()).await.unwrap_err();
    assert_eq!(reason_of(&refused), Some(Reason::SubscriptionExists));
    let updated = update(&client, other).await.unwrap();
    assert!(updated.changed);
    let key = SubscriptionRef::keyed(&subscription.key);
    let now = get(&client, key.clone()).await.unwrap();
    assert_eq!(now.definition.unwrap().pool_size, 3);

    let elsewhere = v1::SubscriptionDefinition {
        selector: selects(selector::Kind::Stream("a".to_owned())),
        ..to_all("mail")
    };
    let refused = update(&client, elsewhere).await.unwrap_err();
    assert_eq!(reason_of(&refused), Some(Reason::SubscriptionExists));

    assert!(exists(&client, "mail").await);
    delete(&client, key.clone(), "").await.unwrap();
    assert!(!exists(&client, "mail").await);
    let refused = get(&client, key).await.unwrap_err();
    assert_eq!(reason_of(&refused), Some(Reason::SubscriptionNotFound));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_definition_names_the_field_and_harms_nobody() {
    let (_store, client) = one_node().await;
    create(&client, to_all("good")).await.unwrap();
    let mut consumer = Tested::of(&client, "good").await;
    let stream = |id: &str| selects(selector::Kind::Stream(id.to_owned()));
    let bad = [
        (
            v1::SubscriptionDefinition { name: String::new(), ..to_all("x") },
            Reason::InvalidArgument,
        ),
        (v1::SubscriptionDefinition { selector: None, ..to_all("x") }, Reason::InvalidSelector),
        (
            v1::SubscriptionDefinition { selector: stream(""), ..to_all("x") },
            Reason::InvalidSelector,
        ),
        (
            v1::SubscriptionDefinition { r#type: "stream".to_owned(), ..to_all("x") },
            Reason::InvalidSelector,
        ),
        (
            v1::SubscriptionDefinition { r#type: "nonsense".to_owned(), ..to_all("x") },
            Reason::InvalidSelector,
        ),
        (v1::SubscriptionDefinition { pool_size: 5_000, ..to_all("x") }, Reason::LimitExceeded),
        (v1::SubscriptionDefinition { ack_timeout_ms: 1, ..to_all("x") }, Reason::LimitExceeded),
        (
            v1::SubscriptionDefinition {
                retry_backoff_ms_min: 9,
                retry_backoff_ms_max: 3,
                ..to_all("x")
            },
            Reason::InvalidArgument,
        ),
        (
            v1::SubscriptionDefinition { key_expression: "event.".to_owned(), ..to_all("x") },
            Reason::InvalidExpression,
        ),
        (
            v1::SubscriptionDefinition {
                sink: Some(v1::Sink { url: "ftp://x".to_owned(), ..v1::Sink::default() }),
                ..to_all("x")
            },
            Reason::InvalidArgument,
        ),
    ];
    for (definition, reason) in bad {
        let refused = create(&client, definition.clone()).await.unwrap_err();
        assert_eq!(reason_of(&refused), Some(reason), "{definition:?}");
    }
    append(&client, &["a"]).await;
    assert_eq!(consumer.take(1).await, events(&[("a", 0)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_is_changed_under_consumers_and_deleting_tells_them() {
    let (_store, client) = one_node().await;
    create(&client, to_all("mail")).await.unwrap();
    let mut one = Tested::of(&client, "mail").await;
    let mut two = Tested::of(&client, "mail").await;
    assert!(two.standby);
    let wider = v1::SubscriptionDefinition { pool_size: 2, ..to_all("mail") };
    update(&client, wider).await.unwrap();
    two.until(|it| !it.standby).await;
    append(&client, &["a", "b"]).await;
    one.take(1).await;
    two.take(1).await;
    delete(&client, "mail", "by_all").await.unwrap();
    for mut consumer in [one, two] {
        let ended = consumer.try_next().await.unwrap_err();
        assert_eq!(reason_of(&ended), Some(Reason::SubscriptionNotFound));
    }
    // One of the same name is another one: it begins anew.
    create(&client, to_all("mail")).await.unwrap();
    let mut consumer = Tested::of(&client, "mail").await;
    assert_eq!(consumer.take(2).await, events(&[("a", 0), ("b", 0)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_moves_the_checkpoint_under_consumers_and_an_ack_never_moves_it_back() {
    let (_store, client) = one_node().await;
    append(&client, &["a", "a", "a", "a"]).await;
    create(&client, to_all("mail")).await.unwrap();
    let mut consumer = Tested::of(&client, "mail").await;
    let held = consumer.next().await;
    reset(&client, "mail", v1::start_from::Kind::Position(2)).await;
    consumer.ack(&held);
    assert_eq!(consumer.take(2).await, events(&[("a", 2), ("a", 3)]));
    reset(&client, "mail", v1::start_from::Kind::Beginning(true)).await;
    assert_eq!(consumer.take(4).await.len(), 4);
    consumer.leave().await;

    reset(&client, "mail", v1::start_from::Kind::Beginning(true)).await;
    let upto = |version| {
        v1::ack_request::Upto::StreamVersion(v1::StreamVersion {
            stream_id: "a".to_owned(),
            version,
        })
    };
    assert_eq!(ack_upto(&client, "mail", upto(2)).await, 3);
    let back = v1::ack_request::Upto::Position(0);
    assert_eq!(ack_upto(&client, "mail", back).await, 3, "it went back");
    let mut consumer = Tested::of(&client, "mail").await;
    assert_eq!(consumer.take(1).await, events(&[("a", 3)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_listed_by_name_and_type_in_pages() {
    let (_store, client) = one_node().await;
    for number in 0..5 {
        let selector = if number % 2 == 0 {
            selects(selector::Kind::All(true))
        } else {
            selects(selector::Kind::Stream(format!("s-{number}")))
        };
        let name = format!("sub-{number}");
        let definition = v1::SubscriptionDefinition { selector, ..to_all(&name) };
        create(&client, definition).await.unwrap();
    }
    let names = async |request: v1::ListSubscriptionsRequest| {
        let listed: Vec<_> = client.list_subscriptions(request).try_collect().await.unwrap();
        let names = listed.into_iter().map(|it| it.definition.unwrap().name);
        names.collect::<Vec<_>>()
    };
    let all = names(v1::ListSubscriptionsRequest { page_size: 2, ..Default::default() }).await;
    assert_eq!(all, ["sub-0", "sub-1", "sub-2", "sub-3", "sub-4"]);
    let streams = v1::ListSubscriptionsRequest { r#type: "by_stream".into(), ..Default::default() };
    assert_eq!(names(streams).await, ["sub-1", "sub-3"]);
}
