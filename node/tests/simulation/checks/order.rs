//! The one order of events against what clients were told: nothing acknowledged lost, nothing made up, nothing twice,
//! versions without gaps, conditions kept, and real time respected.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use reckon_api::Reason;

use super::known::{Known, Order};
use super::{Violation, linearizable, reads};
use crate::client::ATTEMPTS;
use crate::history::{
    Action, Condition, Expected, Freshness, History, Operation, Outcome, Part, Removal, Seen,
};
use linearizable::{Step, StepAction, Verdict};

/// What was checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub operations: usize,
    pub unknown: usize,
    pub events: usize,
    pub reads: usize,
    /// Streams whose search for an order was given up.
    pub undecided: usize,
}

/// Checks a history, and what was delivered, against the contents that all replicas have in the end.
pub fn check(history: &History, contents: &[Seen], delivered: &[Seen]) -> (Vec<Violation>, Counts) {
    let operations = history.operations();
    let mut violations = Vec::new();
    let order = Order::new(&operations, contents, delivered, &mut violations);
    kept(&order, contents, &mut violations);
    gapless(contents, &mut violations);
    for operation in &operations {
        without_effect(&order, operation, &mut violations);
        whole(&order, operation, &mut violations);
        condition_kept(&order, operation, &mut violations);
        reads::check(&order, contents, operation, &mut violations);
    }
    real_time(&order, &operations, &mut violations);
    let undecided = linearizable_streams(&order, &operations, &mut violations);
    let unknown = |operation: &&Operation| operation.outcome == Outcome::Unknown;
    let read = |operation: &&Operation| {
        matches!(operation.outcome, Outcome::Stream { .. } | Outcome::All { .. })
    };
    let counts = Counts {
        operations: operations.len(),
        unknown: operations.iter().filter(unknown).count(),
        events: contents.len(),
        reads: operations.iter().filter(read).count(),
        undecided,
    };
    (violations, counts)
}

/// Everything that was ever seen or acknowledged is still there, unless it was removed.
fn kept(order: &Order, contents: &[Seen], violations: &mut Vec<Violation>) {
    let there: BTreeMap<u64, &Seen> = contents.iter().map(|seen| (seen.position, seen)).collect();
    for (position, known) in &order.at {
        match (there.get(position), order.removed(*position, known, u64::MAX)) {
            (None, None) => violations.push(Violation::new(
                "no-acknowledged-loss",
                format!("{known:?} was at position {position} and is gone"),
            )),
            (Some(_), Some(notice)) => violations.push(Violation::new(
                "removed-is-gone",
                format!("{known:?} at {position} was removed at {notice} and is still there"),
            )),
            _ => {}
        }
    }
}

fn gapless(contents: &[Seen], violations: &mut Vec<Violation>) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut epoch_us = 0;
    for seen in contents {
        if let Some(before) = last.insert(&seen.stream, seen.version)
            && seen.version != before + 1
        {
            violations.push(Violation::new(
                "gapless-versions",
                format!("{} goes from version {before} to {}", seen.stream, seen.version),
            ));
        }
        if seen.epoch_us < epoch_us {
            violations.push(Violation::new(
                "time-never-decreases",
                format!("position {} is older than the one before it", seen.position),
            ));
        }
        epoch_us = seen.epoch_us;
    }
}

/// What was refused for certain is nowhere.
fn without_effect(order: &Order, operation: &Operation, violations: &mut Vec<Violation>) {
    if let (Action::Append { parts, .. }, Outcome::Refused { reason, .. }) =
        (&operation.action, &operation.outcome)
        && let Some(position) = order.first_position(parts)
    {
        violations.push(Violation::new(
            "refused-is-without-effect",
            format!("an append that was refused with {reason:?} is at position {position}"),
        ));
    }
}

/// An append is there as a whole and in order, or not at all.
fn whole(order: &Order, operation: &Operation, violations: &mut Vec<Violation>) {
    let Action::Append { parts, .. } = &operation.action else { return };
    for first in order.first_positions(parts) {
        for (id, position) in parts.iter().flat_map(|part| &part.events).zip(first..) {
            match order.at.get(&position) {
                Some(known) if known.id != *id => violations.push(Violation::new(
                    "appends-are-atomic",
                    format!("{known:?} is at {position}, in an append that began at {first}"),
                )),
                // Not known: then somebody removed it before anybody read it.
                _ => {}
            }
        }
    }
}

