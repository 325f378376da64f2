//! What a filter is to the engine's reads.

use crate::engine::RecordedEvent;

/// Events of any of the types that carry all of the tags. No types: of any type; no tags: whatever they carry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryItem {
    pub types: Vec<String>,
    pub tags: Vec<String>,
}

/// Chooses events. Implemented by the filters of reads.
pub trait Select: Send + Sync {
    /// Items such that every event chosen matches at least one of them, for the indexes. `None`: nothing can be
    /// said, every event has to be looked at.
    fn candidates(&self) -> Option<&[QueryItem]>;

    /// Whether the event is chosen, checked exactly.
    fn selects(&self, event: &RecordedEvent) -> Result<bool, SelectError>;
}

/// Why it cannot be said whether an event is chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectError(pub String);

impl SelectError {
    /// Never: the same event meets the same end.
    pub const fn retryable(&self) -> bool {
        false
    }
}
