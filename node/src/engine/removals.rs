//! Removals: which streams have removed events whose bytes may still be there. Reads of the whole store drop those
//! events by it without looking up the head of every record's stream.
//!
//! Every layer names the removals that were decided in it, so they are known again after a restart. Each node reclaims
//! in its own time, and forgets a removal once its events' bytes are gone: nothing that apply decides may depend on
//! what is kept here.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use parking_lot::RwLock;

use super::error::ReadError;
use super::head::Head;
use super::layer::Layer;
use crate::event::StoredRecord;
use crate::event::codec::{Malformed, Reader, put_varint, varint_len};

/// First readable versions by stream. Shared between the engine, which adds, and reads.
#[derive(Debug, Default)]
pub struct Removals {
    streams: RwLock<HashMap<Box<str>, Removal>>,
    /// What was decided below this position has left this node's files.
    reclaimed_before: u64,
    /// Why some of them are not known: the file that names them is damaged.
    unread: Option<Unread>,
}

/// Why some removals are not known.
#[derive(Debug, Clone)]
pub(super) struct Unread {
    /// The damaged file, if that is what it is.
    file: Option<String>,
    why: String,
}

/// What was removed of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// The first version that can be read.
    pub first_version: u64,
    /// Every removed event stands below this position: that of the notice of the removal.
    pub before_position: u64,
}

/// Removals whose events may leave the files.
#[derive(Debug)]
pub struct Reclaimable {
    streams: HashMap<Box<str>, Removal>,
    /// These are all that were decided below this position.
    before: u64,
}

impl Removal {
    /// What was removed of a stream with this head; `None`: nothing.
    pub(super) fn of_head(head: &Head) -> Option<Self> {
        let before_position = head.noticed_at?;
        let first_version = head.first_version;
        (first_version > 0).then_some(Self { first_version, before_position })
    }

    /// The removal as it stands in a run.
    pub(super) fn encode(self) -> Bytes {
        let mut buf = BytesMut::with_capacity(2 * varint_len(u64::MAX));
        put_varint(&mut buf, self.first_version);
        put_varint(&mut buf, self.before_position);
        buf.freeze()
    }

    /// Reads a removal from exactly its bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let removal = Self { first_version: reader.varint()?, before_position: reader.varint()? };
        reader.finish()?;
        Ok(removal)
    }
}

impl Removals {
    /// The removals that layers name, given from the lowest positions up, without those that were reclaimed.
    pub(super) fn of<'a>(
        layers: impl Iterator<Item = &'a dyn Layer>,
        reclaimed_before: u64,
    ) -> Self {
        let mut removals = Self { reclaimed_before, ..Self::default() };
        for layer in layers {
            if let Err(error) = removals.read(layer) {
                removals.unread.get_or_insert_with(|| Unread {
                    file: error.damaged_file().map(str::to_owned),
                    why: error.to_string(),
                });
            }
        }
        removals
    }

    fn read(&mut self, layer: &dyn Layer) -> Result<(), ReadError> {
        let mut from = String::new();
        while let Some((name, removal)) = layer.removal_from(&from)? {
            if removal.before_position >= self.reclaimed_before {
                self.note(&name, removal);
            }
            // The least name above this one: names hold no control characters.
            from = name + "\0";
        }
        Ok(())
    }

    /// What was decided below this position has left this node's files.
    pub(super) const fn reclaimed_before(&self) -> u64 {
        self.reclaimed_before
    }

    /// How far removals were reclaimed, as bytes: what a checkpoint has to say of its files.
    pub(super) fn encode_mark(&self) -> Bytes {
        let mut buf = BytesMut::with_capacity(varint_len(u64::MAX));
        put_varint(&mut buf, self.reclaimed_before);
        buf.freeze()
    }

    /// Reads what [`Removals::encode_mark`] made. No bytes: nothing was reclaimed.
    pub(super) fn decode_mark(bytes: &[u8]) -> Result<u64, Malformed> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut reader = Reader::new(bytes);
        let position = reader.varint()?;
        reader.finish()?;
        Ok(position)
    }

    /// Whether some removals are not known.
    pub(super) const fn is_incomplete(&self) -> bool {
        self.unread.is_some()
    }

    /// These, if all of them are known: a read without some would show events that were removed.
    pub(super) fn known(&self) -> Result<&Self, ReadError> {
        match &self.unread {
            None => Ok(self),
            Some(Unread { file, why }) => {
                Err(ReadError::RemovalsUnknown { file: file.clone(), why: why.clone() })
            }
        }
    }

    /// Notes that a stream begins later now.
    pub(super) fn note(&self, stream_id: &str, removal: Removal) {
        let mut streams = self.streams.write();
        match streams.get_mut(stream_id) {
            Some(known) => *known = removal,
            None => drop(streams.insert(stream_id.into(), removal)),
        }
    }

    /// The first version of the record that can be read; `None`: all of the record was removed.
    pub(super) fn first_readable(&self, stored: &StoredRecord) -> Option<u64> {
        let streams = self.streams.read();
        let there = stored.first_version + u64::from(stored.removed);
        if streams.is_empty() {
            return Some(there);
        }
        let Some(removal) = streams.get(stored.record.stream_id()) else { return Some(there) };
        (removal.first_version <= stored.last_version()).then(|| there.max(removal.first_version))
    }

    /// Removals that were decided below a position.
    pub(super) fn below(&self, position: u64) -> Reclaimable {
        let streams = self.streams.read();
        let decided = streams.iter().filter(|(_, removal)| removal.before_position < position);
        let streams = decided.map(|(name, removal)| (name.clone(), *removal)).collect();
        Reclaimable { streams, before: position }
    }

    /// What is left once the events of these removals have left the files. A stream of which more was removed in the
    /// meantime stays.
    pub(super) fn without(&self, reclaimed: &Reclaimable) -> Self {
        let streams = self.streams.read();
        let left =
            streams.iter().filter(|(name, removal)| reclaimed.streams.get(*name) != Some(*removal));
        let left = left.map(|(name, removal)| (name.clone(), *removal)).collect();
        Self {
            streams: RwLock::new(left),
            reclaimed_before: self.reclaimed_before.max(reclaimed.before),
            unread: self.unread.clone(),
        }
    }
}

impl Reclaimable {
    /// Whether an event has to stay in the files.
    pub fn keeps(&self, stream_id: &str, version: u64) -> bool {
        self.streams.get(stream_id).is_none_or(|removal| version >= removal.first_version)
    }

    /// The streams and what was removed of them, in no order.
    pub(super) fn streams(&self) -> impl Iterator<Item = (&str, Removal)> {
        self.streams.iter().map(|(stream_id, removal)| (&**stream_id, *removal))
    }

    /// How many streams have events that may go.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there is nothing to reclaim.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }
}
