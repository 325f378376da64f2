//! Whether the operations on one stream can be put into one order that explains every answer and respects real time.
//!
//! The algorithm is that of Wing and Gong (1993) with Lowe's memoisation (2017), as porcupine has it: take the first
//! operation that may come next, go on, and go back when an answer cannot be explained; a set of taken operations that
//! was already tried in the same state is not tried again.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::rc::Rc;
use std::time::Duration;

use reckon_api::Reason;
use uuid::Uuid;

use crate::history::{Expected, Removal};

/// Steps after which a search is given up as undecided.
const STEPS_MAX: u64 = 200_000;

/// One operation as one stream sees it.
#[derive(Debug, Clone)]
pub struct Step {
    pub invoked: Duration,
    /// `None`: at any time after it was invoked, or never.
    pub completed: Option<Duration>,
    pub action: StepAction,
}

/// What was asked of the stream and what was answered.
#[derive(Debug, Clone)]
pub enum StepAction {
    /// Appended; with the last version then, where it is known.
    Append { expected: Expected, events: Vec<Uuid>, last: Option<u64> },
    /// Refused, with the version that was said to be there.
    RefusedAppend { expected: Expected, actual: Option<i64> },
    /// Refused for good.
    RefusedTombstoned,
    /// Removed what is below `first_version`; `None`: everything.
    Remove { removal: Removal, expected: Expected, first_version: Option<u64>, last: Option<i64> },
    /// Everything that can be read.
    Read { first: i64, last: i64, events: Vec<Uuid> },
    /// There was nothing to read.
    ReadNothing { reason: Reason },
}

/// What the search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    NotLinearizable,
    Undecided,
}

/// A stream as the contract describes it.
#[derive(Debug, Clone, Default)]
struct Stream {
    /// Every event ever, by version.
    events: Rc<Vec<Uuid>>,
    /// A hash of all of them, so that states are told apart without looking at each.
    digest: u64,
    /// The first version that can be read.
    first: usize,
    deleted: bool,
    tombstoned: bool,
}

/// What tells two states of a stream apart.
type State = (u64, usize, usize, bool, bool);

impl Stream {
    fn state(&self) -> State {
        (self.digest, self.events.len(), self.first, self.deleted, self.tombstoned)
    }

    fn last(&self) -> i64 {
        version(self.events.len()) - 1
    }

    fn lives(&self) -> bool {
        !self.events.is_empty() && !self.deleted && !self.tombstoned
    }

    fn meets(&self, expected: Expected) -> bool {
        if self.tombstoned {
            return false;
        }
        match expected {
            Expected::Any => true,
            Expected::NoStream => !self.lives(),
            Expected::Exists => self.lives(),
            Expected::Version(version) => version.cast_signed() == self.last(),
        }
    }

    /// The stream after the step, or `None` if the step's answer cannot be explained here.
    fn after(&self, action: &StepAction) -> Option<Self> {
        match action {
            StepAction::Append { expected, events, last } => {
                if !self.meets(*expected) {
                    return None;
                }
                let mut all = self.events.as_ref().clone();
                all.extend(events);
                let digest = events.iter().fold(self.digest, |digest, id| {
                    let mut hasher = DefaultHasher::new();
                    (digest, id).hash(&mut hasher);
                    hasher.finish()
                });
                let events = Rc::new(all);
                let appended = Self { events, digest, deleted: false, ..self.clone() };
                last.is_none_or(|last| last.cast_signed() == appended.last()).then_some(appended)
            }
            StepAction::RefusedAppend { expected, actual } => {
                let told = actual
                    .is_none_or(|actual| actual == self.last() || (!self.lives() && actual == -1));
                (!self.tombstoned && !self.meets(*expected) && told).then(|| self.clone())
            }
            StepAction::RefusedTombstoned => self.tombstoned.then(|| self.clone()),
            StepAction::Remove { removal, expected, first_version, last } => {
                self.after_removal(*removal, *expected, *first_version, *last)
            }
            StepAction::Read { first, last, events } => {
                let readable = self.events.get(self.first..)?;
                let told = self.lives()
                    && *last == self.last()
                    && (*first == version(self.first) || readable.is_empty())
                    && readable == events;
                told.then(|| self.clone())
            }
            StepAction::ReadNothing { reason } => {
                let told = match reason {
                    Reason::StreamDeleted => self.deleted && !self.tombstoned,
                    Reason::StreamTombstoned => self.tombstoned,
                    _ => self.events.is_empty() && !self.deleted && !self.tombstoned,
                };
                told.then(|| self.clone())
            }
        }
    }

