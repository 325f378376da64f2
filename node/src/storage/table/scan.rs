//! Reading a table front to back in large pieces, past the cache: for merging, copying and checking.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::super::block::{self, BlockKind, HEADER_BYTES, Header};
use super::super::entries::{Entries, Spans};
use super::super::error::ReadError;
use super::super::volume::VolumeFile;

/// What the disk is asked for at once.
const READ_BYTES: u64 = 512 << 10;

#[derive(Debug)]
pub(in super::super) struct Scan {
    file: Arc<dyn VolumeFile>,
    path: String,
    /// Where the next block begins.
    offset: u64,
    /// Where the blocks end.
    end: u64,
    /// What was read from `offset` on.
    ahead: Bytes,
    /// The block that is read now.
    entries: Option<Entries>,
    /// The place in it of the entry that was moved to last.
    place: usize,
    /// Where its key and its value lie in the block.
    spans: Spans,
}

/// A block that was read and checked.
pub(super) struct ReadBlock {
    pub kind: BlockKind,
    /// What it holds.
    pub raw: Bytes,
    /// As it stands in the file, header included.
    pub stored: Bytes,
}

impl Scan {
    pub(super) const fn new(file: Arc<dyn VolumeFile>, path: String, end: u64) -> Self {
        Self {
            file,
            path,
            offset: 0,
            end,
            ahead: Bytes::new(),
            entries: None,
            place: 0,
            spans: Spans::NONE,
        }
    }

    /// Moves to the next entry, at first to the first one; `false` when there is none.
    pub fn advance(&mut self) -> Result<bool, ReadError> {
        if let Some(entries) = &self.entries
            && self.place + 1 < entries.len()
        {
            self.place += 1;
            self.spans = entries.spans(self.place);
            return Ok(true);
        }
        self.place = 0;
        self.entries = self.next_entries()?.map(|(entries, _block)| entries);
        self.spans = self.entries.as_ref().map_or(Spans::NONE, |entries| entries.spans(0));
        Ok(self.entries.is_some())
    }

    /// The next block of entries, parsed, and as it stands in the file; `None` when there is none. Entries of a block that
    /// [`Self::advance`] has come to are passed over.
    pub fn next_entries(&mut self) -> Result<Option<(Entries, Bytes)>, ReadError> {
        while let Some(block) = self.next_block()? {
            // A block of entries has at least one.
            if block.kind == BlockKind::Entries && !block.raw.is_empty() {
                return Ok(Some((self.parse(block.raw)?, block.stored)));
            }
        }
        Ok(None)
    }

    /// The key and the value that was moved to; `None` before the first and after the last.
    pub fn entry(&self) -> Option<(&[u8], &[u8])> {
        self.entries.as_ref().map(|entries| entries.at(self.spans))
    }

    /// The same as bytes that share the block's.
    pub fn shared(&self) -> Option<(Bytes, Bytes)> {
        self.entries.as_ref().map(|entries| entries.shared(self.place))
    }

    /// The next entry as bytes that share the block's.
    pub fn next_shared(&mut self) -> Result<Option<(Bytes, Bytes)>, ReadError> {
        Ok(if self.advance()? { self.shared() } else { None })
    }

    /// The next block of any kind, checked.
    pub(super) fn next_block(&mut self) -> Result<Option<ReadBlock>, ReadError> {
        if self.offset == self.end {
            return Ok(None);
        }
        self.read_ahead(HEADER_BYTES)?;
        let header = Header::read(&self.ahead).map_err(|what| self.damaged(what))?;
        let bytes = HEADER_BYTES + header.stored_bytes;
        self.read_ahead(bytes)?;
        let stored = self.ahead.slice(..bytes);
        let raw =
            block::decode(header.kind, self.offset, &stored).map_err(|what| self.damaged(what))?;
        self.ahead = self.ahead.slice(bytes..);
        self.offset += bytes as u64;
        Ok(Some(ReadBlock { kind: header.kind, raw, stored }))
    }

    /// Takes the entries out of the block that was read last.
    pub(super) fn parse(&self, raw: Bytes) -> Result<Entries, ReadError> {
        Entries::parse(raw).map_err(|what| self.damaged(what))
    }

    /// Has at least `bytes` from the next block on.
    fn read_ahead(&mut self, bytes: usize) -> Result<(), ReadError> {
        if self.ahead.len() >= bytes {
            return Ok(());
        }
        let left = self.end - self.offset;
        if bytes as u64 > left {
            return Err(self.damaged("a block reaches over the end of the blocks"));
        }
        let wanted = left.min(READ_BYTES.max(bytes as u64)) as usize;
        let mut ahead = BytesMut::zeroed(wanted);
        let have = self.ahead.len();
        ahead[..have].copy_from_slice(&self.ahead);
        let start = self.offset + have as u64;
        self.file
            .read_at(start, &mut ahead[have..])
            .map_err(|source| ReadError::io(&self.path, start, source))?;
        self.ahead = ahead.freeze();
        Ok(())
    }

    fn damaged(&self, what: impl Into<String>) -> ReadError {
        ReadError::damaged(&self.path, self.offset, what)
    }
}
