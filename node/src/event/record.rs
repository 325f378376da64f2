//! A record: the events of one append to one stream, in one piece of shared bytes.
//!
//! ```text
//! format version (1) | stream id | event count | events
//! ```
//!
//! The stream id and each event have their length in front.

use std::fmt;

use bytes::Bytes;

use super::codec::{Malformed, Reader, put_prefixed, put_varint, varint_len};
use super::view::EVENT_ID_BYTES;
use super::{EventView, SYSTEM_PREFIX};

/// The one version of the record format that this build reads and writes.
pub(super) const RECORD_FORMAT_VERSION: u8 = 1;

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CorruptRecord {
    #[error("the record has format version {0}, this build knows {RECORD_FORMAT_VERSION}")]
    UnknownVersion(u8),
    #[error("the record is malformed: {0}")]
    Malformed(#[from] Malformed),
    #[error("the record names no stream")]
    NoStream,
    #[error("the record has no event")]
    NoEvents,
    #[error("the tags of an event are not sorted or not distinct")]
    TagsOutOfOrder,
    #[error("a default value is written out")]
    DefaultWrittenOut,
}

impl CorruptRecord {
    /// Never: the same bytes stay corrupt.
    pub const fn retryable(self) -> bool {
        false
    }
}

/// A checked record. Cheap to clone: the bytes are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordView {
    bytes: Bytes,
    stream_start: u32,
    events_start: u32,
    events: u32,
    stream_len: u32,
    plain_names: bool,
}

/// Where an event's bytes lie in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSpan {
    pub start: u32,
    pub end: u32,
}

impl EventSpan {
    /// Size of the event in bytes.
    pub const fn bytes(self) -> usize {
        (self.end - self.start) as usize
    }
}

impl RecordView {
    /// Checks every event, so that nothing read from the record later can fail. Copies nothing.
    pub fn new(bytes: Bytes) -> Result<Self, CorruptRecord> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(Malformed::NumberTooLarge.into());
        }
        let mut reader = Reader::new(&bytes);
        match reader.u8()? {
            RECORD_FORMAT_VERSION => {}
            unknown => return Err(CorruptRecord::UnknownVersion(unknown)),
        }
        let stream_id = reader.text()?;
        let stream_len = stream_id.len();
        if stream_len == 0 {
            return Err(CorruptRecord::NoStream);
        }
        let stream_start = reader.at() - stream_len;
        let events = reader.varint_u32()?;
        if events == 0 {
            return Err(CorruptRecord::NoEvents);
        }
        let events_start = reader.at();
        let mut plain_names = !has_control(stream_id);
        for _ in 0..events {
            let event = EventView::parse(reader.prefixed()?)?;
            plain_names &= !event.names().any(has_control);
        }
        reader.finish()?;
        Ok(Self {
            stream_start: stream_start as u32,
            stream_len: stream_len as u32,
            events_start: events_start as u32,
            events,
            plain_names,
            bytes,
        })
    }

    /// A record of a file: it was checked when it was applied, and the file's checksums say that it has not changed since.
    /// To walk over every event again would take most of the time of a read.
    pub fn stored(bytes: Bytes) -> Result<Self, CorruptRecord> {
        let mut reader = Reader::new(&bytes);
        match reader.u8()? {
            RECORD_FORMAT_VERSION => {}
            unknown => return Err(CorruptRecord::UnknownVersion(unknown)),
        }
        let stream_len = reader.prefixed()?.len();
        let stream_start = reader.at() - stream_len;
        let events = reader.varint_u32()?;
        let record = Self {
            stream_start: stream_start as u32,
            stream_len: stream_len as u32,
            events_start: reader.at() as u32,
            events,
            plain_names: true,
            bytes,
        };
        debug_assert_eq!(Self::new(record.bytes.clone()).as_ref(), Ok(&record));
        Ok(record)
    }

    /// A record that was just encoded, of a stream whose id is so long, with so many events: to check it would be to read
    /// again all that was written.
    pub(super) fn encoded(
        bytes: Bytes,
        stream_len: usize,
        events: usize,
        plain_names: bool,
    ) -> Self {
        let stream_start = size_of::<u8>() + varint_len(stream_len as u64);
        let events_start = stream_start + stream_len + varint_len(events as u64);
        let record = Self {
            stream_start: stream_start as u32,
            stream_len: stream_len as u32,
            events_start: events_start as u32,
            events: events as u32,
            plain_names,
            bytes,
        };
        debug_assert_eq!(Self::new(record.bytes.clone()).as_ref(), Ok(&record));
        record
    }

    /// The record as it was encoded.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The stream that the events were appended to.
    pub fn stream_id(&self) -> &str {
        std::str::from_utf8(self.stream_bytes()).expect("`new` read the stream id as UTF-8")
    }

    /// Whether no name in it, be it of the stream, a type, a tag or what an event refers to, has a control character:
    /// they end names in index keys.
    pub const fn has_plain_names(&self) -> bool {
        self.plain_names
    }

    /// Whether the stream belongs to the server.
    pub fn is_system(&self) -> bool {
        self.stream_bytes().first() == Some(&(SYSTEM_PREFIX as u8))
    }

    /// How many events there are; at least one.
    pub const fn events_len(&self) -> u32 {
        self.events
    }

    /// Where each event lies, in order.
    pub fn spans(&self) -> impl Iterator<Item = EventSpan> + '_ {
        let mut reader = Reader::starting_at(&self.bytes, self.events_start as usize);
        (0..self.events).map(move |_| {
            let len = reader.prefixed().expect("`new` walked over every event").len();
            let end = reader.at() as u32;
            EventSpan { start: end - len as u32, end }
        })
    }

    /// Every event, in order.
    pub fn events(&self) -> impl Iterator<Item = EventView<'_>> {
        self.spans().map(|span| self.event(span))
    }

    /// The event at a place that [`RecordView::spans`] of this record gave.
    pub fn event(&self, span: EventSpan) -> EventView<'_> {
        EventView::parse(self.event_bytes(span)).expect("`new` parsed the event at this place")
    }

    /// The bytes of an event; equal bytes are equal events.
    pub fn event_bytes(&self, span: EventSpan) -> &[u8] {
        &self.bytes[span.start as usize..span.end as usize]
    }

    /// The record without its first events, in bytes of its own; `None` when none would be left.
    pub fn without_leading(&self, events: u32) -> Option<Self> {
        let left = self.events.checked_sub(events).filter(|left| *left > 0)?;
        let mut buf = Vec::with_capacity(self.bytes.len());
        buf.push(RECORD_FORMAT_VERSION);
        put_prefixed(&mut buf, self.stream_bytes());
        put_varint(&mut buf, u64::from(left));
        for span in self.spans().skip(events as usize) {
            put_prefixed(&mut buf, self.event_bytes(span));
        }
        Some(Self::new(buf.into()).expect("events that `new` checked make a record"))
    }

    /// The id of an event, without parsing the rest.
    pub fn event_id(&self, span: EventSpan) -> [u8; EVENT_ID_BYTES] {
        self.event_bytes(span).first_chunk().copied().expect("`new` read the id of every event")
    }

    fn stream_bytes(&self) -> &[u8] {
        let start = self.stream_start as usize;
        &self.bytes[start..start + self.stream_len as usize]
    }
}

/// Whether a name has a character that ends names in index keys.
pub fn has_control(name: &str) -> bool {
    name.bytes().any(|byte| byte < b' ')
}

impl fmt::Debug for RecordView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordView")
            .field("stream_id", &self.stream_id())
            .field("events", &self.events)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}
