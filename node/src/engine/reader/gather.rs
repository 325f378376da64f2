//! Gathering: a bounded batch of records of one layer, in the order of a read. Judges no event: that may take
//! long, and the layer may be the active overlay under its lock.

use std::ops::ControlFlow;

use crate::engine::candidates::{Candidates, Step};
use crate::engine::error::ReadError;
use crate::engine::layer::{Layer, record_at};
use crate::engine::page::Direction;
use crate::engine::query::QueryItem;
use crate::engine::removals::Removals;
use crate::event::{EventSpan, StoredRecord};
use crate::limits::{READ_BATCH_BYTES_MAX, READ_BATCH_WORK_MAX};

/// Which records of the store are wanted, and from where on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<'a> {
    /// The position to begin at, inclusive.
    pub from: u64,
    /// The position to end at, inclusive.
    pub to: u64,
    pub direction: Direction,
    pub include_system: bool,
    /// `None`: every record.
    pub items: Option<&'a [QueryItem]>,
    pub records_max: usize,
}

impl Walk<'_> {
    /// Whether the position lies before the walk's end.
    const fn reaches(&self, position: u64) -> bool {
        !self.direction.before(self.to, position)
    }

    /// Whether an event of the record may lie before the walk's end.
    fn reaches_record(&self, stored: &StoredRecord) -> bool {
        match self.direction {
            Direction::Forward => stored.first_position <= self.to,
            Direction::Backward => stored.end_position() > self.to,
        }
    }
}

/// Some records in the order of the read.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub records: Vec<Readable>,
    /// The version or position to go on at; `None`: there is nothing more that way.
    pub next: Option<u64>,
    /// How many records and index entries were looked at.
    pub work: usize,
    pub bytes: usize,
}

/// A record and what of it may be shown.
#[derive(Debug)]
pub(super) struct Readable {
    pub stored: StoredRecord,
    /// The first version that was not removed.
    pub first_version: u64,
}

impl Readable {
    /// Puts its readable events in the place of `events`, in the order of the read: their numbers in the record, and
    /// where they lie.
    pub fn put_events(&self, direction: Direction, events: &mut Vec<(u32, EventSpan)>) {
        let first_index = self.first_version.saturating_sub(self.stored.first_version);
        events.clear();
        events.extend(self.stored.spans().filter(|(index, _)| u64::from(*index) >= first_index));
        if direction == Direction::Backward {
            events.reverse();
        }
    }
}

impl Batch {
    pub fn take(&mut self, stored: StoredRecord, first_version: u64) {
        self.bytes += stored.record.bytes().len();
        self.records.push(Readable { stored, first_version });
    }

    /// Whether the batch should end here.
    pub fn full(&self, records_max: usize) -> bool {
        self.records.len() >= records_max.max(1)
            || self.bytes >= READ_BATCH_BYTES_MAX
            || self.work >= READ_BATCH_WORK_MAX
    }
}

/// Gathers from a layer that has the walk's first position or begins behind it.
pub(super) fn gather(
    layer: &dyn Layer,
    removals: &Removals,
    walk: &Walk<'_>,
) -> Result<Batch, ReadError> {
    match walk.items {
        None => gather_every(layer, removals, walk),
        Some(items) => gather_candidates(layer, removals, walk, items),
    }
}

fn gather_every(
    layer: &dyn Layer,
    removals: &Removals,
    walk: &Walk<'_>,
) -> Result<Batch, ReadError> {
    match walk.direction {
        Direction::Forward => gather_forward(layer, removals, walk),
        Direction::Backward => gather_backward(layer, removals, walk),
    }
}

