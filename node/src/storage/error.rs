//! What can go wrong with a file that never changes.

use std::io;

/// Why something sealed could not be read. Never a wrong answer instead.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What stands in the file is not what was written there. The file has to be fetched again from a peer.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Damaged {
        /// The file's path in the volume.
        file: String,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The disk did not give the bytes.
    #[error("{file} cannot be read at byte {offset}: {source}")]
    Io {
        /// The file's path in the volume.
        file: String,
        /// Where in the file, in bytes.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
}

impl ReadError {
    /// The file that could not be read, as a path in the volume.
    pub fn file(&self) -> &str {
        match self {
            Self::Damaged { file, .. } | Self::Io { file, .. } => file,
        }
    }

    /// Whether reading again, unchanged, may succeed. A bad sector mostly stays one, and may not.
    pub const fn retryable(&self) -> bool {
        matches!(self, Self::Io { .. })
    }

    pub(super) fn damaged(file: &str, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), offset, what: what.into() }
    }

    /// An end of the file where there should be bytes, and a file that is gone, are damage.
    pub(super) fn io(file: &str, offset: u64, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => Self::damaged(file, offset, "the file ends too early"),
            io::ErrorKind::NotFound => Self::damaged(file, offset, "the file is missing"),
            _ => Self::Io { file: file.to_owned(), offset, source },
        }
    }
}

/// Why a new file could not be written. It is part of nothing yet and can be removed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk refused.
    #[error("{file} cannot be written: {source}")]
    Io {
        /// The file's path in the volume.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The entries are not in strictly ascending order of their keys.
    #[error("{file}: an entry is not above the one before it")]
    Unordered {
        /// The file's path in the volume.
        file: String,
    },
    /// An entry is larger than a block can be.
    #[error("{file}: an entry has {bytes} bytes, more than a block can hold")]
    TooLarge {
        /// The file's path in the volume.
        file: String,
        /// Key and value together.
        bytes: usize,
    },
}

impl WriteError {
    /// Whether writing again may succeed without a restart: when there is space again.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_full(source))
    }

    pub(super) fn io(file: &str) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |source| Self::Io { file, source }
    }
}

/// Whether the disk, or what this process may use of it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
