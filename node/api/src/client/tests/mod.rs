//! The client against servers that fail by script.

mod appender;
mod consumer;
mod follow;
mod health;
mod scripted;
mod scripted_subscriptions;
mod subscriptions;
mod watch;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use scripted::{Act, Scripted, Store};
use tokio::net::TcpListener;

use super::{Appender, Client, Error, Expect, Options, OptionsError, Outcome};
use crate::{Reason, v1};

fn options<S: ToString>(endpoints: impl IntoIterator<Item = S>) -> Options {
    Options {
        // Far beyond what any test needs: nothing here may depend on how fast the machine is.
        deadline: Duration::from_mins(1),
        attempt_timeout: Duration::from_secs(20),
        backoff_first: Duration::from_millis(1),
        backoff_max: Duration::from_millis(5),
        ..Options::new(endpoints.into_iter().map(|endpoint| endpoint.to_string()))
    }
}

fn client(servers: &[&Scripted]) -> Client {
    Client::new(options(servers.iter().map(|server| server.address))).unwrap()
}

async fn one(acts: impl IntoIterator<Item = Act>) -> Scripted {
    Scripted::start(Arc::default(), acts).await
}

async fn replicas(first: Vec<Act>, second: Vec<Act>) -> (Scripted, Scripted) {
    let store: Arc<Mutex<Store>> = Arc::default();
    (Scripted::start(store.clone(), first).await, Scripted::start(store, second).await)
}

fn events(count: usize) -> Vec<v1::NewEvent> {
    let event = v1::NewEvent { event_type: "Happened".to_owned(), ..Default::default() };
    vec![event; count]
}

async fn fill(client: &Client, streams: &[&str], count: usize) {
    for stream in streams {
        client.append_to(*stream, Expect::Any, events(count)).await.unwrap();
    }
}

fn refuse(reason: Reason) -> Act {
    Act::Refuse(reason, Vec::new())
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_takes_effect_once() {
    let server = one([Act::LoseAnswer]).await;
    let answer = client(&[&server]).append_to("orders", Expect::NoStream, events(2)).await.unwrap();
    assert_eq!((answer.first_position, answer.last_position), (0, 1));
    assert_eq!(server.calls().len(), 2);
    assert_eq!(server.store.lock().unwrap().events.len(), 2);
}

#[tokio::test]
async fn an_id_that_the_caller_gave_is_kept() {
    let server = one([]).await;
    let id = "0190163d-8694-739b-aea5-966c26f8ad91";
    let mut given = events(2);
    given[1].event_id = Some(id.to_owned());
    client(&[&server]).append_to("orders", Expect::Any, given).await.unwrap();
    let store = server.store.lock().unwrap();
    assert_eq!(store.events[1].event_id, id);
    assert_eq!(uuid::Uuid::parse_str(&store.events[0].event_id).unwrap().get_version_num(), 7);
}

#[tokio::test]
async fn a_missed_expectation_is_never_retried() {
    let server = one([]).await;
    let client = client(&[&server]);
    fill(&client, &["orders"], 3).await;
    let error = client.append_to("orders", Expect::Version(0), events(1)).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::WrongExpectedVersion));
    assert_eq!(error.value("actual"), Some("2"));
    assert_eq!(error.outcome(), Outcome::Refused);
    assert!(!error.retryable());
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test]
async fn a_store_without_quorum_is_asked_until_it_has_one() {
    let server = one(vec![refuse(Reason::NoQuorum); 7]).await;
    client(&[&server]).append_to("orders", Expect::Any, events(1)).await.unwrap();
    assert_eq!(server.calls().len(), 8);
}

#[tokio::test]
async fn a_named_leader_is_asked_next_and_from_then_on() {
    let (follower, leader) = replicas(vec![], vec![]).await;
    follower.script([Act::Refuse(Reason::NotLeader, vec![("leader", leader.address.to_string())])]);
    let client = client(&[&follower]);
    fill(&client, &["a", "b"], 1).await;
    assert_eq!((follower.calls().len(), leader.calls().len()), (1, 2));
}

#[tokio::test]
async fn a_named_leader_that_cannot_be_reached_is_only_a_hint() {
    let (first, second) = replicas(vec![], vec![]).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let hint = Act::Refuse(Reason::NotLeader, vec![("leader", nobody.to_string())]);
    first.script([hint.clone(), hint]);
    let client = client(&[&first, &second]);
    fill(&client, &["a"], 1).await;
    assert_eq!(first.store.lock().unwrap().events.len(), 1);
}

#[tokio::test]
async fn a_dead_endpoint_is_passed_over() {
    let server = one([]).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Client::new(options([nobody, server.address])).unwrap();
    fill(&client, &["a", "b"], 1).await;
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test]
async fn a_silent_endpoint_costs_one_attempt_and_not_the_deadline() {
    let (silent, lively) = replicas(vec![Act::KeepSilent], vec![]).await;
    let options = Options {
        attempt_timeout: Duration::from_millis(200),
        ..options([silent.address, lively.address])
    };
    let client = Client::new(options).unwrap();
    fill(&client, &["a"], 1).await;
    assert!(!lively.calls().is_empty());
}

