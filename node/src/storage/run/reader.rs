//! Reading a run.

use std::sync::OnceLock;

use bytes::Bytes;

use super::super::error::ReadError;
use super::super::files::Files;
use super::super::table::{Kind, Scan, TableReader};
use super::ids::IdBounds;

/// A run. Its file is opened when it is first used; what is read of it stays in the block cache.
#[derive(Debug)]
pub struct RunReader {
    table: TableReader,
    /// From the footer, once it was read: every id that is appended is compared with those of every run.
    ids: OnceLock<IdBounds>,
}

impl RunReader {
    /// A reader of the run that was written with `bytes` bytes. Touches nothing yet.
    pub fn new(files: &Files, path: impl Into<String>, bytes: u64) -> Self {
        Self { table: files.table(path.into(), Kind::Run, bytes), ids: OnceLock::new() }
    }

    /// The file's path in the volume.
    pub fn path(&self) -> &str {
        self.table.path()
    }

    /// Whether there may be a key with this [filter key](super::super::keys::filter_key). Certain when it says no; about
    /// one in a hundred that are not there passes.
    pub fn may_contain(&self, filter_key: &[u8]) -> Result<bool, ReadError> {
        self.table.may_contain(filter_key)
    }

    /// Whether the event id lies within those of the run. Certain when it says no; reads nothing but the footer.
    pub fn may_have_id(&self, id: &[u8; 16]) -> Result<bool, ReadError> {
        if let Some(ids) = self.ids.get() {
            return Ok(ids.may_have(id));
        }
        let ids = IdBounds::from_properties(self.table.properties()?);
        Ok(self.ids.get_or_init(|| ids).may_have(id))
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.table.get(key)
    }

    /// The first key at or above `key`, and its value.
    pub fn seek(&self, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, ReadError> {
        Ok(self.table.first_from(key)?.map(|(entries, place)| entries.shared(place)))
    }

    /// The last key at or below `key`, and its value.
    pub fn seek_back(&self, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, ReadError> {
        Ok(self.table.last_until(key)?.map(|(entries, place)| entries.shared(place)))
    }

    /// All keys and values in order, read in large pieces and not through the cache.
    pub fn entries(&self) -> Result<RunEntries, ReadError> {
        Ok(RunEntries(self.table.scan()?))
    }

    /// How many keys there are.
    pub fn len(&self) -> Result<u64, ReadError> {
        self.table.entries()
    }

    /// Whether there is no key.
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
}

/// The keys and values of a run in order. After an error it ends.
#[derive(Debug)]
pub struct RunEntries(Scan);

impl RunEntries {
    /// Moves to the next key; `false` when there is none. Cheaper than the iterator.
    pub(crate) fn advance(&mut self) -> Result<bool, ReadError> {
        self.0.advance()
    }

    /// The key and the value that was moved to.
    pub(crate) fn entry(&self) -> Option<(&[u8], &[u8])> {
        self.0.entry()
    }
}

impl Iterator for RunEntries {
    type Item = Result<(Bytes, Bytes), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_shared().transpose()
    }
}
