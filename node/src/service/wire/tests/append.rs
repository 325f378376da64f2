//! Appends.

use bytes::Bytes;
use v1::expectation::Kind;

use super::*;
use crate::engine::Expectation;
use crate::limits;

#[test]
fn every_field_comes_back() {
    let event = v1::NewEvent {
        event_id: Some("67E55044-10B1-426F-9247-BB680E5FE0C8".into()),
        event_type: "paid".into(),
        data: Bytes::from_static(b"\x00\x01"),
        data_content_type: "application/octet-stream".into(),
        metadata: "{\"causation_id\":\"not this one\"}".into(),
        metadata_content_type: "application/vnd.shop+json".into(),
        tags: vec!["b".into(), "a".into(), "b".into()],
        causation_id: Some("cause".into()),
        correlation_id: Some("correlation".into()),
        actor_id: Some("actor".into()),
        schema_version: Some(3),
        occurred_at_us: Some(-5),
    };
    let expected = v1::Event {
        event_id: "67e55044-10b1-426f-9247-bb680e5fe0c8".into(),
        stream_id: "orders-1".into(),
        version: 0,
        position: 0,
        event_type: event.event_type.clone(),
        data: event.data.clone(),
        data_content_type: event.data_content_type.clone(),
        metadata: event.metadata.clone(),
        metadata_content_type: event.metadata_content_type.clone(),
        tags: vec!["a".into(), "b".into()],
        causation_id: event.causation_id.clone(),
        correlation_id: event.correlation_id.clone(),
        actor_id: event.actor_id.clone(),
        schema_version: 3,
        occurred_at_us: Some(-5),
        epoch_us: 77,
    };
    assert_eq!(recorded(event), expected);
}

#[test]
fn what_is_absent_takes_its_default() {
    let event = recorded(new_event());
    assert_eq!(event.event_id, NEW_ID.to_string());
    assert_eq!(event.data_content_type, "application/json");
    assert_eq!(event.metadata_content_type, "application/json");
    assert_eq!((event.schema_version, event.occurred_at_us), (1, None));
    assert_eq!((event.causation_id, event.correlation_id, event.actor_id), (None, None, None));
}

