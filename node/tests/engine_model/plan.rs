//! What happens in a random history, before it is known which versions, ids and positions stand where.

use proptest::prelude::*;
use proptest::sample::Index;

/// A part of a random append.
#[derive(Debug, Clone)]
pub struct PartPlan {
    pub stream: Index,
    pub expectation: ExpectationPlan,
    pub events: Vec<EventPlan>,
}

#[derive(Debug, Clone, Copy)]
pub struct EventPlan {
    pub event_type: Index,
    /// Which of the tags it carries, as bits.
    pub tags: u8,
    pub data_bytes: usize,
    /// The id of an earlier event instead of a new one.
    pub id_of: Option<Index>,
}

#[derive(Debug, Clone, Copy)]
pub enum ExpectationPlan {
    Any,
    NoStream,
    StreamExists,
    /// The last version at that moment, and how far to miss it.
    Current(i64),
}

/// Items of types and tags, both as bits.
#[derive(Debug, Clone)]
pub struct QueryPlan(pub Vec<(u8, u8)>);

/// How an earlier append is sent again.
#[derive(Debug, Clone, Copy)]
pub enum Retry {
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
pub enum Step {
    Append {
        parts: Vec<PartPlan>,
        condition: Option<(QueryPlan, Option<Index>)>,
    },
    Retry {
        of: Index,
        how: Retry,
    },
    Delete {
        stream: Index,
        expectation: ExpectationPlan,
    },
    Tombstone {
        stream: Index,
        expectation: ExpectationPlan,
    },
    Truncate {
        stream: Index,
        expectation: ExpectationPlan,
        before_version: Index,
    },
    Activate,
    AllocateNodeId(u8),
    Seal,
    /// Ends the group: what came since the last end is applied together.
    EndGroup {
        clock_moves_us: i64,
    },
    /// Writes the oldest frozen overlay to the store.
    Write,
    /// Merges runs, as far as it is due.
    Merge,
    /// Rewrites files without removed events.
    Reclaim,
    /// Starts again from the store and the log.
    Reopen,
}

fn expectation() -> impl Strategy<Value = ExpectationPlan> {
    prop_oneof![
        6 => Just(ExpectationPlan::Any),
        2 => Just(ExpectationPlan::NoStream),
        2 => Just(ExpectationPlan::StreamExists),
        6 => Just(ExpectationPlan::Current(0)),
        2 => (-2_i64..3).prop_map(ExpectationPlan::Current),
    ]
}

fn event() -> impl Strategy<Value = EventPlan> {
    let id_of = prop::option::weighted(0.05, any::<Index>());
    (any::<Index>(), 0_u8..8, 0_usize..40, id_of).prop_map(
        |(event_type, tags, data_bytes, id_of)| EventPlan { event_type, tags, data_bytes, id_of },
    )
}

fn part() -> impl Strategy<Value = PartPlan> {
    let events = prop::collection::vec(event(), 1..5);
    (any::<Index>(), expectation(), events).prop_map(|(stream, expectation, events)| PartPlan {
        stream,
        expectation,
        events,
    })
}

pub fn query() -> impl Strategy<Value = QueryPlan> {
    prop::collection::vec((0_u8..16, 0_u8..8), 1..4).prop_map(QueryPlan)
}

fn retry() -> impl Strategy<Value = Retry> {
    prop_oneof![
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
    ]
}

/// What the log can say.
pub fn command() -> impl Strategy<Value = Step> {
    let condition = prop::option::weighted(0.3, (query(), prop::option::of(any::<Index>())));
    let append = (prop::collection::vec(part(), 1..4), condition)
        .prop_map(|(parts, condition)| Step::Append { parts, condition });
    let on_stream = || (any::<Index>(), expectation());
    prop_oneof![
        20 => append,
        8 => (any::<Index>(), retry()).prop_map(|(of, how)| Step::Retry { of, how }),
        2 => on_stream().prop_map(|(stream, expectation)| Step::Delete { stream, expectation }),
        1 => on_stream().prop_map(|(stream, expectation)| Step::Tombstone { stream, expectation }),
        3 => (on_stream(), any::<Index>()).prop_map(|((stream, expectation), before_version)| {
            Step::Truncate { stream, expectation, before_version }
        }),
        1 => Just(Step::Activate),
        1 => (0_u8..4).prop_map(Step::AllocateNodeId),
        4 => Just(Step::Seal),
        12 => (-50_i64..200).prop_map(|clock_moves_us| Step::EndGroup { clock_moves_us }),
    ]
}

/// What the log can say and what a node does besides.
pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => command(),
        5 => Just(Step::Write),
        2 => Just(Step::Merge),
        2 => Just(Step::Reclaim),
        2 => Just(Step::Reopen),
    ]
}