fn gather_forward(
    layer: &dyn Layer,
    removals: &Removals,
    walk: &Walk<'_>,
) -> Result<Batch, ReadError> {
    let mut batch = Batch::default();
    let mut at = walk.from;
    while walk.reaches(at) {
        if batch.full(walk.records_max) {
            batch.next = Some(at);
            return Ok(batch);
        }
        let before = at;
        layer.records_from(at, &mut |stored| {
            at = stored.end_position();
            batch.work += 1;
            consider(&mut batch, removals, walk, stored);
            if walk.reaches(at) && !batch.full(walk.records_max) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        if at == before {
            batch.next = beyond(layer, walk);
            return Ok(batch);
        }
    }
    Ok(batch)
}

fn gather_backward(
    layer: &dyn Layer,
    removals: &Removals,
    walk: &Walk<'_>,
) -> Result<Batch, ReadError> {
    let mut batch = Batch::default();
    let mut at = Some(walk.from);
    while let Some(position) = at.filter(|&at| walk.reaches(at)) {
        if batch.full(walk.records_max) {
            batch.next = Some(position);
            return Ok(batch);
        }
        let Some(stored) = layer.record_to(position)? else {
            batch.next = beyond(layer, walk);
            return Ok(batch);
        };
        at = stored.first_position.checked_sub(1);
        batch.work += 1;
        consider(&mut batch, removals, walk, stored);
    }
    Ok(batch)
}

fn gather_candidates(
    layer: &dyn Layer,
    removals: &Removals,
    walk: &Walk<'_>,
    items: &[QueryItem],
) -> Result<Batch, ReadError> {
    let mut batch = Batch::default();
    // Postings name records by their first position, and the read may begin inside of one.
    let first = match walk.direction {
        Direction::Forward => layer.record_from(walk.from)?,
        Direction::Backward => layer.record_to(walk.from)?,
    };
    let Some(first) = first else {
        batch.next = beyond(layer, walk);
        return Ok(batch);
    };
    let mut candidates = Candidates::new(layer, items, walk.direction, first.first_position);
    // Everything before this was looked at. A candidate is the beginning of a record, and that is no place to go
    // on at: backward, the record's other events stand before it.
    let mut resume = Some(walk.from);
    loop {
        batch.work += 1;
        let found = match candidates.next(READ_BATCH_WORK_MAX)? {
            Step::Exhausted => {
                batch.next = beyond(layer, walk);
                break;
            }
            Step::Paused(position) => {
                batch.next = resume_at(layer, walk, position, resume)?;
                break;
            }
            Step::At(_) if batch.full(walk.records_max) => {
                batch.next = resume.filter(|&resume| walk.reaches(resume));
                break;
            }
            Step::At(position) => position,
        };
        match record_at(layer, found)? {
            // A record that begins before the end of a backward walk may reach into it.
            Some(stored) if walk.reaches_record(&stored) => {
                resume = match walk.direction {
                    Direction::Forward => Some(stored.end_position()),
                    Direction::Backward => stored.first_position.checked_sub(1),
                };
                consider(&mut batch, removals, walk, stored);
            }
            Some(_) => break,
            // Reclaimed since; the posting stays for as long as its run.
            None => resume = walk.direction.after(found),
        }
    }
    batch.work += candidates.seeks();
    Ok(batch)
}

/// Where a walk goes on whose budget ended at `position`, when everything before `resume` was looked at.
fn resume_at(
    layer: &dyn Layer,
    walk: &Walk<'_>,
    position: u64,
    resume: Option<u64>,
) -> Result<Option<u64>, ReadError> {
    let Some(resume) = resume else { return Ok(None) };
    let position = match walk.direction {
        Direction::Forward => position.max(resume),
        Direction::Backward => {
            let stored = layer.record_to(position)?;
            stored.map_or(position, |stored| stored.end_position() - 1).min(resume)
        }
    };
    Ok(Some(position).filter(|&position| walk.reaches(position)))
}

/// Takes the record unless nothing of it may be shown.
fn consider(batch: &mut Batch, removals: &Removals, walk: &Walk<'_>, stored: StoredRecord) {
    if stored.record.is_system() && !walk.include_system {
        return;
    }
    if let Some(first_version) = removals.first_readable(&stored) {
        batch.take(stored, first_version);
    }
}

/// Where to go on behind the layer.
fn beyond(layer: &dyn Layer, walk: &Walk<'_>) -> Option<u64> {
    let positions = layer.positions();
    let next = match walk.direction {
        Direction::Forward => Some(positions.end),
        Direction::Backward => positions.start.checked_sub(1),
    };
    next.filter(|&next| walk.reaches(next))
}
