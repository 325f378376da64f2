//! The newest entries of the log, bounded by bytes.

use std::collections::VecDeque;

use crate::raft::types::Entry;

/// Consecutive entries up to the end of the log; older ones are read from the files.
#[derive(Debug, Default)]
pub struct Cache {
    /// The index of the first entry that is here.
    first: u64,
    entries: VecDeque<(Entry, u64)>,
    bytes: u64,
}

impl Cache {
    /// Adds the newest entry with its encoded size.
    pub fn push(&mut self, entry: Entry, bytes: u64) {
        if self.entries.is_empty() {
            self.first = entry.log_id.index;
        }
        self.bytes += bytes;
        self.entries.push_back((entry, bytes));
    }

    /// The entry, when it is here.
    pub fn get(&self, index: u64) -> Option<&Entry> {
        let position = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.entries.get(position).map(|(entry, _)| entry)
    }

    /// Encoded bytes of what is here.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Drops the entries from `index` on.
    pub fn truncate_from(&mut self, index: u64) {
        while self.first + self.entries.len() as u64 > index
            && let Some((_, bytes)) = self.entries.pop_back()
        {
            self.bytes -= bytes;
        }
    }

    /// Drops the entries up to `index`.
    pub fn purge_to(&mut self, index: u64) {
        while self.first <= index && self.pop_front() {}
    }

    /// Drops the oldest entries while more than `bytes_max` are here, as long as `may_go` agrees.
    pub fn evict(&mut self, bytes_max: u64, may_go: impl Fn(u64) -> bool) {
        while self.bytes > bytes_max && may_go(self.first) && self.pop_front() {}
    }

    fn pop_front(&mut self) -> bool {
        let Some((_, bytes)) = self.entries.pop_front() else { return false };
        self.bytes -= bytes;
        self.first += 1;
        true
    }
}
