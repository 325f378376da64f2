//! Why a choice of events cannot be taken.

use crate::filter::FilterError;

/// Why a selector cannot be compiled. Displays as a sentence that a person can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The type, the selector or the partition.
    #[error(transparent)]
    Selector(FilterError),
    /// The filter beside the selector.
    #[error(transparent)]
    Filter(FilterError),
}

impl SelectorError {
    /// Never: the same selector stays as it is.
    pub const fn retryable(&self) -> bool {
        false
    }
}
