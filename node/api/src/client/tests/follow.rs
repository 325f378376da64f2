//! Followers whose calls break and go on.

use super::*;
use crate::client::{Followed, Following};
use crate::v1::{read_from, selector};

fn from(kind: read_from::Kind) -> v1::ReadFrom {
    v1::ReadFrom { kind: Some(kind) }
}

fn stream(name: &str) -> v1::Selector {
    v1::Selector { kind: Some(selector::Kind::Stream(name.to_owned())) }
}

/// The positions of all events until the follower has caught up, and where it says that it goes on.
async fn until_caught_up(following: &mut Following) -> (Vec<u64>, u64) {
    let mut seen = Vec::new();
    loop {
        match following.next().await.unwrap().unwrap() {
            Followed::Events(events) => seen.extend(events.iter().map(|event| event.position)),
            Followed::CaughtUp { next_position } => return (seen, next_position),
        }
    }
}

#[tokio::test]
async fn a_follower_sees_everything_once_and_says_when_it_caught_up() {
    let (first, second) = replicas(vec![], vec![]).await;
    let client = client(&[&first, &second]);
    fill(&client, &["a"], 6).await;
    first.script([Act::BreakOffAfter(2)]);
    second.script([refuse(Reason::NotReady), Act::BreakOffAfter(0)]);
    first.script([Act::BreakOffAfter(1)]);
    let request = v1::FollowRequest {
        from: Some(from(read_from::Kind::At(1))),
        ..v1::FollowRequest::default()
    };
    let mut following = client.follow(request);
    assert_eq!(until_caught_up(&mut following).await, ((1..6).collect(), 6));
    // The call is open now: what is appended comes live.
    fill(&client, &["a", "b"], 2).await;
    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen.extend(until_caught_up(&mut following).await.0);
    }
    assert_eq!(seen, (6..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_follower_of_one_stream_goes_on_by_its_versions() {
    let (first, second) = replicas(vec![], vec![]).await;
    let client = client(&[&first, &second]);
    fill(&client, &["a", "b"], 4).await;
    first.script([Act::BreakOffAfter(2)]);
    let request = v1::FollowRequest { selector: Some(stream("b")), ..v1::FollowRequest::default() };
    let mut following = client.follow(request);
    assert_eq!(until_caught_up(&mut following).await, ((4..8).collect(), 8));
    assert_eq!(second.calls().last().unwrap(), "follow from Some(At(2))");
}

#[tokio::test]
async fn a_follower_of_one_stream_from_its_end_misses_nothing_when_it_breaks_before_the_first_event()
 {
    let (first, second) = replicas(vec![], vec![]).await;
    let client = client(&[&first, &second]);
    fill(&client, &["a", "b"], 3).await;
    first.script([Act::BreakOffAfter(0)]);
    let request = v1::FollowRequest {
        selector: Some(stream("b")),
        from: Some(from(read_from::Kind::End(true))),
        ..v1::FollowRequest::default()
    };
    let mut following = client.follow(request);
    assert!(until_caught_up(&mut following).await.0.is_empty());
    assert_eq!(second.calls(), ["follow from Some(At(3))"]);
    fill(&client, &["a", "b"], 1).await;
    assert_eq!(until_caught_up(&mut following).await.0, [7]);
}

#[tokio::test]
async fn a_follower_from_the_end_goes_on_where_the_first_answer_said() {
    let (first, second) = replicas(vec![], vec![]).await;
    let client = client(&[&first, &second]);
    fill(&client, &["a"], 3).await;
    first.script([Act::BreakOffAfter(0)]);
    for all in [None, Some(stream("$all"))] {
        let request = v1::FollowRequest {
            selector: all,
            from: Some(from(read_from::Kind::End(true))),
            ..v1::FollowRequest::default()
        };
        assert!(until_caught_up(&mut client.follow(request)).await.0.is_empty());
    }
    assert_eq!(
        second.calls(),
        ["follow from Some(At(3))", "follow from Some(End(true))"],
        "the second one was never broken"
    );
}

#[tokio::test]
async fn a_follower_that_breaks_at_the_end_does_not_say_so_again() {
    let (first, second) = replicas(vec![], vec![]).await;
    let client = client(&[&first, &second]);
    let mut following = client.follow(v1::FollowRequest::default());
    assert_eq!(until_caught_up(&mut following).await, (Vec::new(), 0));
    first.break_off();
    let (seen, ()) = tokio::join!(until_caught_up(&mut following), async {
        while second.calls().is_empty() {
            tokio::task::yield_now().await;
        }
        fill(&client, &["a"], 1).await;
    });
    assert_eq!(seen, (vec![0], 1));
    assert_eq!(second.calls()[0], "follow from Some(At(0))");
}

#[tokio::test]
async fn a_follower_outlives_a_store_that_is_away() {
    let server = one([]).await;
    let options = Options { deadline: Duration::from_millis(50), ..options([server.address]) };
    let away = Client::new(options).unwrap();
    server.script(vec![refuse(Reason::NoQuorum); 1000]);
    let mut following = away.follow(v1::FollowRequest::default());
    let error = following.next().await.unwrap().unwrap_err();
    assert!(error.retryable());
    loop {
        match following.next().await.unwrap() {
            Ok(followed) => break assert_eq!(followed, Followed::CaughtUp { next_position: 0 }),
            Err(error) => assert!(error.retryable()),
        }
    }
}

#[tokio::test]
async fn a_refused_follower_ends_with_its_reason() {
    let server = one([refuse(Reason::InvalidSelector)]).await;
    let mut following = client(&[&server]).follow(v1::FollowRequest::default());
    let error = following.next().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::InvalidSelector));
    assert!(following.next().await.is_none());
}
