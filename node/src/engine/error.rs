//! What can go wrong in the engine besides what it decides itself.

use super::group::CorruptGroup;
use super::select::SelectError;
use crate::storage;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What an index says is there is not there.
    #[error("stream {stream_id:?} should have version {version}, but no layer holds it")]
    VersionMissing { stream_id: String, version: u64 },
    /// A sealed file is damaged, or the disk did not give its bytes.
    #[error(transparent)]
    File(#[from] storage::ReadError),
    /// What stands in an index is not what belongs there, although its block's checksum is right.
    #[error("{file} holds {what} that is none")]
    Index { file: String, what: &'static str },
    /// Which events were removed is not known, so none can be shown.
    #[error("what was removed is not known: {why}")]
    RemovalsUnknown { file: Option<String>, why: String },
    /// The read's filter cannot judge an event.
    #[error(transparent)]
    Select(#[from] SelectError),
}

impl ReadError {
    /// The sealed file that is damaged, if that is what it is: it has to be fetched again from another member.
    pub fn damaged_file(&self) -> Option<&str> {
        match self {
            Self::File(error @ storage::ReadError::Damaged { .. }) => Some(error.file()),
            Self::Index { file, .. } => Some(file),
            Self::RemovalsUnknown { file, .. } => file.as_deref(),
            _ => None,
        }
    }

    /// Whether reading again, unchanged, may succeed. What is damaged has to be mended first, or a filter changed.
    pub const fn retryable(&self) -> bool {
        matches!(self, Self::File(error) if error.retryable())
    }
}

/// Why a committed group could not be applied. The engine must not be used any further for applying.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Nothing was changed.
    #[error(transparent)]
    Group(#[from] CorruptGroup),
    /// What a command depends on could not be read. The commands in front of it took effect.
    #[error("command {index} of the group: {source}")]
    Read { index: usize, source: ReadError },
    /// An earlier group could not be applied in full, so that this engine's state is not the log's any more.
    #[error("an earlier group could not be applied")]
    Poisoned,
}

impl ApplyError {
    /// The sealed file that is damaged, if that is what it is.
    pub fn damaged_file(&self) -> Option<&str> {
        match self {
            Self::Read { source, .. } => source.damaged_file(),
            Self::Group(_) | Self::Poisoned => None,
        }
    }

    /// Never: the engine has to be opened again from its checkpoint.
    pub const fn retryable(&self) -> bool {
        false
    }
}
