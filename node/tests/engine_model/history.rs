//! From plans to commands, with the model's answer beside each.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::sample::Index;
use reckon_node::engine::{
    AppendCondition, Command, Expectation, Outcome, Query, QueryItem, StreamAppend, encode_group,
};
use reckon_node::event::{EventDraft, encode_record};
use uuid::Uuid;

use crate::model::{Condition, Event, Items, Model, Part, STREAMS, TAGS, TYPES};
use crate::plan::{EventPlan, ExpectationPlan, PartPlan, QueryPlan, Retry, Step};

/// A group that is ready to be applied, and what must come out.
#[derive(Debug, Clone)]
pub struct Group {
    pub bytes: Bytes,
    pub expected: Vec<Outcome>,
}

#[derive(Debug, Default)]
pub struct History {
    pub model: Model,
    sent: Vec<(Vec<Part>, Option<Condition>)>,
    next_id: u128,
    clock_us: i64,
    commands: Vec<Bytes>,
    expected: Vec<Outcome>,
}

pub fn items_of(QueryPlan(plan): &QueryPlan) -> Items {
    let chosen = |names: &[&'static str], bits: u8| -> Vec<&'static str> {
        let names = names.iter().enumerate();
        names.filter(|(at, _)| bits & (1 << at) != 0).map(|(_, name)| *name).collect()
    };
    Items(plan.iter().map(|(types, tags)| (chosen(&TYPES, *types), chosen(&TAGS, *tags))).collect())
}

pub fn query_of(Items(items): &Items) -> Query {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let item = |(types, tags): &(Vec<&str>, Vec<&str>)| QueryItem {
        types: owned(types),
        tags: owned(tags),
    };
    Query { items: items.iter().map(item).collect() }
}

fn draft_of(event: &Event) -> EventDraft<'_> {
    let Event { id, event_type, tags, data } = event;
    let mut draft = EventDraft::new(Uuid::from_u128(*id), event_type, data);
    draft.set_tags(tags.iter().map(String::as_str));
    draft
}

fn command_of(parts: &[Part], condition: Option<&Condition>) -> Bytes {
    let appends = parts
        .iter()
        .map(|part| {
            let drafts: Vec<_> = part.events.iter().map(draft_of).collect();
            let record = encode_record(part.stream, &drafts).unwrap();
            StreamAppend { expectation: part.expectation, record }
        })
        .collect();
    let condition = condition.map(|Condition { items, after_position }| AppendCondition {
        query: query_of(items),
        after_position: *after_position,
    });
    Command::Append { appends, condition }.encode()
}

/// Ids spread over all bytes; every third is a UUIDv7 whose time goes up.
fn id_of(number: u128) -> u128 {
    if number.is_multiple_of(3) {
        (number << 80) | (0x7 << 76) | (0x8 << 60) | number
    } else {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }
}

impl History {
    pub fn new() -> Self {
        let mut history = Self { clock_us: 1_000_000, ..Self::default() };
        history.model.epoch_us = history.clock_us.cast_unsigned();
        history
    }

    /// Every id that was ever sent.
    pub fn sent_ids(&self) -> BTreeSet<u128> {
        let parts = self.sent.iter().flat_map(|(parts, _)| parts);
        parts.flat_map(|part| &part.events).map(|event| event.id).collect()
    }

    fn new_event(&mut self, plan: EventPlan) -> Event {
        self.next_id += 1;
        let ids: Vec<u128> = self.sent_ids().into_iter().collect();
        let id = match plan.id_of {
            Some(of) if !ids.is_empty() => *of.get(&ids),
            _ => id_of(self.next_id),
        };
        let mut data = self.next_id.to_le_bytes().to_vec();
        data.resize(16 + plan.data_bytes, b'x');
        let tags = TAGS.iter().enumerate().filter(|(at, _)| plan.tags & (1 << at) != 0);
        Event {
            id,
            event_type: TYPES[plan.event_type.index(TYPES.len())],
            tags: tags.map(|(_, tag)| (*tag).to_owned()).collect(),
            data,
        }
    }

    fn expectation(&self, stream: &str, plan: ExpectationPlan) -> Expectation {
        match plan {
            ExpectationPlan::Any => Expectation::Any,
            ExpectationPlan::NoStream => Expectation::NoStream,
            ExpectationPlan::StreamExists => Expectation::StreamExists,
            ExpectationPlan::Current(miss) => u64::try_from(self.model.last_version(stream) + miss)
                .map_or(Expectation::NoStream, Expectation::Exact),
        }
    }

