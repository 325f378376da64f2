//! The head of a stream: what is known of it now. Every layer that a stream was changed in has its head as it
//! was at the layer's end; the newest one counts.
//!
//! ```text
//! flags (1) | next version | [first version] | [last position | last epoch_us | epoch_us between first and last]
//! | [position of the last notice]
//! ```
//!
//! There is one per stream and run, so it is kept short: fields in brackets stand only where they say anything.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::page::StreamSummary;
use crate::event::Malformed;
use crate::event::codec::{Reader, put_varint, varint_len};

const STATUS_MASK: u8 = 0b11;
const STATUS_LIVE: u8 = 0;
const STATUS_DELETED: u8 = 1;
const STATUS_TOMBSTONED: u8 = 2;
const HAS_FIRST_VERSION: u8 = 1 << 2;
const HAS_EVENTS: u8 = 1 << 3;
const HAS_NOTICE: u8 = 1 << 4;
const FLAGS: u8 = STATUS_MASK | HAS_FIRST_VERSION | HAS_EVENTS | HAS_NOTICE;

/// In which part of its life a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamStatus {
    Live,
    /// Its events are gone; an append opens it again.
    Deleted,
    /// Its events are gone and its name can never be used again.
    Tombstoned,
}

/// What is known of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub status: StreamStatus,
    /// The first version that can be read; `next_version` when none can.
    pub first_version: u64,
    /// The version that the next event takes; 0: the stream never had one.
    pub next_version: u64,
    /// The position of the last event that the stream had; 0 if it never had one.
    pub last_position: u64,
    /// The time of the first readable event, microseconds since 1970 UTC; 0 when none can be read.
    pub first_epoch_us: u64,
    /// The time of the last event that the stream had; 0 if it never had one.
    pub last_epoch_us: u64,
    /// The position of the last notice of a deletion, tombstone or truncation.
    pub noticed_at: Option<u64>,
}

impl Head {
    /// The head of a stream that never had an event.
    pub(super) const fn unused() -> Self {
        Self {
            status: StreamStatus::Live,
            first_version: 0,
            next_version: 0,
            last_position: 0,
            first_epoch_us: 0,
            last_epoch_us: 0,
            noticed_at: None,
        }
    }

    /// The version of the last event that the stream had, readable or not.
    pub const fn last_version(&self) -> Option<u64> {
        self.next_version.checked_sub(1)
    }

    /// How many events can be read.
    pub const fn events(&self) -> u64 {
        self.next_version - self.first_version
    }

    /// The stream at a glance.
    pub fn summary(&self, stream_id: &str) -> StreamSummary {
        StreamSummary {
            stream_id: stream_id.to_owned(),
            status: self.status,
            first_version: self.first_version,
            last_version: self.last_version(),
            events: self.events(),
            first_epoch_us: self.first_epoch_us,
            last_epoch_us: self.last_epoch_us,
        }
    }

    /// The head as it stands in a run.
    pub fn encode(&self) -> Bytes {
        let has_events = self.next_version > 0;
        let mut flags = match self.status {
            StreamStatus::Live => STATUS_LIVE,
            StreamStatus::Deleted => STATUS_DELETED,
            StreamStatus::Tombstoned => STATUS_TOMBSTONED,
        };
        flags |= if self.first_version > 0 { HAS_FIRST_VERSION } else { 0 };
        flags |= if has_events { HAS_EVENTS } else { 0 };
        flags |= if self.noticed_at.is_some() { HAS_NOTICE } else { 0 };

        let mut buf = BytesMut::with_capacity(1 + 6 * varint_len(u64::MAX));
        buf.put_u8(flags);
        put_varint(&mut buf, self.next_version);
        if self.first_version > 0 {
            put_varint(&mut buf, self.first_version);
        }
        if has_events {
            put_varint(&mut buf, self.last_position);
            put_varint(&mut buf, self.last_epoch_us);
            // Nothing readable has no first time: then the difference is the last time itself.
            put_varint(&mut buf, self.last_epoch_us - self.first_epoch_us);
        }
        if let Some(position) = self.noticed_at {
            put_varint(&mut buf, position);
        }
        buf.freeze()
    }

    /// Reads a head from exactly its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let flags = reader.u8()?;
        let status = match flags & STATUS_MASK {
            STATUS_LIVE => StreamStatus::Live,
            STATUS_DELETED => StreamStatus::Deleted,
            STATUS_TOMBSTONED => StreamStatus::Tombstoned,
            _ => return Err(Malformed::NumberTooLarge),
        };
        if flags & !FLAGS != 0 {
            return Err(Malformed::NumberTooLarge);
        }
        let mut head = Self { status, ..Self::unused() };
        head.next_version = reader.varint()?;
        if flags & HAS_FIRST_VERSION != 0 {
            head.first_version = reader.varint()?;
        }
        if flags & HAS_EVENTS != 0 {
            head.last_position = reader.varint()?;
            head.last_epoch_us = reader.varint()?;
            head.first_epoch_us = head
                .last_epoch_us
                .checked_sub(reader.varint()?)
                .ok_or(Malformed::NumberTooLarge)?;
        }
        if flags & HAS_NOTICE != 0 {
            head.noticed_at = Some(reader.varint()?);
        }
        reader.finish()?;
        if head.first_version > head.next_version {
            return Err(Malformed::NumberTooLarge);
        }
        Ok(head)
    }
}
