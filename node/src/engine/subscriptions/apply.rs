//! Subscriptions' share of apply.

use std::sync::Arc;

use bytes::Bytes;

use super::command::{
    Advance, Dropped, Parked, SubscriptionCommand, SubscriptionTarget, Unpark, UnparkedEntry,
};
use super::journal::{
    SUBSCRIPTIONS_STREAM, SubscriptionChange, dropped_record, journal_stream, notice_record,
    parked_record,
};
use super::state::{Progress, SubscriptionState};
use super::version_set::VersionSet;
use crate::engine::Engine;
use crate::engine::error::ReadError;
use crate::engine::expectation::Expectation;
use crate::engine::outcome::Outcome;
use crate::engine::refusal::Refusal;
use crate::event::{RecordView, has_control};
use crate::limits::{SUBSCRIPTION_NAME_BYTES_MAX, SUBSCRIPTION_REPLAYS_MAX, SUBSCRIPTIONS_MAX};

impl Engine {
    pub(in crate::engine) fn apply_subscription(
        &mut self,
        command: SubscriptionCommand,
    ) -> Result<Outcome, ReadError> {
        match command {
            SubscriptionCommand::Create { name, definition } => self.create(name, definition),
            SubscriptionCommand::Update { target, revision, definition } => {
                self.update(&target, revision, definition)
            }
            SubscriptionCommand::Delete { target } => self.delete_subscription(&target),
            SubscriptionCommand::Reset { target, next_position } => {
                Ok(self.reset(&target, next_position))
            }
            SubscriptionCommand::Advance { advances } => {
                for advance in advances {
                    self.advance(advance)?;
                }
                Ok(Outcome::SubscriptionsAdvanced)
            }
            SubscriptionCommand::Unpark(unpark) => Ok(self.unpark(unpark)),
        }
    }

