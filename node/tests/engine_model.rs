//! The engine against a model that is too simple to be wrong: one list of events, searched from end to end.
//! Random histories of appends, retries and groups must be decided and read alike by both.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use reckon_node::engine::{
    Appended, Command, Direction, Engine, Expectation, Outcome, Page, RecordedEvent, Refusal,
    StreamAppend, encode_group,
};
use reckon_node::event::{EventDraft, encode_record};
use uuid::Uuid;

/// Few streams, so that histories meet; one is the server's own.
const STREAMS: [&str; 5] = ["orders-1", "orders-2", "$sys", "zebra", "#hash"];

const PAGE_BYTES_MAX: usize = 1 << 20;

// ---- What happens ----

/// A part of a random append, before it is known which versions and ids stand where.
#[derive(Debug, Clone)]
struct PartPlan {
    stream: Index,
    expectation: ExpectationPlan,
    events: usize,
    data_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
enum ExpectationPlan {
    Any,
    NoStream,
    StreamExists,
    /// The last version at that moment, and how far to miss it.
    Current(i64),
}

/// How an earlier append is sent again.
#[derive(Debug, Clone, Copy)]
enum Retry {
    Whole,
    /// With expectations that need not hold any more.
    OtherExpectations,
    WithoutFirstEvent,
    WithoutLastEvent,
    WithNewEventBehind,
    OtherContent,
    OtherTags,
    OtherStream,
    EventsSwapped,
    EventRepeated,
    PartsReversed,
    OnePartOnly,
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<PartPlan>),
    Retry {
        of: Index,
        how: Retry,
    },
    Activate,
    AllocateNodeId(u8),
    /// Ends the group: what came since the last end is applied together.
    EndGroup {
        clock_moves_us: i64,
    },
}

fn expectation_plan() -> impl Strategy<Value = ExpectationPlan> {
    prop_oneof![
        4 => Just(ExpectationPlan::Any),
        2 => Just(ExpectationPlan::NoStream),
        2 => Just(ExpectationPlan::StreamExists),
        6 => Just(ExpectationPlan::Current(0)),
        2 => (-2_i64..3).prop_map(ExpectationPlan::Current),
    ]
}

