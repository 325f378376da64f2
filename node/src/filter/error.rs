//! Why a filter cannot be taken, in values that a service can turn into a status.

use std::fmt;

/// How much of a caller's value is repeated to the caller, in characters: refusals travel in headers.
const VALUE_CHARS_MAX: usize = 64;

/// Why a filter cannot be compiled. Displays as a sentence that a person can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {sentence}")]
pub struct FilterError {
    /// The path of the field in its request, such as `filter.terms[2].stream_regex`.
    pub field: String,
    pub kind: FilterErrorKind,
    /// What is wrong with the field and what to do, to be read behind its name.
    pub sentence: String,
}

/// What kind of wrong a field is, with the values that go with it. Offsets count bytes from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterErrorKind {
    /// A stream pattern or a regular expression is malformed or asks for too much.
    InvalidPattern { offset: usize },
    /// A CEL expression is malformed, names what is not there, or gives no bool.
    InvalidExpression { offset: usize },
    /// Any other field is malformed. The value is cut to what fits a header.
    InvalidField { value: String },
    /// A field is beyond a limit. `limit` is the name of the limit's constant in lower case.
    LimitExceeded { limit: &'static str, value: usize, maximum: usize },
}

impl FilterError {
    /// Never: the same filter stays as it is.
    pub const fn retryable(&self) -> bool {
        false
    }

    pub(crate) fn invalid_field(
        field: impl fmt::Display,
        value: &str,
        sentence: impl Into<String>,
    ) -> Self {
        Self {
            field: field.to_string(),
            kind: FilterErrorKind::InvalidField { value: shortened(value) },
            sentence: sentence.into(),
        }
    }

    pub(crate) fn empty(field: impl fmt::Display, what: &str) -> Self {
        Self::invalid_field(field, "", format!("is empty; {what}"))
    }

    pub(super) fn invalid_pattern(
        field: impl fmt::Display,
        offset: usize,
        sentence: impl Into<String>,
    ) -> Self {
        Self {
            field: field.to_string(),
            kind: FilterErrorKind::InvalidPattern { offset },
            sentence: sentence.into(),
        }
    }
}

/// A limit by the name of its constant in [`crate::limits`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub name: &'static str,
    pub maximum: usize,
}

impl Limit {
    /// Refuses a value beyond the limit; `unit` says what the number counts, and what to do.
    pub fn check(
        self,
        field: impl fmt::Display,
        value: usize,
        unit: &str,
    ) -> Result<(), FilterError> {
        if value <= self.maximum {
            return Ok(());
        }
        let Self { name, maximum } = self;
        Err(FilterError {
            field: field.to_string(),
            kind: FilterErrorKind::LimitExceeded { limit: name, value, maximum },
            sentence: format!("has {value} {unit}; the most is {maximum}"),
        })
    }
}

/// A text: one byte to the limit, without control characters, as every name in the store is.
pub(crate) fn check_name(
    field: impl fmt::Display,
    name: &str,
    limit: Limit,
) -> Result<(), FilterError> {
    if name.is_empty() {
        return Err(FilterError::empty(field, &format!("it takes 1 to {} bytes", limit.maximum)));
    }
    limit.check(&field, name.len(), "bytes")?;
    match name.char_indices().find(|(_, character)| character.is_control()) {
        None => Ok(()),
        Some((offset, _)) => {
            let sentence =
                format!("has a control character at byte {offset}; nothing in the store has one");
            Err(FilterError::invalid_field(field, name, sentence))
        }
    }
}

fn shortened(value: &str) -> String {
    match value.char_indices().nth(VALUE_CHARS_MAX) {
        None => value.to_owned(),
        Some((end, _)) => format!("{}…", &value[..end]),
    }
}
