//! What is asked of subscriptions, of servers that fail by script.

use super::*;

fn creation(name: &str) -> v1::CreateSubscriptionRequest {
    let definition = v1::SubscriptionDefinition { name: name.to_owned(), ..Default::default() };
    v1::CreateSubscriptionRequest { definition: Some(definition) }
}

#[tokio::test]
async fn a_subscription_whose_first_answer_was_lost_was_there_already() {
    let (first, second) = replicas(vec![Act::LoseAnswer], vec![]).await;
    let client = client(&[&first, &second]);
    let answer = client.create_subscription(creation("orders")).await.unwrap();
    assert!(!answer.created);
    assert_eq!((first.calls().len(), second.calls().len()), (1, 1));
    let request =
        v1::GetSubscriptionRequest { subscription: Some(v1::SubscriptionRef::named("orders")) };
    let definition = client.get_subscription(request).await.unwrap().definition.unwrap();
    assert_eq!(definition.name, "orders");
}

#[tokio::test]
async fn every_call_about_a_subscription_is_tried_again_elsewhere() {
    let (first, second) = replicas(vec![], vec![]).await;
    let client = client(&[&first, &second]);
    client.create_subscription(creation("orders")).await.unwrap();
    // Whichever is asked first refuses, so both have refused by the end.
    let both_fail = || {
        for server in [&first, &second] {
            server.script([refuse(Reason::NotReady)]);
        }
    };
    let subscription = Some(v1::SubscriptionRef::named("orders"));
    both_fail();
    let request = v1::ExistsSubscriptionRequest { subscription: subscription.clone() };
    assert!(client.subscription_exists(request).await.unwrap().exists);
    both_fail();
    client.update_subscription(v1::UpdateSubscriptionRequest::default()).await.unwrap();
    both_fail();
    client.reset_subscription(v1::ResetSubscriptionRequest::default()).await.unwrap();
    both_fail();
    client.ack_subscription(v1::AckRequest::default()).await.unwrap();
    both_fail();
    client.replay_parked(v1::ReplayParkedRequest::default()).await.unwrap();
    both_fail();
    client.discard_parked(v1::DiscardParkedRequest::default()).await.unwrap();
    both_fail();
    client.subscription_health(v1::SubscriptionHealthRequest::default()).await.unwrap();
    both_fail();
    let request = v1::DeleteSubscriptionRequest { subscription, r#type: String::new() };
    client.delete_subscription(request).await.unwrap();
    assert_eq!(first.calls().len() + second.calls().len(), 1 + 8 * 3);
}

#[tokio::test]
async fn a_subscription_that_is_not_there_is_refused_once() {
    let server = one([]).await;
    let request =
        v1::GetSubscriptionRequest { subscription: Some(v1::SubscriptionRef::named("unheard-of")) };
    let error = client(&[&server]).get_subscription(request).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::SubscriptionNotFound));
    assert_eq!(server.calls().len(), 1);
}

#[tokio::test]
async fn subscriptions_and_parked_events_are_listed_over_all_pages() {
    let server = one([]).await;
    let client = client(&[&server]);
    for name in ["a", "b", "c", "d", "e"] {
        client.create_subscription(creation(name)).await.unwrap();
    }
    let names: Vec<_> = client
        .list_subscriptions(v1::ListSubscriptionsRequest::default())
        .map_ok(|subscription| subscription.definition.unwrap().name)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);

    fill(&client, &["s"], 5).await;
    let positions: Vec<_> = client
        .list_parked(v1::ListParkedRequest::default())
        .map_ok(|parked| parked.position)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(positions, (0..5).collect::<Vec<_>>());
}
