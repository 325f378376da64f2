//! Building a tree of index blocks while the blocks below it are written.
//!
//! An entry of an index block: the first key below a block; where the block lies; and a note about the block's first
//! entry, which the kind of table chooses (times, for records).

use super::super::block::{BlockKind, Handle};
use super::super::entries::EntriesBuilder;
use super::super::error::WriteError;
use super::footer::Root;
use super::writer::BlockWriter;
use crate::event::codec::{Reader, put_varint};

/// Bytes of an index block before compression: a few hundred blocks below each.
const INDEX_BLOCK_BYTES: usize = 16 << 10;

#[derive(Debug, Default)]
pub(super) struct IndexBuilder {
    /// From the level just above the leaves up.
    levels: Vec<Level>,
}

#[derive(Debug, Default)]
struct Level {
    pending: EntriesBuilder,
    /// The note of the first pending entry.
    note: Vec<u8>,
    /// How many blocks below were ever added.
    blocks: u64,
    last: Option<Handle>,
}

impl IndexBuilder {
    /// Adds a leaf; leaves come in the order of their keys.
    pub fn push(
        &mut self,
        writer: &mut BlockWriter,
        first_key: &[u8],
        handle: Handle,
        note: &[u8],
    ) -> Result<(), WriteError> {
        self.push_at(0, writer, first_key, handle, note)
    }

    /// Writes what is pending and returns the root; `None` without a leaf.
    pub fn finish(mut self, writer: &mut BlockWriter) -> Result<Option<Root>, WriteError> {
        for depth in 0.. {
            let is_top = depth + 1 == self.levels.len();
            let Some(level) = self.levels.get(depth) else { break };
            if let (true, 1, Some(handle)) = (is_top, level.blocks, level.last) {
                return Ok(Some(Root { handle, depth: depth as u8 }));
            }
            self.write_level(depth, writer)?;
        }
        Ok(None)
    }

    fn push_at(
        &mut self,
        depth: usize,
        writer: &mut BlockWriter,
        first_key: &[u8],
        handle: Handle,
        note: &[u8],
    ) -> Result<(), WriteError> {
        if depth == self.levels.len() {
            self.levels.push(Level::default());
        }
        let level = &mut self.levels[depth];
        if level.pending.is_empty() {
            level.note.clear();
            level.note.extend_from_slice(note);
        }
        let mut place = Vec::with_capacity(16);
        put_varint(&mut place, handle.offset);
        put_varint(&mut place, u64::from(handle.bytes));
        level.pending.push(first_key, &[&place, note]);
        level.blocks += 1;
        level.last = Some(handle);
        if level.pending.bytes() >= INDEX_BLOCK_BYTES {
            self.write_level(depth, writer)?;
        }
        Ok(())
    }

    fn write_level(&mut self, depth: usize, writer: &mut BlockWriter) -> Result<(), WriteError> {
        let level = &mut self.levels[depth];
        if level.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut level.pending);
        let note = std::mem::take(&mut level.note);
        let handle = writer.write(BlockKind::Index, pending.raw())?;
        self.push_at(depth + 1, writer, pending.first_key(), handle, &note)
    }
}

/// Takes the value of an index entry apart; `None` if it is none.
pub(super) fn read_place(value: &[u8]) -> Option<(Handle, &[u8])> {
    let mut reader = Reader::new(value);
    let offset = reader.varint().ok()?;
    let bytes = reader.varint_u32().ok()?;
    Some((Handle { offset, bytes }, reader.rest()))
}
