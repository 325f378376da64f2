//! Where followers begin, what they are told, and how many there may be.

use futures::future::join_all;
use reckon_api::v1;
use v1::read_from::Kind as From;
use v1::selector::Kind;

use crate::calls::{Calls, Told, following, stream};
use crate::messages::{event, events_to, of_prefix, unique, versions};

pub async fn a_follower_begins_wherever_it_says(calls: Calls) {
    let name = unique("from");
    let mut appended = Vec::new();
    for _ in 0..4 {
        appended.push(calls.append(events_to(&name, 2)).await);
    }
    let third = &appended[2];
    // Times are of groups, and two appends may have been in one.
    let at_third = appended.iter().position(|it| it.epoch_us == third.epoch_us).unwrap() as u64;
    let of_stream = || Kind::Stream(name.clone());
    let of_all = || Kind::All(true);
    for (kind, from, first) in [
        (of_stream(), None, 0),
        (of_stream(), Some(From::Start(true)), 0),
        (of_stream(), Some(From::At(3)), 3),
        (of_stream(), Some(From::At(100)), 100),
        (of_stream(), Some(From::End(true)), 8),
        (of_stream(), Some(From::TimeUs(third.epoch_us)), 2 * at_third),
        (of_all(), Some(From::Start(true)), 0),
        (of_all(), Some(From::At(third.first_position)), 4),
        (of_all(), Some(From::At(third.last_position)), 5),
        (of_all(), Some(From::End(true)), 8),
        (of_all(), Some(From::TimeUs(third.epoch_us)), 2 * at_third),
    ] {
        let filter = Some(v1::Filter { terms: vec![of_prefix(&name)] });
        let request = v1::FollowRequest { filter, ..following(kind.clone(), from) };
        let (from_position, mut followed) = calls.follow(request).await.unwrap();
        let events = followed.until_caught_up().await;
        let expected: Vec<u64> = (first.min(8)..8).collect();
        assert_eq!(versions(&events), expected, "{kind:?} from {from:?}");
        assert!(events.first().is_none_or(|first| from_position <= first.position));
        if first == 8 {
            assert!(from_position > appended[3].last_position);
        }
    }
}

pub async fn a_follower_is_told_each_time_that_it_has_caught_up(calls: Calls) {
    let name = unique("caught-up");
    let (_, mut followed) = calls.follow(stream(&name)).await.unwrap();
    let Told::CaughtUp(mut caught_up) = followed.next().await.unwrap() else {
        panic!("where there is nothing it has caught up at once");
    };
    for number in 0..3 {
        let appended = calls.append(events_to(&name, 2)).await;
        assert!(caught_up <= appended.first_position);
        // An append comes as a whole, and is followed by one word that this was all.
        let Told::Events(events) = followed.next().await.unwrap() else {
            panic!("told again without a reason");
        };
        assert_eq!(versions(&events), [2 * number, 2 * number + 1]);
        let Told::CaughtUp(now) = followed.next().await.unwrap() else {
            panic!("there is no more");
        };
        assert!(now > appended.last_position);
        caught_up = now;
        // Somebody else's events are no news.
        calls.append(events_to(&unique("other"), 1)).await;
    }
}

pub async fn a_follower_begins_where_there_is_nothing_yet(calls: Calls) {
    let name = unique("later");
    let appended = calls.append(events_to(&name, 2)).await;
    let ahead = appended.last_position + 3;
    let filter = Some(v1::Filter { terms: vec![of_prefix(&name)] });
    let of_all = following(Kind::All(true), Some(From::At(ahead)));
    let requests = [
        v1::FollowRequest { filter, ..of_all },
        following(Kind::Stream(name.clone()), Some(From::At(4))),
        following(Kind::Stream(name.clone()), Some(From::End(true))),
    ];
    let mut open = Vec::new();
    for request in requests {
        let (_, mut followed) = calls.follow(request).await.unwrap();
        assert!(followed.until_caught_up().await.is_empty());
        open.push(followed);
    }
    let later = calls.append(events_to(&name, 6)).await;
    let by_position: Vec<u64> =
        (2..8).filter(|version| later.first_position + version - 2 >= ahead).collect();
    let expected = [by_position, (4..8).collect(), (2..8).collect()];
    for (followed, expected) in open.iter_mut().zip(expected) {
        assert_eq!(versions(&followed.events(expected.len()).await), expected);
    }
}

pub async fn many_followers_of_single_streams_get_theirs(calls: Calls) {
    const FOLLOWERS: usize = 300;
    let prefix = unique("many");
    let name = |number: usize| format!("{prefix}-{number}");
    let opening = (0..FOLLOWERS).map(|number| {
        let calls = calls.clone();
        let name = name(number);
        async move {
            let (_, mut followed) = calls.follow(stream(&name)).await.unwrap();
            assert!(followed.until_caught_up().await.is_empty());
            followed
        }
    });
    let mut open = join_all(opening).await;
    for round in 0..3 {
        join_all((0..FOLLOWERS).map(|number| {
            let calls = calls.clone();
            let request = events_to(&name(number), 1);
            async move { calls.append(request).await }
        }))
        .await;
        for (number, followed) in open.iter_mut().enumerate() {
            let event = followed.event().await;
            assert_eq!((event.stream_id, event.version), (name(number), round));
        }
    }
}

pub async fn long_histories_come_in_order_and_whole(calls: Calls) {
    let prefix = unique("history");
    let (name, event_type) = (format!("{prefix}-a"), format!("{prefix}-type"));
    let mut events = 0;
    for number in 0..30 {
        let mut request = events_to(&name, 100);
        request.appends[0].events[50] = event(&event_type);
        if number % 3 == 0 {
            request.appends.push(crate::messages::stream(&format!("{prefix}-b"), vec![event("b")]));
            events += 1;
        }
        calls.append(request).await;
        events += 100;
    }
    let whole: Vec<u64> = (0..3_000).collect();
    let (_, mut followed) = calls.follow(stream(&name)).await.unwrap();
    assert_eq!(versions(&followed.until_caught_up().await), whole);
    let by_type: Vec<u64> = whole.into_iter().filter(|version| version % 100 == 50).collect();
    let request = following(Kind::EventType(event_type), None);
    let (_, mut followed) = calls.follow(request).await.unwrap();
    assert_eq!(versions(&followed.until_caught_up().await), by_type);
    let filter = Some(v1::Filter { terms: vec![of_prefix(&prefix)] });
    let request = v1::FollowRequest { filter, ..v1::FollowRequest::default() };
    let (_, mut followed) = calls.follow(request).await.unwrap();
    let all = followed.until_caught_up().await;
    assert_eq!(all.len(), events);
    assert!(all.is_sorted_by(|one, other| one.position < other.position));
}