fn part_plan() -> impl Strategy<Value = PartPlan> {
    (any::<Index>(), expectation_plan(), 1_usize..5, 0_usize..40).prop_map(
        |(stream, expectation, events, data_bytes)| PartPlan {
            stream,
            expectation,
            events,
            data_bytes,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let retry = prop_oneof![
        4 => Just(Retry::Whole),
        2 => Just(Retry::OtherExpectations),
        1 => Just(Retry::WithoutFirstEvent),
        1 => Just(Retry::WithoutLastEvent),
        1 => Just(Retry::WithNewEventBehind),
        1 => Just(Retry::OtherContent),
        1 => Just(Retry::OtherTags),
        1 => Just(Retry::OtherStream),
        1 => Just(Retry::EventsSwapped),
        1 => Just(Retry::EventRepeated),
        1 => Just(Retry::PartsReversed),
        1 => Just(Retry::OnePartOnly),
    ];
    prop_oneof![
        10 => prop::collection::vec(part_plan(), 1..4).prop_map(Step::Append),
        5 => (any::<Index>(), retry).prop_map(|(of, how)| Step::Retry { of, how }),
        1 => Just(Step::Activate),
        1 => (0_u8..4).prop_map(Step::AllocateNodeId),
        6 => (-50_i64..200).prop_map(|clock_moves_us| Step::EndGroup { clock_moves_us }),
    ]
}

// ---- Appends as the test holds them ----

#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    id: u128,
    data: Vec<u8>,
    tags: Vec<String>,
}

#[derive(Debug, Clone)]
struct Part {
    stream: &'static str,
    expectation: Expectation,
    events: Vec<Event>,
}

fn command_of(parts: &[Part]) -> Bytes {
    let appends = parts
        .iter()
        .map(|part| {
            let drafts: Vec<_> = part
                .events
                .iter()
                .map(|event| {
                    let id = Uuid::from_u128(event.id);
                    let mut draft = EventDraft::new(id, "happened", &event.data);
                    draft.set_tags(event.tags.iter().map(String::as_str));
                    draft
                })
                .collect();
            let record = encode_record(part.stream, &drafts).unwrap();
            StreamAppend { expectation: part.expectation, record }
        })
        .collect();
    Command::Append { appends }.encode()
}

// ---- The model ----

#[derive(Debug, Clone)]
struct Stored {
    stream: &'static str,
    version: u64,
    position: u64,
    epoch_us: u64,
    event: Event,
}

#[derive(Debug, Default)]
struct Model {
    events: Vec<Stored>,
    epoch_us: u64,
    activated: bool,
    node_ids: BTreeMap<String, u64>,
}

impl Model {
    fn of_stream(&self, stream: &str) -> Vec<&Stored> {
        self.events.iter().filter(|stored| stored.stream == stream).collect()
    }

    fn last_version(&self, stream: &str) -> i64 {
        i64::try_from(self.of_stream(stream).len()).unwrap() - 1
    }

    fn by_id(&self, id: u128) -> Option<&Stored> {
        self.events.iter().find(|stored| stored.event.id == id)
    }

    fn append(&mut self, parts: &[Part]) -> Outcome {
        match self.decide(parts) {
            Ok(Some(first)) => Outcome::Appended(first),
            Ok(None) => self.assign(parts),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn decide(&self, parts: &[Part]) -> Result<Option<Appended>, Refusal> {
        let mut streams = BTreeSet::new();
        if let Some(part) = parts.iter().find(|part| !streams.insert(part.stream)) {
            return Err(Refusal::StreamNamedTwice { stream_id: part.stream.to_owned() });
        }
        let ids: Vec<u128> =
            parts.iter().flat_map(|part| &part.events).map(|event| event.id).collect();
        let reused = |id| Err(Refusal::EventIdReused { event_id: Uuid::from_u128(id) });
        if let Some(&twice) =
            ids.iter().find(|id| ids.iter().filter(|other| other == id).count() > 1)
        {
            return reused(twice);
        }
        let known: Vec<&Stored> = ids.iter().filter_map(|id| self.by_id(*id)).collect();
        if !known.is_empty() && known.len() < ids.len() {
            return reused(known[0].event.id);
        }
        if !known.is_empty() {
            let mut last_versions = Vec::new();
            for part in parts {
                let mut previous = None;
                for event in &part.events {
                    let stored = self.by_id(event.id).unwrap();
                    let follows =
                        previous.is_none_or(|previous: u64| stored.version == previous + 1);
                    if stored.stream != part.stream || stored.event != *event || !follows {
                        return reused(event.id);
                    }
                    previous = Some(stored.version);
                }
                last_versions.extend(previous);
            }
            return Ok(Some(Appended {
                last_versions,
                first_position: known.iter().map(|stored| stored.position).min().unwrap(),
                last_position: known.iter().map(|stored| stored.position).max().unwrap(),
                epoch_us: known.iter().map(|stored| stored.epoch_us).max().unwrap(),
            }));
        }
        for part in parts {
            let actual = self.last_version(part.stream);
            let met = match part.expectation {
                Expectation::Any => true,
                Expectation::NoStream => actual == -1,
                Expectation::StreamExists => actual >= 0,
                Expectation::Exact(version) => i128::from(actual) == i128::from(version),
            };
            if !met {
                let stream_id = part.stream.to_owned();
                let expected = part.expectation;
                return Err(Refusal::WrongExpectedVersion { stream_id, expected, actual });
            }
        }
        Ok(None)
    }

    fn assign(&mut self, parts: &[Part]) -> Outcome {
        let first_position = self.events.len() as u64;
        let mut last_versions = Vec::new();
        for part in parts {
            for event in &part.events {
                self.events.push(Stored {
                    stream: part.stream,
                    version: (self.last_version(part.stream) + 1).cast_unsigned(),
                    position: self.events.len() as u64,
                    epoch_us: self.epoch_us,
                    event: event.clone(),
                });
            }
            last_versions.push(self.last_version(part.stream).cast_unsigned());
        }
        Outcome::Appended(Appended {
            last_versions,
            first_position,
            last_position: self.events.len() as u64 - 1,
            epoch_us: self.epoch_us,
        })
    }

    fn allocate_node_id(&mut self, volume_id: &str) -> Outcome {
        let next = self.node_ids.len() as u64 + 2;
        Outcome::NodeIdAllocated(*self.node_ids.entry(volume_id.to_owned()).or_insert(next))
    }
}

// ---- From plans to commands ----

/// Turns steps into commands, with the model's answer beside each.
#[derive(Debug, Default)]
struct History {
    model: Model,
    sent: Vec<Vec<Part>>,
    next_id: u128,
    clock_us: i64,
    commands: Vec<Bytes>,
    expected: Vec<Outcome>,
    /// Every group so far, as it was applied.
    groups: Vec<Bytes>,
}

impl History {
    fn new() -> Self {
        Self { clock_us: 1_000_000, ..Self::default() }
    }

    fn new_event(&mut self, data_bytes: usize) -> Event {
        self.next_id += 1;
        let mut data = self.next_id.to_le_bytes().to_vec();
        data.resize(16 + data_bytes, b'x');
        Event { id: self.next_id, data, tags: vec!["tag".to_owned()] }
    }

    fn plan(&mut self, plans: &[PartPlan]) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for plan in plans {
            let stream = STREAMS[plan.stream.index(STREAMS.len())];
            let last_version = self.model.last_version(stream);
            let expectation = match plan.expectation {
                ExpectationPlan::Any => Expectation::Any,
                ExpectationPlan::NoStream => Expectation::NoStream,
                ExpectationPlan::StreamExists => Expectation::StreamExists,
                ExpectationPlan::Current(miss) => u64::try_from(last_version + miss)
                    .map_or(Expectation::NoStream, Expectation::Exact),
            };
            let events = (0..plan.events).map(|_| self.new_event(plan.data_bytes)).collect();
            parts.push(Part { stream, expectation, events });
        }
        parts
    }

    fn retry(&mut self, of: Index, how: Retry) -> Option<Vec<Part>> {
        if self.sent.is_empty() {
            return None;
        }
        let mut parts = of.get(&self.sent).clone();
        let first = &mut parts[0];
        match how {
            Retry::Whole => {}
            Retry::OtherExpectations => first.expectation = Expectation::Exact(77),
            Retry::WithoutFirstEvent if first.events.len() > 1 => drop(first.events.remove(0)),
            Retry::WithoutLastEvent if first.events.len() > 1 => drop(first.events.pop()),
            Retry::WithoutFirstEvent | Retry::WithoutLastEvent => return None,
            Retry::WithNewEventBehind => first.events.push(self.new_event(0)),
            Retry::OtherContent => first.events[0].data.push(b'!'),
            Retry::OtherTags => first.events[0].tags.push("zebra".to_owned()),
            Retry::OtherStream => {
                let other = STREAMS.iter().find(|&&stream| stream != first.stream);
                first.stream = other.unwrap();
            }
            Retry::EventsSwapped => first.events.reverse(),
            Retry::EventRepeated => {
                let again = first.events[0].clone();
                first.events.push(again);
            }
            Retry::PartsReversed => parts.reverse(),
            Retry::OnePartOnly => parts.truncate(1),
        }
        Some(parts)
    }

    /// `Some`: a group is complete; its bytes and what must come out.
    fn step(&mut self, step: &Step) -> Option<(Bytes, Vec<Outcome>)> {
        let (command, outcome) = match step {
            Step::Append(plans) => {
                let parts = self.plan(plans);
                let outcome = self.model.append(&parts);
                let command = command_of(&parts);
                self.sent.push(parts);
                (command, outcome)
            }
            Step::Retry { of, how } => {
                let parts = self.retry(*of, *how)?;
                (command_of(&parts), self.model.append(&parts))
            }
            Step::Activate => {
                self.model.activated = true;
                (Command::Activate.encode(), Outcome::Activated)
            }
            Step::AllocateNodeId(volume) => {
                let volume_id = format!("volume-{volume}");
                let outcome = self.model.allocate_node_id(&volume_id);
                (Command::AllocateNodeId { volume_id }.encode(), outcome)
            }
            Step::EndGroup { clock_moves_us } => return Some(self.end_group(*clock_moves_us)),
        };
        self.commands.push(command);
        self.expected.push(outcome);
        None
    }

    /// The group bears the time that the model decided its commands at, or an earlier one: a clock that went
    /// back must not show.
    fn end_group(&mut self, clock_moves_us: i64) -> (Bytes, Vec<Outcome>) {
        let commands = std::mem::take(&mut self.commands);
        let group = encode_group(self.clock_us.cast_unsigned(), &commands);
        self.groups.push(group.clone());
        self.clock_us += clock_moves_us;
        self.model.epoch_us = self.model.epoch_us.max(self.clock_us.cast_unsigned());
        (group, std::mem::take(&mut self.expected))
    }
}

// ---- Reads ----

/// Whether the engine's event is the model's.
fn same(recorded: &RecordedEvent, stored: &Stored) -> bool {
    let event = recorded.event();
    recorded.stream_id() == stored.stream
        && recorded.version == stored.version
        && recorded.position == stored.position
        && recorded.epoch_us == stored.epoch_us
        && event.event_id.as_u128() == stored.event.id
        && event.data == stored.event.data
        && event.tags.iter().eq(stored.event.tags.iter().map(String::as_str))
}

/// Reads page after page until there is no next one.
fn all_pages(
    from: u64,
    events_max: usize,
    read: impl Fn(u64) -> Page,
) -> Result<Vec<RecordedEvent>, TestCaseError> {
    let mut events = Vec::new();
    let mut next = Some(from);
    let mut pages = 0;
    while let Some(at) = next {
        let page = read(at);
        prop_assert!(page.events.len() <= events_max);
        prop_assert!(page.next != Some(at), "a page that stays where it is");
        events.extend(page.events);
        next = page.next;
        pages += 1;
        prop_assert!(pages <= 10_000, "a read that does not end");
    }
    Ok(events)
}

fn check_same(recorded: &[RecordedEvent], stored: &[&Stored]) -> Result<(), TestCaseError> {
    prop_assert_eq!(recorded.len(), stored.len());
    for (recorded, stored) in recorded.iter().zip(stored) {
        prop_assert!(same(recorded, stored), "{:?} is not {:?}", recorded, stored);
    }
    Ok(())
}

/// What a read over `events` (in order, counted by `key`) must give.
fn expected<'a>(
    events: &[&'a Stored],
    from: u64,
    direction: Direction,
    key: impl Fn(&Stored) -> u64,
) -> Vec<&'a Stored> {
    let events = events.iter().copied();
    match direction {
        Direction::Forward => events.filter(|stored| key(stored) >= from).collect(),
        Direction::Backward => events.rev().filter(|stored| key(stored) <= from).collect(),
    }
}

fn check_reads(
    engine: &Engine,
    model: &Model,
    from: Index,
    events_max: usize,
    bytes_max: usize,
) -> Result<(), TestCaseError> {
    for direction in [Direction::Forward, Direction::Backward] {
        for stream in STREAMS {
            let events = model.of_stream(stream);
            // One past the end is asked for too.
            let from = from.index(events.len() + 2) as u64;
            let read = all_pages(from, events_max, |at| {
                engine.read_stream(stream, at, direction, events_max, bytes_max)
            })?;
            check_same(&read, &expected(&events, from, direction, |stored| stored.version))?;
        }
        for include_system in [false, true] {
            let events: Vec<&Stored> = model
                .events
                .iter()
                .filter(|stored| include_system || !stored.stream.starts_with('$'))
                .collect();
            let from = from.index(model.events.len() + 2) as u64;
            let read = all_pages(from, events_max, |at| {
                engine.read_all(at, direction, include_system, events_max, bytes_max)
            })?;
            check_same(&read, &expected(&events, from, direction, |stored| stored.position))?;
        }
    }
    Ok(())
}

fn check_streams(engine: &Engine, model: &Model, page: usize) -> Result<(), TestCaseError> {
    for stream in STREAMS {
        let events = model.of_stream(stream);
        let summary = engine.stream(stream);
        prop_assert_eq!(summary.is_some(), !events.is_empty());
        if let (Some(summary), Some(first), Some(last)) = (summary, events.first(), events.last()) {
            prop_assert_eq!(summary.stream_id, stream);
            prop_assert_eq!(summary.events, events.len() as u64);
            prop_assert_eq!((summary.first_version, summary.last_version), (0, last.version));
            prop_assert_eq!(
                (summary.first_epoch_us, summary.last_epoch_us),
                (first.epoch_us, last.epoch_us)
            );
        }
    }
    let names: BTreeSet<&str> = model.events.iter().map(|stored| stored.stream).collect();
    for include_system in [false, true] {
        for prefix in ["", "orders-", "$", "zebra", "nothing"] {
            let expected: Vec<&str> = names
                .iter()
                .copied()
                .filter(|name| name.starts_with(prefix))
                .filter(|name| include_system || !name.starts_with('$'))
                .collect();
            let mut listed = Vec::new();
            let mut after: Option<String> = None;
            loop {
                let found = engine.list_streams(after.as_deref(), prefix, include_system, page);
                prop_assert!(found.streams.len() <= page);
                listed.extend(found.streams.into_iter().map(|stream| stream.stream_id));
                after = found.next_after;
                if after.is_none() {
                    break;
                }
            }
            prop_assert_eq!(listed, expected);
        }
    }
    Ok(())
}

fn check_counts(engine: &Engine, model: &Model) -> Result<(), TestCaseError> {
    let own = |stream: &str| stream.starts_with('$');
    let users = || model.events.iter().filter(|stored| !own(stored.stream));
    prop_assert_eq!(engine.next_position(), model.events.len() as u64);
    prop_assert_eq!(engine.events(), users().count() as u64);
    let streams: BTreeSet<&str> = users().map(|stored| stored.stream).collect();
    prop_assert_eq!(engine.streams(), streams.len() as u64);
    prop_assert_eq!(engine.activated(), model.activated);
    Ok(())
}

fn everything(engine: &Engine) -> Vec<RecordedEvent> {
    all_pages(0, usize::MAX, |at| {
        engine.read_all(at, Direction::Forward, true, usize::MAX, PAGE_BYTES_MAX)
    })
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_decides_and_reads_like_the_model(
        steps in prop::collection::vec(step(), 1..60),
        from in any::<Index>(),
        events_max in 1_usize..6,
        bytes_max in 0_usize..200,
    ) {
        let mut history = History::new();
        history.model.epoch_us = history.clock_us.cast_unsigned();
        let mut engine = Engine::default();
        let end = Step::EndGroup { clock_moves_us: 0 };
        for step in steps.iter().chain([&end]) {
            let Some((group, expected)) = history.step(step) else { continue };
            prop_assert_eq!(engine.apply_group(&group).unwrap(), expected);
            check_counts(&engine, &history.model)?;
        }
        check_reads(&engine, &history.model, from, events_max, bytes_max)?;
        check_streams(&engine, &history.model, events_max)?;
        for stored in &history.model.events {
            let event = engine.event(Uuid::from_u128(stored.event.id));
            prop_assert!(event.is_some_and(|event| same(&event, stored)));
        }
    }

    /// What a restart and every replica rely on.
    #[test]
    fn the_same_groups_make_the_same_store(steps in prop::collection::vec(step(), 1..60)) {
        let mut history = History::new();
        let mut first = Engine::default();
        let mut outcomes = Vec::new();
        for step in &steps {
            if let Some((group, _)) = history.step(step) {
                outcomes.push(first.apply_group(&group).unwrap());
            }
        }
        let mut second = Engine::default();
        for (group, outcomes) in history.groups.iter().zip(&outcomes) {
            // The bytes come from another place: nothing may hang on where they lie.
            let copied = Bytes::copy_from_slice(group);
            prop_assert_eq!(&second.apply_group(&copied).unwrap(), outcomes);
        }
        prop_assert_eq!(everything(&second), everything(&first));
        prop_assert_eq!(
            second.list_streams(None, "", true, 100),
            first.list_streams(None, "", true, 100)
        );
        prop_assert_eq!(second.overlay_bytes(), first.overlay_bytes());
        prop_assert_eq!(second.epoch_us(), first.epoch_us());
    }

    #[test]
    fn damaged_groups_are_refused_and_never_panic(
        steps in prop::collection::vec(step(), 1..20),
        at in any::<Index>(),
        flip in 1_u8..,
    ) {
        let mut history = History::new();
        for step in steps {
            history.step(&step);
        }
        let (group, _) = history.end_group(0);
        let mut damaged = group.to_vec();
        let at = at.index(damaged.len());
        damaged[at] ^= flip;
        let mut engine = Engine::default();
        engine.apply_group(&Bytes::from(damaged)).unwrap_err();
        engine.apply_group(&group.slice(..at)).unwrap_err();
        prop_assert_eq!(engine.next_position(), 0);
        prop_assert_eq!(engine.overlay_bytes(), 0);
    }

    #[test]
    fn random_bytes_are_no_command(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        // Behind the version and the kind of an append the decoder is reached more often.
        let mut append = vec![1, 1];
        append.extend(&bytes);
        let _ = Command::decode(&Bytes::from(append));
        let _ = Command::decode(&Bytes::from(bytes));
    }
}
