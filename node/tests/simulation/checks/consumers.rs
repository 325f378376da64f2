//! What the consumers of a subscription were given and said, against the contents and what the store said of it: every
//! event comes to somebody and ends; in the order of its key; what is written down as done does not come again.
//!
//! A call of `Consume` is one leader's doing. What somebody else was given by an earlier leader, who may still believe
//! that it leads, is not held against it: so a call is judged by what was certain before it began.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::time::Duration;

use uuid::Uuid;

use super::Violation;
use crate::delivery::Consumed;
use crate::delivery::ledger::{Delivered, Done, How, Note};
use crate::delivery::plan::Planned;
use crate::history::{Action, History, Seen};

/// Checks one subscription.
pub fn check(consumed: &Consumed, history: &History, contents: &[Seen]) -> Vec<Violation> {
    let notes = consumed.ledger.notes();
    let mut judge = Judge::new(&consumed.planned, history, contents, &notes);
    for (place, note) in notes.iter().enumerate() {
        judge.hear(place, note);
    }
    judge.end(&notes);
    judge.violations
}

/// What is known at a note.
struct Judge<'a> {
    planned: &'a Planned,
    /// The subscription's events that can be read in the end, and so could all the time, by position.
    there: BTreeMap<u64, &'a Seen>,
    /// Their positions by key.
    keys: BTreeMap<&'a str, Vec<u64>>,
    /// When somebody first wanted to append an event.
    sent: HashMap<Uuid, Duration>,
    /// Events that were ever parked.
    parked: BTreeSet<u64>,
    /// Events that somebody wanted to be parked no more.
    unparked: BTreeSet<u64>,
    notes: &'a [Note],
    /// The last note by which an event of the subscription is delivered.
    last_delivered: HashMap<u64, usize>,
    calls: HashMap<usize, Call>,
    /// By whom an event was last settled so that the store could take it: the note.
    settled: HashMap<u64, usize>,
    /// When somebody last wanted a parked event delivered again.
    replayed: HashMap<u64, usize>,
    retries: HashMap<u64, u32>,
    /// Events that the store said are done, and what of it was known at a note by which somebody asked.
    written: BTreeSet<u64>,
    written_at: HashMap<usize, BTreeSet<u64>>,
    /// Resets that may still take effect.
    resetting: BTreeSet<usize>,
    /// Events that stay parked and hold their keys.
    holding: BTreeMap<u64, String>,
    violations: Vec<Violation>,
}

/// One call of `Consume`.
#[derive(Debug, Default)]
struct Call {
    consumer: String,
    key_window: usize,
    pull: bool,
    wanted: u64,
    delivered: BTreeMap<u64, Held>,
    attempts: HashMap<u64, u32>,
    /// What was known when it began.
    written: BTreeSet<u64>,
    holding: BTreeMap<u64, String>,
}

/// A delivery in a call.
#[derive(Debug)]
struct Held {
    position: u64,
    key: String,
    epoch: u64,
    replayed: bool,
    /// Not settled, and not taken back as far as its consumer knows.
    open: bool,
}

