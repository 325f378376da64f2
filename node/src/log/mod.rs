//! The Raft log: entries and votes in preallocated files, one synchronous writer, one cache.
//!
//! Nothing here knows what a group of commands means, who the peers are, or what a metric is. The parts, in the
//! order in which an entry meets them:
//!
//! - `storage`: what openraft calls. `append` puts entries into the cache and the index, and queues them.
//! - `queue`: what is waiting for the writer, in the order in which it must reach the disk.
//! - `writer`: drains the queue into a group, writes it, syncs once, completes the newest callback.
//! - `frame` and [`entry`]: the bytes of a file and of an entry.
//! - [`files`]: the few things the log asks of a disk; a simulated or faulty one slips under it here.
//! - `state`, `index` and `cache`: what is known in memory, where each entry lies, and the newest entries themselves.
//! - `reader`: reads for replication and apply, from the cache, and behind it from the files.
//! - `recovery`: from files back to the state, after a clean end or after a crash.
//!
//! # What is assumed of the medium
//!
//! After `fdatasync` returned without error, what was written before is still there after a loss of power. Before
//! that, any of the written sectors may be there or not, in any combination, and a new file or a removal may be
//! undone until its folder is synced. A sector (512 bytes) is written whole or not at all. A failed sync says
//! nothing about what is on the medium, so nothing is ever tried again after one. Bits may rot: what is known to
//! have been synced and does not match its checksum ends the node with an error that names the file and the place.

pub mod entry;
pub mod files;

mod cache;
mod frame;
mod index;
mod queue;
mod reader;
mod recovery;
mod spare;
mod state;
mod storage;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use reader::LogReader;
pub use storage::{Driver, LogStore};

use crate::offload::Offload;

/// Size of a log file when nothing else is configured: large enough that rolling is rare, small enough that
/// purging gives space back soon.
pub const FILE_BYTES_DEFAULT: u64 = 64 << 20;
/// The smallest file: below it, headers and rolling would be most of the work.
pub const FILE_BYTES_MIN: u64 = 4 << 10;
/// The newest entries that stay in memory when nothing else is configured.
pub const CACHE_BYTES_DEFAULT: u64 = 64 << 20;
/// What one `limited_get_log_entries` returns at most, unless its first entry alone is larger: one request to a peer.
pub const READ_BYTES_MAX: u64 = 512 << 10;
/// The largest encoded entry. A frame holds its length in 32 bits, and no group comes near.
pub const ENTRY_BYTES_MAX: u64 = 1 << 30;

/// Called after each `fdatasync` of a group with the time that it took.
pub type FsyncObserver = Arc<dyn Fn(Duration) + Send + Sync>;

/// How a log is opened.
#[derive(Clone)]
pub struct Options {
    /// Size of a file in bytes, at least [`FILE_BYTES_MIN`]. An entry that does not fit gets a file of its own size.
    pub file_bytes: u64,
    /// How many bytes of the newest entries stay in memory beyond those that are not yet flushed or applied.
    pub cache_bytes: u64,
    /// Whether the log must be there already: a volume that carries a member without its log must not begin an
    /// empty one and vote again.
    pub must_exist: bool,
    /// Sees how long each sync took; called on the writer's thread, so it must not block.
    pub on_fsync: FsyncObserver,
    /// Where reads go that have to go to the files. Where that is the caller's own thread, the writer is a task
    /// instead of a thread.
    pub offload: Offload,
}

impl Default for Options {
    /// The default sizes, and nobody who watches the syncs.
    fn default() -> Self {
        Self {
            file_bytes: FILE_BYTES_DEFAULT,
            cache_bytes: CACHE_BYTES_DEFAULT,
            must_exist: false,
            on_fsync: Arc::new(|_| ()),
            offload: Offload::pool(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("file_bytes", &self.file_bytes)
            .field("cache_bytes", &self.cache_bytes)
            .finish_non_exhaustive()
    }
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another handle of this one, has the log open.
    #[error("the log in {0} is in use by another process")]
    Locked(String),
    /// The disk refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, and to which file.
        what: String,
        /// What the disk said.
        source: io::Error,
    },
    /// There is no log where one must be.
    #[error(
        "there is no log, although this volume carries a member; a member without its log must not vote: \
             remove it from the store and let an empty volume join"
    )]
    Missing,
    /// Bytes that were once on stable storage are not what was written. The node must not go on with this log.
    #[error("the log is damaged: {file} at byte {offset}: {what}")]
    Damaged {
        /// The file, as the disk names it.
        file: String,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The files were written by a newer version.
    #[error("{file} is of format {found}; this version reads up to {known}")]
    Version {
        /// The file, as the disk names it.
        file: String,
        /// The format that the file claims.
        found: u32,
        /// The newest format that is known here.
        known: u32,
    },
}

impl OpenError {
    /// Whether opening again later can succeed without anybody's help.
    pub const fn retryable(&self) -> bool {
        matches!(self, Self::Locked(_))
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