    fn create(&mut self, name: String, definition: Bytes) -> Result<Outcome, ReadError> {
        if name.is_empty() || name.len() > SUBSCRIPTION_NAME_BYTES_MAX || has_control(&name) {
            return Ok(Outcome::Refused(Refusal::InvalidName { name }));
        }
        let subscriptions = &self.state.subscriptions;
        if let Some(state) = subscriptions.get(&name) {
            return Ok(if state.definition == definition {
                Outcome::Subscription { state: Arc::clone(state), changed: false }
            } else {
                Outcome::Refused(Refusal::SubscriptionExists { name })
            });
        }
        if subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let maximum = SUBSCRIPTIONS_MAX;
            return Ok(Outcome::Refused(Refusal::TooManySubscriptions { maximum }));
        }
        let id = self.tell(SubscriptionChange::Created, &definition)?;
        let now = self.state.epoch_us;
        let state = SubscriptionState {
            id,
            definition,
            revision: 1,
            generation: 0,
            term: 0,
            created_at_us: now,
            updated_at_us: now,
            progress: None,
            parked: VersionSet::default(),
            replaying: std::collections::BTreeSet::new(),
            held: std::collections::BTreeMap::new(),
            dropped: 0,
        };
        self.state.subscriptions.insert(name.clone(), state);
        Ok(self.registered(&name))
    }

    fn update(
        &mut self,
        target: &SubscriptionTarget,
        revision: u64,
        definition: Bytes,
    ) -> Result<Outcome, ReadError> {
        let Some(state) = self.meant(target) else { return Ok(not_found(target)) };
        if state.definition == definition {
            return Ok(Outcome::Subscription { state: Arc::clone(state), changed: false });
        }
        if state.revision != revision {
            let name = target.name.clone();
            return Ok(Outcome::Refused(Refusal::SubscriptionChanged { name }));
        }
        self.tell(SubscriptionChange::Updated, &definition)?;
        let now = self.state.epoch_us;
        if let Some(state) = self.state.subscriptions.get_mut(&target.name) {
            state.definition = definition;
            state.revision += 1;
            state.updated_at_us = now;
        }
        Ok(self.registered(&target.name))
    }

    fn delete_subscription(&mut self, target: &SubscriptionTarget) -> Result<Outcome, ReadError> {
        let Some(state) = self.meant(target).cloned() else { return Ok(not_found(target)) };
        let journal = journal_stream(&target.name);
        if self.head(&journal)?.is_some() {
            self.delete(&journal, Expectation::Any)?;
        }
        self.tell(SubscriptionChange::Deleted, &state.definition)?;
        self.state.subscriptions.by_name.remove(&target.name);
        Ok(Outcome::Subscription { state, changed: true })
    }

    fn reset(&mut self, target: &SubscriptionTarget, next_position: u64) -> Outcome {
        if self.meant(target).is_none() {
            return not_found(target);
        }
        let at_us = self.state.epoch_us;
        if let Some(state) = self.state.subscriptions.get_mut(&target.name) {
            state.generation += 1;
            state.progress = Some(Progress { at_us, ..Progress::upto(next_position) });
        }
        self.registered(&target.name)
    }

    fn advance(&mut self, advance: Advance) -> Result<(), ReadError> {
        let Advance { target, generation, term, progress, parked, dropped, replayed } = advance;
        let known = self
            .meant(&target)
            .filter(|state| state.generation == generation && state.term <= term)
            .cloned();
        let Some(known) = known else { return Ok(()) };
        // A report that was repeated because its answer was lost changes nothing.
        let done = |position| known.progress.as_ref().is_some_and(|it| it.is_done(position));
        let parked: Vec<&Parked> = parked
            .iter()
            .filter(|it| known.replaying.contains(&it.position) || !done(it.position))
            .collect();
        let dropped: Vec<Dropped> =
            dropped.into_iter().filter(|it| !done(it.last_position)).collect();
        let parked_from = self.note_in_journal(&target.name, &parked, &dropped)?;

        let at_us = self.state.epoch_us;
        let Some(state) = self.state.subscriptions.get_mut(&target.name) else { return Ok(()) };
        state.term = term;
        for (version, parked) in (parked_from..).zip(&parked) {
            state.parked.insert(version);
            state.replaying.remove(&parked.position);
            if parked.holds_key {
                *state.held.entry(parked.key.clone()).or_default() += 1;
            }
        }
        state.dropped += dropped.iter().map(|dropped| dropped.events).sum::<u64>();
        for position in replayed {
            state.replaying.remove(&position);
        }
        let before = state.progress.as_ref().map_or(0, |before| before.next_position);
        if let Some(progress) = progress.filter(|progress| progress.next_position >= before) {
            state.progress = Some(Progress { at_us, ..progress });
        }
        Ok(())
    }

    /// Gives the version of the first entry of what was parked.
    fn note_in_journal(
        &mut self,
        name: &str,
        parked: &[&Parked],
        dropped: &[Dropped],
    ) -> Result<u64, ReadError> {
        let journal = journal_stream(name);
        if !dropped.is_empty() {
            let record = dropped_record(&journal, dropped, self.state.next_position);
            self.push_own(&journal, record)?;
        }
        if parked.is_empty() {
            return Ok(0);
        }
        let record = parked_record(&journal, parked, self.state.next_position);
        let last = self.push_own(&journal, record)?;
        Ok(last + 1 - parked.len() as u64)
    }

    fn unpark(&mut self, unpark: Unpark) -> Outcome {
        let Unpark { target, replay, entries } = unpark;
        if self.meant(&target).is_none() {
            return not_found(&target);
        }
        let mut events = 0;
        if let Some(state) = self.state.subscriptions.get_mut(&target.name) {
            for UnparkedEntry { journal_version, position, held_key } in entries {
                if replay && state.replaying.len() >= SUBSCRIPTION_REPLAYS_MAX {
                    break;
                }
                if !state.parked.remove(journal_version) {
                    continue;
                }
                events += 1;
                if replay {
                    state.replaying.insert(position);
                }
                if let Some(key) = held_key
                    && let Some(waiting) = state.held.get_mut(&key)
                {
                    *waiting -= 1;
                    if *waiting == 0 {
                        state.held.remove(&key);
                    }
                }
            }
        }
        self.state.subscriptions.changes += 1;
        Outcome::Unparked { events }
    }

    /// The subscription, unless another one has its name by now.
    fn meant(&self, target: &SubscriptionTarget) -> Option<&Arc<SubscriptionState>> {
        self.state.subscriptions.get(&target.name).filter(|state| state.id == target.id)
    }

    fn registered(&mut self, name: &str) -> Outcome {
        self.state.subscriptions.changes += 1;
        let state = self.state.subscriptions.get(name).expect("it was just put there");
        Outcome::Subscription { state: Arc::clone(state), changed: true }
    }

    /// Writes a notice; gives its position.
    fn tell(&mut self, change: SubscriptionChange, definition: &[u8]) -> Result<u64, ReadError> {
        let position = self.state.next_position;
        self.push_own(SUBSCRIPTIONS_STREAM, notice_record(change, definition, position))?;
        self.state.subscriptions.changes += 1;
        Ok(position)
    }

    /// Takes a record in that the server itself writes; gives the version of its last event.
    fn push_own(&mut self, stream_id: &str, record: RecordView) -> Result<u64, ReadError> {
        let head = self.head(stream_id)?;
        self.active.add_record_bytes(record.bytes().len());
        Ok(self.push(record, head))
    }
}

fn not_found(target: &SubscriptionTarget) -> Outcome {
    Outcome::Refused(Refusal::SubscriptionNotFound { name: target.name.clone() })
}
