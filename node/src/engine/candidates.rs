//! Which records of a layer may hold events that a query means: leap-frog over the postings of its types and
//! tags (T. Veldhuizen, "Leapfrog Triejoin: a simple, worst-case optimal join algorithm", 2012, §3.1).
//!
//! A candidate has, for one item, a posting of any of its types and of all of its tags. Whether one and the
//! same event has them is for the caller to see: postings know records, not events.

use super::error::ReadError;
use super::layer::{Layer, Posting};
use super::page::Direction;
use super::query::QueryItem;

/// Walks over the candidates of a layer in one direction.
#[derive(Debug)]
pub(super) struct Candidates<'a> {
    layer: &'a dyn Layer,
    direction: Direction,
    items: Vec<ItemCursor<'a>>,
    from: u64,
    seeks: usize,
}

/// What one step of the walk comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A record that begins here is a candidate.
    At(u64),
    /// There are no more in the layer.
    Exhausted,
    /// The budget of seeks is spent; candidates may follow from this position on.
    Paused(u64),
}

impl<'a> Candidates<'a> {
    /// Starts at a record's first position (inclusive).
    pub fn new(
        layer: &'a dyn Layer,
        items: &'a [QueryItem],
        direction: Direction,
        from: u64,
    ) -> Self {
        let items = items.iter().map(|item| ItemCursor::new(item, from)).collect();
        Self { layer, direction, items, from, seeks: 0 }
    }

    /// How many look-ups were made so far.
    pub const fn seeks(&self) -> usize {
        self.seeks
    }

    /// Finds the next candidate, unless that takes more than `seeks_max` look-ups since the walk began. It
    /// never pauses where it began, however many terms there are to ask: a read would stay where it is.
    pub fn next(&mut self, seeks_max: usize) -> Result<Step, ReadError> {
        let direction = self.direction;
        loop {
            let nearest = self.items.iter_mut().filter_map(|item| Some((item.at?, item)));
            let nearest = nearest.reduce(|a, b| if direction.before(b.0, a.0) { b } else { a });
            let Some((at, item)) = nearest else { return Ok(Step::Exhausted) };
            if item.settled {
                for item in self.items.iter_mut().filter(|item| item.at == Some(at)) {
                    item.at = direction.after(at);
                    item.settled = false;
                }
                return Ok(Step::At(at));
            }
            if self.seeks >= seeks_max && at != self.from {
                return Ok(Step::Paused(at));
            }
            item.round(self.layer, direction, at, &mut self.seeks)?;
        }
    }
}

/// How far the walk for one item has come.
#[derive(Debug)]
struct ItemCursor<'a> {
    types: Vec<Term<'a>>,
    tags: Vec<Term<'a>>,
    /// No candidate of the item lies before this; `None`: there are no more.
    at: Option<u64>,
    /// Whether `at` is a candidate.
    settled: bool,
}

impl<'a> ItemCursor<'a> {
    fn new(item: &'a QueryItem, from: u64) -> Self {
        let types = item.types.iter().map(|name| Term::new(Posting::Type(name))).collect();
        let tags = item.tags.iter().map(|tag| Term::new(Posting::Tag(tag))).collect();
        Self { types, tags, at: Some(from), settled: false }
    }

    /// Asks every term once and moves on to where the furthest of them stands. When that changes nothing they
    /// all stand at the same record.
    fn round(
        &mut self,
        layer: &dyn Layer,
        direction: Direction,
        from: u64,
        seeks: &mut usize,
    ) -> Result<(), ReadError> {
        let mut at = Some(from);
        if self.types.is_empty() && self.tags.is_empty() {
            *seeks += 1;
            at = any_record(layer, direction, from)?;
        }
        if !self.types.is_empty() {
            let mut nearest: Option<u64> = None;
            for term in &mut self.types {
                let Some(found) = term.seek(layer, direction, from, seeks)? else { continue };
                nearest = Some(nearest.map_or(found, |nearest| direction.nearer(nearest, found)));
            }
            at = nearest;
        }
        for term in &mut self.tags {
            let Some(so_far) = at else { break };
            at = term.seek(layer, direction, so_far, seeks)?;
        }
        self.settled = at == Some(from);
        self.at = at;
        Ok(())
    }
}

/// The first record that begins at the position or further on.
fn any_record(
    layer: &dyn Layer,
    direction: Direction,
    position: u64,
) -> Result<Option<u64>, ReadError> {
    let found = match direction {
        Direction::Backward => layer.record_to(position)?,
        Direction::Forward => match layer.record_from(position)? {
            Some(stored) if stored.first_position < position => {
                layer.record_from(stored.end_position())?
            }
            found => found,
        },
    };
    Ok(found.map(|stored| stored.first_position))
}

/// One type or tag, and the posting that was found last.
#[derive(Debug)]
struct Term<'a> {
    posting: Posting<'a>,
    found: Found,
}

#[derive(Debug, Clone, Copy)]
enum Found {
    NotAsked,
    At(u64),
    NoMore,
}

impl<'a> Term<'a> {
    const fn new(posting: Posting<'a>) -> Self {
        Self { posting, found: Found::NotAsked }
    }

    /// The first posting at the position or further on. What was found earlier is not looked up again.
    fn seek(
        &mut self,
        layer: &dyn Layer,
        direction: Direction,
        position: u64,
        seeks: &mut usize,
    ) -> Result<Option<u64>, ReadError> {
        match self.found {
            Found::At(found) if !direction.before(found, position) => return Ok(Some(found)),
            Found::NoMore => return Ok(None),
            Found::At(_) | Found::NotAsked => {}
        }
        *seeks += 1;
        let found = match direction {
            Direction::Forward => layer.posting_from(self.posting, position)?,
            Direction::Backward => layer.posting_to(self.posting, position)?,
        };
        self.found = found.map_or(Found::NoMore, Found::At);
        Ok(found)
    }
}
