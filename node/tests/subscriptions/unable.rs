//! Stores of their own: nodes that stop, leaders that are gone.

use reckon_api::{Reason, v1};

use crate::calls::{Calls, Told, stream};
use crate::messages::{events_to, refused, stale, unique, versions};
use crate::processes::{Store, eventually};

pub async fn a_node_that_stops_ends_its_followers() {
    let mut store = Store::start(1);
    store.ready().await;
    let calls = Calls::of(&store.nodes[0]);
    let name = unique("stops");
    calls.append(events_to(&name, 1)).await;
    let (_, mut followed) = calls.follow(stream(&name)).await.unwrap();
    assert_eq!(followed.until_caught_up().await.len(), 1);
    let mut node = store.nodes.remove(0);
    let terminated = tokio::task::spawn_blocking(move || node.terminate());
    let ended = followed.next().await;
    refused(ended, Reason::NotReady);
    assert!(terminated.await.unwrap(), "an open follower keeps no node from stopping");
}

pub async fn a_follower_of_any_node_goes_on_through_an_election() {
    let mut store = Store::start(3);
    let leader = store.ready().await;
    let other = (leader + 1) % 3;
    let name = unique("election");
    let calls = Calls::of(&store.nodes[other]);
    calls.append(events_to(&name, 2)).await;
    let (_, mut followed) = calls.follow(stream(&name)).await.unwrap();
    assert_eq!(versions(&followed.until_caught_up().await), [0, 1]);
    store.nodes[leader].kill();
    let request = events_to(&name, 1);
    eventually("the others take an append", || async {
        calls.streams.clone().append(request.clone()).await.ok()
    })
    .await;
    assert_eq!(followed.event().await.version, 2);
    // Also one that begins now, as stale as it may be.
    let request = v1::FollowRequest { consistency: stale(), ..stream(&name) };
    let (_, mut later) = calls.follow(request).await.unwrap();
    assert_eq!(versions(&later.events(3).await), [0, 1, 2]);
    assert!(matches!(later.next().await, Ok(Told::CaughtUp(_))));
}

pub async fn a_node_without_a_store_has_no_followers() {
    let mut store = Store::prepare(3, 3, &[]);
    store.nodes[0].start();
    let calls = Calls::of(&store.nodes[0]);
    let answer = eventually("the node answers", || async {
        let answer = calls.follow(stream("a")).await.map(|(from, _)| from);
        answer.as_ref().err().is_none_or(|status| Reason::of(status).is_some()).then_some(answer)
    })
    .await;
    refused(answer, Reason::NotInitialised);
}
