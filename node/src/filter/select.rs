//! What a filter is to the engine's reads.

use crate::engine::RecordedEvent;

/// Events of any of the types that carry all of the tags. No types: of any type; no tags: whatever they carry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryItem {
    pub types: Vec<String>,
    pub tags: Vec<String>,
}

/// Picks events out of a read of the whole store.
pub trait Select {
    /// Items of which every selected event fulfils at least one, for the indexes; `None`: any event may be
    /// selected.
    fn candidates(&self) -> Option<&[QueryItem]>;

    /// Whether the event is selected, checked exactly.
    fn selects(&self, event: &RecordedEvent) -> Result<bool, SelectError>;
}

/// Why it cannot be said whether an event is selected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// Leaving the event out, or letting it through, would be a wrong answer.
    #[error(
        "the expression needs more than {steps_max} steps on the event at position {position}; loop over less"
    )]
    TooCostly { position: u64, steps_max: u64 },
}

impl SelectError {
    /// Never: the same event costs the same again.
    pub const fn retryable(&self) -> bool {
        false
    }
}
