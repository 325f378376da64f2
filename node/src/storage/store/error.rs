//! What can go wrong with the store as a whole.

use std::io;

use super::super::catalogue::CatalogueError;
use super::super::error::{ReadError, WriteError, is_full};
use super::super::records::JoinError;
use super::super::volume::VolumeError;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be used, or is in use.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The catalogue is damaged, of another version, or cannot be read.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The disk refused.
    #[error("{path} cannot be used: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether opening again, unchanged, may succeed: when another process may still let go, or the disk is full.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Volume(error) => error.retryable(),
            Self::Catalogue(error) => error.retryable(),
            Self::Io { source, .. } => is_full(source),
        }
    }
}

/// Why something could not be done to a store. The state is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A new file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A file of the state could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The catalogue could not be written.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The disk refused something else.
    #[error("{path} cannot be used: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// What should follow the state does not.
    #[error(
        "seal {seal} from position {position} does not follow seal {last_seal} that ends at {end_position}"
    )]
    OutOfOrder {
        /// The seal that was asked for.
        seal: u64,
        /// Where it begins.
        position: u64,
        /// The last seal of the state.
        last_seal: u64,
        /// Where the state ends.
        end_position: u64,
    },
    /// The records that were to be sealed do not fill the positions that were to be sealed.
    #[error("the records to seal take positions {found:?} instead of {expected:?}")]
    Incomplete {
        /// What was asked for.
        expected: std::ops::Range<u64>,
        /// What the records take.
        found: std::ops::Range<u64>,
    },
    /// A file is not what it should be: read back after writing, or received from a peer.
    #[error("{file} does not have the contents that it should have")]
    Contents {
        /// The file.
        file: String,
    },
    /// A file of the checkpoint to install has not been received and checked.
    #[error("{file} has not been received")]
    NotStaged {
        /// The file.
        file: String,
    },
    /// The state has moved on meanwhile, and what was made from it is of no use any more.
    #[error("the state was replaced meanwhile")]
    Superseded,
    /// The store is stopping.
    #[error("the store is stopping")]
    Stopped,
}

impl StoreError {
    /// Whether the same may succeed later without a restart: when there is space again.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Write(error) => error.retryable(),
            Self::Catalogue(error) => error.retryable(),
            Self::Io { source, .. } => is_full(source),
            Self::Contents { .. } | Self::NotStaged { .. } | Self::Superseded => true,
            Self::Read(error) => error.retryable(),
            Self::OutOfOrder { .. } | Self::Incomplete { .. } | Self::Stopped => false,
        }
    }

    /// The damaged file, if that is what it was: it has to be fenced and fetched again.
    pub fn damaged_file(&self) -> Option<&str> {
        match self {
            Self::Read(error @ ReadError::Damaged { .. }) => Some(error.file()),
            _ => None,
        }
    }

    pub(super) fn io(path: &str) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

impl From<JoinError> for StoreError {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Read(error) => error.into(),
            JoinError::Write(error) => error.into(),
        }
    }
}
