//! Everything that anybody was told of the one order of events, put together; contradictions are violations.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::Violation;
use crate::history::{Action, Notice, Operation, Outcome, Part, Removal, Seen};

/// An event at its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub id: Uuid,
    pub stream: String,
    pub version: u64,
}

/// The order, as far as it is known, and who sent what.
#[derive(Debug, Default)]
pub struct Order<'h> {
    pub at: BTreeMap<u64, Known>,
    /// Where each event was told to be: in more than one place only if it was removed, for then nobody knows its id any
    /// more and a retry appends it again.
    positions_of: HashMap<Uuid, BTreeSet<u64>>,
    /// Every event id that was ever sent, and what it was sent with.
    pub sent: HashMap<Uuid, &'h Part>,
    /// Removals by their positions.
    pub notices: BTreeMap<u64, Notice>,
    by_version: HashMap<(String, u64), u64>,
}

impl<'h> Order<'h> {
    /// Puts together what the operations, the final contents and what was delivered tell.
    pub fn new(
        operations: &'h [Operation],
        contents: &[Seen],
        delivered: &[Seen],
        violations: &mut Vec<Violation>,
    ) -> Self {
        let mut order = Self::default();
        for operation in operations {
            if let Action::Append { parts, .. } = &operation.action {
                for part in parts {
                    order.sent.extend(part.events.iter().map(|id| (*id, part)));
                }
            }
        }
        for seen in contents {
            order.tell_seen(seen, "the final contents", violations);
        }
        for seen in delivered {
            order.tell_seen(seen, "a consumer or follower", violations);
        }
        for operation in operations {
            match (&operation.action, &operation.outcome) {
                (
                    Action::Append { parts, .. },
                    Outcome::Appended { first, last, last_versions, .. },
                ) => {
                    order.tell_appended(parts, (*first, *last), last_versions, violations);
                }
                (_, Outcome::Stream { events, .. } | Outcome::All { events, .. }) => {
                    for seen in events {
                        order.tell_seen(seen, "a reader", violations);
                    }
                }
                _ => {}
            }
        }
        order.doubled(violations);
        order
    }

    /// An event is in a second place only after it was removed from the first.
    fn doubled(&self, violations: &mut Vec<Violation>) {
        for (id, positions) in &self.positions_of {
            for (before, after) in positions.iter().zip(positions.iter().skip(1)) {
                if self.removed(*before, &self.at[before], *after).is_none() {
                    violations.push(Violation::new(
                        "retries-never-double",
                        format!("event {id} is at {before} and at {after}"),
                    ));
                }
            }
        }
    }

    fn tell_appended(
        &mut self,
        parts: &[Part],
        (first, last): (u64, u64),
        last_versions: &[u64],
        violations: &mut Vec<Violation>,
    ) {
        let events: usize = parts.iter().map(|part| part.events.len()).sum();
        if last + 1 - first != events as u64 || last_versions.len() != parts.len() {
            violations.push(Violation::new(
                "answers-fit",
                format!("{events} events were answered with positions {first} to {last}"),
            ));
            return;
        }
        let mut position = first;
        for (part, last_version) in parts.iter().zip(last_versions) {
            let Some(before) = (last_version + 1).checked_sub(part.events.len() as u64) else {
                violations.push(Violation::new(
                    "answers-fit",
                    format!("{} events end at version {last_version}", part.events.len()),
                ));
                return;
            };
            for (id, version) in part.events.iter().zip(before..) {
                let known = Known { id: *id, stream: part.stream.clone(), version };
                self.tell(position, known, "the answer to an append", violations);
                position += 1;
            }
        }
    }

    fn tell_seen(&mut self, seen: &Seen, who: &str, violations: &mut Vec<Violation>) {
        if seen.stream.starts_with('$') {
            if let Some(notice) = &seen.notice {
                self.notices.insert(seen.position, notice.clone());
            }
            return;
        }
        match self.sent.get(&seen.id) {
            None => violations.push(Violation::new(
                "no-phantom",
                format!("{who} saw event {} at {}, which nobody sent", seen.id, seen.position),
            )),
            Some(sent) if sent.stream != seen.stream => violations.push(Violation::new(
                "no-phantom",
                format!(
                    "{who} saw event {} in {}, but it was sent to {}",
                    seen.id, seen.stream, sent.stream
                ),
            )),
            Some(_) => {}
        }
        if !seen.intact {
            violations.push(Violation::new(
                "no-phantom",
                format!("{who} saw event {} with other content than was sent", seen.id),
            ));
        }
        let known = Known { id: seen.id, stream: seen.stream.clone(), version: seen.version };
        self.tell(seen.position, known, who, violations);
    }

    fn tell(&mut self, position: u64, known: Known, who: &str, violations: &mut Vec<Violation>) {
        let name = (known.stream.clone(), known.version);
        if let Some(other) = self.at.get(&position)
            && *other != known
        {
            violations.push(Violation::new(
                "one-event-per-position",
                format!("{who} has {known:?} at position {position}, where also {other:?} is"),
            ));
        }
        if let Some(other) = self.by_version.get(&name)
            && *other != position
        {
            violations.push(Violation::new(
                "gapless-versions",
                format!("{who} has {name:?} at {position}, and it is also at {other}"),
            ));
        }
        self.positions_of.entry(known.id).or_default().insert(position);
        self.by_version.insert(name, position);
        self.at.insert(position, known);
    }

    /// Where an event was removed, at the latest at a position below `end`.
    pub fn removed(&self, position: u64, known: &Known, end: u64) -> Option<u64> {
        let later = self.notices.range(position..end.max(position));
        later
            .filter(|(_, notice)| {
                notice.stream == known.stream && known.version < notice.first_version
            })
            .map(|(at, _)| *at)
            .next()
    }

    /// The version of an event in its stream.
    pub fn version_of(&self, id: &Uuid) -> Option<u64> {
        let last = self.positions_of.get(id).and_then(BTreeSet::last);
        last.and_then(|at| self.at.get(at)).map(|known| known.version)
    }

    /// How many events of a stream were removed before anybody saw them.
    pub fn hidden_events(&self, stream: &str) -> u64 {
        let known = self.by_version.keys().filter(|(name, _)| name == stream);
        let (count, end) =
            known.fold((0_u64, 0), |(count, end), (_, version)| (count + 1, end.max(version + 1)));
        let removed = self.notices.values().filter(|notice| notice.stream == stream);
        removed.map(|notice| notice.first_version).fold(end, u64::max).saturating_sub(count)
    }

    /// Whether a removal of this kind took effect, whoever asked for it.
    pub fn was_removed(&self, stream: &str, removal: Removal) -> bool {
        let mut notices = self.notices.values();
        notices.any(|notice| notice.stream == stream && notice.removal == removal)
    }

    /// How often a stream's events were removed.
    pub fn removals(&self, stream: &str) -> usize {
        self.notices.values().filter(|notice| notice.stream == stream).count()
    }

    /// The position that an operation's events begin at, the last one if they were removed and appended again, if one of
    /// them is known.
    pub fn first_position(&self, parts: &[Part]) -> Option<u64> {
        self.first_positions(parts).last().copied()
    }

    /// Every position that an operation's events begin at, as far as they are known.
    pub fn first_positions(&self, parts: &[Part]) -> BTreeSet<u64> {
        let ids = parts.iter().flat_map(|part| &part.events).zip(0..);
        ids.filter_map(|(id, index)| Some((self.positions_of.get(id)?, index)))
            .flat_map(|(positions, index)| positions.iter().map(move |at| (at, index)))
            .filter_map(|(at, index)| at.checked_sub(index))
            .collect()
    }
}
