//! Reading a table: every look-up goes from a root of the footer through blocks that the cache keeps.
//!
//! A reader touches its file when it is first used, so a damaged file is met by who needs it and never keeps a store
//! from opening.

use std::io;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::super::block::{self, BlockKind, HEADER_BYTES, Handle};
use super::super::cache::{Block, BlockCache};
use super::super::entries::Entries;
use super::super::error::ReadError;
use super::super::files::Files;
use super::super::filter;
use super::super::reports::DamageReports;
use super::super::volume::{Volume, VolumeFile};
use super::footer::{FOOTER_BYTES, Footer, Kind, PROPERTIES_BYTES, Root};
use super::index::read_place;
use super::scan::Scan;

/// Where a search goes: to the first entry that is not `before`.
pub(in super::super) struct Seek<'a> {
    /// Whether an entry (key, value) lies before the one that is sought. Those that do come first.
    pub before: &'a dyn Fn(&[u8], &[u8]) -> bool,
    /// Whether a block whose first entry has this key and this note begins at or before the one that is sought, so
    /// that blocks in front of it need no look.
    pub begins_before: &'a dyn Fn(&[u8], &[u8]) -> bool,
}

/// An entry that was found: the block, and its place in it.
pub(in super::super) type Found = (Arc<Entries>, usize);

#[derive(Debug)]
pub(in super::super) struct TableReader {
    volume: Arc<dyn Volume>,
    cache: Arc<BlockCache>,
    /// Where damage is told, beside who asked.
    reports: Arc<DamageReports>,
    path: String,
    kind: Kind,
    /// The size that the file was written with.
    bytes: u64,
    /// The file's number in the cache.
    number: u64,
    opened: OnceLock<Opened>,
}

#[derive(Debug)]
struct Opened {
    file: Arc<dyn VolumeFile>,
    footer: Footer,
    /// The root of the filter's index, once it was read: every new stream and id is looked for in every run's filter.
    filter_index: OnceLock<Arc<Entries>>,
}

