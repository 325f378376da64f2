//! What can go wrong in the engine besides what it decides itself.

use super::group::CorruptGroup;
use super::select::SelectError;
use crate::event::Malformed;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What an index says is there is not there.
    #[error("stream {stream_id:?} should have version {version}, but no layer holds it")]
    VersionMissing { stream_id: String, version: u64 },
    /// A head in a sealed file is not one, although its block's checksum is right.
    #[error("the head of stream {stream_id:?} is malformed: {source}")]
    Head { stream_id: String, source: Malformed },
    /// The read's filter cannot judge an event.
    #[error(transparent)]
    Select(#[from] SelectError),
}

impl ReadError {
    /// Never by itself: a damaged file has to be replaced first, a filter changed.
    pub const fn retryable(&self) -> bool {
        false
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
    /// Never: the engine has to be opened again from its checkpoint.
    pub const fn retryable(&self) -> bool {
        false
    }
}
