//! `GetStream`, `ListStreams`, `VersionAt`, `GetEvent` and `HasEvents`.

use reckon_api::{Reason, v1};
use tonic::Status;
use uuid::Uuid;

use crate::calls::Calls;
use crate::messages::{
    append, event, events_to, refused, refused_field, stale, stream, unique, value,
};

async fn describe(calls: &Calls, stream_id: &str) -> v1::StreamInfo {
    let request = v1::GetStreamRequest { stream_id: stream_id.to_owned(), consistency: None };
    calls.get_stream(request).await.unwrap().stream.unwrap()
}

pub async fn a_stream_is_described_through_its_life(calls: Calls) {
    let name = unique("described");
    let info = describe(&calls, &name).await;
    assert_eq!((info.exists, info.first_version, info.last_version), (false, -1, -1));

    let first = calls.append(events_to(&name, 2)).await.unwrap();
    let last = calls.append(events_to(&name, 3)).await.unwrap();
    let expected = v1::StreamInfo {
        stream_id: name.clone(),
        exists: true,
        first_version: 0,
        last_version: 4,
        events: 5,
        first_epoch_us: first.epoch_us,
        last_epoch_us: last.epoch_us,
        deleted: false,
        tombstoned: false,
    };
    assert_eq!(describe(&calls, &name).await, expected);

    let truncate =
        v1::TruncateRequest { stream_id: name.clone(), before_version: 3, expectation: None };
    calls.truncate(truncate).await.unwrap();
    let info = describe(&calls, &name).await;
    assert_eq!((info.first_version, info.last_version, info.events), (3, 4, 2));
    assert_eq!(info.first_epoch_us, last.epoch_us);

    calls.delete(v1::DeleteRequest { stream_id: name.clone(), expectation: None }).await.unwrap();
    let info = describe(&calls, &name).await;
    assert_eq!((info.exists, info.deleted, info.events, info.last_version), (false, true, 0, 4));
    calls.append(events_to(&name, 1)).await.unwrap();
    let info = describe(&calls, &name).await;
    assert_eq!((info.exists, info.deleted), (true, false));
    assert_eq!((info.first_version, info.last_version, info.events), (5, 5, 1));

    let tombstone = v1::TombstoneRequest { stream_id: name.clone(), expectation: None };
    calls.tombstone(tombstone).await.unwrap();
    let info = describe(&calls, &name).await;
    assert_eq!((info.exists, info.tombstoned, info.events), (false, true, 0));
}

/// Every page of a listing, as names.
async fn list(calls: &Calls, request: v1::ListStreamsRequest) -> Vec<Vec<String>> {
    let mut request = request;
    let mut pages = Vec::new();
    loop {
        let page = calls.list_streams(request.clone()).await.unwrap();
        pages.push(page.streams.into_iter().map(|stream| stream.stream_id).collect());
        if page.next_page_token.is_empty() {
            return pages;
        }
        request.page_token = page.next_page_token;
    }
}

pub async fn streams_are_listed_by_pages_and_names(calls: Calls) {
    let prefix = unique("listed");
    let names: Vec<_> =
        ["a-v1", "a-v2", "b-v1", "c-v2", "d-v1"].map(|end| format!("{prefix}-{end}")).into();
    let appends = names.iter().map(|name| stream(name, vec![event("A")])).collect();
    calls.append(append(appends)).await.unwrap();
    let own = v1::ListStreamsRequest { prefix: prefix.clone(), ..Default::default() };
    let flat = |pages: Vec<Vec<String>>| pages.into_iter().flatten().collect::<Vec<_>>();

    let pages = list(&calls, v1::ListStreamsRequest { page_size: 2, ..own.clone() }).await;
    assert!(pages.iter().all(|page| page.len() <= 2));
    assert_eq!(flat(pages), names, "in the order of their names");

    let chosen = |names: &[usize], all: &[String]| {
        names.iter().map(|index| all[*index].clone()).collect::<Vec<_>>()
    };
    for (request, expected) in [
        (v1::ListStreamsRequest { suffix: "-v1".to_owned(), ..own.clone() }, &[0, 2, 4][..]),
        (v1::ListStreamsRequest { pattern: "*-?-v2".to_owned(), ..own.clone() }, &[1, 3]),
        (v1::ListStreamsRequest { regex: "-[bc]-".to_owned(), ..own.clone() }, &[2, 3]),
        (
            v1::ListStreamsRequest {
                regex: "-[bc]-".to_owned(),
                suffix: "-v1".to_owned(),
                ..own.clone()
            },
            &[2],
        ),
        (v1::ListStreamsRequest { prefix: unique("unheard-of"), ..own.clone() }, &[]),
    ] {
        assert_eq!(flat(list(&calls, request).await), chosen(expected, &names));
    }

    let delete = v1::DeleteRequest { stream_id: names[0].clone(), expectation: None };
    calls.delete(delete).await.unwrap();
    let tombstone = v1::TombstoneRequest { stream_id: names[4].clone(), expectation: None };
    calls.tombstone(tombstone).await.unwrap();
    assert_eq!(flat(list(&calls, own.clone()).await), names[1..4]);
    let all = v1::ListStreamsRequest { include_deleted: true, ..own.clone() };
    assert_eq!(flat(list(&calls, all).await), names);

    let system = v1::ListStreamsRequest { prefix: "$".to_owned(), ..Default::default() };
    assert!(flat(list(&calls, system.clone()).await).is_empty());
    let system = v1::ListStreamsRequest { include_system: true, ..system };
    assert!(!flat(list(&calls, system).await).is_empty(), "the notices' stream is there");
}