#[tokio::test]
async fn a_node_that_is_too_busy_is_asked_again() {
    let server = one([refuse(Reason::TooManyRequests), refuse(Reason::MemoryPressure)]).await;
    client(&[&server]).append_to("orders", Expect::Any, events(1)).await.unwrap();
    assert_eq!(server.calls().len(), 3);
}

#[tokio::test]
async fn giving_up_says_what_went_wrong_last() {
    let server = one(vec![refuse(Reason::NoQuorum); 10_000]).await;
    let options = Options { deadline: Duration::from_millis(300), ..options([server.address]) };
    let error =
        Client::new(options).unwrap().append_to("a", Expect::Any, events(1)).await.unwrap_err();
    assert!(matches!(error, Error::GaveUp { attempts: 2.., .. }), "{error}");
    assert_eq!(error.reason(), Some(Reason::NoQuorum));
    assert_eq!(error.outcome(), Outcome::Unavailable);
}

#[tokio::test]
async fn a_read_that_breaks_off_goes_on_where_it_was_on_another_node() {
    let (first, second) = replicas(vec![], vec![]).await;
    let client = client(&[&first, &second]);
    fill(&client, &["orders"], 10).await;
    first.script([Act::BreakOffAfter(4)]);
    let request =
        v1::ReadRequest { stream_id: "orders".to_owned(), limit: 8, ..Default::default() };
    let read: Vec<_> = client.read(request).await.unwrap().try_collect().await.unwrap();
    let versions: Vec<_> = read.iter().map(|event| event.version).collect();
    assert_eq!(versions, (0..8).collect::<Vec<_>>());
    assert_eq!(second.calls(), ["read from Some(At(4)) limit 4"]);
}

#[tokio::test]
async fn a_resumed_read_shows_the_store_as_it_was_when_it_began() {
    let (first, second) = replicas(vec![], vec![]).await;
    let client = client(&[&first, &second]);
    fill(&client, &["orders"], 5).await;
    for direction in [v1::Direction::Forward, v1::Direction::Backward] {
        for broken_after in [0, 2] {
            let expected = first.store.lock().unwrap().events.len() as u64;
            first.script([Act::BreakOffAfter(broken_after)]);
            second.script([Act::BreakOffAfter(broken_after)]);
            let request = v1::ReadAllRequest { direction: direction.into(), ..Default::default() };
            let reading = client.read_all(request).await.unwrap();
            first
                .store
                .lock()
                .unwrap()
                .events
                .push(v1::Event { position: expected, ..Default::default() });
            let mut positions: Vec<_> =
                reading.map_ok(|event| event.position).try_collect().await.unwrap();
            if direction == v1::Direction::Backward {
                positions.reverse();
            }
            assert_eq!(positions, (0..expected).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn a_stale_read_that_resumes_elsewhere_waits_for_what_it_has_promised() {
    let (first, second) = replicas(vec![], vec![]).await;
    let client = client(&[&first, &second]);
    fill(&client, &["orders"], 5).await;
    first.script([Act::BreakOffAfter(1)]);
    let stale = v1::Consistency { kind: Some(v1::consistency::Kind::Stale(true)) };
    let request = v1::ReadAllRequest { consistency: Some(stale), ..Default::default() };
    let read: Vec<_> = client.read_all(request).await.unwrap().try_collect().await.unwrap();
    assert_eq!(read.len(), 5);
    assert_eq!(second.calls(), ["read_all from Some(At(1)) consistency Some(AtLeastPosition(4))"]);
}

#[tokio::test]
async fn a_refused_read_is_an_error_at_once() {
    let server = one([refuse(Reason::StreamNotFound)]).await;
    let request = v1::ReadRequest { stream_id: "unheard-of".to_owned(), ..Default::default() };
    let error = client(&[&server]).read(request).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::StreamNotFound));
    assert_eq!(server.calls().len(), 1);
}

#[tokio::test]
async fn streams_are_listed_over_all_pages() {
    let server = one([]).await;
    let client = client(&[&server]);
    fill(&client, &["a", "b", "c", "d", "e"], 1).await;
    let names: Vec<_> = client
        .list_streams(v1::ListStreamsRequest::default())
        .map_ok(|stream| stream.stream_id)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn what_is_no_endpoint_is_refused_before_anything_is_sent() {
    assert_eq!(
        Client::new(Options::new(Vec::<String>::new())).unwrap_err(),
        OptionsError::NoEndpoint
    );
    for text in
        ["", "localhost", "http://localhost:7430", "a:b:c", ":7430", "host:7430/path", "me@host:1"]
    {
        let error = Client::new(Options::new([text])).unwrap_err();
        assert_eq!(error, OptionsError::InvalidEndpoint { endpoint: text.to_owned() });
    }
    for text in
        ["localhost:7430", "127.0.0.1:1", "[::1]:7430", "orders-0.orders-peers.shop.svc:7430"]
    {
        Client::new(Options::new([text])).unwrap();
    }
}

#[tokio::test]
async fn calls_can_be_sent_to_other_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let server = one([]).await;
    let client = client(&[&server]);
    is_send(client.append_to("a", Expect::Any, events(1))).await.unwrap();
    is_send(client.read(v1::ReadRequest { stream_id: "a".to_owned(), ..Default::default() }))
        .await
        .unwrap();
    drop(is_send(client.follow(v1::FollowRequest::default())));
    drop(is_send(client.statuses()));
}
