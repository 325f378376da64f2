//! Joining neighbouring records files into one: blocks are copied as they stand, compressed, unless they are so small
//! that their records are better put together.

use super::super::error::{ReadError, WriteError};
use super::super::table::{Kind, PROPERTIES_BYTES, Summary, TableWriter};
use super::super::volume::Volume;
use super::{BLOCK_BYTES, RecordsEntries, encoding};

/// A block with fewer bytes before compression is not copied as it stands.
const COPIED_BYTES_MIN: usize = BLOCK_BYTES / 2;

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

    /// Copies the next block of a file whose records lie above all before; `false` when it has no more.
    pub fn copy_next(&mut self, from: &mut RecordsEntries) -> Result<bool, JoinError> {
        let Some((entries, stored)) = from.next_block()? else { return Ok(false) };
        if entries.bytes() >= COPIED_BYTES_MIN {
            let (_, first_record) = entries.entry(0);
            self.take_note(first_record);
            self.table.push_block(&entries, &stored, &self.note)?;
            return Ok(true);
        }
        for place in 0..entries.len() {
            let (key, record) = entries.entry(place);
            self.take_note(record);
            self.table.push(key, &[record], &self.note)?;
        }
        Ok(true)
    }

    fn take_note(&mut self, record: &[u8]) {
        self.note.clear();
        encoding::put_note(&mut self.note, encoding::read_epoch_us(record).unwrap_or_default());
    }

    /// Writes the rest and syncs the file; its folder entry is the caller's to sync.
    pub fn finish(self) -> Result<Summary, WriteError> {
        self.table.finish([0; PROPERTIES_BYTES])
    }
}
