//! Which events a read wants, as far as the engine has to know.

use std::fmt::Debug;

use super::page::RecordedEvent;
use super::query::QueryItem;

/// Chooses events. Implemented by the filters of reads.
pub trait Select: Debug + Send + Sync {
    /// Items such that every event chosen matches at least one of them: the engine then looks only at what the
    /// indexes have for them. `None`: nothing can be said, every event has to be looked at.
    fn candidates(&self) -> Option<&[QueryItem]>;

    /// Whether an event that is encoded so is certainly not chosen. Asked first, of every event of a record, and so to be
    /// answered quickly.
    fn rules_out(&self, _event: &[u8]) -> bool {
        false
    }

    /// Whether the event is chosen. It is asked about every candidate: the indexes may give more than what
    /// matches, since they know records and not events.
    fn selects(&self, event: &RecordedEvent) -> Result<bool, SelectError>;
}

/// Why it cannot be said whether an event is chosen.
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
