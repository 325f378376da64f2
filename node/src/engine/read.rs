//! The read side of the engine: bounded pages by version or position, summaries, listings.

use std::ops::Bound;

use super::overlay::StreamRecords;
use super::page::PageBuilder;
use super::{Direction, Engine, Page, RecordedEvent, StreamPage, StreamSummary};
use crate::event::{EventSpan, SYSTEM_PREFIX, StoredRecord, is_system_stream};
use crate::limits::READ_PAGE_RECORDS_SKIPPED_MAX;

/// The least name that is greater than every system stream's.
const AFTER_SYSTEM_STREAMS: &str = "%";
const _: () = assert!(SYSTEM_PREFIX as u8 + 1 == AFTER_SYSTEM_STREAMS.as_bytes()[0]);

impl Engine {
    /// One stream at a glance; `None`: it has never had an event.
    pub fn stream(&self, stream_id: &str) -> Option<StreamSummary> {
        self.overlay.stream(stream_id).map(|stream| summary(stream_id, stream))
    }

    /// The event with this id.
    pub fn event(&self, event_id: uuid::Uuid) -> Option<RecordedEvent> {
        let (stored, place) = self.overlay.event(event_id.as_bytes())?;
        Some(RecordedEvent::new(stored, place.index, place.span))
    }

    /// A page of one stream, from a version on (inclusive). Backward, a version behind the end means the end.
    /// An unknown stream and a start past the end are empty pages.
    pub fn read_stream(
        &self,
        stream_id: &str,
        from: u64,
        direction: Direction,
        events_max: usize,
        bytes_max: usize,
    ) -> Page {
        let Some(stream) = self.overlay.stream(stream_id) else { return Page::default() };
        let mut page = PageBuilder::new(events_max, bytes_max);
        let stopped_at = match direction {
            Direction::Forward => stream.from(from).find_map(|stored| {
                take_forward(&mut page, stored, from.saturating_sub(stored.first_version))
                    .map(|index| stored.first_version + index)
            }),
            Direction::Backward => {
                let mut spans = Vec::new();
                stream.to(from).rev().find_map(|stored| {
                    take_backward(&mut page, stored, from - stored.first_version, &mut spans)
                        .map(|index| stored.first_version + index)
                })
            }
        };
        page.finish(stopped_at)
    }

    /// A page of the whole store in its global order, from a position on (inclusive). Backward, a position
    /// behind the end means the end. Without `include_system` the server's own streams are left out.
    pub fn read_all(
        &self,
        from: u64,
        direction: Direction,
        include_system: bool,
        events_max: usize,
        bytes_max: usize,
    ) -> Page {
        let mut page = PageBuilder::new(events_max, bytes_max);
        let mut skipped = 0_usize;
        let mut excluded = |stored: &StoredRecord| {
            let exclude = !include_system && stored.record.is_system();
            skipped += usize::from(exclude);
            (exclude, skipped > READ_PAGE_RECORDS_SKIPPED_MAX)
        };
        let next = match direction {
            Direction::Forward => self.overlay.records_from(from).iter().find_map(|stored| {
                if let (true, enough) = excluded(stored) {
                    return enough.then_some(stored.first_position);
                }
                take_forward(&mut page, stored, from.saturating_sub(stored.first_position))
                    .map(|index| stored.first_position + index)
            }),
            Direction::Backward => {
                let mut spans = Vec::new();
                self.overlay.records_to(from).iter().rev().find_map(|stored| {
                    if let (true, enough) = excluded(stored) {
                        return enough.then(|| stored.end_position() - 1);
                    }
                    take_backward(&mut page, stored, from - stored.first_position, &mut spans)
                        .map(|index| stored.first_position + index)
                })
            }
        };
        page.finish(next)
    }

    /// Streams whose names start with `prefix`, in the order of their names' bytes, those after `after`.
    pub fn list_streams(
        &self,
        after: Option<&str>,
        prefix: &str,
        include_system: bool,
        streams_max: usize,
    ) -> StreamPage {
        if !include_system && is_system_stream(prefix) {
            return StreamPage::default();
        }
        let streams_max = streams_max.max(1);
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        // The server's names are neighbours, so two ranges around them leave them out without looking at them.
        let system = Bound::Included(AFTER_SYSTEM_STREAMS);
        let behind_system = match start {
            Bound::Excluded(name) | Bound::Included(name) if name >= AFTER_SYSTEM_STREAMS => start,
            _ => system,
        };
        let before = self
            .overlay
            .names_from(start)
            .take_while(|name| include_system || name.as_bytes()[0] < SYSTEM_PREFIX as u8);
        let behind = self.overlay.names_from(behind_system).take_while(|_| !include_system);
        let mut streams = Vec::new();
        let mut names = before.chain(behind).take_while(|name| name.starts_with(prefix));
        for name in names.by_ref().take(streams_max) {
            streams.extend(self.stream(name));
        }
        let more = names.next().is_some();
        let next_after = streams.last().filter(|_| more).map(|last| last.stream_id.clone());
        StreamPage { streams, next_after }
    }
}

fn summary(stream_id: &str, stream: StreamRecords<'_>) -> StreamSummary {
    let (first, last) = (stream.first(), stream.last());
    StreamSummary {
        stream_id: stream_id.to_owned(),
        first_version: first.first_version,
        last_version: last.last_version(),
        events: stream.events(),
        first_epoch_us: first.epoch_us,
        last_epoch_us: last.epoch_us,
    }
}

/// Takes the record's events from number `skip` on; gives the number of the first that found no room.
fn take_forward(page: &mut PageBuilder, stored: &StoredRecord, skip: u64) -> Option<u64> {
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    (0_u32..)
        .zip(stored.record.spans())
        .skip(skip)
        .find(|&(index, span)| !page.offer(stored, index, span))
        .map(|(index, _)| u64::from(index))
}

/// Takes the record's events from number `last` down; gives the number of the first that found no room.
/// `spans` is room to work in, kept between records.
fn take_backward(
    page: &mut PageBuilder,
    stored: &StoredRecord,
    last: u64,
    spans: &mut Vec<EventSpan>,
) -> Option<u64> {
    let events = usize::try_from(last.saturating_add(1)).unwrap_or(usize::MAX);
    spans.clear();
    spans.extend(stored.record.spans().take(events));
    spans
        .iter()
        .enumerate()
        .rev()
        .find(|&(index, span)| !page.offer(stored, index as u32, *span))
        .map(|(index, _)| index as u64)
}