pub async fn malformed_listings_are_refused(calls: Calls) {
    let of = v1::ListStreamsRequest::default;
    let refuse = async |request, reason| refused(calls.list_streams(request).await, reason);
    let pattern = v1::ListStreamsRequest { pattern: "a\\".to_owned(), ..of() };
    let status = refuse(pattern, Reason::InvalidPattern).await;
    assert_eq!((value(&status, "field"), value(&status, "offset")), ("pattern".into(), "1".into()));
    let regex = v1::ListStreamsRequest { regex: "a(".to_owned(), ..of() };
    let status = refuse(regex, Reason::InvalidPattern).await;
    assert_eq!(value(&status, "field"), "regex");
    let long = v1::ListStreamsRequest { prefix: "p".repeat(513), ..of() };
    refused_field(calls.list_streams(long).await, Reason::LimitExceeded, "prefix");
    let token = v1::ListStreamsRequest { page_token: "t".repeat(100_000), ..of() };
    let status = calls.list_streams(token).await.unwrap_err();
    assert_eq!(value(&status, "field"), "page_token");
}

pub async fn a_version_is_found_by_its_time(calls: Calls) {
    let name = unique("timed");
    let at = async |time_us| {
        let stream_id = name.clone();
        let request = v1::VersionAtRequest { stream_id, time_us, consistency: stale() };
        calls.version_at(request).await
    };
    refused(at(u64::MAX).await, Reason::StreamNotFound);
    let first = calls.append(events_to(&name, 2)).await.unwrap();
    let last = calls.append(events_to(&name, 1)).await.unwrap();
    assert_eq!(at(first.epoch_us - 1).await.unwrap().version, -1);
    assert_eq!(at(last.epoch_us).await.unwrap().version, 2, "the time is inclusive");
    assert_eq!(at(u64::MAX).await.unwrap().version, 2);
    if first.epoch_us < last.epoch_us {
        assert_eq!(at(first.epoch_us).await.unwrap().version, 1);
    }
    calls.delete(v1::DeleteRequest { stream_id: name.clone(), expectation: None }).await.unwrap();
    refused(at(u64::MAX).await, Reason::StreamDeleted);
    let tombstone = v1::TombstoneRequest { stream_id: name.clone(), expectation: None };
    calls.tombstone(tombstone).await.unwrap();
    refused(at(u64::MAX).await, Reason::StreamTombstoned);
}

pub async fn an_event_is_found_by_its_id_until_it_is_removed(calls: Calls) {
    let name = unique("found");
    let events = vec![event("A"), event("B"), event("C")];
    let ids: Vec<_> = events.iter().map(|event| event.event_id().to_owned()).collect();
    let appended = calls.append(append(vec![stream(&name, events)])).await.unwrap();
    let get = async |event_id: &str| -> Result<v1::Event, Status> {
        let event_id = event_id.to_owned();
        let request = v1::GetEventRequest { event_id, consistency: None };
        calls.get_event(request).await.map(|answer| answer.event.unwrap())
    };
    let found = get(&ids[1].to_uppercase()).await.unwrap();
    assert_eq!((found.event_id.as_str(), found.event_type.as_str()), (ids[1].as_str(), "B"));
    assert_eq!((found.version, found.position), (1, appended.first_position + 1));

    let unknown = Uuid::now_v7().to_string();
    let status = refused(get(&unknown).await, Reason::EventNotFound);
    assert_eq!(value(&status, "event_id"), unknown);

    let truncate =
        v1::TruncateRequest { stream_id: name.clone(), before_version: 2, expectation: None };
    calls.truncate(truncate).await.unwrap();
    refused(get(&ids[1]).await, Reason::EventNotFound);
    get(&ids[2]).await.expect("it is above what was removed");
    calls.delete(v1::DeleteRequest { stream_id: name, expectation: None }).await.unwrap();
    refused(get(&ids[2]).await, Reason::EventNotFound);

    let has = v1::HasEventsRequest { consistency: None, include_system: false };
    calls.append(events_to(&unique("some"), 1)).await.unwrap();
    assert!(calls.has_events(has).await.unwrap().has_events);
}

pub async fn malformed_look_ups_are_refused(calls: Calls) {
    use Reason::{InvalidArgument, LimitExceeded};
    for (name, reason) in [(String::new(), InvalidArgument), ("s".repeat(513), LimitExceeded)] {
        let request = v1::GetStreamRequest { stream_id: name.clone(), consistency: None };
        refused_field(calls.get_stream(request).await, reason, "stream_id");
        let request = v1::VersionAtRequest { stream_id: name, time_us: 0, consistency: None };
        refused_field(calls.version_at(request).await, reason, "stream_id");
    }
    for id in ["", "17"] {
        let request = v1::GetEventRequest { event_id: id.to_owned(), consistency: None };
        refused_field(calls.get_event(request).await, InvalidArgument, "event_id");
    }
}
