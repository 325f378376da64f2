//! Filtered reads over histories that are longer than a batch: every event once, in order, both ways.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use parking_lot::RwLock;
use reckon_node::engine::{
    AllRead, Command, Direction, Engine, Expectation, LogPosition, Page, QueryItem, RecordedEvent,
    Select, SelectError, StateReader, StreamAppend, encode_group,
};
use reckon_node::event::{EventDraft, encode_record};
use reckon_node::limits::{QUERY_ITEM_TAGS_MAX, READ_BATCH_RECORDS_MAX};
use uuid::Uuid;

/// Chooses what the items match.
#[derive(Debug)]
struct Matching(Vec<QueryItem>);

impl Select for Matching {
    fn candidates(&self) -> Option<&[QueryItem]> {
        Some(&self.0)
    }

    fn selects(&self, event: &RecordedEvent) -> Result<bool, SelectError> {
        Ok(self.0.iter().any(|item| item.matches(&event.event())))
    }
}

fn item(types: &[&str], tags: &[&str]) -> QueryItem {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    QueryItem { types: owned(types), tags: owned(tags) }
}

/// Appends of three events each, of which every second has type `even`, and every third the tag `third`.
fn reader(appends: u64) -> StateReader {
    let mut engine = Engine::default();
    for append in 0..appends {
        let drafts: Vec<_> = (append * 3..append * 3 + 3)
            .map(|position| {
                let name = if position % 2 == 0 { "even" } else { "odd" };
                let id = Uuid::from_u128(u128::from(position) + 1);
                let mut draft = EventDraft::new(id, name, b"");
                draft.set_tags((position % 3 == 0).then_some("third"));
                draft
            })
            .collect();
        let record = encode_record("s", &drafts).unwrap();
        let append = StreamAppend { expectation: Expectation::Any, record };
        let command = Command::Append { appends: vec![append], condition: None };
        let group = encode_group(1, &[command.encode()]);
        engine.apply_group(&group, LogPosition::default()).unwrap();
    }
    StateReader::new(Arc::new(RwLock::new(engine)))
}

fn everything(reader: &StateReader, end: u64) -> Vec<RecordedEvent> {
    let mut events = Vec::new();
    while (events.len() as u64) <= end {
        let read = AllRead { from: events.len() as u64, ..AllRead::default() };
        events.extend(reader.read_all(&read).unwrap().events);
    }
    events
}

fn positions(
    reader: &StateReader,
    matching: &Matching,
    direction: Direction,
    bounds: (u64, u64),
    events_max: usize,
) -> Vec<u64> {
    let (first, last) = bounds;
    let mut at = match direction {
        Direction::Forward => first,
        Direction::Backward => last,
    };
    let mut found = Vec::new();
    for _page in 0..100_000 {
        let read = AllRead {
            from: at,
            first,
            last,
            direction,
            select: Some(matching),
            events_max,
            ..AllRead::default()
        };
        let Page { events, next } = reader.read_all(&read).unwrap();
        found.extend(events.iter().map(|event| event.position));
        match next {
            Some(next) => at = next,
            None => return found,
        }
    }
    panic!("a read that does not end");
}

#[test]
fn a_filtered_read_gives_every_event_once_whatever_its_pages_and_bounds() {
    let appends = 3 * READ_BATCH_RECORDS_MAX as u64;
    let reader = reader(appends);
    let end = appends * 3 - 1;
    let all_tags: Vec<String> = (0..QUERY_ITEM_TAGS_MAX).map(|tag| format!("t{tag}")).collect();
    let unknown: Vec<&str> = all_tags.iter().map(String::as_str).collect();
    let mut many = vec![item(&[], &unknown[..40]); 25];
    many.push(item(&["even"], &["third"]));
    let all = everything(&reader, end);
    for items in [
        vec![item(&["even"], &[])],
        vec![item(&["even"], &["third"])],
        vec![item(&["odd"], &["third"]), item(&["even"], &[])],
        vec![item(&[], &[])],
        many,
    ] {
        let matching = Matching(items);
        for bounds in [(0, end), (1, end - 1), (2, end - 2), (400, 1_500)] {
            let expected: Vec<u64> = all
                .iter()
                .filter(|event| (bounds.0..=bounds.1).contains(&event.position))
                .filter(|event| matching.selects(event).unwrap())
                .map(|event| event.position)
                .collect();
            let reversed: Vec<u64> = expected.iter().rev().copied().collect();
            for events_max in [5, 1_000] {
                let read = |direction| positions(&reader, &matching, direction, bounds, events_max);
                assert_eq!(read(Direction::Forward), expected, "{matching:?} {bounds:?}");
                assert_eq!(read(Direction::Backward), reversed, "{matching:?} {bounds:?}");
            }
        }
    }
}
