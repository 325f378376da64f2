//! Watches of health and consistency, which have no end although their servers have.

use super::*;
use crate::testing::{Checkup, Said};
use crate::v1::ConsistencyResult::{Degraded, Healthy, NoQuorum};

async fn asking(answers: &[Said]) -> Client {
    let server = Checkup::start(answers.iter().copied()).await;
    Client::new(options([server.address])).unwrap()
}

#[tokio::test]
async fn a_watch_goes_on_when_its_node_ends_it_or_is_not_ready() {
    let answers = [Ok(Healthy), Err(Reason::NotReady), Ok(Degraded), Ok(NoQuorum)];
    let watching = asking(&answers).await.watch_status();
    let seen: Vec<_> =
        watching.take(3).map_ok(|report| report.result()).try_collect().await.unwrap();
    assert_eq!(seen, [Healthy, Degraded, NoQuorum]);
}

#[tokio::test]
async fn a_watch_that_is_refused_for_good_ends_with_the_reason() {
    let mut watching = asking(&[Err(Reason::NotInitialised)]).await.watch_status();
    let refused = watching.next().await.unwrap().unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::NotInitialised));
    assert!(watching.next().await.is_none());
}

#[tokio::test]
async fn a_watch_of_health_begins_again_with_how_members_are() {
    let watching = asking(&[]).await.watch_health();
    let seen: Vec<_> = watching.take(2).try_collect().await.unwrap();
    assert_eq!(seen.len(), 2);
}
