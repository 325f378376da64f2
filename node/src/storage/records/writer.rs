//! Writing a records file.

use std::ops::Range;

use super::super::error::WriteError;
use super::super::table::{Kind, PROPERTIES_BYTES, Summary, TableWriter};
use super::super::volume::Volume;
use super::{BLOCK_BYTES, encoding};
use crate::event::StoredRecord;

/// A records file that was written and synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordsSummary {
    /// Size, digest, count.
    pub file: Summary,
    /// From the first record's first position to the end of the last; empty when there is none.
    pub positions: Range<u64>,
    /// The times of the first and of the last record; 0 when there is none.
    pub epochs_us: (u64, u64),
}

/// Writes a records file, record by record.
#[derive(Debug)]
pub struct RecordsWriter {
    path: String,
    table: TableWriter,
    positions: Option<Range<u64>>,
    epochs_us: (u64, u64),
    front: Vec<u8>,
    note: Vec<u8>,
}

impl RecordsWriter {
    /// Makes the file, which must not be there yet.
    pub fn create(volume: &dyn Volume, path: &str) -> Result<Self, WriteError> {
        Ok(Self {
            path: path.to_owned(),
            table: TableWriter::create(volume, path, Kind::Records, BLOCK_BYTES)?,
            positions: None,
            epochs_us: (0, 0),
            front: Vec::new(),
            note: Vec::new(),
        })
    }

    /// Adds a record whose positions lie above those of all before it and whose time is not older.
    pub fn push(&mut self, stored: &StoredRecord) -> Result<(), WriteError> {
        let start = stored.first_position;
        let out_of_order = self
            .positions
            .as_ref()
            .is_some_and(|before| start < before.end || stored.epoch_us < self.epochs_us.1);
        if out_of_order {
            return Err(WriteError::Unordered { file: self.path.clone() });
        }
        self.front.clear();
        encoding::put_front(&mut self.front, stored);
        self.note.clear();
        encoding::put_note(&mut self.note, stored.epoch_us);
        let value = [self.front.as_slice(), stored.record.bytes()];
        self.table.push(&encoding::key(start), &value, &self.note)?;

        let first = self.positions.is_none();
        self.epochs_us = (if first { stored.epoch_us } else { self.epochs_us.0 }, stored.epoch_us);
        self.positions.get_or_insert(start..start).end = stored.end_position();
        Ok(())
    }

    /// Bytes of the file so far, roughly: what is still gathered is not counted.
    pub const fn bytes(&self) -> u64 {
        self.table.bytes()
    }

    /// Writes the rest and syncs the file; its folder entry is the caller's to sync.
    pub fn finish(self) -> Result<RecordsSummary, WriteError> {
        let file = self.table.finish([0; PROPERTIES_BYTES])?;
        let positions = self.positions.unwrap_or_default();
        Ok(RecordsSummary { file, positions, epochs_us: self.epochs_us })
    }
}
