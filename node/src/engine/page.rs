//! Pages: what a reader gets from one look at the engine. Between two pages nothing is held but the version
//! or position to continue at.

use super::head::StreamStatus;
use crate::event::{EventSpan, EventView, RecordView, StoredRecord};

/// Which way a read goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    #[default]
    Forward,
    Backward,
}

impl Direction {
    /// Whether `a` comes before `b` this way.
    pub(super) const fn before(self, a: u64, b: u64) -> bool {
        match self {
            Self::Forward => a < b,
            Self::Backward => a > b,
        }
    }

    /// The one of two that comes first this way.
    pub(super) const fn nearer(self, a: u64, b: u64) -> u64 {
        if self.before(b, a) { b } else { a }
    }

    /// What comes next this way; `None`: nothing does.
    pub(super) const fn after(self, at: u64) -> Option<u64> {
        match self {
            Self::Forward => at.checked_add(1),
            Self::Backward => at.checked_sub(1),
        }
    }
}

/// An event and its place in the store. Cheap to clone: the bytes are those of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    record: RecordView,
    span: EventSpan,
    /// From 0, without gaps, in its stream.
    pub version: u64,
    /// From 0, without gaps, in the store.
    pub position: u64,
    /// When the leader took the append, microseconds since 1970 UTC.
    pub epoch_us: u64,
}

impl RecordedEvent {
    /// The event at a span of the record; `index` is its number in the record, with the removed ones counted.
    pub(crate) fn new(stored: &StoredRecord, index: u32, span: EventSpan) -> Self {
        let index = u64::from(index);
        Self {
            record: stored.record.clone(),
            span,
            version: stored.first_version + index,
            position: stored.first_position + index,
            epoch_us: stored.epoch_us,
        }
    }

    /// The events of a record that are still there, in order.
    pub(super) fn of(stored: &StoredRecord) -> impl Iterator<Item = Self> + '_ {
        stored.spans().map(|(index, span)| Self::new(stored, index, span))
    }

    /// Whether the event belongs to the server.
    pub fn is_system(&self) -> bool {
        self.record.is_system()
    }

    pub fn stream_id(&self) -> &str {
        self.record.stream_id()
    }

    /// What the caller appended.
    pub fn event(&self) -> EventView<'_> {
        self.record.event(self.span)
    }

    /// The record that the event is part of.
    pub const fn record(&self) -> &RecordView {
        &self.record
    }

    /// The event as it stands in its record.
    pub fn encoded(&self) -> &[u8] {
        self.record.event_bytes(self.span)
    }

    /// Size of the event in its record, in bytes.
    pub const fn bytes(&self) -> usize {
        self.span.bytes()
    }
}

/// Some events, and where to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// In the direction of the read. May be empty although more follow: excluded events were passed over.
    pub events: Vec<RecordedEvent>,
    /// The version or position at which the next page starts; `None`: there is nothing more that way.
    pub next: Option<u64>,
}

/// A stream at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    pub stream_id: String,
    pub status: StreamStatus,
    /// The first version that can be read; one past the last when none can.
    pub first_version: u64,
    /// The version of the last event that the stream had; `None`: it never had one.
    pub last_version: Option<u64>,
    /// How many events can be read.
    pub events: u64,
    /// The first readable event's time, microseconds since 1970 UTC; 0 when none can be read.
    pub first_epoch_us: u64,
    /// The last event's time; 0 when there never was one.
    pub last_epoch_us: u64,
}

impl StreamSummary {
    /// Whether the stream has had an event and is neither deleted nor tombstoned. One that was truncated to
    /// nothing exists.
    pub const fn exists(&self) -> bool {
        matches!(self.status, StreamStatus::Live) && self.last_version.is_some()
    }
}

/// Some streams in the order of their names' bytes, and where to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamPage {
    /// May be short or empty although more follow: other names were passed over.
    pub streams: Vec<StreamSummary>,
    /// The name after which the next page starts; `None`: there are no more.
    pub next_after: Option<String>,
}

/// Gathers events until a page is full.
#[derive(Debug)]
pub(super) struct PageBuilder {
    events: Vec<RecordedEvent>,
    events_max: usize,
    bytes_max: usize,
    bytes: usize,
}

impl PageBuilder {
    /// A page always takes one event, or a read would not move on.
    pub fn new(events_max: usize, bytes_max: usize) -> Self {
        Self { events: Vec::new(), events_max: events_max.max(1), bytes_max, bytes: 0 }
    }

    /// How many events there is room for, as far as their number goes.
    pub fn room(&self) -> usize {
        self.events_max - self.events.len()
    }

    /// Takes an event, or says that the page is full without it.
    pub fn offer(&mut self, event: RecordedEvent) -> bool {
        let bytes = self.bytes + event.bytes();
        let full = self.events.len() >= self.events_max || bytes > self.bytes_max;
        if full && !self.events.is_empty() {
            return false;
        }
        self.bytes = bytes;
        self.events.push(event);
        true
    }

    pub fn finish(self, next: Option<u64>) -> Page {
        Page { events: self.events, next }
    }
}