impl<'a> Judge<'a> {
    fn new(
        planned: &'a Planned,
        history: &History,
        contents: &'a [Seen],
        notes: &'a [Note],
    ) -> Self {
        let chosen = contents.iter().filter(|seen| planned.takes(seen));
        let there: BTreeMap<_, _> = chosen.map(|seen| (seen.position, seen)).collect();
        let mut keys: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (position, seen) in &there {
            keys.entry(planned.order.key(seen)).or_default().push(*position);
        }
        let mut sent = HashMap::new();
        for operation in history.operations() {
            if let Action::Append { parts, .. } = operation.action {
                for id in parts.into_iter().flat_map(|part| part.events) {
                    sent.insert(id, operation.invoked);
                }
            }
        }
        let parked = contents.iter().filter_map(|seen| seen.parked.as_ref());
        let parked = parked.filter(|it| it.subscription == planned.name).map(|it| it.position);
        let mut unparked = BTreeSet::new();
        let mut last_delivered = HashMap::new();
        for (place, note) in notes.iter().enumerate() {
            match note {
                Note::Replaying { positions } | Note::Discarding { positions } => {
                    unparked.extend(positions);
                }
                Note::Delivered { delivery, .. } => {
                    last_delivered.insert(delivery.seen.position, place);
                }
                _ => {}
            }
        }
        Self {
            planned,
            there,
            keys,
            sent,
            parked: parked.collect(),
            unparked,
            notes,
            last_delivered,
            calls: HashMap::new(),
            settled: HashMap::new(),
            replayed: HashMap::new(),
            retries: HashMap::new(),
            written: BTreeSet::new(),
            written_at: HashMap::new(),
            resetting: BTreeSet::new(),
            holding: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    fn violated(&mut self, check: &'static str, what: impl AsRef<str>) {
        let what = format!("{}: {}", self.planned.name, what.as_ref());
        self.violations.push(Violation::new(check, what));
    }

    fn hear(&mut self, place: usize, note: &Note) {
        match note {
            Note::Opening { call, consumer, key_window, pull } => {
                self.written_at.insert(place, self.written.clone());
                let opening = Call {
                    consumer: consumer.clone(),
                    key_window: *key_window as usize,
                    pull: *pull,
                    written: self.written.clone(),
                    holding: self.holding.clone(),
                    ..Call::default()
                };
                self.calls.insert(*call, opening);
            }
            // A call is named by the place of its first note.
            Note::Opened { call, done } => self.looked(*call, done),
            Note::Demanded { call, events } => {
                if let Some(call) = self.calls.get_mut(call) {
                    call.wanted += events;
                }
            }
            Note::Delivered { call, at, delivery } => {
                self.delivered(place, *call, *at, delivery);
            }
            Note::Settled { call, id, how } => self.settle(place, *call, *id, *how),
            Note::Looking => drop(self.written_at.insert(place, self.written.clone())),
            Note::Looked { since, done } => self.looked(*since, done),
            Note::Listed { since, parked } => {
                if self.written_at.contains_key(since) {
                    let kept = parked.iter().filter(|(at, _)| !self.unparked.contains(at));
                    self.holding.extend(kept.cloned());
                }
            }
            Note::Resetting { .. } => {
                self.resetting.insert(place);
                self.written.clear();
                self.written_at.clear();
                self.calls.values_mut().for_each(|call| call.written.clear());
            }
            Note::Reset { since } => drop(self.resetting.remove(since)),
            Note::Replaying { positions } => {
                self.replayed.extend(positions.iter().map(|&position| (position, place)));
            }
            Note::Discarding { .. } | Note::Quiet { .. } => {}
        }
    }

    /// The store said how far it is, to somebody who asked at the note `since`. Without resets what is done stays done.
    fn looked(&mut self, since: usize, done: &Done) {
        if !self.resetting.is_empty() {
            return;
        }
        let Some(before) = self.written_at.get(&since) else { return };
        let undone: Vec<_> = before.iter().filter(|&&at| !done.has(at)).copied().collect();
        if !undone.is_empty() {
            let what = format!("{undone:?} were done, and are not any more: {done:?}");
            self.violated("what-is-done-stays-done", what);
        }
        let done = self.there.keys().filter(|&&position| done.has(position));
        self.written.extend(done);
    }

    fn delivered(&mut self, place: usize, number: usize, at: Duration, delivery: &Delivered) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        let Delivered { seen, id, attempt, replayed, key, epoch } = delivery;
        let position = seen.position;
        let who = format!("{} was given {position} ({key}, attempt {attempt})", call.consumer);
        if !self.planned.takes(seen) || self.planned.order.key(seen) != key {
            self.violated("deliveries-are-chosen", format!("{who}: {delivery:?}"));
        }
        if call.delivered.last_key_value().is_some_and(|(last, _)| last >= id) || *attempt == 0 {
            self.violated("deliveries-are-counted", format!("{who} with id {id}"));
        }
        if call.pull && call.delivered.len() as u64 >= call.wanted {
            self.violated("demand-is-kept", format!("{who}, but asked for {}", call.wanted));
        }
        if let Some(last) = call.delivered.values().rfind(|held| held.key == *key)
            && last.epoch > *epoch
        {
            self.violated("epochs-never-fall", format!("{who} in {epoch} after {last:?}"));
        }
        let voided = call.delivered.values_mut().filter(|it| it.key == *key && it.epoch < *epoch);
        voided.for_each(|held| held.open = false);
        if !replayed {
            if call.written.contains(&position) {
                let what = format!("{who}, which was written down as done before its call began");
                self.violated("what-is-done-stays-done", what);
            }
            let before = call.attempts.insert(position, *attempt);
            if before.is_some_and(|before| before >= *attempt) && !self.planned.resets {
                let what = format!("{who} after attempt {}", before.unwrap_or_default());
                self.violated("attempts-grow", what);
            }
            let holder = call.holding.iter().find(|(at, held)| **at < position && *held == key);
            if let Some((holder, _)) = holder.filter(|_| self.planned.hold_key) {
                self.violated("a-parked-event-holds-its-key", format!("{who} behind {holder}"));
            }
            self.in_order(place, at, &call, delivery, &who);
        }
        let (key, replayed, epoch) = (key.clone(), *replayed, *epoch);
        call.delivered.insert(*id, Held { position, key, epoch, replayed, open: true });
        self.calls.insert(number, call);
    }

    /// Nothing comes before what is ahead of it in its key was settled, or is ahead of it in the same hands.
    fn in_order(
        &mut self,
        place: usize,
        at: Duration,
        call: &Call,
        delivery: &Delivered,
        who: &str,
    ) {
        let Delivered { seen, key, epoch, .. } = delivery;
        let position = seen.position;
        let of_key = || call.delivered.values().filter(|held| held.key == *key && !held.replayed);
        let again = self.planned.resets || call.key_window > 1;
        let behind =
            of_key().find(|held| held.position > position && (!again || held.epoch == *epoch));
        if let Some(behind) = behind {
            self.violated("keys-are-in-order", format!("{who} after {behind:?}"));
        }
        let held: Vec<u64> =
            of_key().filter(|it| it.epoch == *epoch && it.open).map(|it| it.position).collect();
        if held.len() >= call.key_window {
            let what = format!("{who} while it holds {held:?}, and takes {}", call.key_window);
            self.violated("keys-are-in-order", what);
        }
        let Some(ahead) = self.keys.get(key.as_str()) else { return };
        let given = |ahead: u64| {
            call.key_window > 1
                && of_key().any(|held| held.position == ahead && held.epoch == *epoch)
        };
        let jumped = ahead.iter().take_while(|&&ahead| ahead < position).find(|&&ahead| {
            !self.settled.contains_key(&ahead)
                && !self.parked.contains(&ahead)
                && !given(ahead)
                && !self.perhaps_given_up(ahead, place, at)
        });
        if let Some(jumped) = jumped {
            let story = self.story(*jumped);
            let what =
                format!("{who}, but nobody has settled {jumped}, which is ahead of it{story}");
            self.violated("keys-are-in-order", what);
        }
    }

    /// Whether an event may have failed so often, before a note, that it was parked by a leader who lost its power before
    /// that was written down: then it came again. Whoever was given it may not have heard of that.
    fn perhaps_given_up(&self, position: u64, place: usize, at: Duration) -> bool {
        let comes_again = self.last_delivered.get(&position).is_some_and(|&last| last > place);
        let retries = self.retries.get(&position).copied().unwrap_or_default();
        let timeouts = (self.planned.max_retries + 1).saturating_sub(retries);
        let sent = self.there.get(&position).and_then(|seen| self.sent.get(&seen.id));
        let waited = at.saturating_sub(sent.copied().unwrap_or_default());
        comes_again && waited >= self.planned.ack_timeout * timeouts
    }

    fn settle(&mut self, place: usize, call: usize, id: u64, how: How) {
        let Some(call) = self.calls.get_mut(&call) else { return };
        let ids = if how == How::AckUpto { 0..=id } else { id..=id };
        let Some(key) = call.delivered.get(&id).map(|held| held.key.clone()) else { return };
        let mut retried = None;
        for (_, held) in call.delivered.range_mut(ids).filter(|(_, held)| held.open) {
            held.open = false;
            if how == How::Retry {
                *self.retries.entry(held.position).or_default() += 1;
                retried = Some(held.epoch);
            } else {
                self.settled.insert(held.position, place);
            }
        }
        let Some(epoch) = retried else { return };
        // What it was given of the key behind that is void.
        let behind = call.delivered.range_mut(id..).map(|(_, held)| held);
        behind.filter(|it| it.key == key && it.epoch == epoch).for_each(|held| held.open = false);
    }

    /// What the ledger has of an event, with the places of the notes.
    fn story(&self, position: u64) -> String {
        let mut story = String::new();
        let mut deliveries = HashMap::new();
        let mut add = |place: usize, what: String| {
            let _ = write!(story, "\n    {place}: {what}");
        };
        for (place, note) in self.notes.iter().enumerate() {
            match note {
                Note::Delivered { call, at, delivery } if delivery.seen.position == position => {
                    let Delivered { id, attempt, replayed, epoch, .. } = delivery;
                    deliveries.insert((*call, *id), place);
                    add(
                        place,
                        format!(
                            "call {call} was given it at {at:?}: id {id}, attempt {attempt}, epoch {epoch}, replayed {replayed}"
                        ),
                    );
                }
                Note::Settled { call, id, how } if deliveries.contains_key(&(*call, *id)) => {
                    add(place, format!("call {call} said {how:?} of {id}"));
                }
                Note::Replaying { positions } | Note::Discarding { positions }
                    if positions.contains(&position) =>
                {
                    add(place, format!("{note:?}"));
                }
                Note::Resetting { .. } | Note::Reset { .. } => add(place, format!("{note:?}")),
                _ => {}
            }
        }
        story
    }

    fn end(&mut self, notes: &[Note]) {
        let quiet = notes.iter().rev().find_map(|note| match note {
            Note::Quiet { head } => Some(*head),
            _ => None,
        });
        let parked = notes.iter().rev().find_map(|note| match note {
            Note::Listed { parked, .. } => Some(parked),
            _ => None,
        });
        let parked: BTreeSet<u64> = parked.into_iter().flatten().map(|(at, _)| *at).collect();
        let discarded = notes.iter().filter_map(|note| match note {
            Note::Discarding { positions } => Some(positions),
            _ => None,
        });
        let discarded: BTreeSet<u64> = discarded.flatten().copied().collect();
        let resets = notes.iter().filter_map(|note| match note {
            Note::Reset { since } => match &notes[*since] {
                Note::Resetting { to } => Some((*since, *to)),
                _ => None,
            },
            _ => None,
        });
        let resets: Vec<_> = resets.collect();
        let quiet = quiet.unwrap_or_default();
        let there: Vec<u64> = self.there.range(..quiet).map(|(at, _)| *at).collect();
        for position in there {
            // Since when it has to have ended.
            let since = resets.iter().filter(|(_, to)| position >= *to).map(|(since, _)| *since);
            let since = since.max();
            let ended = |places: &HashMap<u64, usize>| {
                places.get(&position).is_some_and(|place| Some(*place) > since)
            };
            let was_parked = self.parked.contains(&position);
            if !ended(&self.settled) && !was_parked {
                let what = format!(
                    "{position} counts as done, and nobody settled it since {since:?}{}",
                    self.story(position)
                );
                self.violated("nothing-is-skipped", what);
            }
            let gone = was_parked && !parked.contains(&position);
            let replayed = self.replayed.get(&position);
            let ended = replayed.is_some() && self.settled.get(&position) > replayed;
            if gone && !discarded.contains(&position) && !ended {
                let story = self.story(position);
                let what =
                    format!("{position} was parked and is not, and nobody has settled it{story}");
                self.violated("nothing-is-skipped", what);
            }
        }
    }
}
