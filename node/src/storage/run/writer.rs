//! Writing a run.

use super::super::error::WriteError;
use super::super::keys;
use super::super::table::{Kind, Summary, TableWriter};
use super::super::volume::Volume;
use super::ids::IdBounds;

/// Bytes of a block before compression: what a look-up reads, decompresses and caches.
const BLOCK_BYTES: usize = 16 << 10;

/// Writes a run, key by key.
#[derive(Debug)]
pub struct RunWriter {
    table: TableWriter,
    ids: IdBounds,
}

impl RunWriter {
    /// Makes the file, which must not be there yet.
    pub fn create(volume: &dyn Volume, path: &str) -> Result<Self, WriteError> {
        let table = TableWriter::create(volume, path, Kind::Run, BLOCK_BYTES)?;
        Ok(Self { table, ids: IdBounds::default() })
    }

    /// Adds a key, which is above all before it.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        self.table.push(key, &[value], &[])?;
        if let Some(id) = keys::id_of(key) {
            self.ids.add(id);
        }
        self.table.push_filter_key(keys::filter_key(key))
    }

    /// Writes the rest and syncs the file; its folder entry is the caller's to sync.
    pub fn finish(self) -> Result<Summary, WriteError> {
        self.table.finish(self.ids.to_properties())
    }
}
