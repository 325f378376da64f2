//! Writing a table, front to back, with a bounded amount of memory whatever its size.

use std::sync::Arc;

use ring::digest;

use super::super::block::{self, BlockKind, Encoder, Handle};
use super::super::entries::{Entries, EntriesBuilder};
use super::super::error::WriteError;
use super::super::filter::FilterBuilder;
use super::super::volume::{Volume, VolumeFile};
use super::footer::{FOOTER_BYTES, Footer, Kind, PROPERTIES_BYTES};
use super::index::IndexBuilder;
use crate::limits;

/// What is gathered before the disk is asked.
const WRITE_BYTES: usize = 1 << 20;

/// A file that was written and synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The size of the file.
    pub bytes: u64,
    /// The SHA-256 of the file.
    pub digest: [u8; 32],
    /// How many entries there are in it.
    pub entries: u64,
}

#[derive(Debug)]
pub(in super::super) struct TableWriter {
    kind: Kind,
    writer: BlockWriter,
    /// Bytes of a block of entries before compression.
    block_bytes: usize,
    block: EntriesBuilder,
    /// The note of the block's first entry.
    note: Vec<u8>,
    index: IndexBuilder,
    filter: FilterBuilder,
    filter_index: IndexBuilder,
    last_key: Vec<u8>,
    entries: u64,
}

impl TableWriter {
    /// Makes the file. Blocks of entries have about `block_bytes` before compression.
    pub fn create(
        volume: &dyn Volume,
        path: &str,
        kind: Kind,
        block_bytes: usize,
    ) -> Result<Self, WriteError> {
        Ok(Self {
            kind,
            writer: BlockWriter::create(volume, path)?,
            block_bytes,
            block: EntriesBuilder::default(),
            note: Vec::new(),
            index: IndexBuilder::default(),
            filter: FilterBuilder::default(),
            filter_index: IndexBuilder::default(),
            last_key: Vec::new(),
            entries: 0,
        })
    }

    /// Adds an entry, above all before it. The note is kept for the first entry of a block only.
    pub fn push(
        &mut self,
        key: &[u8],
        value_parts: &[&[u8]],
        note: &[u8],
    ) -> Result<(), WriteError> {
        if self.entries > 0 && key <= self.last_key.as_slice() {
            return Err(WriteError::Unordered { file: self.writer.path.clone() });
        }
        let value_bytes = value_parts.iter().map(|part| part.len()).sum();
        let bytes = EntriesBuilder::entry_bytes(key.len(), value_bytes);
        if bytes > limits::BLOCK_BYTES_MAX {
            return Err(WriteError::TooLarge { file: self.writer.path.clone(), bytes });
        }
        if !self.block.is_empty() && self.block.bytes() + bytes > self.block_bytes {
            self.write_block()?;
        }
        if self.block.is_empty() {
            self.note.clear();
            self.note.extend_from_slice(note);
        }
        self.block.push(key, value_parts);
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.entries += 1;
        Ok(())
    }

    /// Adds a block of entries of another table as it stands there; its first key lies above all before it.
    pub fn push_block(
        &mut self,
        entries: &Entries,
        stored: &[u8],
        note: &[u8],
    ) -> Result<(), WriteError> {
        self.write_block()?;
        let Some(last) = entries.len().checked_sub(1) else { return Ok(()) };
        let ((first_key, _), (last_key, _)) = (entries.entry(0), entries.entry(last));
        if self.entries > 0 && first_key <= self.last_key.as_slice() {
            return Err(WriteError::Unordered { file: self.writer.path.clone() });
        }
        let handle = self.writer.copy(stored)?;
        self.index.push(&mut self.writer, first_key, handle, note)?;
        self.last_key.clear();
        self.last_key.extend_from_slice(last_key);
        self.entries += entries.len() as u64;
        Ok(())
    }

