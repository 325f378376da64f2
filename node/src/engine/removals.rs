//! Removals: which streams have removed events whose bytes this node has not reclaimed yet. Reads of the whole
//! store drop those events by it without looking up the head of every record's stream.
//!
//! Local to a node, since each reclaims in its own time: nothing that apply decides may depend on it.

use std::collections::{BTreeMap, HashMap};

use bytes::{Bytes, BytesMut};
use parking_lot::RwLock;

use crate::event::StoredRecord;
use crate::event::codec::{Malformed, Reader, put_prefixed, put_varint};

/// First readable versions by stream. Shared between the engine, which adds, and reads.
#[derive(Debug, Default)]
pub struct Removals {
    streams: RwLock<HashMap<Box<str>, Removal>>,
}

/// What was removed of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// The first version that can be read.
    pub first_version: u64,
    /// Every removed event stands below this position.
    pub before_position: u64,
}

impl Removals {
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

    /// What is noted now, in the order of names: what a rewrite of files may leave out.
    pub fn snapshot(&self) -> BTreeMap<String, Removal> {
        let streams = self.streams.read();
        streams.iter().map(|(name, removal)| (name.to_string(), *removal)).collect()
    }

    /// What is left once everything in `reclaimed` below the position has left the files. A stream of which
    /// more was removed in the meantime stays.
    pub(super) fn without(&self, reclaimed: &BTreeMap<String, Removal>, position: u64) -> Self {
        let gone = |name: &str, removal: &Removal| {
            removal.before_position <= position && reclaimed.get(name) == Some(removal)
        };
        let streams = self.streams.read();
        let left = streams.iter().filter(|(name, removal)| !gone(name, removal));
        let left = left.map(|(name, removal)| (name.clone(), *removal)).collect();
        Self { streams: RwLock::new(left) }
    }

    /// The noted removals as bytes, the same for the same removals.
    pub fn encode(&self) -> Bytes {
        let streams = self.snapshot();
        let mut buf = BytesMut::new();
        put_varint(&mut buf, streams.len() as u64);
        for (name, removal) in streams {
            put_prefixed(&mut buf, name.as_bytes());
            put_varint(&mut buf, removal.first_version);
            put_varint(&mut buf, removal.before_position);
        }
        buf.freeze()
    }

    /// Reads what [`Removals::encode`] made. No bytes at all are no removals.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut reader = Reader::new(bytes);
        let count = reader.varint()?;
        let mut streams = HashMap::new();
        for _ in 0..count {
            let name = reader.text()?.into();
            let first_version = reader.varint()?;
            streams.insert(name, Removal { first_version, before_position: reader.varint()? });
        }
        reader.finish()?;
        Ok(Self { streams: RwLock::new(streams) })
    }
}