#[test]
fn absent_fields_are_taken_from_json_metadata() {
    let from = |metadata: &'static str, content_type: &str| {
        let mut event = new_event();
        event.metadata = metadata.into();
        event.metadata_content_type = content_type.into();
        let event = recorded(event);
        (event.causation_id, event.correlation_id, event.actor_id, event.schema_version)
    };
    let some = |text: &str| Some(text.to_owned());
    let plain = r#"{"causation_id":"c","correlation_id":"r","actor_id":"a","schema_version":4}"#;
    let all = (some("c"), some("r"), some("a"), 4);
    let nothing = (None, None, None, 1);
    let dollar =
        r#"{"$causationId":"c","$correlationId":"r","$actorId":"a","$schemaVersion":4,"x":[{}]}"#;
    let camel = r#"{"causationId":"c","correlationId":"r","actorId":"a","schemaVersion":4}"#;
    for (metadata, content_type, expected) in [
        (plain, "", all.clone()),
        (plain, "Application/JSON; charset=utf-8", all.clone()),
        (plain, "application/cloudevents+json", all.clone()),
        (plain, "text/plain", nothing.clone()),
        (dollar, "application/json", all.clone()),
        (camel, "application/json", all),
        (r#"{"causationId":"z","causation_id":"c"}"#, "", (some("c"), None, None, 1)),
        (r#"{"causation_id":"","$causationId":"c"}"#, "", (some("c"), None, None, 1)),
        (r#"{"causation_id":7,"actor_id":null,"schema_version":"4"}"#, "", nothing.clone()),
        (r#"["causation_id"]"#, "", nothing.clone()),
        ("not JSON", "", nothing.clone()),
        ("", "", nothing),
    ] {
        assert_eq!(from(metadata, content_type), expected, "{metadata} as {content_type:?}");
    }
}

#[test]
fn what_is_said_outright_outranks_metadata() {
    let mut event = new_event();
    event.metadata = r#"{"causation_id":"m","correlation_id":"r","schema_version":9}"#.into();
    event.causation_id = Some("outright".into());
    event.schema_version = Some(2);
    let event = recorded(event);
    assert_eq!(event.causation_id.as_deref(), Some("outright"));
    assert_eq!(event.correlation_id.as_deref(), Some("r"));
    assert_eq!(event.schema_version, 2);
}

#[test]
fn event_ids_are_uuids_in_any_text_form() {
    let canonical = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    for text in [
        canonical,
        "67e5504410b1426f9247bb680e5fe0c8",
        "{67E55044-10B1-426F-9247-BB680E5FE0C8}",
        "urn:uuid:67e55044-10b1-426f-9247-bb680e5fe0c8",
    ] {
        let event = v1::NewEvent { event_id: Some(text.into()), ..new_event() };
        assert_eq!(recorded(event).event_id, canonical);
    }
}

#[test]
fn events_that_break_a_rule_are_refused_by_field() {
    use Reason::{InvalidArgument, LimitExceeded};
    type Break = fn(&mut v1::NewEvent);
    let cases: [(Break, Reason, &str, &str); 20] = [
        (|e| e.event_id = Some("order-17".into()), InvalidArgument, "event_id", "send the UUIDv5"),
        (|e| e.event_id = Some(String::new()), InvalidArgument, "event_id", "leave it out"),
        (|e| e.event_type = String::new(), InvalidArgument, "event_type", "1 to 512 bytes"),
        (
            |e| e.event_type = "t".repeat(513),
            LimitExceeded,
            "event_type",
            "513 bytes; the most is 512",
        ),
        (|e| e.event_type = "a\u{1}b".into(), InvalidArgument, "event_type", "at byte 1"),
        (|e| e.event_type = "$link".into(), InvalidArgument, "event_type", "belong to the server"),
        (|e| e.data_content_type = "x".repeat(321), LimitExceeded, "data_content_type", "321"),
        (
            |e| e.metadata_content_type = "x\n".into(),
            InvalidArgument,
            "metadata_content_type",
            "byte 1",
        ),
        (|e| e.tags = vec![String::new()], InvalidArgument, "tags[0]", "1 to 256"),
        (|e| e.tags = vec!["ok".into(), "t".repeat(257)], LimitExceeded, "tags[1]", "257"),
        (|e| e.tags = vec!["\u{85}".into()], InvalidArgument, "tags[0]", "control character"),
        (
            |e| e.tags = (0..65).map(|n| n.to_string()).collect(),
            LimitExceeded,
            "tags",
            "65 different tags",
        ),
        (|e| e.causation_id = Some(String::new()), InvalidArgument, "causation_id", "is empty"),
        (|e| e.correlation_id = Some("c".repeat(513)), LimitExceeded, "correlation_id", "513"),
        (|e| e.actor_id = Some("\t".into()), InvalidArgument, "actor_id", "byte 0"),
        (|e| e.schema_version = Some(0), InvalidArgument, "schema_version", "from 1"),
        (
            |e| e.metadata = r#"{"schema_version":1.5}"#.into(),
            InvalidArgument,
            "metadata.schema_version",
            "from 1",
        ),
        (
            |e| e.metadata = r#"{"$schemaVersion":4294967296}"#.into(),
            InvalidArgument,
            "metadata.$schemaVersion",
            "from 1",
        ),
        (
            |e| e.metadata = format!("{{\"$causationId\":{:?}}}", "c".repeat(513)).into(),
            LimitExceeded,
            "metadata.$causationId",
            "513 bytes",
        ),
        (
            |e| e.data = vec![0; limits::EVENT_BYTES_MAX].into(),
            LimitExceeded,
            "",
            "the most is 1048576",
        ),
    ];
    for (break_it, reason, name, message) in cases {
        let mut broken = new_event();
        break_it(&mut broken);
        let dot = if name.is_empty() { "" } else { "." };
        let field = format!("appends[0].events[1]{dot}{name}");
        check_refused(&request_of(vec![new_event(), broken]), reason, &field, message);
    }
}

#[test]
fn values_at_their_limit_are_taken() {
    let event = v1::NewEvent {
        event_type: "t".repeat(512),
        // A thousand tags, of which 64 differ.
        tags: (0..1_000).map(|n| format!("{:0>256}", n % 64)).collect(),
        causation_id: Some("c".repeat(512)),
        ..new_event()
    };
    assert_eq!(recorded(event).tags.len(), 64);

    let mut largest = new_event();
    let overhead = crate::event::EventDraft::new(NEW_ID, "happened", b"").encoded_len();
    largest.data = vec![0; limits::EVENT_BYTES_MAX - overhead].into();
    append_command(&request_of(vec![largest.clone()]), || NEW_ID).unwrap();
    largest.data = vec![0; limits::EVENT_BYTES_MAX - overhead + 1].into();
    append_command(&request_of(vec![largest]), || NEW_ID).unwrap_err();

    let streams = (0..100).map(|n| stream(n.to_string())).collect();
    append_command(&v1::AppendRequest { appends: streams, condition: None }, || NEW_ID).unwrap();
    append_command(&request_of(vec![new_event(); 10_000]), || NEW_ID).unwrap();
}

#[test]
fn requests_that_break_a_rule_are_refused() {
    use Reason::{InvalidArgument, LimitExceeded};
    let large = v1::NewEvent { data: vec![0; 1_000_000].into(), ..new_event() };
    let long_name = "s".repeat(513);
    let cases = [
        (vec![], InvalidArgument, "appends", "at least one stream"),
        (
            vec![v1::StreamAppend { events: vec![], ..stream("s") }],
            InvalidArgument,
            "appends[0].events",
            "at least one event",
        ),
        (
            (0..101).map(|n| stream(n.to_string())).collect(),
            LimitExceeded,
            "appends",
            "101 streams",
        ),
        (request_of(vec![new_event(); 10_001]).appends, LimitExceeded, "appends", "10001 events"),
        (request_of(vec![large; 9]).appends, LimitExceeded, "appends", "the most is 8388608"),
        (
            vec![stream("a"), stream("b"), stream("a")],
            InvalidArgument,
            "appends[2].stream_id",
            "twice",
        ),
        (vec![stream("")], InvalidArgument, "appends[0].stream_id", "1 to 512"),
        (vec![stream(long_name)], LimitExceeded, "appends[0].stream_id", "513 bytes"),
        (vec![stream("a\u{7f}")], InvalidArgument, "appends[0].stream_id", "at byte 1"),
        (vec![stream("$all")], InvalidArgument, "appends[0].stream_id", "belong to the server"),
    ];
    for (appends, reason, field, message) in cases {
        check_refused(&v1::AppendRequest { appends, condition: None }, reason, field, message);
    }
}

#[test]
fn expectations_are_read_from_their_numbers() {
    let read = |kind: Option<Kind>| {
        let mut request = request_of(vec![new_event()]);
        request.appends[0].expectation = Some(v1::Expectation { kind });
        append_command(&request, || NEW_ID).map(|bytes| match Command::decode(&bytes).unwrap() {
            Command::Append { appends, .. } => appends[0].expectation,
            other => panic!("{other:?}"),
        })
    };
    for (kind, expected) in [
        (None, Expectation::Any),
        (Some(Kind::Version(-2)), Expectation::Any),
        (Some(Kind::Version(-1)), Expectation::NoStream),
        (Some(Kind::Version(0)), Expectation::Exact(0)),
        (Some(Kind::Version(i64::MAX)), Expectation::Exact(i64::MAX.cast_unsigned())),
        (Some(Kind::StreamExists(true)), Expectation::StreamExists),
    ] {
        assert_eq!(read(kind).unwrap(), expected);
    }
    for (kind, name) in
        [(Kind::Version(-3), "version"), (Kind::StreamExists(false), "stream_exists")]
    {
        let mut request = request_of(vec![new_event()]);
        request.appends[0].expectation = Some(v1::Expectation { kind: Some(kind) });
        let field = format!("appends[0].expectation.{name}");
        check_refused(&request, Reason::InvalidArgument, &field, "appends[0]");
    }
}

#[test]
fn a_long_value_is_not_repeated_in_full() {
    let event = v1::NewEvent { event_id: Some("é".repeat(100_000)), ..new_event() };
    let status = append_command(&request_of(vec![event]), || NEW_ID).unwrap_err();
    assert!(status.details().len() < 1_000 && status.message().len() < 1_000);
}

#[test]
fn a_condition_is_a_query_with_something_in_it() {
    let request = |query: Option<v1::Query>| {
        let condition = Some(v1::AppendCondition { query, after_position: Some(7) });
        v1::AppendRequest { condition, ..request_of(vec![new_event()]) }
    };
    let item = v1::QueryItem { types: vec!["T".into()], tags: vec!["b".into(), "a".into()] };
    let query = |items| Some(v1::Query { items });
    let command = append_command(&request(query(vec![item.clone()])), || NEW_ID).unwrap();
    let Command::Append { condition: Some(condition), .. } = Command::decode(&command).unwrap()
    else {
        panic!("a condition")
    };
    assert_eq!(condition.after_position, Some(7));
    assert_eq!(condition.query.items[0].types, ["T"]);
    assert_eq!(condition.query.items[0].tags, ["a", "b"]);

    let check = |query, reason, field| check_refused(&request(query), reason, field, "condition");
    check(None, Reason::InvalidArgument, "condition.query");
    check(query(vec![]), Reason::InvalidArgument, "condition.query.items");
    check(query(vec![item; 101]), Reason::LimitExceeded, "condition.query.items");
    let unnamed = v1::QueryItem { types: vec![String::new()], tags: vec![] };
    check(query(vec![unnamed]), Reason::InvalidArgument, "condition.query.items[0].types[0]");
}