    /// Adds a key to the filter; keys come in ascending order, and one may come again at once.
    pub fn push_filter_key(&mut self, filter_key: &[u8]) -> Result<(), WriteError> {
        if let Some(page) = self.filter.push(filter_key) {
            let handle = self.writer.write(BlockKind::Filter, &page.bits)?;
            self.filter_index.push(&mut self.writer, &page.first_key, handle, &[])?;
        }
        Ok(())
    }

    /// Bytes of the file so far, roughly: what is still gathered is not counted.
    pub const fn bytes(&self) -> u64 {
        self.writer.offset
    }

    /// Writes the rest and syncs the file; its folder entry is the caller's to sync.
    pub fn finish(mut self, properties: [u8; PROPERTIES_BYTES]) -> Result<Summary, WriteError> {
        self.write_block()?;
        if let Some(page) = self.filter.finish() {
            let handle = self.writer.write(BlockKind::Filter, &page.bits)?;
            self.filter_index.push(&mut self.writer, &page.first_key, handle, &[])?;
        }
        let entries_root = self.index.finish(&mut self.writer)?;
        let filter_root = self.filter_index.finish(&mut self.writer)?;
        let footer = Footer {
            kind: self.kind,
            entries: self.entries,
            file_bytes: self.writer.offset + FOOTER_BYTES as u64,
            entries_root,
            filter_root,
            properties,
        };
        let (bytes, digest) = self.writer.finish(&footer.write())?;
        Ok(Summary { bytes, digest, entries: self.entries })
    }

    fn write_block(&mut self) -> Result<(), WriteError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let handle = self.writer.write(BlockKind::Entries, self.block.raw())?;
        self.index.push(&mut self.writer, self.block.first_key(), handle, &self.note)?;
        self.block.clear();
        Ok(())
    }
}

/// Writes blocks one after the other, and the digest of them all.
#[derive(Debug)]
pub(super) struct BlockWriter {
    path: String,
    file: Arc<dyn VolumeFile>,
    encoder: Encoder,
    /// What was not handed to the file yet.
    pending: Vec<u8>,
    /// The size of the file with what is pending.
    offset: u64,
    digest: Digest,
}

impl BlockWriter {
    fn create(volume: &dyn Volume, path: &str) -> Result<Self, WriteError> {
        let failed = WriteError::io(path);
        Ok(Self {
            path: path.to_owned(),
            file: volume.create(path).map_err(failed)?,
            encoder: Encoder::default(),
            pending: Vec::with_capacity(WRITE_BYTES + WRITE_BYTES / 4),
            offset: 0,
            digest: Digest(digest::Context::new(&digest::SHA256)),
        })
    }

    /// Writes a block at the end and says where that is.
    pub fn write(&mut self, kind: BlockKind, raw: &[u8]) -> Result<Handle, WriteError> {
        let handle = self
            .encoder
            .encode(kind, self.offset, raw, &mut self.pending)
            .map_err(WriteError::io(&self.path))?;
        self.written(handle)
    }

    /// Writes a block of another file, header included, at the end and says where that is.
    fn copy(&mut self, block: &[u8]) -> Result<Handle, WriteError> {
        let handle = block::copy(block, self.offset, &mut self.pending);
        self.written(handle)
    }

    fn written(&mut self, handle: Handle) -> Result<Handle, WriteError> {
        self.offset += u64::from(handle.bytes);
        if self.pending.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(handle)
    }

    fn finish(mut self, footer: &[u8]) -> Result<(u64, [u8; 32]), WriteError> {
        self.pending.extend_from_slice(footer);
        self.offset += footer.len() as u64;
        self.flush()?;
        self.file.sync_data().map_err(WriteError::io(&self.path))?;
        let digest = self.digest.0.finish();
        Ok((self.offset, digest.as_ref().try_into().expect("SHA-256 has 32 bytes")))
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        let start = self.offset - self.pending.len() as u64;
        self.file.write_at(start, &self.pending).map_err(WriteError::io(&self.path))?;
        self.digest.0.update(&self.pending);
        self.pending.clear();
        Ok(())
    }
}

struct Digest(digest::Context);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest")
    }
}
