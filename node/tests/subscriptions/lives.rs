//! Streams that end, are cut or are opened again while somebody follows.

use reckon_api::v1;

use crate::calls::{Calls, following, stream};
use crate::messages::{events_to, of_prefix, unique, versions};

async fn truncate(calls: &Calls, name: &str, before_version: u64) {
    let stream_id = name.to_owned();
    let request = v1::TruncateRequest { stream_id, before_version, expectation: None };
    calls.streams.clone().truncate(request).await.unwrap();
}

async fn delete(calls: &Calls, name: &str) {
    let request = v1::DeleteRequest { stream_id: name.to_owned(), expectation: None };
    calls.streams.clone().delete(request).await.unwrap();
}

pub async fn a_stream_that_is_cut_while_it_is_followed_goes_on_with_what_is_left(calls: Calls) {
    let name = unique("cut");
    calls.append(events_to(&name, 5)).await;
    let (_, mut followed) = calls.follow(stream(&name)).await.unwrap();
    assert_eq!(versions(&followed.until_caught_up().await), [0, 1, 2, 3, 4]);
    truncate(&calls, &name, 3).await;
    let (_, mut later) = calls.follow(stream(&name)).await.unwrap();
    assert_eq!(versions(&later.until_caught_up().await), [3, 4]);
    truncate(&calls, &name, 5).await;
    let (_, mut last) = calls.follow(stream(&name)).await.unwrap();
    assert!(last.until_caught_up().await.is_empty());
    calls.append(events_to(&name, 2)).await;
    for followed in [&mut followed, &mut later, &mut last] {
        assert_eq!(versions(&followed.events(2).await), [5, 6]);
    }
}

pub async fn a_stream_that_is_deleted_and_opened_again_goes_on(calls: Calls) {
    let name = unique("again");
    let (_, mut followed) = calls.follow(stream(&name)).await.unwrap();
    assert!(followed.until_caught_up().await.is_empty());
    calls.append(events_to(&name, 2)).await;
    assert_eq!(versions(&followed.events(2).await), [0, 1]);
    for round in 1..4 {
        delete(&calls, &name).await;
        let (_, mut later) = calls.follow(stream(&name)).await.unwrap();
        assert!(later.until_caught_up().await.is_empty(), "what is deleted is gone");
        calls.append(events_to(&name, 2)).await;
        for followed in [&mut followed, &mut later] {
            assert_eq!(versions(&followed.events(2).await), [2 * round, 2 * round + 1]);
        }
    }
    let request = v1::TombstoneRequest { stream_id: name.clone(), expectation: None };
    calls.streams.clone().tombstone(request).await.unwrap();
    let (_, mut never) = calls.follow(stream(&name)).await.unwrap();
    assert!(never.until_caught_up().await.is_empty());
}

pub async fn a_follower_of_everything_passes_over_what_is_gone(calls: Calls) {
    let prefix = unique("gone");
    let (kept, gone) = (format!("{prefix}-kept"), format!("{prefix}-gone"));
    let start = calls.append(events_to(&kept, 1)).await.first_position;
    for _ in 0..3 {
        calls.append(events_to(&gone, 3)).await;
        calls.append(events_to(&kept, 1)).await;
    }
    truncate(&calls, &gone, 7).await;
    let from = Some(v1::read_from::Kind::At(start));
    let request = following(v1::selector::Kind::All(true), from);
    let filter = Some(v1::Filter { terms: vec![of_prefix(&prefix)] });
    let request = v1::FollowRequest { filter, ..request };
    let (_, mut followed) = calls.follow(request).await.unwrap();
    let events = followed.until_caught_up().await;
    let found: Vec<(&str, u64)> =
        events.iter().map(|event| (event.stream_id.as_str(), event.version)).collect();
    let (kept, gone) = (kept.as_str(), gone.as_str());
    assert_eq!(found, [(kept, 0), (kept, 1), (kept, 2), (gone, 7), (gone, 8), (kept, 3)]);
    delete(&calls, gone).await;
    calls.append(events_to(kept, 1)).await;
    assert_eq!(followed.event().await.version, 4);
}
