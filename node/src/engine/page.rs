//! Pages: what a reader gets from one look at the engine. Between two pages nothing is held but the version
//! or position to continue at.

use crate::event::{EventSpan, EventView, RecordView, StoredRecord};

/// Which way a read goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    #[default]
    Forward,
    Backward,
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
    pub(crate) fn new(stored: &StoredRecord, index: u32, span: EventSpan) -> Self {
        Self {
            record: stored.record.clone(),
            span,
            version: stored.first_version + u64::from(index),
            position: stored.first_position + u64::from(index),
            epoch_us: stored.epoch_us,
        }
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

impl Page {
    /// Ends a forward read behind `last` (inclusive; `None`: no end): what the read's header does not speak of
    /// is not part of it. `key` is the version or position that the read counts by.
    pub fn end_at(&mut self, last: Option<u64>, key: impl Fn(&RecordedEvent) -> u64) {
        let Some(last) = last else { return };
        self.events.retain(|event| key(event) <= last);
        self.next = self.next.filter(|&next| next <= last);
    }
}

/// A stream at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    pub stream_id: String,
    pub first_version: u64,
    pub last_version: u64,
    pub events: u64,
    /// The first event's time, microseconds since 1970 UTC.
    pub first_epoch_us: u64,
    /// The last event's time.
    pub last_epoch_us: u64,
}

/// Some streams in the order of their names' bytes, and where to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamPage {
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

    /// Takes an event, or says that the page is full without it.
    pub fn offer(&mut self, stored: &StoredRecord, index: u32, span: EventSpan) -> bool {
        let bytes = self.bytes + span.bytes();
        let full = self.events.len() >= self.events_max || bytes > self.bytes_max;
        if full && !self.events.is_empty() {
            return false;
        }
        self.bytes = bytes;
        self.events.push(RecordedEvent::new(stored, index, span));
        true
    }

    pub fn finish(self, next: Option<u64>) -> Page {
        Page { events: self.events, next }
    }
}
