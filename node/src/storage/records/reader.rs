//! Reading a records file.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::super::entries::Entries;
use super::super::error::ReadError;
use super::super::files::Files;
use super::super::table::{Kind, Scan, Seek, TableReader};
use super::encoding;
use crate::event::{CorruptRecord, StoredRecord};

/// A records file. It is opened when it is first used; what is read of it stays in the block cache.
#[derive(Debug)]
pub struct RecordsReader {
    table: TableReader,
}

impl RecordsReader {
    /// A reader of the file that was written with `bytes` bytes. Touches nothing yet.
    pub fn new(files: &Files, path: impl Into<String>, bytes: u64) -> Self {
        Self { table: files.table(path.into(), Kind::Records, bytes) }
    }

    /// The file's path in the volume.
    pub fn path(&self) -> &str {
        self.table.path()
    }

    /// The first record whose end lies above `position`: the one that holds it, or else the next.
    pub fn at_or_after(&self, position: u64) -> Result<Option<StoredRecord>, ReadError> {
        let mut found = None;
        self.visit_from(position, &mut |stored| {
            found = Some(stored);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Visits records from the one on that [`Self::at_or_after`] finds, until `visit` breaks or the block that it stands
    /// in ends; `false` when there is none.
    pub fn visit_from(
        &self,
        position: u64,
        visit: &mut dyn FnMut(StoredRecord) -> ControlFlow<()>,
    ) -> Result<bool, ReadError> {
        if let Some((entries, place)) = self.table.last_until(&encoding::key(position))? {
            let before = self.record(&entries, place)?;
            if before.end_position() > position {
                if visit(before).is_continue() {
                    self.visit_block(&entries, place + 1, visit)?;
                }
                return Ok(true);
            }
            if place + 1 < entries.len() {
                self.visit_block(&entries, place + 1, visit)?;
                return Ok(true);
            }
        }
        let Some(next) = position.checked_add(1) else { return Ok(false) };
        match self.table.first_from(&encoding::key(next))? {
            Some((entries, place)) => {
                self.visit_block(&entries, place, visit)?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn visit_block(
        &self,
        entries: &Entries,
        start: usize,
        visit: &mut dyn FnMut(StoredRecord) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        for place in start..entries.len() {
            if visit(self.record(entries, place)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The last record whose first position is at or below `position`: the one that holds it, or else the one before.
    pub fn at_or_before(&self, position: u64) -> Result<Option<StoredRecord>, ReadError> {
        let found = self.table.last_until(&encoding::key(position))?;
        found.map(|(entries, place)| self.record(&entries, place)).transpose()
    }

    /// The first record that is not older than a time, in microseconds since 1970 UTC.
    pub fn at_time(&self, epoch_us: u64) -> Result<Option<StoredRecord>, ReadError> {
        let older = |time: Option<u64>| time.is_some_and(|time| time < epoch_us);
        let found = self.table.seek(&Seek {
            before: &|_, value| older(encoding::read_epoch_us(value)),
            begins_before: &|_, note| older(encoding::read_note(note)),
        })?;
        found.map(|(entries, place)| self.record(&entries, place)).transpose()
    }

    /// All records in order, read in large pieces and not through the cache.
    pub fn entries(&self) -> Result<RecordsEntries, ReadError> {
        Ok(RecordsEntries { path: self.table.path().to_owned(), scan: self.table.scan()? })
    }

    /// How many records there are.
    pub fn len(&self) -> Result<u64, ReadError> {
        self.table.entries()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> Result<bool, ReadError> {
        Ok(self.len()? == 0)
    }

    /// Reads every byte of the file and checks it.
    pub fn verify(&self) -> Result<(), ReadError> {
        self.table.verify()
    }

    pub(crate) fn forget(&self) {
        self.table.forget();
    }

    fn record(&self, entries: &Entries, place: usize) -> Result<StoredRecord, ReadError> {
        let (key, value) = entries.shared(place);
        read_record(self.table.path(), &key, &value)
    }
}

/// The records of a file in order. After an error it ends.
#[derive(Debug)]
pub struct RecordsEntries {
    path: String,
    scan: Scan,
}

impl RecordsEntries {
    /// The next block of records, at least one, and as it stands in the file.
    pub(super) fn next_block(&mut self) -> Result<Option<(Entries, Bytes)>, ReadError> {
        self.scan.next_entries()
    }
}

impl Iterator for RecordsEntries {
    type Item = Result<StoredRecord, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.scan.next_shared().transpose()?;
        Some(next.and_then(|(key, value)| read_record(&self.path, &key, &value)))
    }
}

fn read_record(path: &str, key: &[u8], value: &Bytes) -> Result<StoredRecord, ReadError> {
    encoding::read(key, value).map_err(|error: CorruptRecord| {
        ReadError::damaged(path, 0, format!("a record cannot be read: {error}"))
    })
}
