//! The binary form of what is proposed and kept of subscriptions.
//!
//! ```text
//! command | kind (1) | create:  name, definition
//!                    | update:  target, revision, definition
//!                    | delete:  target
//!                    | reset:   target, next position
//!                    | advance: count, advances
//!                    | unpark:  target, replay (1), count, entries
//! target  | name, id
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut as _, Bytes, BytesMut};

use super::Subscriptions;
use super::command::{
    Advance, Dropped, Parked, SubscriptionCommand, SubscriptionTarget, Unpark, UnparkedEntry,
};
use super::state::{Pending, Progress, SubscriptionState};
use super::version_set::VersionSet;
use crate::event::Malformed;
use crate::event::codec::{Reader, put_prefixed, put_varint};

const KIND_CREATE: u8 = 1;
const KIND_UPDATE: u8 = 2;
const KIND_DELETE: u8 = 3;
const KIND_RESET: u8 = 4;
const KIND_ADVANCE: u8 = 5;
const KIND_UNPARK: u8 = 6;

impl SubscriptionCommand {
    /// Behind what stands before every command.
    pub(in crate::engine) fn put(&self, buf: &mut BytesMut) {
        match self {
            Self::Create { name, definition } => {
                buf.put_u8(KIND_CREATE);
                put_text(buf, name);
                put_prefixed(buf, definition);
            }
            Self::Update { target, revision, definition } => {
                buf.put_u8(KIND_UPDATE);
                target.put(buf);
                put_varint(buf, *revision);
                put_prefixed(buf, definition);
            }
            Self::Delete { target } => {
                buf.put_u8(KIND_DELETE);
                target.put(buf);
            }
            Self::Reset { target, next_position } => {
                buf.put_u8(KIND_RESET);
                target.put(buf);
                put_varint(buf, *next_position);
            }
            Self::Advance { advances } => {
                buf.put_u8(KIND_ADVANCE);
                put_all(buf, advances, Advance::put);
            }
            Self::Unpark(unpark) => {
                buf.put_u8(KIND_UNPARK);
                unpark.target.put(buf);
                put_flag(buf, unpark.replay);
                put_all(buf, &unpark.entries, UnparkedEntry::put);
            }
        }
    }

    /// The inner error: of a kind that this build does not know.
    pub(in crate::engine) fn read(reader: &mut Reader<'_>) -> Result<Result<Self, u8>, Malformed> {
        Ok(Ok(match reader.u8()? {
            KIND_CREATE => Self::Create { name: text(reader)?, definition: shared(reader)? },
            KIND_UPDATE => Self::Update {
                target: SubscriptionTarget::read(reader)?,
                revision: reader.varint()?,
                definition: shared(reader)?,
            },
            KIND_DELETE => Self::Delete { target: SubscriptionTarget::read(reader)? },
            KIND_RESET => Self::Reset {
                target: SubscriptionTarget::read(reader)?,
                next_position: reader.varint()?,
            },
            KIND_ADVANCE => Self::Advance { advances: read_all(reader, Advance::read)? },
            KIND_UNPARK => Self::Unpark(Unpark {
                target: SubscriptionTarget::read(reader)?,
                replay: flag(reader)?,
                entries: read_all(reader, UnparkedEntry::read)?,
            }),
            unknown => return Ok(Err(unknown)),
        }))
    }
}

impl SubscriptionTarget {
    fn put(&self, buf: &mut BytesMut) {
        put_text(buf, &self.name);
        put_varint(buf, self.id);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { name: text(reader)?, id: reader.varint()? })
    }
}

impl Advance {
    /// About how many bytes it takes in a command.
    pub fn size(&self) -> usize {
        let texts =
            |it: &Parked| it.stream_id.len() + it.event_type.len() + it.key.len() + it.reason.len();
        let parked: usize = self.parked.iter().map(|it| texts(it) + 32).sum();
        let pending = self.progress.as_ref().map_or(0, |progress| progress.pending.len());
        64 + self.target.name.len()
            + parked
            + 8 * (pending + self.replayed.len())
            + 24 * self.dropped.len()
    }

    fn put(&self, buf: &mut BytesMut) {
        self.target.put(buf);
        put_varint(buf, self.generation);
        put_varint(buf, self.term);
        put_option(buf, self.progress.as_ref(), Progress::put);
        put_all(buf, &self.parked, Parked::put);
        put_all(buf, &self.dropped, Dropped::put);
        put_ascending(buf, self.replayed.iter().copied());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            target: SubscriptionTarget::read(reader)?,
            generation: reader.varint()?,
            term: reader.varint()?,
            progress: option(reader, Progress::read)?,
            parked: read_all(reader, Parked::read)?,
            dropped: read_all(reader, Dropped::read)?,
            replayed: ascending(reader)?.into_iter().collect(),
        })
    }
}

impl Progress {
    fn put(&self, buf: &mut BytesMut) {
        put_varint(buf, self.next_position);
        put_varint(buf, self.at_us);
        put_ascending(buf, self.pending.iter().map(|pending| pending.position));
        for pending in &self.pending {
            put_varint(buf, u64::from(pending.failures));
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (next_position, at_us) = (reader.varint()?, reader.varint()?);
        let mut pending = Vec::new();
        for position in ascending(reader)? {
            pending.push(Pending { position, failures: 0 });
        }
        for pending in &mut pending {
            pending.failures = reader.varint_u32()?;
        }
        Ok(Self { next_position, pending, at_us })
    }
}

impl Parked {
    fn put(&self, buf: &mut BytesMut) {
        put_varint(buf, self.position);
        put_text(buf, &self.stream_id);
        put_varint(buf, self.version);
        for text in [&self.event_type, &self.key, &self.reason] {
            put_text(buf, text);
        }
        put_varint(buf, u64::from(self.attempts));
        put_flag(buf, self.holds_key);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            position: reader.varint()?,
            stream_id: text(reader)?,
            version: reader.varint()?,
            event_type: text(reader)?,
            key: text(reader)?,
            reason: text(reader)?,
            attempts: reader.varint_u32()?,
            holds_key: flag(reader)?,
        })
    }
}

