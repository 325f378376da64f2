//! What is known in memory about the log, shared by the store, its readers and the writer.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::cache::Cache;
use super::files::{FileNumber, LogFile};
use super::index::{Index, Location};
use super::{ENTRY_BYTES_MAX, entry};
use crate::raft::types::{Entry, LogId, Vote};

/// A file that is open, with what is needed to read its frames.
#[derive(Debug, Clone)]
pub struct OpenFile {
    pub number: FileNumber,
    pub nonce: u64,
    /// The size, preallocated space included.
    pub bytes: u64,
    /// For messages.
    pub name: Arc<str>,
    pub file: Arc<dyn LogFile>,
}

/// The state behind its lock. The lock is never held over a read, a write or a sync.
pub type Shared = Mutex<State>;

/// The log as it will be when everything queued is written.
#[derive(Debug)]
pub struct State {
    pub purged: Option<LogId>,
    pub index: Index,
    pub cache: Cache,
    /// The last vote that is on stable storage.
    pub vote: Option<Vote>,
    /// The commit mark as openraft last gave it; it may be ahead of what is on stable storage.
    pub committed: Option<LogId>,
    pub files: BTreeMap<FileNumber, OpenFile>,
    /// Entries beyond this index stay in the cache. `None` until apply reports for the first time: then nothing
    /// but the bound on bytes and what is unflushed counts.
    applied: Option<u64>,
    cache_bytes_max: u64,
    failed: Option<Arc<str>>,
}

impl State {
    pub fn new(cache_bytes_max: u64) -> Self {
        Self {
            purged: None,
            index: Index::default(),
            cache: Cache::default(),
            vote: None,
            committed: None,
            files: BTreeMap::new(),
            applied: None,
            cache_bytes_max,
            failed: None,
        }
    }

    /// The last entry, or the purge mark when there is none.
    pub fn last_log_id(&self) -> Option<LogId> {
        self.index.last_log_id().or(self.purged)
    }

    /// An error once a write or a sync has failed: nothing that is asked afterwards can be answered honestly.
    pub fn check(&self) -> io::Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(reason) => Err(io::Error::other(format!("the log has failed: {reason}"))),
        }
    }

    /// Remembers the first failure for ever.
    pub fn fail(&mut self, error: &io::Error) {
        self.failed.get_or_insert_with(|| error.to_string().into());
    }

    /// Takes entries in: from now on they can be read.
    pub fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut last = self.last_log_id();
        for entry in entries {
            if let Some(last) = last.filter(|last| last.index + 1 != entry.log_id.index) {
                return Err(io::Error::other(format!(
                    "entry {} cannot follow {last}: the log must not have holes",
                    entry.log_id
                )));
            }
            last = Some(entry.log_id);
        }
        let sizes: Vec<u64> = entries.iter().map(entry::encoded_bytes).collect();
        if let Some(bytes) = sizes.iter().find(|bytes| **bytes > ENTRY_BYTES_MAX) {
            return Err(io::Error::other(format!(
                "an entry of {bytes} bytes is above the limit of {ENTRY_BYTES_MAX}"
            )));
        }
        for (entry, bytes) in entries.iter().zip(sizes) {
            self.index.push(entry.log_id, bytes);
            self.cache.push(entry.clone(), bytes);
        }
        self.evict();
        Ok(())
    }

    /// Drops the entries after `after`.
    pub fn truncate_after(&mut self, after: Option<LogId>) {
        let index = after.map_or(0, |after| after.index + 1);
        self.index.truncate_from(index);
        self.cache.truncate_from(index);
    }

    /// Drops the entries up to `upto` and moves the mark there.
    pub fn purge(&mut self, upto: LogId) {
        self.purged = Some(upto);
        self.index.purge_to(upto.index);
        self.cache.purge_to(upto.index);
    }

    /// Notes where entries are durable.
    pub fn locate(&mut self, located: impl IntoIterator<Item = (LogId, Location)>) {
        for (log_id, location) in located {
            self.index.locate(log_id, location);
        }
        self.evict();
    }

    /// Lets the cache forget entries up to `index` when it needs the space.
    pub fn set_applied(&mut self, index: u64) {
        self.applied = self.applied.max(Some(index));
        self.evict();
    }

    fn evict(&mut self) {
        let Self { cache, index, applied, .. } = self;
        cache.evict(self.cache_bytes_max, |oldest| {
            index.location(oldest).is_some() && applied.is_none_or(|applied| oldest <= applied)
        });
    }
}
