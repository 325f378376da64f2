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
    let Some(from) = condition.from() else { return Ok(None) };
    let first_readable = |stream_id: &str| engine.first_readable(stream_id);
    for layer in engine.ascending() {
        if layer.positions().end > from
            && let Some(position) = first_match_in(layer, condition, from, &first_readable)?
        {
            return Ok(Some(position));
        }
    }
    Ok(None)
}

/// The first match in one layer. `first_readable` gives the first version of a stream that can be read.
pub(super) fn first_match_in(
    layer: &dyn Layer,
    condition: &AppendCondition,
    from: u64,
    first_readable: &dyn Fn(&str) -> Result<u64, ReadError>,
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
                None => *readable_from.insert(first_readable(event.stream_id())?),
            };
            if event.version >= first_version {
                return Ok(Some(event.position));
            }
        }
    }
    Ok(None)
}
