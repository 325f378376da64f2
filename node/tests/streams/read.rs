//! `Read`: directions, starts, bounds, and what cannot be read.

use reckon_api::{Reason, v1};
use v1::read_from::Kind;

use crate::calls::Calls;
use crate::messages::{
    at_least, events_to, from, refused, refused_field, stale, unique, value, versions,
};
use crate::unable::BRIEF;

const BACKWARD: i32 = v1::Direction::Backward as i32;

fn of(stream_id: &str) -> v1::ReadRequest {
    v1::ReadRequest { stream_id: stream_id.to_owned(), ..v1::ReadRequest::default() }
}

pub async fn both_directions_from_everywhere(calls: Calls) {
    let name = unique("read");
    calls.append(events_to(&name, 4)).await.unwrap();
    calls.append(events_to(&name, 3)).await.unwrap();
    let table: [(i32, Option<Kind>, u64, &[u64]); 12] = [
        (0, None, 0, &[0, 1, 2, 3, 4, 5, 6]),
        (0, None, 2, &[0, 1]),
        (0, Some(Kind::Start(true)), 0, &[0, 1, 2, 3, 4, 5, 6]),
        (0, Some(Kind::At(2)), 3, &[2, 3, 4]),
        (0, Some(Kind::End(true)), 0, &[]),
        (0, Some(Kind::TimeUs(0)), 1, &[0]),
        (BACKWARD, None, 3, &[6, 5, 4]),
        (BACKWARD, Some(Kind::End(true)), 0, &[6, 5, 4, 3, 2, 1, 0]),
        (BACKWARD, Some(Kind::At(2)), 0, &[2, 1, 0]),
        (BACKWARD, Some(Kind::At(99)), 2, &[6, 5]),
        (BACKWARD, Some(Kind::Start(true)), 0, &[0]),
        (BACKWARD, Some(Kind::TimeUs(u64::MAX)), 1, &[6]),
    ];
    for (direction, kind, limit, expected) in table {
        let from = kind.and_then(from);
        let request = v1::ReadRequest { direction, from, limit, ..of(&name) };
        let (_, events) = calls.read(request).await.unwrap();
        assert_eq!(versions(&events), expected, "{direction} from {kind:?} limit {limit}");
    }
}

pub async fn times_bound_a_read_inclusively(calls: Calls) {
    let name = unique("times");
    let mut times = Vec::new();
    for _ in 0..3 {
        let epoch_us = calls.append(events_to(&name, 1)).await.unwrap().epoch_us;
        times.push(epoch_us);
    }
    let (first, last) = (times[0], times[2]);
    let read = async |since_us, until_us, direction| {
        let request = v1::ReadRequest { since_us, until_us, direction, ..of(&name) };
        versions(&calls.read(request).await.unwrap().1)
    };
    let within = |since: u64, until: u64| {
        let times = times.iter().enumerate();
        let within = times.filter(move |(_, time)| (since..=until).contains(*time));
        within.map(|(version, _)| version as u64).collect::<Vec<_>>()
    };
    for (since, until) in [(first, last), (first + 1, last), (first, last - 1), (0, first - 1)] {
        assert_eq!(read(Some(since), Some(until), 0).await, within(since, until));
        let mut backward = read(Some(since), Some(until), BACKWARD).await;
        backward.reverse();
        assert_eq!(backward, within(since, until));
    }
    assert_eq!(read(Some(last), None, 0).await, within(last, u64::MAX));
    assert_eq!(read(None, Some(first), 0).await, within(0, first));
    assert_eq!(read(Some(last + 1), None, 0).await, [0_u64; 0]);

    let request = v1::ReadRequest { since_us: Some(2), until_us: Some(1), ..of(&name) };
    let status = refused(calls.read(request).await, Reason::InvalidArgument);
    assert!(status.message().contains("since_us") && status.message().contains("until_us"));
}

pub async fn the_header_says_what_the_read_reflects(calls: Calls) {
    let name = unique("header");
    let appended = calls.append(events_to(&name, 5)).await.unwrap();
    let (header, _) = calls.read(of(&name)).await.unwrap();
    assert_eq!((header.first_version, header.last_version), (0, 4));
    assert!(header.next_position > appended.last_position);
    let truncate =
        v1::TruncateRequest { stream_id: name.clone(), before_version: 2, expectation: None };
    calls.truncate(truncate).await.unwrap();
    let (header, events) = calls.read(of(&name)).await.unwrap();
    assert_eq!((header.first_version, header.last_version), (2, 4));
    assert_eq!(versions(&events), [2, 3, 4]);
}