impl Dropped {
    fn put(&self, buf: &mut BytesMut) {
        put_varint(buf, self.first_position);
        put_varint(buf, self.last_position);
        put_varint(buf, self.events);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            first_position: reader.varint()?,
            last_position: reader.varint()?,
            events: reader.varint()?,
        })
    }
}

impl UnparkedEntry {
    fn put(&self, buf: &mut BytesMut) {
        put_varint(buf, self.journal_version);
        put_varint(buf, self.position);
        put_option(buf, self.held_key.as_ref(), |key, buf| put_text(buf, key));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            journal_version: reader.varint()?,
            position: reader.varint()?,
            held_key: option(reader, text)?,
        })
    }
}

impl Subscriptions {
    /// As they stand in the small state.
    pub(in crate::engine) fn put(&self, buf: &mut BytesMut) {
        put_varint(buf, self.changes);
        put_varint(buf, self.len() as u64);
        for (name, state) in self.iter() {
            put_text(buf, name);
            state.put(buf);
        }
    }

    pub(in crate::engine) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut subscriptions = Self { changes: reader.varint()?, ..Self::default() };
        for _ in 0..reader.varint()? {
            let name = text(reader)?;
            subscriptions.insert(name, SubscriptionState::read(reader)?);
        }
        Ok(subscriptions)
    }
}

impl SubscriptionState {
    fn put(&self, buf: &mut BytesMut) {
        put_varint(buf, self.id);
        put_prefixed(buf, &self.definition);
        for number in [self.revision, self.generation, self.term] {
            put_varint(buf, number);
        }
        for time_us in [self.created_at_us, self.updated_at_us] {
            put_varint(buf, time_us);
        }
        put_option(buf, self.progress.as_ref(), Progress::put);
        put_varint(buf, self.parked.ranges_len() as u64);
        for range in self.parked.ranges() {
            put_varint(buf, range.start);
            put_varint(buf, range.end);
        }
        put_ascending(buf, self.replaying.iter().copied());
        put_varint(buf, self.held.len() as u64);
        for (key, events) in &self.held {
            put_text(buf, key);
            put_varint(buf, *events);
        }
        put_varint(buf, self.dropped);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (id, definition) = (reader.varint()?, shared(reader)?);
        let (revision, generation, term) = (reader.varint()?, reader.varint()?, reader.varint()?);
        let (created_at_us, updated_at_us) = (reader.varint()?, reader.varint()?);
        let progress = option(reader, Progress::read)?;
        let mut parked = VersionSet::default();
        for _ in 0..reader.varint()? {
            let (start, end) = (reader.varint()?, reader.varint()?);
            if start >= end {
                return Err(Malformed::NumberTooLarge);
            }
            parked.push_range(start..end);
        }
        let replaying: BTreeSet<u64> = ascending(reader)?.into_iter().collect();
        let mut held = BTreeMap::new();
        for _ in 0..reader.varint()? {
            let key = text(reader)?;
            held.insert(key, reader.varint()?);
        }
        Ok(Self {
            id,
            definition,
            revision,
            generation,
            term,
            created_at_us,
            updated_at_us,
            progress,
            parked,
            replaying,
            held,
            dropped: reader.varint()?,
        })
    }
}

fn put_text(buf: &mut BytesMut, text: &str) {
    put_prefixed(buf, text.as_bytes());
}

fn text(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    reader.text().map(str::to_owned)
}

/// Bytes of their own: definitions outlive the group that brought them.
fn shared(reader: &mut Reader<'_>) -> Result<Bytes, Malformed> {
    reader.prefixed().map(Bytes::copy_from_slice)
}

fn put_flag(buf: &mut BytesMut, flag: bool) {
    buf.put_u8(u8::from(flag));
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed::NumberTooLarge),
    }
}

fn put_option<T>(buf: &mut BytesMut, value: Option<&T>, put: impl FnOnce(&T, &mut BytesMut)) {
    put_flag(buf, value.is_some());
    if let Some(value) = value {
        put(value, buf);
    }
}

fn option<T>(
    reader: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    if flag(reader)? { read(reader).map(Some) } else { Ok(None) }
}

fn put_all<T>(buf: &mut BytesMut, values: &[T], put: impl Fn(&T, &mut BytesMut)) {
    put_varint(buf, values.len() as u64);
    for value in values {
        put(value, buf);
    }
}

/// Grows as it is filled: a count is not believed before what it counts is there.
fn read_all<T>(
    reader: &mut Reader<'_>,
    read: impl Fn(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut values = Vec::new();
    for _ in 0..reader.varint()? {
        values.push(read(reader)?);
    }
    Ok(values)
}

/// Numbers that grow, as the steps between them.
fn put_ascending(buf: &mut BytesMut, numbers: impl ExactSizeIterator<Item = u64>) {
    put_varint(buf, numbers.len() as u64);
    let mut before = 0;
    for number in numbers {
        put_varint(buf, number - before);
        before = number;
    }
}

fn ascending(reader: &mut Reader<'_>) -> Result<Vec<u64>, Malformed> {
    let mut numbers = Vec::new();
    let mut number = 0_u64;
    for _ in 0..reader.varint()? {
        number = number.checked_add(reader.varint()?).ok_or(Malformed::NumberTooLarge)?;
        numbers.push(number);
    }
    Ok(numbers)
}
