//! What a source does with events that its selector cannot judge. Long histories are in `tests/engine_model`.

use std::sync::Arc;

use reckon_api::v1;
use reckon_api::v1::selector::Kind;
use uuid::Uuid;

use super::*;
use crate::engine::{Command, Expectation, LogPosition, SharedEngine, StreamAppend, encode_group};
use crate::event::{EventDraft, encode_record};

/// Costs more than it may where there are many numbers.
const COSTLY: &str =
    "event.data.l.map(a, event.data.l.map(b, event.data.l.map(c, a + b + c))).size() >= 0";

/// A store of one stream with an event for each list of so many numbers.
fn store(lists: &[usize]) -> StateReader {
    let engine = SharedEngine::default();
    for (index, &len) in (1..).zip(lists) {
        let numbers = vec!["1"; len].join(",");
        let data = format!("{{\"l\": [{numbers}]}}");
        let draft = EventDraft::new(Uuid::now_v7(), "counted", data.as_bytes());
        let record = encode_record("s", &[draft]).unwrap();
        let appends = vec![StreamAppend { expectation: Expectation::Any, record }];
        let command = Command::Append { appends, condition: None }.encode();
        let applied = LogPosition { term: 1, index };
        engine.write().apply_group(&encode_group(1_000, &[command]), applied).unwrap();
    }
    StateReader::new(engine)
}

fn selector(stream: bool) -> Arc<Selector> {
    let term = v1::FilterTerm {
        negate: false,
        kind: Some(v1::filter_term::Kind::Expression(COSTLY.to_owned())),
    };
    let kind = if stream { Kind::Stream("s".to_owned()) } else { Kind::All(true) };
    let selector = v1::Selector { kind: Some(kind) };
    let filter = v1::Filter { terms: vec![term] };
    Arc::new(Selector::compile("", Some(&selector), None, Some(&filter)).unwrap())
}

#[test]
fn what_cannot_be_judged_comes_behind_everything_before_it() {
    let reader = store(&[1, 1, 200, 1, 200]);
    for stream in [false, true] {
        let mut source = Source::new(selector(stream), Start::Beginning);
        let page = source.page(&reader, 100, 1 << 20).unwrap();
        let positions: Vec<u64> = page.events.iter().map(|event| event.position).collect();
        assert_eq!((positions, page.caught_up), (vec![0, 1], false));
        assert_eq!(source.next_position(), 2);
        for _ in 0..2 {
            let error = source.page(&reader, 100, 1 << 20).unwrap_err();
            assert_eq!(unjudged(&error), Some(2), "it stays where it is");
        }
        let mut source = Source::new(selector(stream), Start::Position(3));
        let page = source.page(&reader, 100, 1 << 20).unwrap();
        let positions: Vec<u64> = page.events.iter().map(|event| event.position).collect();
        assert_eq!((positions, page.caught_up), (vec![3], false));
        assert_eq!(unjudged(&source.page(&reader, 100, 1 << 20).unwrap_err()), Some(4));
    }
}
