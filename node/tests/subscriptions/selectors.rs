//! Every type of selector from end to end, and what is refused.

use reckon_api::{Reason, v1};
use v1::event_pattern::Kind as PatternKind;
use v1::selector::Kind;

use crate::calls::{Calls, Told, following, stream};
use crate::messages::{
    append, event, filter, of_prefix, refused_field, tagged, term, unique, value,
};

fn pattern(kind: PatternKind) -> Kind {
    Kind::EventPattern(v1::EventPattern { kind: Some(kind) })
}

fn fields(object: String) -> Kind {
    pattern(PatternKind::Fields(object))
}

fn payload(field: &str, operator: v1::PayloadOperator, value: &str) -> Kind {
    let (field, value) = (field.to_owned(), value.to_owned());
    let condition = v1::PayloadCondition { field, operator: operator.into(), value };
    let expression = String::new();
    Kind::EventPayload(v1::EventPayload { conditions: vec![condition], expression })
}

fn expression(expression: &str) -> Kind {
    let expression = expression.to_owned();
    Kind::EventPayload(v1::EventPayload { conditions: Vec::new(), expression })
}

fn tags(tags: &[&str], all: bool) -> Kind {
    Kind::Tags(v1::Tags { tags: tags.iter().map(|&tag| tag.to_owned()).collect(), all })
}

/// A pattern that takes every character as it is.
fn escaped(text: &str) -> String {
    text.chars().flat_map(|character| ['\\', character]).collect()
}

