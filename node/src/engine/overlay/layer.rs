//! The overlay as a layer. Nothing here can fail.

use std::ops::{Bound, ControlFlow, Range};

use super::{Overlay, StreamIndex};
use crate::engine::error::ReadError;
use crate::engine::head::Head;
use crate::engine::layer::{EventPlace, Layer, Posting};
use crate::engine::removals::Removal;
use crate::event::StoredRecord;

impl Layer for Overlay {
    fn positions(&self) -> Range<u64> {
        self.start..self.end()
    }

    fn head(&self, stream_id: &str) -> Result<Option<Head>, ReadError> {
        Ok(self.head_here(stream_id).copied())
    }

    fn head_from(&self, name: &str) -> Result<Option<(String, Head)>, ReadError> {
        let from = (Bound::Included(name), Bound::Unbounded);
        let found = self.names.range::<str, _>(from).next();
        Ok(found.and_then(|name| Some((name.to_string(), *self.head_here(name)?))))
    }

    fn place(&self, event_id: &[u8; 16]) -> Result<Option<EventPlace>, ReadError> {
        Ok(self.ids.get(event_id).map(|place| EventPlace {
            record_position: self.record(place.record).first_position,
            index: place.index,
        }))
    }

    fn record_from(&self, position: u64) -> Result<Option<StoredRecord>, ReadError> {
        let place = partition_point(&self.records, |stored| stored.end_position() <= position);
        Ok(self.records.get(place).cloned())
    }

    fn records_from(
        &self,
        position: u64,
        visit: &mut dyn FnMut(StoredRecord) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        // That it was enough is no failure.
        let _ = self.records_behind(position).iter().cloned().try_for_each(visit);
        Ok(())
    }

    fn record_to(&self, position: u64) -> Result<Option<StoredRecord>, ReadError> {
        let end = self.records.partition_point(|stored| stored.first_position <= position);
        Ok(self.records[..end].last().cloned())
    }

    fn stream_record_from(
        &self,
        stream_id: &str,
        version: u64,
    ) -> Result<Option<StoredRecord>, ReadError> {
        let records = self.stream_records(stream_id);
        let start = records.partition_point(|&place| self.record(place).last_version() < version);
        Ok(records.get(start).map(|&place| self.record(place).clone()))
    }

    fn stream_record_to(
        &self,
        stream_id: &str,
        version: u64,
    ) -> Result<Option<StoredRecord>, ReadError> {
        let records = self.stream_records(stream_id);
        let end = records.partition_point(|&place| self.record(place).first_version <= version);
        Ok(records[..end].last().map(|&place| self.record(place).clone()))
    }

    fn posting_from(&self, posting: Posting<'_>, position: u64) -> Result<Option<u64>, ReadError> {
        let places = self.places(posting);
        let start = partition_point(places, |&place| self.record(place).first_position < position);
        Ok(places.get(start).map(|&place| self.record(place).first_position))
    }

    fn posting_to(&self, posting: Posting<'_>, position: u64) -> Result<Option<u64>, ReadError> {
        let places = self.places(posting);
        let end = places.partition_point(|&place| self.record(place).first_position <= position);
        Ok(places[..end].last().map(|&place| self.record(place).first_position))
    }

    fn position_at_time(&self, epoch_us: u64) -> Result<Option<u64>, ReadError> {
        let place = self.records.partition_point(|stored| stored.epoch_us < epoch_us);
        Ok(self.records.get(place).map(|stored| stored.first_position))
    }

    fn removal_from(&self, name: &str) -> Result<Option<(String, Removal)>, ReadError> {
        let mut names = self.names.range::<str, _>((Bound::Included(name), Bound::Unbounded));
        Ok(names.find_map(|name| Some((name.to_string(), self.removal_here(name)?))))
    }
}

impl Overlay {
    /// What was removed of a stream while this overlay was the active one.
    pub(super) fn removal_here(&self, stream_id: &str) -> Option<Removal> {
        let removal = Removal::of_head(self.head_here(stream_id)?)?;
        (removal.before_position >= self.start).then_some(removal)
    }

    pub(super) fn record(&self, place: u32) -> &StoredRecord {
        &self.records[place as usize]
    }

    pub(super) fn stream_records(&self, stream_id: &str) -> &[u32] {
        self.streams.get(stream_id).map_or(&[], |StreamIndex { records, .. }| records)
    }

    fn places(&self, posting: Posting<'_>) -> &[u32] {
        let (postings, key) = match posting {
            Posting::Type(name) => (&self.types, name),
            Posting::Tag(tag) => (&self.tags, tag),
            Posting::Causation(id) => (&self.causations, id),
            Posting::Correlation(id) => (&self.correlations, id),
            Posting::Created => return &self.created,
        };
        postings.get(key).map_or(&[], |places| places.as_slice())
    }
}

/// As the method of slices, looking from the end on: conditions of appends mostly ask for what came last.
fn partition_point<T>(items: &[T], before: impl Fn(&T) -> bool) -> usize {
    let (mut end, mut step) = (items.len(), 1);
    while end > 0 {
        let start = end.saturating_sub(step);
        if before(&items[start]) {
            return start + 1 + items[start + 1..end].partition_point(before);
        }
        (end, step) = (start, 2 * step);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_from_the_end_finds_what_looking_from_the_middle_does() {
        for len in 0..40 {
            let items: Vec<i32> = (0..len).collect();
            for bound in -1..=len {
                let before = |item: &i32| *item < bound;
                assert_eq!(partition_point(&items, before), items.partition_point(before));
            }
        }
    }
}
