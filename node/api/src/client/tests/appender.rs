//! Appends of many callers over a few streams.

use super::*;

/// Appends of one event each to a stream of its own, side by side.
async fn append_side_by_side(appender: &Appender, count: usize) -> Vec<Result<u64, Error>> {
    append_side_by_side_from(appender, 0, count).await
}

/// The same, to streams of these numbers.
async fn append_side_by_side_from(
    appender: &Appender,
    first: usize,
    count: usize,
) -> Vec<Result<u64, Error>> {
    let appends = (first..first + count).map(|number| async move {
        let answer = appender.append_to(format!("s-{number}"), Expect::NoStream, events(1)).await?;
        Ok(answer.first_position)
    });
    futures::future::join_all(appends).await
}

#[tokio::test]
async fn appends_of_many_callers_each_get_their_own_answer() {
    let server = one([]).await;
    let appender = client(&[&server]).appender();
    let answers = append_side_by_side(&appender, 300).await;
    let store = server.store.lock().unwrap();
    assert_eq!(store.events.len(), 300);
    for (number, position) in answers.into_iter().enumerate() {
        let event = &store.events[usize::try_from(position.unwrap()).unwrap()];
        assert_eq!(event.stream_id, format!("s-{number}"));
    }
}

#[tokio::test]
async fn what_a_broken_stream_left_unanswered_takes_effect_once() {
    let (first, second) = replicas(vec![Act::LoseAnswer], vec![Act::LoseAnswer]).await;
    let appender = client(&[&first, &second]).appender();
    let answers = append_side_by_side(&appender, 50).await;
    let mut positions: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    positions.sort_unstable();
    assert_eq!(positions, (0..50).collect::<Vec<_>>());
    assert_eq!(first.store.lock().unwrap().events.len(), 50);
}

#[tokio::test]
async fn a_refused_append_harms_none_behind_it() {
    let server = one([]).await;
    let client = client(&[&server]);
    fill(&client, &["taken"], 1).await;
    let appender = client.appender();
    let (refused, taken) = tokio::join!(
        appender.append_to("taken", Expect::NoStream, events(1)),
        append_side_by_side(&appender, 20),
    );
    assert_eq!(refused.unwrap_err().reason(), Some(Reason::WrongExpectedVersion));
    assert!(taken.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_busy_node_is_asked_again_over_the_same_stream() {
    let acts =
        [Reason::TooManyRequests, Reason::MemoryPressure, Reason::OutcomeUnknown].map(refuse);
    let server = one(acts).await;
    let appender = client(&[&server]).appender();
    appender.append_to("a", Expect::NoStream, events(1)).await.unwrap();
    assert_eq!(server.calls().len(), 4);
}

#[tokio::test]
async fn a_node_that_cannot_serve_is_left_for_another() {
    let (first, second) = replicas(vec![refuse(Reason::NotReady)], vec![]).await;
    let appender = client(&[&first, &second]).appender();
    appender.append_to("a", Expect::NoStream, events(1)).await.unwrap();
    assert_eq!((first.calls().len(), second.calls().len()), (1, 1));
}

#[tokio::test]
async fn a_silent_stream_is_given_up_for_another() {
    let (silent, lively) = replicas(vec![Act::KeepSilent], vec![]).await;
    let options = Options {
        attempt_timeout: Duration::from_millis(200),
        ..options([silent.address, lively.address])
    };
    let appender = Client::new(options).unwrap().appender();
    appender.append_to("a", Expect::Any, events(1)).await.unwrap();
    assert!(!lively.calls().is_empty());
}

#[tokio::test]
async fn a_caller_is_told_when_its_time_is_up_and_why() {
    let server = one(vec![refuse(Reason::NoQuorum); 10_000]).await;
    let options = Options { deadline: Duration::from_millis(300), ..options([server.address]) };
    let appender = Client::new(options).unwrap().appender();
    let error = appender.append_to("a", Expect::Any, events(1)).await.unwrap_err();
    assert!(matches!(error, Error::GaveUp { attempts: 2.., .. }), "{error}");
    assert_eq!(error.reason(), Some(Reason::NoQuorum));

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let options = Options { deadline: Duration::from_millis(300), ..super::options([nobody]) };
    let appender = Client::new(options).unwrap().appender();
    let error = appender.append_to("a", Expect::Any, events(1)).await.unwrap_err();
    assert!(matches!(error, Error::GaveUp { .. }), "{error}");
}

#[tokio::test]
async fn appends_move_to_the_leader_that_a_server_names() {
    let (follower, leader) = replicas(vec![], vec![]).await;
    follower.script(vec![Act::NameLeader(leader.address.to_string()); 10_000]);
    let appender = client(&[&follower]).appender();
    let mut count = 0;
    while leader.calls().is_empty() {
        let answers = append_side_by_side_from(&appender, count, 20).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        count += 20;
    }
    assert_eq!(leader.store.lock().unwrap().events.len(), count);
    let asked = follower.calls().len();
    append_side_by_side_from(&appender, count, 20).await;
    assert_eq!(follower.calls().len(), asked, "the follower is left alone");
}

#[tokio::test]
async fn a_leader_out_of_reach_is_named_in_vain() {
    let follower = one([]).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    follower.script(vec![Act::NameLeader(nobody.to_string()); 10_000]);
    let appender = client(&[&follower]).appender();
    for round in 0..20 {
        let answers = append_side_by_side_from(&appender, 20 * round, 20).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    assert_eq!(follower.calls().len(), 400, "nothing was sent twice");
}
