//! A block: the unit that is compressed, checked and cached.
//!
//! ```text
//! raw bytes (4) | stored bytes (4) | kind (1) | codec (1) | crc32c (4) | stored bytes …
//! ```
//!
//! The checksum also covers where in the file the block lies, so that a block that was written to another place is
//! not taken for the one that belongs there. Nothing is allocated before the lengths have been checked.

use std::cell::RefCell;
use std::io;

use bytes::{Buf as _, BufMut as _, Bytes};

use crate::limits;

/// Bytes in front of the contents of a block.
pub(super) const HEADER_BYTES: usize = 4 + 4 + 1 + 1 + 4;
/// The largest block in a file, header included: contents that do not compress are stored plain.
pub(super) const STORED_BYTES_MAX: usize = HEADER_BYTES + limits::BLOCK_BYTES_MAX;
/// The part of the header that the checksum covers: all but the checksum itself.
const CHECKED_HEADER_BYTES: usize = HEADER_BYTES - 4;

/// Speed matters more than the last tenth of size: the same data is written once by a seal and a few times by merges.
/// Batches of `reckon bench` went in quicker at a level below 0 than at 1; what it costs in space is not measured yet.
const ZSTD_LEVEL: i32 = -3;

const CODEC_PLAIN: u8 = 0;
const CODEC_ZSTD: u8 = 1;

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// Entries of a table.
    Entries = 1,
    /// Where blocks lie.
    Index = 2,
    /// Bits of a filter.
    Filter = 3,
}

impl BlockKind {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Entries),
            2 => Some(Self::Index),
            3 => Some(Self::Filter),
            _ => None,
        }
    }
}

/// Where a block lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle {
    pub offset: u64,
    /// With the header.
    pub bytes: u32,
}

/// The header of a block, its lengths already known to be possible.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub kind: BlockKind,
    pub stored_bytes: usize,
    raw_bytes: usize,
    codec: u8,
    crc: u32,
}

impl Header {
    /// Reads a header; the reason if it cannot be one.
    pub fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut fields = bytes.get(..HEADER_BYTES).ok_or("the block ends in its header")?;
        let raw_bytes = fields.get_u32_le() as usize;
        let stored_bytes = fields.get_u32_le() as usize;
        let kind = BlockKind::from_byte(fields.get_u8()).ok_or("the block is of no known kind")?;
        let codec = fields.get_u8();
        let crc = fields.get_u32_le();
        if raw_bytes > limits::BLOCK_BYTES_MAX || stored_bytes > raw_bytes {
            return Err("the block states an impossible size");
        }
        match codec {
            CODEC_PLAIN if stored_bytes != raw_bytes => Err("a plain block has two sizes"),
            CODEC_PLAIN | CODEC_ZSTD => Ok(Self { kind, stored_bytes, raw_bytes, codec, crc }),
            _ => Err("the block is compressed in no known way"),
        }
    }
}

/// Makes blocks; keeps the compressor's memory between them.
pub(super) struct Encoder {
    compressor: zstd::bulk::Compressor<'static>,
    compressed: Vec<u8>,
}

impl Encoder {
    pub fn new() -> io::Result<Self> {
        let compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        Ok(Self { compressor, compressed: Vec::new() })
    }

    /// Appends the block of `raw` to `out`, for the place `offset` in the file. `raw` fits a block.
    pub fn encode(
        &mut self,
        kind: BlockKind,
        offset: u64,
        raw: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<Handle> {
        debug_assert!(raw.len() <= limits::BLOCK_BYTES_MAX, "the writer cuts blocks to size");
        // Bits of a filter have no pattern; trying to compress them is lost time.
        self.compressed.clear();
        if kind != BlockKind::Filter {
            self.compressed.reserve(zstd::zstd_safe::compress_bound(raw.len()));
            self.compressor.compress_to_buffer(raw, &mut self.compressed)?;
        }
        let is_smaller = kind != BlockKind::Filter && self.compressed.len() < raw.len();
        let (codec, stored) =
            if is_smaller { (CODEC_ZSTD, self.compressed.as_slice()) } else { (CODEC_PLAIN, raw) };
        let start = out.len();
        out.put_u32_le(raw.len() as u32);
        out.put_u32_le(stored.len() as u32);
        out.put_u8(kind as u8);
        out.put_u8(codec);
        let crc = checksum(offset, &out[start..], stored);
        out.put_u32_le(crc);
        out.extend_from_slice(stored);
        Ok(Handle { offset, bytes: (out.len() - start) as u32 })
    }
}

/// Appends a block that was read and checked, header included, to `out`, for the place `offset` in another file.
pub(super) fn copy(block: &[u8], offset: u64, out: &mut Vec<u8>) -> Handle {
    let (header, stored) = block.split_at(HEADER_BYTES);
    let checked_header = &header[..CHECKED_HEADER_BYTES];
    out.extend_from_slice(checked_header);
    out.put_u32_le(checksum(offset, checked_header, stored));
    out.extend_from_slice(stored);
    Handle { offset, bytes: block.len() as u32 }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// Reads the block that `bytes` are, all of them, and that lies at `offset`; the reason if it is not what was written.
pub(super) fn decode(kind: BlockKind, offset: u64, bytes: &Bytes) -> Result<Bytes, &'static str> {
    let header = Header::read(bytes)?;
    let stored = &bytes[HEADER_BYTES..];
    if stored.len() != header.stored_bytes {
        return Err("the block is not as long as its header says");
    }
    if checksum(offset, &bytes[..CHECKED_HEADER_BYTES], stored) != header.crc {
        return Err("the block does not match its checksum");
    }
    if header.kind != kind {
        return Err("the block is of another kind than the one that belongs here");
    }
    if header.codec == CODEC_PLAIN {
        return Ok(bytes.slice(HEADER_BYTES..));
    }
    let mut raw = Vec::with_capacity(header.raw_bytes);
    let bytes = decompress(stored, &mut raw).map_err(|_| "the block cannot be decompressed")?;
    if bytes != header.raw_bytes {
        return Err("the block decompresses to another size than it states");
    }
    Ok(raw.into())
}

/// Decompresses into the room that `raw` has, and never more.
fn decompress(stored: &[u8], raw: &mut Vec<u8>) -> io::Result<usize> {
    thread_local! {
        /// Making one costs more than decompressing a block with it.
        static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
            const { RefCell::new(None) };
    }
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(zstd::bulk::Decompressor::new()?),
        };
        decompressor.decompress_to_buffer(stored, raw)
    })
}

fn checksum(offset: u64, header: &[u8], stored: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, header), stored)
}