pub async fn past_the_end_there_is_nothing_and_no_error(calls: Calls) {
    let name = unique("short");
    calls.append(events_to(&name, 2)).await.unwrap();
    let request = v1::ReadRequest { from: from(Kind::At(2)), ..of(&name) };
    assert!(calls.read(request).await.unwrap().1.is_empty());
    let request = v1::ReadRequest { from: from(Kind::At(u64::MAX)), ..of(&name) };
    assert!(calls.read(request).await.unwrap().1.is_empty());
    let request = v1::ReadRequest { from: from(Kind::TimeUs(u64::MAX)), ..of(&name) };
    assert!(calls.read(request).await.unwrap().1.is_empty());
}

pub async fn streams_that_cannot_be_read_are_told_apart(calls: Calls) {
    let name = unique("life");
    let refuse = async |reason| {
        let status = refused(calls.read(of(&name)).await, reason);
        assert_eq!(value(&status, "stream"), name);
    };
    refuse(Reason::StreamNotFound).await;
    calls.append(events_to(&name, 1)).await.unwrap();
    calls.delete(v1::DeleteRequest { stream_id: name.clone(), expectation: None }).await.unwrap();
    refuse(Reason::StreamDeleted).await;
    let tombstone = v1::TombstoneRequest { stream_id: name.clone(), expectation: None };
    calls.tombstone(tombstone).await.unwrap();
    refuse(Reason::StreamTombstoned).await;
}

pub async fn malformed_reads_are_refused_by_field(calls: Calls) {
    let refuse = async |request, reason, field: &str| {
        refused_field(calls.read(request).await, reason, field);
    };
    refuse(of(""), Reason::InvalidArgument, "stream_id").await;
    refuse(of(&"s".repeat(513)), Reason::LimitExceeded, "stream_id").await;
    let request = v1::ReadRequest { direction: 9, ..of("s") };
    refuse(request, Reason::InvalidArgument, "direction").await;
}

pub async fn a_read_that_waits_for_a_position_waits_no_longer_than_it_may(calls: Calls) {
    let name = unique("waited");
    let position = calls.append(events_to(&name, 1)).await.unwrap().last_position;
    let request = v1::ReadRequest { consistency: at_least(position), ..of(&name) };
    assert_eq!(calls.read(request).await.unwrap().1.len(), 1);
    let request = v1::ReadRequest { consistency: stale(), ..of(&name) };
    assert_eq!(calls.read(request).await.unwrap().1.len(), 1, "a store of one is never stale");

    let calls = calls.within(BRIEF);
    let never = at_least(u64::MAX - 1);
    let read = v1::ReadRequest { consistency: never, ..of(&name) };
    refused(calls.read(read).await, Reason::DeadlineExceeded);
    let read = v1::ReadAllRequest { consistency: never, ..v1::ReadAllRequest::default() };
    refused(calls.read_all(read).await, Reason::DeadlineExceeded);
    let count = v1::CountRequest { consistency: never, ..v1::CountRequest::default() };
    refused(calls.count(count).await, Reason::DeadlineExceeded);
    let any = v1::AnyRequest { consistency: never, ..v1::AnyRequest::default() };
    refused(calls.any(any).await, Reason::DeadlineExceeded);
    let get = v1::GetStreamRequest { stream_id: name.clone(), consistency: never };
    refused(calls.get_stream(get).await, Reason::DeadlineExceeded);
    let list = v1::ListStreamsRequest { consistency: never, ..v1::ListStreamsRequest::default() };
    refused(calls.list_streams(list).await, Reason::DeadlineExceeded);
    let at = v1::VersionAtRequest { stream_id: name, time_us: 0, consistency: never };
    refused(calls.version_at(at).await, Reason::DeadlineExceeded);
    let has = v1::HasEventsRequest { consistency: never, include_system: false };
    refused(calls.has_events(has).await, Reason::DeadlineExceeded);
    let event_id = uuid::Uuid::now_v7().to_string();
    let get = v1::GetEventRequest { event_id, consistency: never };
    refused(calls.get_event(get).await, Reason::DeadlineExceeded);
    let watch = v1::WatchRequest { consistency: never, ..v1::WatchRequest::default() };
    refused(calls.watch(watch).await.map(|(from, _)| from), Reason::DeadlineExceeded);
}
