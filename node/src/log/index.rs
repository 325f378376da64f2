//! Where each entry of the log lies: 24 bytes per entry, for the whole log.

use std::collections::VecDeque;

use super::entry::log_id;
use super::files::FileNumber;
use super::frame::ALIGNMENT;
use crate::raft::types::LogId;

/// The file number of an entry that the writer has not yet made durable; real numbers begin at 1.
const PENDING: FileNumber = 0;

#[derive(Debug, Clone, Copy)]
struct Slot {
    term: u64,
    /// Encoded bytes of all entries up to and with this one, counted since the index was made.
    end_bytes: u64,
    file: FileNumber,
    /// The frame's offset in units of the alignment, so that 32 bits reach 32 GiB.
    offset_words: u32,
}

/// Where one entry lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The file that has its frame.
    pub file: FileNumber,
    /// Where the frame begins, in bytes.
    pub offset: u64,
}

/// The places of consecutive entries.
#[derive(Debug, Default)]
pub struct Index {
    /// The index of the first slot; without slots, of the first that may come.
    first: u64,
    slots: VecDeque<Slot>,
    /// `end_bytes` of the entry before the first.
    base_bytes: u64,
}

impl Index {
    /// The index of the first entry, or where it would be.
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The index after the last entry.
    pub fn next(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The last entry's place in the log.
    pub fn last_log_id(&self) -> Option<LogId> {
        self.slots.back().map(|slot| log_id(slot.term, self.next() - 1))
    }

    /// Adds the next entry, or the first one wherever it is.
    pub fn push(&mut self, log_id: LogId, bytes: u64) {
        if self.slots.is_empty() {
            self.first = log_id.index;
        }
        debug_assert_eq!(log_id.index, self.next(), "entries are consecutive");
        let end_bytes = self.end_bytes() + bytes;
        let term = log_id.committed_leader_id().term;
        self.slots.push_back(Slot { term, end_bytes, file: PENDING, offset_words: 0 });
    }

    /// Notes where an entry is durable, unless it has been truncated or purged meanwhile.
    pub fn locate(&mut self, log_id: LogId, location: Location) {
        let slot = self.position(log_id.index).and_then(|position| self.slots.get_mut(position));
        if let Some(slot) = slot.filter(|slot| slot.term == log_id.committed_leader_id().term) {
            slot.file = location.file;
            slot.offset_words = u32::try_from(location.offset / ALIGNMENT as u64)
                .expect("a file is a little larger than the largest entry");
        }
    }

    /// The log id of an entry.
    pub fn log_id(&self, index: u64) -> Option<LogId> {
        Some(log_id(self.slot(index)?.term, index))
    }

    /// Where an entry lies, when it is durable.
    pub fn location(&self, index: u64) -> Option<Location> {
        let slot = self.slot(index).filter(|slot| slot.file != PENDING)?;
        let offset = u64::from(slot.offset_words) * ALIGNMENT as u64;
        Some(Location { file: slot.file, offset })
    }

    /// Bytes of the encoded entry.
    pub fn bytes(&self, index: u64) -> Option<u64> {
        let position = self.position(index)?;
        let before = position.checked_sub(1).and_then(|before| self.slots.get(before));
        let start_bytes = before.map_or(self.base_bytes, |slot| slot.end_bytes);
        Some(self.slots.get(position)?.end_bytes - start_bytes)
    }

    /// Bytes of all encoded entries after `index`; of all entries when it is `None`.
    pub fn bytes_after(&self, index: Option<u64>) -> u64 {
        let Some(index) = index else { return self.end_bytes() - self.base_bytes };
        if index >= self.next() {
            return 0;
        }
        let start_bytes = self.slot(index).map_or(self.base_bytes, |slot| slot.end_bytes);
        self.end_bytes() - start_bytes
    }

    /// The last index behind which entries of at least `bytes` follow; `None`: there are not so many.
    pub fn last_before(&self, bytes: u64) -> Option<u64> {
        let end_bytes = self.end_bytes();
        let old = self.slots.partition_point(|slot| end_bytes - slot.end_bytes >= bytes);
        Some(self.first + old.checked_sub(1)? as u64)
    }

    /// Drops the entries from `index` on.
    pub fn truncate_from(&mut self, index: u64) {
        let kept = usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.slots.truncate(kept);
    }

    /// Drops the entries up to `index`. The first entry after it, when there is none yet, is the next.
    pub fn purge_to(&mut self, index: u64) {
        while self.first <= index
            && let Some(slot) = self.slots.pop_front()
        {
            self.base_bytes = slot.end_bytes;
            self.first += 1;
        }
        if self.slots.is_empty() {
            self.first = index + 1;
        }
    }

    fn end_bytes(&self) -> u64 {
        self.slots.back().map_or(self.base_bytes, |slot| slot.end_bytes)
    }

    fn position(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.first)?).ok()
    }

    fn slot(&self, index: u64) -> Option<&Slot> {
        self.slots.get(self.position(index)?)
    }
}
