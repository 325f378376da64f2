//! The small state: counters and switches that belong to no stream. It stands whole in every checkpoint.
//!
//! ```text
//! format version (1), 1 without subscriptions | next position | epoch_us | seals | activated (1) | events | streams | system events
//! | next node id | node id count, per node id: volume id, node id | since version 2: subscriptions
//! ```

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::outcome::Outcome;
use super::refusal::Refusal;
use super::subscriptions::Subscriptions;
use crate::event::codec::{Reader, put_prefixed, put_varint};
use crate::event::{Malformed, is_system_stream};
use crate::limits::VOLUME_ID_BYTES_MAX;

/// The format of a state without subscriptions: as it was before there were any.
const STATE_FORMAT_VERSION: u8 = 1;
/// The same with subscriptions behind it.
const STATE_FORMAT_VERSION_SUBSCRIPTIONS: u8 = 2;

/// The first id that is given out: the member that initialises the store is 1.
const FIRST_ALLOCATED_NODE_ID: u64 = 2;

/// Why bytes are not a small state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CorruptState {
    #[error(
        "the state has format version {0}, this build knows {STATE_FORMAT_VERSION} and {STATE_FORMAT_VERSION_SUBSCRIPTIONS}"
    )]
    UnknownVersion(u8),
    #[error("the state is malformed: {0}")]
    Malformed(#[from] Malformed),
}

impl CorruptState {
    /// Never: the same bytes stay corrupt.
    pub const fn retryable(self) -> bool {
        false
    }
}

/// Counters and switches of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SmallState {
    /// The position that the next event takes.
    pub next_position: u64,
    /// The newest group's time, microseconds since 1970 UTC; never decreases.
    pub epoch_us: u64,
    /// How often the overlay was frozen: the number of the last seal.
    pub seals: u64,
    /// Whether clients are served.
    pub activated: bool,
    /// Readable events in streams that are not the server's own.
    pub events: u64,
    /// Streams that exist and are not the server's own.
    pub streams: u64,
    /// Readable events in the server's own streams.
    pub system_events: u64,
    pub subscriptions: Subscriptions,
    next_node_id: u64,
    node_ids: BTreeMap<String, u64>,
}

impl Default for SmallState {
    fn default() -> Self {
        Self {
            next_position: 0,
            epoch_us: 0,
            seals: 0,
            activated: false,
            events: 0,
            streams: 0,
            system_events: 0,
            subscriptions: Subscriptions::default(),
            next_node_id: FIRST_ALLOCATED_NODE_ID,
            node_ids: BTreeMap::new(),
        }
    }
}

impl SmallState {
    /// Counts events that a stream was given. `creates`: it did not exist before.
    pub fn count_appended(&mut self, stream_id: &str, events: u64, creates: bool) {
        if is_system_stream(stream_id) {
            self.system_events += events;
        } else {
            self.events += events;
            self.streams += u64::from(creates);
        }
    }

    /// Counts events that can be read no more. `ends`: the stream existed and does not any more.
    pub fn count_removed(&mut self, stream_id: &str, events: u64, ends: bool) {
        if is_system_stream(stream_id) {
            self.system_events -= events;
        } else {
            self.events -= events;
            self.streams -= u64::from(ends);
        }
    }

    /// Gives out the next node id, or the one that the volume has. An id is never given to two volumes.
    pub fn allocate_node_id(&mut self, volume_id: &str) -> Outcome {
        if volume_id.is_empty() || volume_id.len() > VOLUME_ID_BYTES_MAX {
            return Outcome::Refused(Refusal::InvalidVolumeId { bytes: volume_id.len() });
        }
        if let Some(&node_id) = self.node_ids.get(volume_id) {
            return Outcome::NodeIdAllocated(node_id);
        }
        let node_id = self.next_node_id;
        self.next_node_id += 1;
        self.node_ids.insert(volume_id.to_owned(), node_id);
        Outcome::NodeIdAllocated(node_id)
    }

    /// The state as it stands in a checkpoint: the same bytes for the same state.
    pub fn encode(&self) -> Bytes {
        let mut buf = BytesMut::new();
        let plain = self.subscriptions == Subscriptions::default();
        buf.put_u8(if plain { STATE_FORMAT_VERSION } else { STATE_FORMAT_VERSION_SUBSCRIPTIONS });
        put_varint(&mut buf, self.next_position);
        put_varint(&mut buf, self.epoch_us);
        put_varint(&mut buf, self.seals);
        buf.put_u8(u8::from(self.activated));
        put_varint(&mut buf, self.events);
        put_varint(&mut buf, self.streams);
        put_varint(&mut buf, self.system_events);
        put_varint(&mut buf, self.next_node_id);
        put_varint(&mut buf, self.node_ids.len() as u64);
        for (volume_id, node_id) in &self.node_ids {
            put_prefixed(&mut buf, volume_id.as_bytes());
            put_varint(&mut buf, *node_id);
        }
        if !plain {
            self.subscriptions.put(&mut buf);
        }
        buf.freeze()
    }

    /// Reads a state from exactly its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, CorruptState> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if !matches!(version, STATE_FORMAT_VERSION | STATE_FORMAT_VERSION_SUBSCRIPTIONS) {
            return Err(CorruptState::UnknownVersion(version));
        }
        let mut state = Self {
            next_position: reader.varint()?,
            epoch_us: reader.varint()?,
            seals: reader.varint()?,
            activated: match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(Malformed::NumberTooLarge.into()),
            },
            events: reader.varint()?,
            streams: reader.varint()?,
            system_events: reader.varint()?,
            subscriptions: Subscriptions::default(),
            next_node_id: reader.varint()?,
            node_ids: BTreeMap::new(),
        };
        let count = reader.varint()?;
        for _ in 0..count {
            let volume_id = reader.text()?.to_owned();
            state.node_ids.insert(volume_id, reader.varint()?);
        }
        if version == STATE_FORMAT_VERSION_SUBSCRIPTIONS {
            state.subscriptions = Subscriptions::read(&mut reader)?;
        }
        reader.finish()?;
        Ok(state)
    }
}
