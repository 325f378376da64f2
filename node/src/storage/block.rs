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
use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};

use crate::limits;

/// Bytes in front of the contents of a block.
pub(super) const HEADER_BYTES: usize = 4 + 4 + 1 + 1 + 4;
/// The largest block in a file, header included: contents that do not compress are stored plain.
pub(super) const STORED_BYTES_MAX: usize = HEADER_BYTES + limits::BLOCK_BYTES_MAX;
/// The part of the header that the checksum covers: all but the checksum itself.
const CHECKED_HEADER_BYTES: usize = HEADER_BYTES - 4;

const CODEC_PLAIN: u8 = 0;
/// Written by earlier builds, still read.
const CODEC_ZSTD: u8 = 1;
/// What is written now. Of blocks that `reckon bench` filled, compared with zstd at level -3: compressed 1.4 to 1.7 times
/// and decompressed about twice as fast; records took 21 to 22 % of their size instead of 19 to 20 %, runs 31 to 39 %
/// instead of 21 to 30 %.
const CODEC_LZ4: u8 = 2;

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
            CODEC_PLAIN | CODEC_ZSTD | CODEC_LZ4 => {
                Ok(Self { kind, stored_bytes, raw_bytes, codec, crc })
            }
            _ => Err("the block is compressed in no known way"),
        }
    }
}

/// Makes blocks; keeps the compressor's memory between them.
#[derive(Default)]
pub(super) struct Encoder {
    table: CompressTable,
    /// Room for a compressed block.
    room: Vec<u8>,
}

impl Encoder {
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
        let compressed = if kind == BlockKind::Filter { raw } else { self.compress(raw)? };
        let is_smaller = compressed.len() < raw.len();
        let (codec, stored) = if is_smaller { (CODEC_LZ4, compressed) } else { (CODEC_PLAIN, raw) };
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

    fn compress(&mut self, raw: &[u8]) -> io::Result<&[u8]> {
        let bytes_max = get_maximum_output_size(raw.len());
        if self.room.len() < bytes_max {
            self.room.resize(bytes_max, 0);
        }
        let bytes = compress_into_with_table(raw, &mut self.room, &mut self.table);
        bytes.map(|bytes| &self.room[..bytes]).map_err(io::Error::other)
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
    let mut raw = vec![0; header.raw_bytes];
    let bytes = match header.codec {
        CODEC_ZSTD => decompress_zstd(stored, &mut raw).ok(),
        _ => decompress_into(stored, &mut raw).ok(),
    };
    match bytes.ok_or("the block cannot be decompressed")? {
        bytes if bytes == header.raw_bytes => Ok(raw.into()),
        _ => Err("the block decompresses to another size than it states"),
    }
}

/// Decompresses into `raw`, and never more than it holds.
fn decompress_zstd(stored: &[u8], raw: &mut [u8]) -> io::Result<usize> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(raw: &[u8]) -> Bytes {
        let mut out = Vec::new();
        Encoder::default().encode(BlockKind::Entries, 7, raw, &mut out).unwrap();
        out.into()
    }

    #[test]
    fn a_block_gives_back_what_went_in_whether_it_compresses_or_not() {
        let text = b"{\"amount\":12}".repeat(10_000);
        let noise: Vec<u8> =
            (0..50_000_u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
        for raw in [&b""[..], b"x", &text, &noise] {
            let block = encoded(raw);
            assert!(block.len() <= raw.len() + HEADER_BYTES);
            assert_eq!(decode(BlockKind::Entries, 7, &block).unwrap(), raw);
            decode(BlockKind::Entries, 8, &block).unwrap_err();
            let mut moved = Vec::new();
            copy(&block, 8, &mut moved);
            assert_eq!(decode(BlockKind::Entries, 8, &moved.into()).unwrap(), raw);
        }
        assert!(encoded(&text).len() < text.len() / 10);
    }

    #[test]
    fn blocks_that_earlier_builds_compressed_are_read() {
        let raw = b"{\"amount\":12}".repeat(100);
        let stored = zstd::bulk::compress(&raw, 1).unwrap();
        let mut block = Vec::new();
        block.put_u32_le(raw.len() as u32);
        block.put_u32_le(stored.len() as u32);
        block.put_u8(BlockKind::Entries as u8);
        block.put_u8(CODEC_ZSTD);
        let crc = checksum(7, &block, &stored);
        block.put_u32_le(crc);
        block.extend_from_slice(&stored);
        assert_eq!(decode(BlockKind::Entries, 7, &block.into()).unwrap(), raw);
    }
}
