//! `Watch`: history, then what comes, without a hole between them.

use reckon_api::{Reason, v1};
use v1::Change;

use crate::calls::{Calls, Watch};
use crate::messages::{events_to, refused_field, unique};

fn from(position: u64) -> v1::WatchRequest {
    v1::WatchRequest { from_position: Some(position), ..v1::WatchRequest::default() }
}

/// The next notice about streams of this test.
async fn next(watch: &mut Watch, prefix: &str) -> v1::Notice {
    loop {
        if let Ok(notice) = watch.next().await.unwrap()
            && notice.stream.as_ref().unwrap().stream_id.starts_with(prefix)
        {
            return notice;
        }
    }
}

pub async fn a_watch_shows_what_was_and_then_what_comes(calls: Calls) {
    let name = unique("watched");
    let first = calls.append(events_to(&name, 2)).await.unwrap().first_position;
    let (begins, mut watch) = calls.watch(from(first)).await.unwrap();
    assert_eq!(begins, first);
    let created = next(&mut watch, &name).await;
    assert_eq!((created.change(), created.position), (Change::Created, first));
    assert_eq!(created.feature(), v1::Feature::Streams);
    assert_eq!(created.stream.unwrap().last_version, 1);
    loop {
        if let Err(next_position) = watch.next().await.unwrap() {
            assert!(next_position > first);
            break;
        }
    }

    calls.append(events_to(&name, 1)).await.unwrap();
    let truncate =
        v1::TruncateRequest { stream_id: name.clone(), before_version: 1, expectation: None };
    let position = calls.truncate(truncate).await.unwrap().position;
    let notice = next(&mut watch, &name).await;
    assert_eq!((notice.change(), notice.position), (Change::Updated, position));
    assert_eq!(notice.stream.unwrap().first_version, 1, "as it was after the change");
    let delete = v1::DeleteRequest { stream_id: name.clone(), expectation: None };
    let position = calls.delete(delete).await.unwrap().position;
    let notice = next(&mut watch, &name).await;
    assert_eq!((notice.change(), notice.position), (Change::Deleted, position));
    assert!(notice.stream.unwrap().deleted);
    calls.append(events_to(&name, 1)).await.unwrap();
    assert_eq!(next(&mut watch, &name).await.change(), Change::Created, "opened again");
    let tombstone = v1::TombstoneRequest { stream_id: name.clone(), expectation: None };
    calls.tombstone(tombstone).await.unwrap();
    assert_eq!(next(&mut watch, &name).await.change(), Change::Tombstoned);
}

pub async fn a_watch_without_a_position_shows_only_what_comes(calls: Calls) {
    let prefix = unique("from-now");
    let before = calls.append(events_to(&format!("{prefix}-old"), 1)).await.unwrap();
    let (begins, mut watch) = calls.watch(v1::WatchRequest::default()).await.unwrap();
    assert!(begins > before.last_position);
    let new = format!("{prefix}-new");
    calls.append(events_to(&new, 1)).await.unwrap();
    assert_eq!(next(&mut watch, &prefix).await.stream.unwrap().stream_id, new);
}

pub async fn nothing_is_lost_or_doubled_at_the_seam(calls: Calls) {
    let prefix = unique("seam");
    let start = calls.append(events_to(&format!("{prefix}-0"), 1)).await.unwrap().first_position;
    let writing = {
        let (calls, prefix) = (calls.clone(), prefix.clone());
        tokio::spawn(async move {
            for number in 1..300 {
                calls.append(events_to(&format!("{prefix}-{number}"), 1)).await.unwrap();
            }
        })
    };
    let mut watches = Vec::new();
    for _ in 0..5 {
        watches.push(calls.watch(from(start)).await.unwrap().1);
    }
    for watch in &mut watches {
        let mut last = None;
        for number in 0..300 {
            let notice = next(watch, &prefix).await;
            assert_eq!(notice.stream.unwrap().stream_id, format!("{prefix}-{number}"));
            assert!(last.is_none_or(|last| last < notice.position));
            last = Some(notice.position);
        }
    }
    writing.await.unwrap();
}

pub async fn malformed_watches_are_refused(calls: Calls) {
    let request = v1::WatchRequest { features: vec![99], ..v1::WatchRequest::default() };
    let answer = calls.watch(request).await.map(|(from, _)| from);
    refused_field(answer, Reason::InvalidArgument, "features");
}
