//! A part of the store and which of its events are wanted: what `ReadAll`, `Count` and `Any` have in common.

use std::sync::Arc;

use tonic::Status;

use crate::engine::{AllRead, Direction, Page, ReadError, Select, StateReader};
use crate::filter::Filter;
use crate::limits;
use crate::service::wire::{self, Positions, Start, Times};

/// What is wanted of the whole store.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    /// The first and the last position that count; `None`: none does.
    bounds: Option<(u64, u64)>,
    pub direction: Direction,
    pub include_system: bool,
    /// `None`: every event.
    pub filter: Option<Arc<Filter>>,
}

impl Scan {
    /// Everything within the bounds that was there before `next_position`.
    pub fn new(
        reader: &StateReader,
        next_position: u64,
        positions: Positions,
        times: Times,
    ) -> Result<Self, ReadError> {
        let bounds = bounds(reader, next_position, positions, times)?;
        Ok(Self { bounds, direction: Direction::Forward, include_system: false, filter: None })
    }

    /// The position to begin at; `None`: there is nothing to read.
    pub fn begin(&self, reader: &StateReader, start: Start) -> Result<Option<u64>, ReadError> {
        let Some((first, last)) = self.bounds else { return Ok(None) };
        let forward = self.direction == Direction::Forward;
        let from = match start {
            Start::First => Some(first),
            Start::Last => (!forward).then_some(last),
            Start::At(position) => Some(position),
            Start::Time(time_us) if forward => Some(reader.first_position_at(time_us)?),
            Start::Time(time_us) => reader.last_position_at(time_us)?,
        };
        Ok(from.filter(|&from| if forward { from <= last } else { from >= first }))
    }

    /// The first position that counts, for a scan forward.
    pub fn first(&self) -> Option<u64> {
        self.bounds.map(|(first, _)| first)
    }

    /// What to ask the engine for, from a position on.
    pub fn read(&self, from: u64, events_max: usize) -> AllRead<'_> {
        let (first, last) = self.bounds.unwrap_or((1, 0));
        AllRead {
            from,
            first,
            last,
            direction: self.direction,
            include_system: self.include_system,
            select: self.filter.as_deref().map(|filter| filter as &dyn Select),
            events_max,
            bytes_max: limits::READ_PAGE_BYTES_MAX,
        }
    }

    /// A page from a position on.
    pub fn page(&self, reader: &StateReader, from: u64, events_max: usize) -> Result<Page, Status> {
        reader.read_all(&self.read(from, events_max)).map_err(wire::read_failed)
    }
}

fn bounds(
    reader: &StateReader,
    next_position: u64,
    positions: Positions,
    times: Times,
) -> Result<Option<(u64, u64)>, ReadError> {
    let Some(mut last) = next_position.checked_sub(1) else { return Ok(None) };
    let mut first = positions.from.unwrap_or(0);
    if let Some(to) = positions.to {
        last = last.min(to);
    }
    if let Some(since_us) = times.since_us {
        first = first.max(reader.first_position_at(since_us)?);
    }
    if let Some(until_us) = times.until_us {
        match reader.last_position_at(until_us)? {
            Some(until) => last = last.min(until),
            None => return Ok(None),
        }
    }
    Ok((first <= last).then_some((first, last)))
}
