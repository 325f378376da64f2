//! Joining neighbouring records files into one: the records are copied as they stand.

use super::super::error::{ReadError, WriteError};
use super::super::table::{Kind, PROPERTIES_BYTES, Summary, TableWriter};
use super::super::volume::Volume;
use super::{BLOCK_BYTES, RecordsEntries, encoding};

/// Writes one file from the records of several.
#[derive(Debug)]
pub struct RecordsJoiner {
    table: TableWriter,
    note: Vec<u8>,
}

/// Why files could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl RecordsJoiner {
    /// Makes the file, which must not be there yet.
    pub fn create(volume: &dyn Volume, path: &str) -> Result<Self, WriteError> {
        let table = TableWriter::create(volume, path, Kind::Records, BLOCK_BYTES)?;
        Ok(Self { table, note: Vec::new() })
    }

    /// Copies the next record of a file whose records lie above all before; `false` when it has no more.
    pub fn copy_next(&mut self, from: &mut RecordsEntries) -> Result<bool, JoinError> {
        if !from.advance()? {
            return Ok(false);
        }
        if let Some((key, value)) = from.entry() {
            self.note.clear();
            encoding::put_note(&mut self.note, encoding::read_epoch_us(value).unwrap_or_default());
            self.table.push(key, &[value], &self.note)?;
        }
        Ok(true)
    }

    /// Writes the rest and syncs the file; its folder entry is the caller's to sync.
    pub fn finish(self) -> Result<Summary, WriteError> {
        self.table.finish([0; PROPERTIES_BYTES])
    }
}
