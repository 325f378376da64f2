//! Watches that break and go on.

use super::*;
use crate::client::{Watched, Watching};

/// The positions of all notices until the watch has caught up.
async fn until_caught_up(watching: &mut Watching) -> Vec<u64> {
    let mut seen = Vec::new();
    loop {
        match watching.next().await.unwrap().unwrap() {
            Watched::Notice(notice) => seen.push(notice.position),
            Watched::CaughtUp { .. } => return seen,
        }
    }
}

#[tokio::test]
async fn a_watch_that_breaks_goes_on_behind_what_was_seen() {
    let (first, second) = replicas(vec![], vec![]).await;
    let client = client(&[&first, &second]);
    fill(&client, &["orders"], 10).await;
    first.script([Act::BreakOffAfter(4)]);
    second.script([Act::BreakOffAfter(0), refuse(Reason::NotReady)]);
    let request = v1::WatchRequest { from_position: Some(2), ..Default::default() };
    let seen = until_caught_up(&mut client.watch(request)).await;
    assert_eq!(seen, (2..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_watch_that_breaks_before_its_first_notice_loses_nothing() {
    let (first, second) = replicas(vec![], vec![]).await;
    let client = client(&[&first, &second]);
    fill(&client, &["orders"], 3).await;
    first.script([Act::BreakOffAfter(0)]);
    let mut watching = client.watch(v1::WatchRequest::default());
    assert!(until_caught_up(&mut watching).await.is_empty());
    // The header said where the watch begins: what happened since must not be passed over.
    assert_eq!(second.calls(), ["watch from Some(3)"]);
}

#[tokio::test]
async fn a_refused_watch_ends_with_its_reason() {
    let server = one([refuse(Reason::InvalidArgument)]).await;
    let mut watching = client(&[&server]).watch(v1::WatchRequest::default());
    let error = watching.next().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::InvalidArgument));
    assert!(watching.next().await.is_none());
}
