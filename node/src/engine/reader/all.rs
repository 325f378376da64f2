//! Reads of the whole store: pages, counts, and whether there is anything. All three are one walk.

use std::ops::ControlFlow;

use super::StateReader;
use super::gather::{Batch, Walk, gather};
use crate::engine::Engine;
use crate::engine::error::ReadError;
use crate::engine::layer::Layer as _;
use crate::engine::page::{Direction, Page, PageBuilder, RecordedEvent};
use crate::engine::select::Select;
use crate::limits::{
    READ_BATCH_RECORDS_MAX, READ_PAGE_BYTES_MAX, READ_PAGE_EVENTS_MAX, READ_PAGE_WORK_MAX,
};

/// What is wanted of the whole store. All bounds are inclusive.
#[derive(Debug, Clone, Copy)]
pub struct AllRead<'a> {
    /// The position to begin or go on at. Backward, a position behind the end means the end.
    pub from: u64,
    /// No event below this position is wanted.
    pub first: u64,
    /// No event above this position is wanted.
    pub last: u64,
    pub direction: Direction,
    /// Also events of the server's own streams.
    pub include_system: bool,
    /// `None`: every event.
    pub select: Option<&'a dyn Select>,
    /// Most events on the page.
    pub events_max: usize,
    /// Bytes of events after which the page ends.
    pub bytes_max: usize,
}

impl Default for AllRead<'_> {
    /// The first page of everything, forward, without the server's own streams.
    fn default() -> Self {
        Self {
            from: 0,
            first: 0,
            last: u64::MAX,
            direction: Direction::Forward,
            include_system: false,
            select: None,
            events_max: READ_PAGE_EVENTS_MAX,
            bytes_max: READ_PAGE_BYTES_MAX,
        }
    }
}

/// How many events were met so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// In this call alone.
    pub events: u64,
    /// The position to go on at; `None`: that was all.
    pub next: Option<u64>,
}

/// Whether an event was met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Of the first event in the direction of the read.
    pub position: Option<u64>,
    /// The position to go on at when none was met so far; `None`: the answer is final.
    pub next: Option<u64>,
}

impl StateReader {
    /// A page of the whole store in its global order. May be empty although more follow: a call looks at a
    /// bounded number of records.
    pub fn read_all(&self, read: &AllRead<'_>) -> Result<Page, ReadError> {
        let mut page = PageBuilder::new(read.events_max, read.bytes_max);
        let records_max = READ_BATCH_RECORDS_MAX.min(read.events_max);
        let next = self.walk(read, records_max, &mut |event| {
            if page.offer(event) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(page.finish(next))
    }

    /// Counts what pages of this read would hold, as far as one call goes. `events_max` and `bytes_max` do not
    /// matter.
    pub fn count(&self, read: &AllRead<'_>) -> Result<Counted, ReadError> {
        if let Some(events) = self.count_of_everything(read) {
            return Ok(Counted { events, next: None });
        }
        let mut events = 0;
        let next = self.walk(read, READ_BATCH_RECORDS_MAX, &mut |_event| {
            events += 1;
            ControlFlow::Continue(())
        })?;
        Ok(Counted { events, next })
    }

    /// Whether pages of this read would hold an event, as far as one call goes.
    pub fn any(&self, read: &AllRead<'_>) -> Result<Found, ReadError> {
        let mut position = None;
        let next = self.walk(read, READ_BATCH_RECORDS_MAX, &mut |event| {
            position = Some(event.position);
            ControlFlow::Break(())
        })?;
        Ok(Found { position, next: next.filter(|_| position.is_none()) })
    }

    /// The engine keeps count of all readable events.
    fn count_of_everything(&self, read: &AllRead<'_>) -> Option<u64> {
        let engine = self.engine.read();
        let everything = read.select.is_none()
            && (read.direction, read.from, read.first) == (Direction::Forward, 0, 0)
            && read.last >= engine.next_position().saturating_sub(1);
        let system_events = if read.include_system { engine.state.system_events } else { 0 };
        everything.then(|| engine.events() + system_events)
    }

    /// Shows one wanted event after the other until there are no more, enough was looked at, or `visit` breaks;
    /// gives the position to go on at.
    fn walk(
        &self,
        read: &AllRead<'_>,
        records_max: usize,
        visit: &mut dyn FnMut(RecordedEvent) -> ControlFlow<()>,
    ) -> Result<Option<u64>, ReadError> {
        let direction = read.direction;
        let (mut at, to) = match direction {
            Direction::Forward => (read.from.max(read.first), read.last),
            Direction::Backward => (read.from.min(read.last), read.first),
        };
        if direction.before(to, at) {
            return Ok(None);
        }
        let mut work = 0;
        let mut events = Vec::new();
        loop {
            let batch = self.gather_all(&Walk {
                from: at,
                to,
                direction,
                include_system: read.include_system,
                items: read.select.and_then(Select::candidates),
                records_max,
            })?;
            for readable in &batch.records {
                let stored = &readable.stored;
                readable.put_events(direction, &mut events);
                for &(index, span) in &events {
                    let position = stored.first_position + u64::from(index);
                    let outside = direction.before(position, at) || direction.before(to, position);
                    let bytes = stored.record.event_bytes(span);
                    if outside || read.select.is_some_and(|select| select.rules_out(bytes)) {
                        continue;
                    }
                    let event = RecordedEvent::new(stored, index, span);
                    let selected = read.select.map_or(Ok(true), |select| select.selects(&event))?;
                    if selected && visit(event).is_break() {
                        return Ok(Some(position));
                    }
                }
            }
            work += batch.work;
            match batch.next {
                None => return Ok(None),
                Some(next) if work >= READ_PAGE_WORK_MAX => return Ok(Some(next)),
                Some(next) => at = next,
            }
        }
    }

    /// The walk's next records, from the layer that it has come to.
    fn gather_all(&self, walk: &Walk<'_>) -> Result<Batch, ReadError> {
        let engine = self.engine.read();
        if engine.active_has(walk.from, walk.direction) {
            let mut batch = gather(&engine.active, engine.removals.known()?, walk)?;
            // Nothing lies above the active overlay.
            batch.next = batch.next.filter(|&next| next < engine.next_position());
            return Ok(batch);
        }
        let view = engine.view();
        drop(engine);
        match view.layers.at(walk.from, walk.direction) {
            Some(layer) => gather(layer, view.removals.known()?, walk),
            None => Ok(Batch::default()),
        }
    }
}

impl Engine {
    /// Whether a walk that has come to the position goes on in the active overlay.
    fn active_has(&self, position: u64, direction: Direction) -> bool {
        let positions = self.active.positions();
        match direction {
            Direction::Forward => positions.start <= position,
            Direction::Backward => positions.start <= position && !positions.is_empty(),
        }
    }
}
