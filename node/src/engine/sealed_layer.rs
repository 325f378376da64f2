//! A sealed run with its records as a layer. What is read is checked against what led to it: an index that points
//! at something else is damage, never a wrong answer.

use std::ops::{ControlFlow, Range};

use bytes::Bytes;

use super::error::ReadError;
use super::head::Head;
use super::layer::{EventPlace, Layer, Posting};
use super::removals::Removal;
use crate::event::StoredRecord;
use crate::storage::{SealedLayer, keys};

impl Layer for SealedLayer {
    fn positions(&self) -> Range<u64> {
        self.positions.clone()
    }

    fn head(&self, stream_id: &str) -> Result<Option<Head>, ReadError> {
        let found = self.value(&keys::head(stream_id))?;
        found.map(|value| self.decoded(Head::decode(&value).ok(), "a head")).transpose()
    }

    fn head_from(&self, name: &str) -> Result<Option<(String, Head)>, ReadError> {
        let Some((key, value)) = self.run.seek(&keys::head(name))? else { return Ok(None) };
        let Some(name) = keys::head_stream(&key) else { return Ok(None) };
        let head = self.decoded(Head::decode(&value).ok(), "a head")?;
        Ok(Some((name.to_owned(), head)))
    }

    fn place(&self, event_id: &[u8; 16]) -> Result<Option<EventPlace>, ReadError> {
        if !self.run.may_have_id(event_id)? {
            return Ok(None);
        }
        let Some(value) = self.value(&keys::event_id(event_id))? else { return Ok(None) };
        let place = self.decoded(keys::read_place(&value), "the place of an event")?;
        Ok(Some(EventPlace { record_position: place.position, index: place.index }))
    }

    fn record_from(&self, position: u64) -> Result<Option<StoredRecord>, ReadError> {
        Ok(self.record_at_or_after(position)?)
    }

    fn records_from(
        &self,
        position: u64,
        visit: &mut dyn FnMut(StoredRecord) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        Ok(self.visit_records_from(position, visit)?)
    }

    fn record_to(&self, position: u64) -> Result<Option<StoredRecord>, ReadError> {
        Ok(self.record_at_or_before(position)?)
    }

    fn stream_record_from(
        &self,
        stream_id: &str,
        version: u64,
    ) -> Result<Option<StoredRecord>, ReadError> {
        let key = keys::version(stream_id, version);
        if !self.run.may_contain(keys::filter_key(&key))? {
            return Ok(None);
        }
        // The record that begins at or below the version may hold it; otherwise the next one does.
        let before = self.run.seek_back(&key)?.filter(|(found, _)| same_list(found, &key));
        if let Some((found, value)) = before
            && let Some(stored) = self.stream_record(stream_id, &found, &value)?
            && stored.last_version() >= version
        {
            return Ok(Some(stored));
        }
        let mut next = version.checked_add(1);
        while let Some(version) = next {
            let found = self.run.seek(&keys::version(stream_id, version))?;
            let Some((found, value)) = found.filter(|(found, _)| same_list(found, &key)) else {
                break;
            };
            if let Some(stored) = self.stream_record(stream_id, &found, &value)? {
                return Ok(Some(stored));
            }
            // Reclaimed since; the key stays for as long as its run.
            next = keys::trailing_number(&found).and_then(|version| version.checked_add(1));
        }
        Ok(None)
    }

    /// Where this record was reclaimed, so were all before it: events are removed from a stream's beginning on.
    fn stream_record_to(
        &self,
        stream_id: &str,
        version: u64,
    ) -> Result<Option<StoredRecord>, ReadError> {
        let key = keys::version(stream_id, version);
        if !self.run.may_contain(keys::filter_key(&key))? {
            return Ok(None);
        }
        match self.run.seek_back(&key)?.filter(|(found, _)| same_list(found, &key)) {
            Some((found, value)) => self.stream_record(stream_id, &found, &value),
            None => Ok(None),
        }
    }

    fn posting_from(&self, posting: Posting<'_>, position: u64) -> Result<Option<u64>, ReadError> {
        let key = posting_key(posting, position);
        if !self.run.may_contain(keys::filter_key(&key))? {
            return Ok(None);
        }
        let found = self.run.seek(&key)?.filter(|(found, _)| same_list(found, &key));
        Ok(found.and_then(|(found, _)| keys::trailing_number(&found)))
    }

    fn posting_to(&self, posting: Posting<'_>, position: u64) -> Result<Option<u64>, ReadError> {
        let key = posting_key(posting, position);
        if !self.run.may_contain(keys::filter_key(&key))? {
            return Ok(None);
        }
        let found = self.run.seek_back(&key)?.filter(|(found, _)| same_list(found, &key));
        Ok(found.and_then(|(found, _)| keys::trailing_number(&found)))
    }

    fn position_at_time(&self, epoch_us: u64) -> Result<Option<u64>, ReadError> {
        Ok(self.record_at_time(epoch_us)?.map(|stored| stored.first_position))
    }

    fn removal_from(&self, name: &str) -> Result<Option<(String, Removal)>, ReadError> {
        let Some((key, value)) = self.run.seek(&keys::removed(name))? else { return Ok(None) };
        let Some(name) = keys::removed_stream(&key) else { return Ok(None) };
        let removal = self.decoded(Removal::decode(&value).ok(), "a removal")?;
        Ok(Some((name.to_owned(), removal)))
    }
}

/// Reading the run.
trait Run {
    fn value(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError>;
    fn stream_record(
        &self,
        stream_id: &str,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<StoredRecord>, ReadError>;
    fn decoded<T>(&self, value: Option<T>, what: &'static str) -> Result<T, ReadError>;
}

impl Run for SealedLayer {
    /// The value of a key, unless the filter knows that there is none.
    fn value(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(if self.run.may_contain(keys::filter_key(key))? { self.run.get(key)? } else { None })
    }

    /// The record that an entry of a stream's versions points at, unless it was reclaimed.
    fn stream_record(
        &self,
        stream_id: &str,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<StoredRecord>, ReadError> {
        let position = self.decoded(keys::read_position(value), "the place of a version")?;
        let found = self.record_at_or_after(position)?;
        let Some(stored) = found.filter(|stored| stored.first_position == position) else {
            return Ok(None);
        };
        let same = stored.record.stream_id() == stream_id
            && keys::trailing_number(key) == Some(stored.first_version);
        self.decoded(same.then_some(Some(stored)), "the place of a version")
    }

    fn decoded<T>(&self, value: Option<T>, what: &'static str) -> Result<T, ReadError> {
        let file = || self.run.path().to_owned();
        value.ok_or_else(|| ReadError::Index { file: file(), what })
    }
}

fn posting_key(posting: Posting<'_>, position: u64) -> Vec<u8> {
    match posting {
        Posting::Type(name) => keys::posting(keys::Posting::Type, name, position),
        Posting::Tag(tag) => keys::posting(keys::Posting::Tag, tag, position),
        Posting::Causation(id) => keys::posting(keys::Posting::Causation, id, position),
        Posting::Correlation(id) => keys::posting(keys::Posting::Correlation, id, position),
        Posting::Created => keys::created(position),
    }
}

/// Whether two keys differ in nothing but the number that they end with.
fn same_list(one: &[u8], other: &[u8]) -> bool {
    keys::filter_key(one) == keys::filter_key(other)
}