impl TableReader {
    pub fn new(files: &Files, path: String, kind: Kind, bytes: u64) -> Self {
        let (volume, cache, reports) = files.shared();
        let number = cache.file_number();
        Self { volume, cache, reports, path, kind, bytes, number, opened: OnceLock::new() }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn properties(&self) -> Result<&[u8; PROPERTIES_BYTES], ReadError> {
        Ok(&self.opened()?.footer.properties)
    }

    pub fn entries(&self) -> Result<u64, ReadError> {
        Ok(self.opened()?.footer.entries)
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let Some((entries, place)) = self.last_until(key)? else { return Ok(None) };
        Ok((entries.entry(place).0 == key).then(|| entries.shared_value(place)))
    }

    /// The first entry whose key is at or above `key`.
    pub fn first_from(&self, key: &[u8]) -> Result<Option<Found>, ReadError> {
        self.seek(&Seek {
            before: &|found, _| found < key,
            begins_before: &|first_key, _| first_key <= key,
        })
    }

    /// The last entry whose key is at or below `key`.
    pub fn last_until(&self, key: &[u8]) -> Result<Option<Found>, ReadError> {
        let Some(root) = self.opened()?.footer.entries_root else { return Ok(None) };
        let Some(leaf) = self.leaf_of(root, key)? else { return Ok(None) };
        let entries = self.entries_at(BlockKind::Entries, leaf)?;
        let after = entries.partition_point(|found, _| found <= key);
        Ok(after.checked_sub(1).map(|place| (entries, place)))
    }

    /// The first entry that is not before what is sought.
    pub fn seek(&self, seek: &Seek<'_>) -> Result<Option<Found>, ReadError> {
        match self.opened()?.footer.entries_root {
            Some(root) => self.seek_below(root, seek),
            None => Ok(None),
        }
    }

    /// Whether a key may be among the filter's. Certain when it says no; `true` when the table has no filter.
    pub fn may_contain(&self, filter_key: &[u8]) -> Result<bool, ReadError> {
        let opened = self.opened()?;
        let Some(root) = opened.footer.filter_root else { return Ok(true) };
        let Some(leaf) = self.filter_leaf(opened, root, filter_key)? else { return Ok(false) };
        let bits = self.filter_at(leaf)?;
        filter::may_contain(&bits, filter_key).map_err(|what| self.damaged(leaf.offset, what))
    }

    /// All entries in order, read in large pieces and not through the cache.
    pub fn scan(&self) -> Result<Scan, ReadError> {
        let opened = self.opened()?;
        let end = opened.footer.file_bytes - FOOTER_BYTES as u64;
        Ok(Scan::new(Arc::clone(&opened.file), self.path.clone(), end))
    }

    /// Reads every byte of the file and checks it.
    pub fn verify(&self) -> Result<(), ReadError> {
        let opened = self.opened()?;
        let mut scan = self.scan()?;
        let mut entries = 0;
        while let Some(block) = scan.next_block()? {
            if block.kind == BlockKind::Entries {
                entries += scan.parse(block.raw)?.len() as u64;
            }
        }
        if entries != opened.footer.entries {
            return Err(self.damaged(self.bytes, "the file has another count of entries"));
        }
        Ok(())
    }

    /// Forgets what the cache holds of the file, which is read no more.
    pub fn forget(&self) {
        self.cache.forget(self.number);
    }

    pub fn damaged(&self, offset: u64, what: impl Into<String>) -> ReadError {
        self.reports.add(&self.path);
        ReadError::damaged(&self.path, offset, what)
    }

    fn io(&self, offset: u64, source: io::Error) -> ReadError {
        let error = ReadError::io(&self.path, offset, source);
        if matches!(error, ReadError::Damaged { .. }) {
            self.reports.add(&self.path);
        }
        error
    }

    fn seek_below(&self, root: Root, seek: &Seek<'_>) -> Result<Option<Found>, ReadError> {
        let Some(depth) = root.depth.checked_sub(1) else {
            let entries = self.entries_at(BlockKind::Entries, root.handle)?;
            let place = entries.partition_point(seek.before);
            return Ok((place < entries.len()).then_some((entries, place)));
        };
        let index = self.entries_at(BlockKind::Index, root.handle)?;
        let after = index.partition_point(|key, value| {
            (seek.begins_before)(key, read_place(value).map_or(&[], |(_, note)| note))
        });
        for place in after.saturating_sub(1)..index.len() {
            let handle = self.place(&index, place, root.handle)?;
            // What is sought may lie just behind the last entry of the first block, but never further.
            if let Some(found) = self.seek_below(Root { handle, depth }, seek)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The last leaf whose first key is at or below `key`; a tree of one leaf has no other.
    fn leaf_of(&self, root: Root, key: &[u8]) -> Result<Option<Handle>, ReadError> {
        let mut handle = root.handle;
        for _ in 0..root.depth {
            let index = self.entries_at(BlockKind::Index, handle)?;
            let Some(below) = self.below(&index, key, handle)? else { return Ok(None) };
            handle = below;
        }
        Ok(Some(handle))
    }

    /// Where the last block below an index is whose first key is at or below `key`.
    fn below(&self, index: &Entries, key: &[u8], at: Handle) -> Result<Option<Handle>, ReadError> {
        let after = index.partition_point(|first_key, _| first_key <= key);
        after.checked_sub(1).map(|place| self.place(index, place, at)).transpose()
    }

    /// As [`Self::leaf_of`], with the root in memory.
    fn filter_leaf(
        &self,
        opened: &Opened,
        root: Root,
        key: &[u8],
    ) -> Result<Option<Handle>, ReadError> {
        let Some(depth) = root.depth.checked_sub(1) else { return Ok(Some(root.handle)) };
        let index = if let Some(index) = opened.filter_index.get() {
            index
        } else {
            let index = self.entries_at(BlockKind::Index, root.handle)?;
            opened.filter_index.get_or_init(|| index)
        };
        match self.below(index, key, root.handle)? {
            Some(handle) => self.leaf_of(Root { handle, depth }, key),
            None => Ok(None),
        }
    }

    fn place(&self, index: &Entries, place: usize, at: Handle) -> Result<Handle, ReadError> {
        read_place(index.entry(place).1)
            .map(|(handle, _)| handle)
            .ok_or_else(|| self.damaged(at.offset, "an index entry names no place"))
    }

    fn entries_at(&self, kind: BlockKind, handle: Handle) -> Result<Arc<Entries>, ReadError> {
        match self.cache.get(self.number, handle.offset) {
            Some(Block::Entries(entries)) => return Ok(entries),
            Some(Block::Filter(_)) => {
                return Err(self.damaged(handle.offset, "an index leads to a filter"));
            }
            None => {}
        }
        let raw = self.read_block(kind, handle)?;
        let entries = Entries::parse(raw).map_err(|what| self.damaged(handle.offset, what))?;
        let entries = Arc::new(entries);
        self.cache.insert(self.number, handle.offset, Block::Entries(Arc::clone(&entries)));
        Ok(entries)
    }

    fn filter_at(&self, handle: Handle) -> Result<Bytes, ReadError> {
        match self.cache.get(self.number, handle.offset) {
            Some(Block::Filter(bits)) => return Ok(bits),
            Some(Block::Entries(_)) => {
                return Err(self.damaged(handle.offset, "an index of a filter leads to entries"));
            }
            None => {}
        }
        let bits = self.read_block(BlockKind::Filter, handle)?;
        self.cache.insert(self.number, handle.offset, Block::Filter(bits.clone()));
        Ok(bits)
    }

    fn read_block(&self, kind: BlockKind, handle: Handle) -> Result<Bytes, ReadError> {
        let opened = self.opened()?;
        let blocks_end = opened.footer.file_bytes - FOOTER_BYTES as u64;
        let end = handle.offset.checked_add(u64::from(handle.bytes));
        let bytes = handle.bytes as usize;
        if !(HEADER_BYTES..=block::STORED_BYTES_MAX).contains(&bytes)
            || end.is_none_or(|end| end > blocks_end)
        {
            return Err(self.damaged(handle.offset, "an index leads out of the file"));
        }
        let mut stored = vec![0; bytes];
        opened
            .file
            .read_at(handle.offset, &mut stored)
            .map_err(|source| self.io(handle.offset, source))?;
        block::decode(kind, handle.offset, &stored.into())
            .map_err(|what| self.damaged(handle.offset, what))
    }

    fn opened(&self) -> Result<&Opened, ReadError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let failed = |source| self.io(0, source);
        let file = self.volume.open(&self.path).map_err(failed)?;
        let bytes = file.bytes().map_err(failed)?;
        if bytes != self.bytes {
            let what = format!("the file has {bytes} bytes instead of {}", self.bytes);
            return Err(self.damaged(0, what));
        }
        let Some(footer_offset) = bytes.checked_sub(FOOTER_BYTES as u64) else {
            return Err(self.damaged(0, "the file is too short for a table"));
        };
        let mut footer = [0; FOOTER_BYTES];
        file.read_at(footer_offset, &mut footer)
            .map_err(|source| self.io(footer_offset, source))?;
        let footer = Footer::read(&footer, self.kind, bytes)
            .map_err(|what| self.damaged(footer_offset, what))?;
        // Another thread may have been first; then both read the same.
        Ok(self.opened.get_or_init(|| Opened { file, footer, filter_index: OnceLock::new() }))
    }
}
