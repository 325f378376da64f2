//! Answers.

use super::*;
use crate::engine::{Listing, StreamState, StreamStatus, StreamSummary};

#[test]
fn an_answer_names_each_stream_in_the_order_of_the_request() {
    let request = v1::AppendRequest { appends: vec![stream("b"), stream("a")], condition: None };
    let (outcome, _) = applied(5, &request);
    let Outcome::Appended(appended) = outcome else { panic!("{outcome:?}") };
    let answered =
        |stream_id: &str| v1::StreamAppended { stream_id: stream_id.to_owned(), last_version: 0 };
    assert_eq!(
        append_response(request, &appended),
        v1::AppendResponse {
            streams: vec![answered("b"), answered("a")],
            first_position: 0,
            last_position: 1,
            epoch_us: 5,
        }
    );
}

#[test]
fn streams_are_described_and_listed() {
    let unknown = stream_info("x", &StreamState::Unknown);
    assert_eq!((unknown.exists, unknown.first_version, unknown.last_version), (false, -1, -1));

    let request = v1::AppendRequest { appends: vec![stream("a"), stream("b")], condition: None };
    let (_, reader) = applied(5, &request);
    let page = |after| {
        let listing = Listing { after, streams_max: 1, ..Listing::default() };
        list_response(reader.list_streams(&listing).unwrap())
    };
    let response = page(None);
    assert_eq!(response.next_page_token, "a");
    assert!(response.streams[0].exists);
    let response = page(Some("a"));
    assert_eq!(
        (response.streams[0].stream_id.as_str(), response.next_page_token.as_str()),
        ("b", "")
    );
}

#[test]
fn a_stream_tells_in_which_part_of_its_life_it_is() {
    let summary = |status, last_version: Option<u64>| StreamSummary {
        stream_id: "s".to_owned(),
        status,
        first_version: last_version.map_or(0, |last| last + 1),
        last_version,
        events: 0,
        first_epoch_us: 0,
        last_epoch_us: 0,
    };
    let deleted = stream_info("s", &StreamState::Deleted(summary(StreamStatus::Deleted, Some(3))));
    assert!(!deleted.exists && deleted.deleted && !deleted.tombstoned);
    assert_eq!((deleted.first_version, deleted.last_version), (4, 3));
    let never = StreamState::Tombstoned(summary(StreamStatus::Tombstoned, None));
    let never = stream_info("s", &never);
    assert!(!never.exists && !never.deleted && never.tombstoned);
    assert_eq!((never.first_version, never.last_version), (-1, -1));
}

#[test]
fn a_notice_says_what_happened_to_which_stream() {
    let request = v1::AppendRequest { appends: vec![stream("a")], condition: None };
    let (_, reader) = applied(5, &request);
    let page = reader.notices(0, false, 10).unwrap();
    let told = notice(&page.notices[0]);
    assert_eq!((told.position, told.epoch_us), (0, 5));
    assert_eq!((told.feature(), told.change()), (v1::Feature::Streams, v1::Change::Created));
    let stream = told.stream.unwrap();
    assert_eq!((stream.stream_id.as_str(), stream.exists, stream.last_version), ("a", true, 0));
}
