//! Reads of one stream.

use super::StateReader;
use super::gather::Batch;
use crate::engine::error::ReadError;
use crate::engine::layer::Layer;
use crate::engine::page::{Direction, Page, PageBuilder, RecordedEvent};
use crate::limits::{READ_BATCH_RECORDS_MAX, READ_PAGE_BYTES_MAX, READ_PAGE_EVENTS_MAX};

/// What is wanted of a stream. All bounds are inclusive.
#[derive(Debug, Clone, Copy)]
pub struct StreamRead<'a> {
    pub stream_id: &'a str,
    /// The version to begin or go on at. Backward, a version behind the end means the end.
    pub from: u64,
    /// No event below this version is wanted.
    pub first: u64,
    /// No event above this version is wanted.
    pub last: u64,
    pub direction: Direction,
    /// Most events on the page.
    pub events_max: usize,
    /// Bytes of events after which the page ends.
    pub bytes_max: usize,
}

impl<'a> StreamRead<'a> {
    /// The first page of a stream, forward.
    pub const fn of(stream_id: &'a str) -> Self {
        Self {
            stream_id,
            from: 0,
            first: 0,
            last: u64::MAX,
            direction: Direction::Forward,
            events_max: READ_PAGE_EVENTS_MAX,
            bytes_max: READ_PAGE_BYTES_MAX,
        }
    }
}

impl StateReader {
    /// A page of one stream. Unknown streams, removed events and a start behind the end are empty pages.
    pub fn read_stream(&self, read: &StreamRead<'_>) -> Result<Page, ReadError> {
        let Some(head) = self.head(read.stream_id)? else { return Ok(Page::default()) };
        let Some(last_version) = head.last_version() else { return Ok(Page::default()) };
        let direction = read.direction;
        let (first, last) = (read.first.max(head.first_version), read.last.min(last_version));
        let (from, to) = match direction {
            Direction::Forward => (read.from.max(first), last),
            Direction::Backward => (read.from.min(last), first),
        };
        let mut page = PageBuilder::new(read.events_max, read.bytes_max);
        let mut events = Vec::new();
        let mut at = Some(from).filter(|&from| !direction.before(to, from));
        while let Some(version) = at {
            let records_max = READ_BATCH_RECORDS_MAX.min(page.room());
            let walk =
                StreamWalk { stream_id: read.stream_id, from: version, to, direction, records_max };
            let batch = self.gather_stream(&walk)?;
            for readable in &batch.records {
                readable.put_events(direction, &mut events);
                for &(index, span) in &events {
                    let event = RecordedEvent::new(&readable.stored, index, span);
                    let at = event.version;
                    if direction.before(at, version) || direction.before(to, at) {
                        continue;
                    }
                    if !page.offer(event) {
                        return Ok(page.finish(Some(at)));
                    }
                }
            }
            at = batch.next;
            if page.room() == 0 {
                break;
            }
        }
        Ok(page.finish(at))
    }

    /// The walk's next records, from the layer that it has come to.
    fn gather_stream(&self, walk: &StreamWalk<'_>) -> Result<Batch, ReadError> {
        let engine = self.engine.read();
        if walk.begins_in(&engine.active)? {
            return gather(&engine.active, walk);
        }
        let view = engine.view();
        drop(engine);
        // What is in memory is not looked for in files.
        for frozen in view.layers.frozen() {
            if walk.begins_in(frozen.as_ref())? {
                return gather(frozen.as_ref(), walk);
            }
        }
        let batch = match walk.direction {
            Direction::Forward => first_batch(view.layers.ascending(), walk),
            Direction::Backward => first_batch(view.layers.newest_first(), walk),
        }?;
        let first = batch.records.first().map(|readable| &readable.stored);
        if first.is_some_and(|first| first.has_version(walk.from)) {
            return Ok(batch);
        }
        // Versions have no gaps, so the first one was removed while this looked for it, or something is wrong.
        match self.head(walk.stream_id)? {
            Some(head) if head.first_version > walk.from => Ok(Batch {
                next: Some(head.first_version)
                    .filter(|&next| walk.direction == Direction::Forward && next <= walk.to),
                ..Batch::default()
            }),
            _ => Err(ReadError::VersionMissing {
                stream_id: walk.stream_id.to_owned(),
                version: walk.from,
            }),
        }
    }
}

/// Which records of a stream are wanted, and from where on.
#[derive(Debug)]
struct StreamWalk<'a> {
    stream_id: &'a str,
    /// The version to begin at, inclusive.
    from: u64,
    /// The version to end at, inclusive.
    to: u64,
    direction: Direction,
    records_max: usize,
}

impl StreamWalk<'_> {
    /// Whether the layer has the version that the walk has come to.
    fn begins_in(&self, layer: &dyn Layer) -> Result<bool, ReadError> {
        let found = layer.stream_record_to(self.stream_id, self.from)?;
        Ok(found.is_some_and(|stored| stored.has_version(self.from)))
    }
}

/// The records of the first layer that has any.
fn first_batch<'a>(
    layers: impl Iterator<Item = &'a dyn Layer>,
    walk: &StreamWalk<'_>,
) -> Result<Batch, ReadError> {
    for layer in layers {
        let batch = gather(layer, walk)?;
        if !batch.records.is_empty() {
            return Ok(batch);
        }
    }
    Ok(Batch::default())
}

/// Gathers from one layer. Whether more follow in another is told by the versions alone.
fn gather(layer: &dyn Layer, walk: &StreamWalk<'_>) -> Result<Batch, ReadError> {
    let mut batch = Batch::default();
    let mut at = Some(walk.from);
    while let Some(version) = at.filter(|&at| !walk.direction.before(walk.to, at)) {
        batch.next = Some(version);
        if batch.full(walk.records_max) {
            return Ok(batch);
        }
        let found = match walk.direction {
            Direction::Forward => layer.stream_record_from(walk.stream_id, version)?,
            Direction::Backward => layer.stream_record_to(walk.stream_id, version)?,
        };
        let Some(stored) = found else { return Ok(batch) };
        at = match walk.direction {
            Direction::Forward => Some(stored.last_version() + 1),
            Direction::Backward => stored.first_version.checked_sub(1),
        };
        batch.work += 1;
        // The read's bounds are those of the stream's head: what is removed lies outside of them.
        batch.take(stored, 0);
    }
    batch.next = None;
    Ok(batch)
}
