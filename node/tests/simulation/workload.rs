//! What clients do in a run: appends with every expectation, conditions, removals and reads, on a few streams that all
//! of them share.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::client::Client;
use crate::history::{Action, Condition, Expected, Freshness, History, Outcome, Part};
use crate::machine::seeded_id;
use crate::trace::{self, Kind};

/// What a run's clients do.
#[derive(Debug, Clone)]
pub struct Mix {
    pub streams: usize,
    /// The longest pause between two requests of a client, milliseconds.
    pub pause_ms_max: u64,
    /// Appends with conditions on tags.
    pub conditions: bool,
    /// Deletes, tombstones and truncations.
    pub removals: bool,
}

/// What one client remembers of the store, from its own answers.
#[derive(Debug, Default)]
struct Memory {
    /// The last version of a stream.
    versions: BTreeMap<String, i64>,
    /// Every position below this one was seen.
    next_position: u64,
}

/// Asks one thing after the other until told to end.
pub async fn run(
    number: usize,
    mut client: Client,
    mix: Mix,
    history: History,
    ending: Rc<Cell<bool>>,
) -> turmoil::Result {
    let mut memory = Memory::default();
    loop {
        let pause = client.chance.random_range(0..=mix.pause_ms_max);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if ending.get() {
            return Ok(());
        }
        let action = memory.next_action(&mut client.chance, &mix);
        let place = history.invoke(number, now(), action.clone());
        let (outcome, repeated) = client.perform(&action).await;
        let detail = u64::from(crc32c::crc32c(format!("{outcome:?}").as_bytes()));
        trace::record(now(), &format!("client-{number}"), Kind::Answered, detail);
        memory.learn(&action, &outcome);
        history.complete(place, now(), outcome, repeated);
    }
}

fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

impl Memory {
    fn next_action(&self, chance: &mut StdRng, mix: &Mix) -> Action {
        let stream = stream(chance, mix);
        match chance.random_range(0..100) {
            0..18 => Action::ReadStream { stream, freshness: self.freshness(chance) },
            18..28 => {
                let back = chance.random_range(0..40);
                let from = self.next_position.saturating_sub(back);
                Action::ReadAll { from, freshness: self.freshness(chance) }
            }
            28..34 if mix.removals => Action::Truncate {
                // One event stays at least: what an emptied stream is, is a matter of its own.
                before: self.version(&stream).map_or(0, |last| {
                    u64::try_from(last).unwrap_or_default() / chance.random_range(1..=2)
                }),
                stream,
            },
            34..39 if mix.removals => {
                let expected = self.expected(chance, &stream);
                Action::Delete { stream, expected }
            }
            39 if mix.removals => Action::Tombstone { stream },
            _ => self.append(chance, mix, stream),
        }
    }

    fn append(&self, chance: &mut StdRng, mix: &Mix, first: String) -> Action {
        let tag = mix.conditions.then(|| format!("tag-{}", chance.random_range(0..3)));
        let mut streams = vec![first];
        while chance.random_ratio(1, 5) {
            let another = stream(chance, mix);
            if !streams.contains(&another) {
                streams.push(another);
            }
        }
        let parts = streams.into_iter().map(|stream| Part {
            expected: self.expected(chance, &stream),
            events: (0..chance.random_range(1..=3)).map(|_| seeded_id(chance)).collect(),
            tag: tag.clone().filter(|_| chance.random_ratio(1, 2)),
            stream,
        });
        let parts = parts.collect();
        let condition = tag
            .filter(|_| chance.random_ratio(1, 3))
            .map(|tag| Condition { tag, after: self.next_position.checked_sub(1) });
        Action::Append { parts, condition }
    }

    fn expected(&self, chance: &mut StdRng, stream: &str) -> Expected {
        match (chance.random_range(0..10), self.version(stream)) {
            (0..=3, _) => Expected::Any,
            (5, Some(_)) => Expected::Exists,
            (6.., Some(version)) => {
                u64::try_from(version).map_or(Expected::NoStream, Expected::Version)
            }
            _ => Expected::NoStream,
        }
    }

    fn freshness(&self, chance: &mut StdRng) -> Freshness {
        match chance.random_range(0..10) {
            0..6 => Freshness::Linearizable,
            6..8 => Freshness::Stale,
            _ => self.next_position.checked_sub(1).map_or(Freshness::Stale, Freshness::AtLeast),
        }
    }

    fn version(&self, stream: &str) -> Option<i64> {
        self.versions.get(stream).copied()
    }

    fn learn(&mut self, action: &Action, outcome: &Outcome) {
        match (action, outcome) {
            (Action::Append { parts, .. }, Outcome::Appended { last, last_versions, .. }) => {
                for (part, version) in parts.iter().zip(last_versions) {
                    self.versions.insert(part.stream.clone(), version.cast_signed());
                }
                self.next_position = self.next_position.max(last + 1);
            }
            (Action::ReadStream { stream, .. }, Outcome::Stream { last, .. }) => {
                self.versions.insert(stream.clone(), *last);
            }
            (Action::ReadAll { .. }, Outcome::All { next_position, .. }) => {
                self.next_position = self.next_position.max(*next_position);
            }
            (Action::Append { parts, .. }, Outcome::Refused { actual: Some(actual), .. })
                if parts.len() == 1 =>
            {
                self.versions.insert(parts[0].stream.clone(), *actual);
            }
            _ => {}
        }
    }
}

fn stream(chance: &mut StdRng, mix: &Mix) -> String {
    format!("stream-{}", chance.random_range(0..mix.streams))
}
