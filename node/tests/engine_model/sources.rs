//! Sources that go on while streams grow, are cut, sealed, merged and reclaimed.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use reckon_api::v1;
use reckon_api::v1::selector::Kind;
use reckon_node::delivery::interests::{Interest, Interests, dispatch};
use reckon_node::delivery::selector::Selector;
use reckon_node::delivery::source::{Source, Start};
use reckon_node::raft::state_machine::Applied;
use tokio::sync::watch;

use crate::checks::same;
use crate::history::History;
use crate::model::{Content, Model, STREAMS, Stored, TAGS, TYPES, is_system, notice_type};
use crate::node::Node;
use crate::plan::Step;
use crate::play;

/// What is followed, and how it is read.
#[derive(Debug, Clone)]
pub struct Wanted {
    choice: Choice,
    start: StartPlan,
    page: usize,
    bytes_max: usize,
    /// Whether it stops after one page each time.
    lags: bool,
    /// Whether each time another source goes on where the last one was.
    resumes: bool,
}

#[derive(Debug, Clone)]
enum Choice {
    All { system: bool },
    Stream(&'static str),
    StreamWithTag(&'static str, &'static str),
    Type(&'static str),
    Tags(Vec<&'static str>, bool),
}

#[derive(Debug, Clone, Copy)]
enum StartPlan {
    Beginning,
    End,
    Position(Index),
    Version(u64),
    Time(Index, i64),
}

pub fn wanted() -> impl Strategy<Value = Wanted> {
    let stream =
        || prop::sample::select(STREAMS.into_iter().chain(["$streams"]).collect::<Vec<_>>());
    let tag = || prop::sample::select(TAGS.to_vec());
    let choice = prop_oneof![
        any::<bool>().prop_map(|system| Choice::All { system }),
        stream().prop_map(Choice::Stream),
        (stream(), tag()).prop_map(|(stream, tag)| Choice::StreamWithTag(stream, tag)),
        prop::sample::select(TYPES.to_vec()).prop_map(Choice::Type),
        (prop::collection::vec(tag(), 1..3), any::<bool>())
            .prop_map(|(tags, all)| Choice::Tags(tags, all)),
    ];
    let start = prop_oneof![
        Just(StartPlan::Beginning),
        Just(StartPlan::End),
        any::<Index>().prop_map(StartPlan::Position),
        (0_u64..12).prop_map(StartPlan::Version),
        (any::<Index>(), -2_i64..200_000).prop_map(|(of, by)| StartPlan::Time(of, by)),
    ];
    (choice, start, 1_usize..6, 0_usize..300, any::<bool>(), any::<bool>()).prop_map(
        |(choice, start, page, bytes_max, lags, resumes)| Wanted {
            choice,
            start,
            page,
            bytes_max,
            lags,
            resumes,
        },
    )
}

impl Choice {
    fn selector(&self) -> Selector {
        let owned = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect();
        let mut filter = None;
        let kind = match self {
            Self::All { .. } => Kind::All(true),
            Self::Stream(stream) => Kind::Stream((*stream).to_owned()),
            Self::StreamWithTag(stream, tag) => {
                let tags = v1::Tags { tags: owned(&[tag]), all: false };
                let kind = Some(v1::filter_term::Kind::Tags(tags));
                filter = Some(v1::Filter { terms: vec![v1::FilterTerm { negate: false, kind }] });
                Kind::Stream((*stream).to_owned())
            }
            Self::Type(event_type) => Kind::EventType((*event_type).to_owned()),
            Self::Tags(tags, all) => Kind::Tags(v1::Tags { tags: owned(tags), all: *all }),
        };
        let selector = v1::Selector { kind: Some(kind) };
        let compiled = Selector::compile("", Some(&selector), None, filter.as_ref()).unwrap();
        compiled.including_system(matches!(self, Self::All { system: true }))
    }

    fn is_of(&self, stored: &Stored) -> bool {
        let (event_type, tags) = match &stored.content {
            Content::Appended(event) => (event.event_type, event.tags.clone()),
            Content::Notice { change, .. } => (notice_type(*change), [].into()),
        };
        let of_users = !is_system(&stored.stream);
        match self {
            Self::All { system } => *system || of_users,
            Self::Stream(stream) => stored.stream == *stream,
            Self::StreamWithTag(stream, tag) => stored.stream == *stream && tags.contains(*tag),
            Self::Type(wanted) => of_users && event_type == *wanted,
            Self::Tags(wanted, true) => of_users && wanted.iter().all(|&tag| tags.contains(tag)),
            Self::Tags(wanted, false) => of_users && wanted.iter().any(|&tag| tags.contains(tag)),
        }
    }
}

/// A source under way, and what it has handed out.
#[derive(Debug)]
pub struct Followed {
    wanted: Wanted,
    start: Start,
    selector: Arc<Selector>,
    source: Source,
    /// The first position that counts by where it begins.
    begins: u64,
    handed: BTreeMap<u64, u64>,
}

impl Followed {
    pub fn begin(wanted: &Wanted, node: &Node, model: &Model) -> Self {
        let end = model.next_position();
        let start = match wanted.start {
            StartPlan::Beginning => Start::Beginning,
            StartPlan::End => Start::End,
            StartPlan::Position(index) => Start::Position(index.index(end as usize + 10) as u64),
            StartPlan::Version(version) => Start::Version(version),
            StartPlan::Time(_, by) if model.events.is_empty() => {
                Start::Time(model.epoch_us.saturating_add_signed(by))
            }
            StartPlan::Time(of, by) => {
                Start::Time(of.get(&model.events).epoch_us.saturating_add_signed(by))
            }
        };
        let selector = Arc::new(wanted.choice.selector());
        let mut source = Source::new(Arc::clone(&selector), start);
        source.begin(&node.reader).unwrap();
        let handed = BTreeMap::new();
        Self { wanted: wanted.clone(), start, selector, source, begins: end, handed }
    }

    fn wants(&self, stored: &Stored) -> bool {
        let of_stream = self.selector.stream().is_some();
        let from_start = match self.start {
            Start::Beginning => true,
            Start::End => stored.position >= self.begins,
            Start::Position(position) => stored.position >= position,
            Start::Version(version) => !of_stream || stored.version >= version,
            Start::Time(time_us) => stored.epoch_us >= time_us,
        };
        from_start && self.wanted.choice.is_of(stored)
    }

    /// Reads what there is, or a page of it, and compares it with the model as it is now.
    pub fn go_on(&mut self, node: &Node, model: &Model) -> Result<(), TestCaseError> {
        if self.wanted.resumes && !self.handed.is_empty() {
            let start = Start::Position(self.source.next_position());
            self.source = Source::new(Arc::clone(&self.selector), start);
        }
        let mut caught_up = false;
        // A page may be empty although more follow.
        for _ in 0..10_000 {
            let (page, bytes_max) = (self.wanted.page, self.wanted.bytes_max);
            let read = |source: &mut Source| source.page(&node.reader, page, bytes_max).unwrap();
            let page = if self.source.is_in_memory(&node.reader) {
                node.without_files(|| read(&mut self.source))
            } else {
                read(&mut self.source)
            };
            prop_assert!(page.events.len() <= self.wanted.page);
            for event in &page.events {
                let stored = &model.events[event.position as usize];
                prop_assert!(same(event, stored), "{:?} is not {:?}", event, stored);
                prop_assert!(model.is_readable(stored), "{:?} was removed", event);
                prop_assert!(self.wants(stored), "{:?} is not wanted", stored);
                let last = self.handed.last_key_value().map(|(position, _)| *position);
                prop_assert!(last < Some(event.position), "in order, and once");
                self.handed.insert(event.position, event.version);
            }
            let next_position = self.source.next_position();
            for stored in model.readable().filter(|stored| stored.position < next_position) {
                let handed = self.handed.contains_key(&stored.position);
                prop_assert_eq!(handed, self.wants(stored), "{:?} below {}", stored, next_position);
            }
            caught_up = page.caught_up;
            if caught_up || self.wanted.lags {
                break;
            }
        }
        if self.wanted.lags {
            return Ok(());
        }
        prop_assert!(caught_up, "a source comes to an end");
        prop_assert!(self.source.next_position() >= model.next_position());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn everybody_is_woken_when_the_dispatcher_was_left_behind() {
    let mut history = History::new();
    let mut node = Node::new();
    let applied = watch::Sender::<Applied>::default();
    let interests = Interests::default();
    tokio::spawn(dispatch(interests.clone(), node.reader.clone(), applied.subscribe()));
    let registered = interests.register(Interest::Stream("nothing".to_owned()));
    // It begins by waking everybody.
    registered.woken().await;
    // What is appended lies in a file before the dispatcher has heard of it.
    let strategy = prop::collection::vec(crate::plan::command(), 40);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut steps =
        proptest::strategy::ValueTree::current(&strategy.new_tree(&mut runner).unwrap());
    steps.push(Step::Seal);
    play(&mut node, &mut history, &steps).unwrap();
    while node.write() {}
    let next_position = node.reader.next_position();
    assert!(next_position > 0 && node.reader.memory_start() == next_position);
    applied.send_replace(Applied { next_index: 1, next_position });
    registered.woken().await;
}