pub async fn every_type_of_selector_delivers_what_was_and_what_comes(calls: Calls) {
    use v1::PayloadOperator::{Eq, Gt, Gte, In, Lt, Lte, Ne};
    let prefix = unique("kind");
    // What separates names elsewhere is part of them here.
    for (number, odd) in ["a-b", "a.b", "a*b", "a$b", "-", ".", "*", "a-*.$-b"].iter().enumerate() {
        let name = format!("{prefix}-{number}{odd}");
        let (event_type, tag) = (format!("{name}-type"), format!("{name}-tag"));
        let wanted = |round: u32| v1::NewEvent {
            data: format!(r#"{{"{name}": {{"round": {round}, "n": 12, "s": "x"}}}}"#).into(),
            metadata: format!(r#"{{"user": "{name}", "roles": ["a", "b"]}}"#).into(),
            ..tagged(&event_type, &[&tag, "common"])
        };
        let round = |round| {
            append(vec![
                crate::messages::stream(&name, vec![wanted(round)]),
                crate::messages::stream(&format!("{name}x"), vec![event("other")]),
            ])
        };
        calls.append(round(0)).await;
        let kinds = [
            Kind::All(true),
            Kind::Stream("$all".to_owned()),
            Kind::Stream(name.clone()),
            Kind::EventType(event_type.clone()),
            pattern(PatternKind::Stream(escaped(&name))),
            pattern(PatternKind::Stream(format!("{}*", escaped(&name[..name.len() - 1])))),
            fields(format!(r#"{{"stream_id": "{name}"}}"#)),
            fields(format!(r#"{{"event_type": "{event_type}", "roles": ["b"]}}"#)),
            fields(format!(r#"{{"user": "{name}"}}"#)),
            tags(&[&tag], false),
            tags(&["common", &tag], true),
            expression(&format!("event.stream_id == '{name}' && event.data['{name}'].n == 12")),
            expression(&format!("event.metadata.user == '{name}'")),
        ];
        // A path ends names at dots.
        let by_payload =
            [(Eq, "12"), (Ne, "13"), (Gt, "11"), (Gte, "12"), (Lt, "12.5"), (Lte, "12")]
                .into_iter()
                .chain([(In, "[1, 12.0]")])
                .map(|(operator, value)| payload(&format!("{name}.n"), operator, value))
                .filter(|_| !name.contains('.'));
        for kind in kinds.into_iter().chain(by_payload) {
            // Events of other tests, and the second stream where a selector takes it in.
            let own = term(v1::filter_term::Kind::StreamPattern(escaped(&name)));
            let filter = filter(vec![own]);
            let request = v1::FollowRequest { filter, ..following(kind.clone(), None) };
            let (_, mut followed) = calls.follow(request).await.unwrap();
            let before = followed.until_caught_up().await;
            let appended = calls.append(round(1)).await;
            let live = followed.event().await;
            assert_eq!(live.position, appended.first_position, "{kind:?}");
            assert_eq!((live.stream_id.as_str(), live.event_type), (&*name, event_type.clone()));
            let versions: Vec<u64> = before.iter().map(|event| event.version).collect();
            assert_eq!(versions, (0..live.version).collect::<Vec<_>>(), "{kind:?}");
        }
    }
}

pub async fn the_servers_streams_come_by_their_exact_names_or_on_request(calls: Calls) {
    use v1::read_from::Kind::End;
    let name = unique("notices");
    let follow = |kind: Kind, include_system| {
        let request = following(kind, Some(End(true)));
        let calls = calls.clone();
        async move {
            let request = v1::FollowRequest { include_system, ..request };
            let (_, mut followed) = calls.follow(request).await.unwrap();
            followed.until_caught_up().await;
            followed
        }
    };
    let mut named = follow(Kind::Stream("$streams".to_owned()), false).await;
    let mut with_system = follow(Kind::EventType("$StreamDeleted".to_owned()), true).await;
    let mut without = follow(pattern(PatternKind::Stream("*".to_owned())), false).await;
    let appended = calls.append(crate::messages::events_to(&name, 1)).await;
    let delete = v1::DeleteRequest { stream_id: name.clone(), expectation: None };
    let deleted = calls.streams.clone().delete(delete).await.unwrap().into_inner().position;
    for followed in [&mut named, &mut with_system] {
        loop {
            let event = followed.events(1).await.remove(0);
            assert_eq!(event.stream_id, "$streams");
            if event.position == deleted {
                break;
            }
        }
    }
    let after = calls.append(crate::messages::events_to(&name, 1)).await;
    let mut own = Vec::new();
    while own.last() != Some(&after.first_position) {
        for event in without.events(1).await {
            assert!(!event.stream_id.starts_with('$'), "{event:?}");
            if event.stream_id == name {
                own.push(event.position);
            }
        }
    }
    // The first one may have been removed before it was read.
    assert!(own.iter().all(|&at| at == appended.first_position || at == after.first_position));
}

pub async fn a_filter_and_a_selector_both_have_to_hold(calls: Calls) {
    let prefix = unique("both");
    let event_type = format!("{prefix}-type");
    for number in 0..3 {
        let events = vec![tagged(&event_type, &["odd"][..number % 2]), event("other")];
        let stream = crate::messages::stream(&format!("{prefix}-{number}"), events);
        calls.append(append(vec![stream])).await;
    }
    let odd = v1::Tags { tags: vec!["odd".to_owned()], all: false };
    let negated =
        v1::FilterTerm { negate: true, kind: Some(v1::filter_term::Kind::Tags(odd.clone())) };
    for (terms, streams) in [
        (vec![of_prefix(&prefix)], &[0, 1, 2][..]),
        (vec![term(v1::filter_term::Kind::Tags(odd))], &[1]),
        (vec![negated], &[0, 2]),
        (vec![of_prefix("nothing")], &[]),
    ] {
        let selected = following(Kind::EventType(event_type.clone()), None);
        let request = v1::FollowRequest { filter: filter(terms), ..selected };
        let (_, mut followed) = calls.follow(request).await.unwrap();
        let events = followed.until_caught_up().await;
        let expected: Vec<String> = streams.iter().map(|at| format!("{prefix}-{at}")).collect();
        let found: Vec<String> = events.into_iter().map(|event| event.stream_id).collect();
        assert_eq!(found, expected);
    }
}

pub async fn a_bad_selector_is_refused_by_its_field_and_harms_nobody(calls: Calls) {
    use v1::PayloadOperator::{Eq, Gt, In, Ne};
    let name = unique("unharmed");
    let (_, mut followed) = calls.follow(stream(&name)).await.unwrap();
    assert!(followed.until_caught_up().await.is_empty());
    let conditions = "selector.event_payload.conditions[0]";
    let bad = [
        (Kind::All(false), "selector.all"),
        (Kind::Stream(String::new()), "selector.stream"),
        (Kind::EventType(String::new()), "selector.event_type"),
        (pattern(PatternKind::Stream("a\\".to_owned())), "selector.event_pattern.stream"),
        (fields("{".to_owned()), "selector.event_pattern.fields"),
        (fields(r#"{"tags": "vip"}"#.to_owned()), "selector.event_pattern.fields"),
        (payload("", Eq, "1"), &format!("{conditions}.field")),
        (payload("a", Eq, "one"), &format!("{conditions}.value")),
        (payload("a", Ne, "null"), &format!("{conditions}.value")),
        (payload("a", Gt, "true"), &format!("{conditions}.value")),
        (payload("a", In, "1"), &format!("{conditions}.value")),
        (expression("event.nothing"), "selector.event_payload.expression"),
        (tags(&[], false), "selector.tags"),
    ];
    for (number, (kind, field)) in bad.into_iter().enumerate() {
        let refused = calls.follow(following(kind, None)).await;
        refused_field(refused.map(|(from, _)| from), Reason::InvalidSelector, field);
        calls.append(crate::messages::events_to(&name, 1)).await;
        assert_eq!(followed.event().await.version, number as u64);
    }
    let request = v1::FollowRequest {
        selector: Some(v1::Selector::default()),
        ..v1::FollowRequest::default()
    };
    let refused = calls.follow(request).await.map(|(from, _)| from);
    refused_field(refused, Reason::InvalidSelector, "selector");
    let offset = calls.follow(following(expression("1 +"), None)).await.unwrap_err();
    assert_eq!(value(&offset, "offset"), "3");
    // What is wrong beside the selector reads as it does for reads.
    let pattern = v1::filter_term::Kind::StreamPattern("a\\".to_owned());
    let request =
        v1::FollowRequest { filter: filter(vec![term(pattern)]), ..v1::FollowRequest::default() };
    let refused = calls.follow(request).await.map(|(from, _)| from);
    refused_field(refused, Reason::InvalidPattern, "filter.terms[0].stream_pattern");
    let request = following(Kind::All(true), Some(v1::read_from::Kind::End(false)));
    let refused = calls.follow(request).await.map(|(from, _)| from);
    refused_field(refused, Reason::InvalidArgument, "from.end");
    assert!(matches!(followed.next().await, Ok(Told::CaughtUp(_))));
}