fn condition_kept(order: &Order, operation: &Operation, violations: &mut Vec<Violation>) {
    let Action::Append { parts, condition: Some(condition) } = &operation.action else { return };
    if let Outcome::Refused { reason: Reason::AppendConditionFailed, position, .. } =
        &operation.outcome
    {
        let matched = position.and_then(|at| order.at.get(&at).map(|known| (at, known)));
        if let Some((at, known)) = matched
            && !matches_condition(order, at, known, condition)
        {
            violations.push(Violation::new(
                "conditions-hold",
                format!("{condition:?} was said to fail at {at}, where {known:?} is"),
            ));
        }
        return;
    }
    let Some(first) = order.first_position(parts) else { return };
    let failing = order.at.range(..first).find(|(at, known)| {
        matches_condition(order, **at, known, condition)
            && order.removed(**at, known, first).is_none()
    });
    if let Some((at, known)) = failing {
        violations.push(Violation::new(
            "conditions-hold",
            format!("an append under {condition:?} is at {first}, although {known:?} is at {at}"),
        ));
    }
}

fn matches_condition(order: &Order, at: u64, known: &Known, condition: &Condition) -> bool {
    let tag = order.sent.get(&known.id).and_then(|part| part.tag.as_ref());
    condition.after.is_none_or(|after| at > after) && tag == Some(&condition.tag)
}

/// What ended before something began stands before it.
fn real_time(order: &Order, operations: &[Operation], violations: &mut Vec<Violation>) {
    // Twice the position, so that a read stands between two of them.
    let mut placed: Vec<(u64, &Operation, bool)> = Vec::new();
    for operation in operations {
        match (&operation.action, &operation.outcome) {
            (Action::Append { parts, .. }, _) => {
                if let Some(first) = order.first_position(parts) {
                    placed.push((2 * first, operation, true));
                }
            }
            (
                Action::ReadStream { freshness, .. } | Action::ReadAll { freshness, .. },
                Outcome::Stream { next_position, .. } | Outcome::All { next_position, .. },
            ) => {
                let place = (2 * next_position).saturating_sub(1);
                placed.push((place, operation, *freshness == Freshness::Linearizable));
            }
            _ => {}
        }
    }
    placed.sort_by_key(|(place, ..)| *place);
    // The latest beginning so far: nothing that stands behind it may have ended before it.
    let mut latest: Option<(Duration, &Operation)> = None;
    for (_, operation, fresh) in placed {
        if let (Some((began, earlier)), Some(ended)) = (latest, operation.completed)
            && ended < began
            && !(is_read(operation) && is_read(earlier))
        {
            violations.push(Violation::new(
                "real-time-order",
                format!("{operation:?} ended before {earlier:?} began, but stands behind it"),
            ));
        }
        if fresh && latest.is_none_or(|(began, _)| operation.invoked > began) {
            latest = Some((operation.invoked, operation));
        }
    }
}

const fn is_read(operation: &Operation) -> bool {
    matches!(operation.action, Action::ReadStream { .. } | Action::ReadAll { .. })
}

/// Searches an order for each stream alone; how many searches were given up.
fn linearizable_streams(
    order: &Order,
    operations: &[Operation],
    violations: &mut Vec<Violation>,
) -> usize {
    let mut streams: BTreeMap<&str, Vec<Step>> = BTreeMap::new();
    for operation in operations {
        for (stream, completed, action) in steps(order, operation) {
            let step = Step { invoked: operation.invoked, completed, action };
            streams.entry(stream).or_default().push(step);
        }
    }
    let mut undecided = 0;
    for (stream, steps) in streams {
        match linearizable::check(&steps) {
            Verdict::Linearizable => {}
            Verdict::Undecided => undecided += 1,
            Verdict::NotLinearizable => {
                violations.push(Violation::new("linearizable", unexplained(stream, steps)));
            }
        }
    }
    undecided
}

fn unexplained(stream: &str, mut steps: Vec<Step>) -> String {
    steps.sort_by_key(|step| step.invoked);
    let mut text = format!("no order of the {} operations on {stream} explains them:", steps.len());
    for step in steps {
        let _ = write!(text, "\n    {:?} to {:?}: {:?}", step.invoked, step.completed, step.action);
    }
    text
}