    fn parts(&mut self, plans: &[PartPlan]) -> Vec<Part> {
        let mut parts = Vec::new();
        for plan in plans {
            let stream = STREAMS[plan.stream.index(STREAMS.len())];
            let expectation = self.expectation(stream, plan.expectation);
            let events = plan.events.iter().map(|event| self.new_event(*event)).collect();
            parts.push(Part { stream, expectation, events });
        }
        parts
    }

    fn retry(&mut self, of: Index, how: Retry) -> Option<(Vec<Part>, Option<Condition>)> {
        if self.sent.is_empty() {
            return None;
        }
        let (mut parts, condition) = of.get(&self.sent).clone();
        let plain = EventPlan { event_type: of, tags: 0, data_bytes: 0, id_of: None };
        let first = &mut parts[0];
        match how {
            Retry::Whole => {}
            Retry::OtherExpectations => first.expectation = Expectation::Exact(77),
            Retry::WithoutFirstEvent if first.events.len() > 1 => drop(first.events.remove(0)),
            Retry::WithoutLastEvent if first.events.len() > 1 => drop(first.events.pop()),
            Retry::WithoutFirstEvent | Retry::WithoutLastEvent => return None,
            Retry::WithNewEventBehind => first.events.push(self.new_event(plain)),
            Retry::OtherContent => first.events[0].data.push(b'!'),
            Retry::OtherTags => drop(first.events[0].tags.insert("zebra".to_owned())),
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
        Some((parts, condition))
    }

    /// `Some`: a group is complete. What a node does besides is no matter of the history.
    pub fn step(&mut self, step: &Step) -> Option<Group> {
        let (command, outcome) = match step {
            Step::Append { parts, condition } => {
                let parts = self.parts(parts);
                let condition = condition.as_ref().map(|(query, after)| Condition {
                    items: items_of(query),
                    after_position: after
                        .map(|after| after.index(self.model.events.len() + 2) as u64),
                });
                let outcome = self.model.append(&parts, condition.as_ref());
                let command = command_of(&parts, condition.as_ref());
                self.sent.push((parts, condition));
                (command, outcome)
            }
            Step::Retry { of, how } => {
                let (parts, condition) = self.retry(*of, *how)?;
                let outcome = self.model.append(&parts, condition.as_ref());
                (command_of(&parts, condition.as_ref()), outcome)
            }
            Step::Delete { stream, expectation } => {
                let stream = STREAMS[stream.index(STREAMS.len())];
                let expectation = self.expectation(stream, *expectation);
                let command = Command::Delete { stream_id: stream.to_owned(), expectation };
                (command.encode(), self.model.delete(stream, expectation))
            }
            Step::Tombstone { stream, expectation } => {
                let stream = STREAMS[stream.index(STREAMS.len())];
                let expectation = self.expectation(stream, *expectation);
                let command = Command::Tombstone { stream_id: stream.to_owned(), expectation };
                (command.encode(), self.model.tombstone(stream, expectation))
            }
            Step::Truncate { stream, expectation, before_version } => {
                let stream = STREAMS[stream.index(STREAMS.len())];
                let expectation = self.expectation(stream, *expectation);
                let versions = usize::try_from(self.model.last_version(stream) + 3).unwrap();
                let before_version = before_version.index(versions) as u64;
                let stream_id = stream.to_owned();
                let command = Command::Truncate { stream_id, before_version, expectation };
                (command.encode(), self.model.truncate(stream, before_version, expectation))
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
            // What it seals is known at the end of the group.
            Step::Seal => {
                (Command::Seal.encode(), Outcome::Sealed { seal: u64::MAX, position: u64::MAX })
            }
            Step::EndGroup { clock_moves_us } => return Some(self.end_group(*clock_moves_us)),
            Step::Write | Step::Merge | Step::Reclaim | Step::Reopen => return None,
        };
        self.model.changed |= !matches!(step, Step::Seal);
        self.commands.push(command);
        self.expected.push(outcome);
        None
    }

    /// The group bears the time that the model decided its commands at, or an earlier one: a clock that went
    /// back must not show.
    pub fn end_group(&mut self, clock_moves_us: i64) -> Group {
        let is_seal = |outcome: &Outcome| matches!(outcome, Outcome::Sealed { .. });
        if self.expected.iter().any(is_seal) {
            let sealed = self.model.seal();
            let seals = self.expected.iter_mut().filter(|outcome| is_seal(outcome));
            seals.for_each(|outcome| *outcome = sealed.clone());
        }
        let commands = std::mem::take(&mut self.commands);
        let bytes = encode_group(self.clock_us.cast_unsigned(), &commands);
        self.clock_us += clock_moves_us;
        self.model.epoch_us = self.model.epoch_us.max(self.clock_us.cast_unsigned());
        Group { bytes, expected: std::mem::take(&mut self.expected) }
    }
}
