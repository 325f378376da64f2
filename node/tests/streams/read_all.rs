//! `ReadAll`: order, starts, the server's own streams.

use reckon_api::{Reason, v1};
use v1::read_from::Kind;

use crate::calls::Calls;
use crate::messages::{
    append, event, events_to, filter, from, of_prefix, positions, refused, refused_field, stream,
    unique,
};

const BACKWARD: i32 = v1::Direction::Backward as i32;

pub async fn both_directions_with_a_limit(calls: Calls) {
    let prefix = unique("all");
    let (one, two) = (format!("{prefix}-1"), format!("{prefix}-2"));
    calls.append(events_to(&one, 3)).await.unwrap();
    let both =
        append(vec![stream(&two, vec![event("A")]), stream(&one, vec![event("B"), event("C")])]);
    let last = calls.append(both).await.unwrap();
    let own = |request| v1::ReadAllRequest { filter: filter(vec![of_prefix(&prefix)]), ..request };

    let (header, events) = calls.read_all(own(v1::ReadAllRequest::default())).await.unwrap();
    assert_eq!(events.len(), 6);
    assert!(positions(&events).is_sorted());
    assert!(header.next_position > last.last_position, "it reflects what was acknowledged");
    let names: Vec<_> = events[3..].iter().map(|event| event.stream_id.as_str()).collect();
    assert_eq!(names, [&two, &one, &one], "one append's streams stand in its order");

    let request = v1::ReadAllRequest { limit: 2, ..v1::ReadAllRequest::default() };
    let (_, first) = calls.read_all(own(request)).await.unwrap();
    assert_eq!(first, events[..2]);
    let request =
        v1::ReadAllRequest { limit: 2, direction: BACKWARD, ..v1::ReadAllRequest::default() };
    let (_, newest) = calls.read_all(own(request)).await.unwrap();
    assert_eq!(newest, [events[5].clone(), events[4].clone()]);
    let request = v1::ReadAllRequest {
        from: from(Kind::At(events[2].position)),
        direction: BACKWARD,
        ..v1::ReadAllRequest::default()
    };
    let (_, before) = calls.read_all(own(request)).await.unwrap();
    assert_eq!(before, [events[2].clone(), events[1].clone(), events[0].clone()]);
    let request = v1::ReadAllRequest {
        from: from(Kind::At(header.next_position)),
        ..v1::ReadAllRequest::default()
    };
    let (_, past) = calls.read_all(own(request)).await.unwrap();
    assert!(past.is_empty(), "nothing of this test came after its header");
}

pub async fn a_read_begins_at_a_time(calls: Calls) {
    let prefix = unique("at-time");
    let mut appended = Vec::new();
    for number in 0..3 {
        let name = format!("{prefix}-{number}");
        appended.push(calls.append(events_to(&name, 1)).await.unwrap());
    }
    for (direction, kind, since_us, until_us) in [
        (0, Some(Kind::TimeUs(appended[1].epoch_us)), None, None),
        (0, None, Some(appended[1].epoch_us), None),
        (BACKWARD, Some(Kind::TimeUs(appended[1].epoch_us)), None, None),
        (BACKWARD, None, None, Some(appended[1].epoch_us)),
    ] {
        let time = appended[1].epoch_us;
        let mut expected: Vec<_> =
            appended
                .iter()
                .filter(|own| {
                    if direction == BACKWARD { own.epoch_us <= time } else { own.epoch_us >= time }
                })
                .map(|own| own.first_position)
                .collect();
        if direction == BACKWARD {
            expected.reverse();
        }
        let request = v1::ReadAllRequest {
            direction,
            from: kind.and_then(from),
            since_us,
            until_us,
            filter: filter(vec![of_prefix(&prefix)]),
            ..v1::ReadAllRequest::default()
        };
        let (_, events) = calls.read_all(request).await.unwrap();
        assert_eq!(positions(&events), expected, "{direction} {kind:?} {since_us:?} {until_us:?}");
    }
}

pub async fn the_servers_own_streams_are_shown_on_request(calls: Calls) {
    let name = unique("noticed");
    calls.append(events_to(&name, 1)).await.unwrap();
    let request = v1::DeleteRequest { stream_id: name, expectation: None };
    let position = calls.delete(request).await.unwrap().position;
    for include_system in [false, true] {
        let request = v1::ReadAllRequest {
            from: from(Kind::At(position)),
            limit: 1,
            include_system,
            ..v1::ReadAllRequest::default()
        };
        let (_, events) = calls.read_all(request).await.unwrap();
        let shown = events.first().is_some_and(|event| event.position == position);
        assert_eq!(shown, include_system);
    }
}

pub async fn a_backward_read_and_a_forward_one_give_the_same_events(calls: Calls) {
    let prefix = unique("many");
    // More than a page.
    for number in 0..5 {
        calls.append(events_to(&format!("{prefix}-{number}"), 500)).await.unwrap();
    }
    let read = async |direction| {
        let request = v1::ReadAllRequest {
            direction,
            filter: filter(vec![of_prefix(&prefix)]),
            ..v1::ReadAllRequest::default()
        };
        calls.read_all(request).await.unwrap().1
    };
    let forward = read(0).await;
    let mut backward = read(BACKWARD).await;
    backward.reverse();
    assert_eq!(forward.len(), 2_500);
    assert!(forward == backward);
}

pub async fn malformed_reads_of_the_store_are_refused(calls: Calls) {
    let request = v1::ReadAllRequest { direction: 9, ..v1::ReadAllRequest::default() };
    refused_field(calls.read_all(request).await, Reason::InvalidArgument, "direction");
    let request = v1::ReadAllRequest {
        since_us: Some(2),
        until_us: Some(1),
        ..v1::ReadAllRequest::default()
    };
    let status = refused(calls.read_all(request).await, Reason::InvalidArgument);
    assert!(status.message().contains("since_us") && status.message().contains("until_us"));
    let terms = (0..17).map(|_| of_prefix("a")).collect();
    let request = v1::ReadAllRequest { filter: filter(terms), ..v1::ReadAllRequest::default() };
    refused_field(calls.read_all(request).await, Reason::LimitExceeded, "filter.terms");
}