/// An operation as each of its streams sees it.
fn steps<'h>(
    order: &Order,
    operation: &'h Operation,
) -> Vec<(&'h str, Option<Duration>, StepAction)> {
    let completed = operation.completed;
    match (&operation.action, &operation.outcome) {
        (Action::Append { parts, .. }, Outcome::Appended { last_versions, .. }) => {
            let versions = last_versions.iter().map(|last| Some(*last));
            let told = parts.iter().zip(versions).map(|(part, last)| append(part, completed, last));
            told.chain(again(order, operation, parts)).collect()
        }
        (Action::Append { parts: all, .. }, Outcome::Unknown) => {
            let known = order.first_position(all).is_some();
            let parts = all.iter().filter_map(|part| {
                let last = part.events.last().and_then(|id| order.version_of(id));
                // It took effect, at some time; or perhaps, and was removed before anybody saw it; or it did not.
                let completed = known.then_some(Duration::MAX);
                (known || order.hidden_events(&part.stream) > 0)
                    .then(|| append(part, completed, last))
            });
            parts.chain(again(order, operation, all)).collect()
        }
        (Action::Append { parts, .. }, Outcome::Refused { reason, actual, .. })
            if parts.len() == 1 =>
        {
            let action = match reason {
                Reason::WrongExpectedVersion => {
                    StepAction::RefusedAppend { expected: parts[0].expected, actual: *actual }
                }
                Reason::StreamTombstoned => StepAction::RefusedTombstoned,
                _ => return Vec::new(),
            };
            vec![(parts[0].stream.as_str(), completed, action)]
        }
        (Action::Delete { .. } | Action::Tombstone { .. } | Action::Truncate { .. }, outcome) => {
            let told = matches!(outcome, Outcome::Removed { .. });
            let (stream, completed, action) = removal(operation);
            let StepAction::Remove { removal, .. } = action else { return Vec::new() };
            let perhaps = *outcome == Outcome::Unknown && order.was_removed(stream, removal);
            if told || perhaps { vec![(stream, completed, action)] } else { Vec::new() }
        }
        (
            Action::ReadStream { stream, freshness: Freshness::Linearizable },
            Outcome::Stream { first, last, events, .. },
        ) => {
            let events = events.iter().map(|seen| seen.id).collect();
            let action = StepAction::Read { first: *first, last: *last, events };
            vec![(stream.as_str(), completed, action)]
        }
        (
            Action::ReadStream { stream, freshness: Freshness::Linearizable },
            Outcome::Refused { reason, .. },
        ) => vec![(stream.as_str(), completed, StepAction::ReadNothing { reason: *reason })],
        _ => Vec::new(),
    }
}

/// What attempts besides the last may have done: an event that was removed may be appended again by a retry.
fn again<'h>(
    order: &Order,
    operation: &Operation,
    parts: &'h [Part],
) -> impl Iterator<Item = (&'h str, Option<Duration>, StepAction)> {
    let repeats = if operation.repeated { ATTEMPTS - 1 } else { 0 };
    let known = order.first_positions(parts).len();
    parts.iter().flat_map(move |part| {
        // Nobody saw it then, or it is in more places than one.
        let hidden = order.hidden_events(&part.stream) as usize / part.events.len();
        let times = repeats.min(order.removals(&part.stream)).min(hidden + known.saturating_sub(1));
        std::iter::repeat_n(part, times).map(|part| append(part, None, None))
    })
}

fn append(
    part: &Part,
    completed: Option<Duration>,
    last: Option<u64>,
) -> (&str, Option<Duration>, StepAction) {
    let events = part.events.clone();
    (&part.stream, completed, StepAction::Append { expected: part.expected, events, last })
}

fn removal(operation: &Operation) -> (&str, Option<Duration>, StepAction) {
    let last = match operation.outcome {
        Outcome::Removed { last_version, .. } => Some(last_version),
        _ => None,
    };
    let (stream, removal, expected, first_version) = match &operation.action {
        Action::Delete { stream, expected } => (stream, Removal::Deleted, *expected, None),
        Action::Truncate { stream, before } => {
            (stream, Removal::Truncated, Expected::Any, Some(*before))
        }
        Action::Tombstone { stream } => (stream, Removal::Tombstoned, Expected::Any, None),
        Action::Append { .. } | Action::ReadStream { .. } | Action::ReadAll { .. } => {
            unreachable!("only removals come here")
        }
    };
    let action = StepAction::Remove { removal, expected, first_version, last };
    (stream.as_str(), operation.completed, action)
}
