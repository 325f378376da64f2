//! Why an expression cannot be taken.

use super::super::error::{FilterError, FilterErrorKind};

/// Why a text is no expression that can be evaluated here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// Malformed, or of names or types that do not go together.
    #[error("{reason} (at byte {offset})")]
    Invalid {
        /// In bytes from 0.
        offset: usize,
        /// To be read behind the name of the field.
        reason: String,
    },
    #[error("has {value} {unit}; the most is {maximum}")]
    LimitExceeded {
        /// The name of the limit's constant in lower case.
        limit: &'static str,
        /// At least this many.
        value: usize,
        maximum: usize,
        /// What the value counts.
        unit: &'static str,
    },
}

impl ExpressionError {
    /// Never: the same expression stays as it is.
    pub const fn retryable(&self) -> bool {
        false
    }

    pub(super) fn invalid(offset: usize, reason: impl Into<String>) -> Self {
        Self::Invalid { offset, reason: reason.into() }
    }

    /// The same error as one of a field of a filter.
    pub fn in_field(self, field: String) -> FilterError {
        let sentence = self.to_string();
        let kind = match self {
            Self::Invalid { offset, .. } => FilterErrorKind::InvalidExpression { offset },
            Self::LimitExceeded { limit, value, maximum, .. } => {
                FilterErrorKind::LimitExceeded { limit, value, maximum }
            }
        };
        FilterError { field, kind, sentence }
    }
}

/// An evaluation that was given up because it cost too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverBudget {
    /// What it may cost on this event.
    pub steps_max: u64,
}
