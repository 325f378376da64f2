//! The decision on an append's condition: the first event that matches its query. Part of apply, so it asks
//! the heads of streams what is removed, and never what this node happens to keep.

use super::Engine;
use super::candidates::{Candidates, Step};
use super::error::ReadError;
use super::layer::{Layer, record_at};
use super::page::{Direction, RecordedEvent};
use super::query::AppendCondition;

/// The position of the first readable event that matches, of those that count.
pub(super) fn first_match(
    engine: &Engine,
    condition: &AppendCondition,
) -> Result<Option<u64>, ReadError> {
    let Some(from) = condition.after_position.map_or(Some(0), |after| after.checked_add(1)) else {
        return Ok(None);
    };
    for layer in engine.ascending() {
        if layer.positions().end > from
            && let Some(position) = first_match_in(engine, layer, condition, from)?
        {
            return Ok(Some(position));
        }
    }
    Ok(None)
}

fn first_match_in(
    engine: &Engine,
    layer: &dyn Layer,
    condition: &AppendCondition,
    from: u64,
) -> Result<Option<u64>, ReadError> {
    let Some(first) = layer.record_from(from)? else { return Ok(None) };
    let items = &condition.query.items;
    let mut candidates = Candidates::new(layer, items, Direction::Forward, first.first_position);
    while let Step::At(position) = candidates.next(usize::MAX)? {
        let Some(stored) = record_at(layer, position)? else { continue };
        if stored.record.is_system() {
            continue;
        }
        // The cheap question first: heads are only looked up for what would fail the append.
        let matching = RecordedEvent::of(&stored)
            .filter(|event| event.position >= from && condition.query.matches(&event.event()));
        let mut readable_from = None;
        for event in matching {
            let first_version = match readable_from {
                Some(version) => version,
                None => *readable_from.insert(engine.first_readable(event.stream_id())?),
            };
            if event.version >= first_version {
                return Ok(Some(event.position));
            }
        }
    }
    Ok(None)
}