    fn after_removal(
        &self,
        removal: Removal,
        expected: Expected,
        first_version: Option<u64>,
        last: Option<i64>,
    ) -> Option<Self> {
        if last.is_some_and(|last| last != self.last()) {
            return None;
        }
        let mut after = self.clone();
        match removal {
            Removal::Tombstoned => after.tombstoned = true,
            // What is deleted already is answered alike.
            Removal::Deleted if self.deleted => {}
            Removal::Deleted => {
                if !self.lives() || !self.meets(expected) {
                    return None;
                }
                after.deleted = true;
                after.first = self.events.len();
            }
            Removal::Truncated => {
                if !self.lives() {
                    return None;
                }
                let before = first_version.unwrap_or_default() as usize;
                if before > self.events.len() {
                    return None;
                }
                after.first = self.first.max(before);
            }
        }
        Some(after)
    }
}

/// A number of events as a version.
fn version(events: usize) -> i64 {
    i64::try_from(events).expect("a history is short")
}

/// Which steps are taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Taken(Vec<u64>);

impl Taken {
    fn set(&mut self, step: usize, taken: bool) {
        let bit = 1 << (step % 64);
        if taken {
            self.0[step / 64] |= bit;
        } else {
            self.0[step / 64] &= !bit;
        }
    }
}

/// One end of a step in the list of all ends, in the order of time; a doubly linked list over indices.
#[derive(Debug, Clone, Copy)]
struct End {
    step: usize,
    /// The index of the return that belongs to this call; `None`: this is a return.
    answer: Option<usize>,
    previous: usize,
    next: usize,
}

/// Looks for an order.
pub fn check(steps: &[Step]) -> Verdict {
    let mut ends = ends(steps);
    let mut stream = Stream::default();
    let mut taken = Taken(vec![0; steps.len().div_ceil(64)]);
    let mut tried = HashSet::new();
    let mut path: Vec<(usize, Stream, bool)> = Vec::new();
    // Steps that may never have happened need not be taken.
    let mut certain = steps.iter().filter(|step| step.completed.is_some()).count();
    let mut at = ends[HEAD].next;
    // What may never have happened is tried only where nothing else explains what follows.
    let mut optional = false;
    for _ in 0..STEPS_MAX {
        if certain == 0 {
            return Verdict::Linearizable;
        }
        let end = ends[at];
        if let Some(answer) = end.answer {
            let step = &steps[end.step];
            if optional == step.completed.is_none()
                && let Some(after) = stream.after(&step.action)
            {
                taken.set(end.step, true);
                if tried.insert((taken.clone(), after.state())) {
                    path.push((at, std::mem::replace(&mut stream, after), optional));
                    optional = false;
                    lift(&mut ends, at, answer);
                    certain -= usize::from(step.completed.is_some());
                    at = ends[HEAD].next;
                    continue;
                }
                taken.set(end.step, false);
            }
            at = end.next;
            continue;
        }
        // An answer was given that no order so far explains: take the last step back and try the next one.
        if !optional {
            optional = true;
            at = ends[HEAD].next;
            continue;
        }
        let Some((call, before, was_optional)) = path.pop() else {
            return Verdict::NotLinearizable;
        };
        stream = before;
        optional = was_optional;
        let step = ends[call].step;
        taken.set(step, false);
        certain += usize::from(steps[step].completed.is_some());
        unlift(&mut ends, call);
        at = ends[call].next;
    }
    Verdict::Undecided
}

/// The first index is a head, the last one a tail that reads as an answer that nothing explains.
const HEAD: usize = 0;

fn ends(steps: &[Step]) -> Vec<End> {
    let mut times: Vec<(Duration, bool, usize)> = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        times.push((step.invoked, false, number));
        times.push((step.completed.unwrap_or(Duration::MAX), true, number));
    }
    // At the same moment calls come first: then the two overlap, and either order may hold.
    times.sort_unstable();
    let tail = times.len() + 1;
    let mut ends = vec![End { step: 0, answer: None, previous: HEAD, next: 1 }];
    for (place, (_, is_answer, step)) in times.iter().enumerate() {
        let answer = (!is_answer).then(|| {
            let found = times.iter().position(|(_, other, of)| *other && of == step);
            found.expect("every call has an answer in the list") + 1
        });
        ends.push(End { step: *step, answer, previous: place, next: place + 2 });
    }
    ends.push(End { step: 0, answer: None, previous: tail - 1, next: tail });
    ends
}

fn lift(ends: &mut [End], call: usize, answer: usize) {
    for at in [call, answer] {
        let End { previous, next, .. } = ends[at];
        ends[previous].next = next;
        ends[next].previous = previous;
    }
}

fn unlift(ends: &mut [End], call: usize) {
    let answer = ends[call].answer.expect("only calls are lifted");
    for at in [answer, call] {
        let End { previous, next, .. } = ends[at];
        ends[previous].next = at;
        ends[next].previous = at;
    }
}
