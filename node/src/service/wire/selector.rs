//! What the errors of selectors read like as statuses.

use reckon_api::Reason;
use tonic::Status;

use super::filter::filter_status;
use crate::delivery::selector::SelectorError;
use crate::filter::{FilterError, FilterErrorKind};

/// The refusal of a selector that cannot be taken. What is wrong with a filter beside it reads as it does for reads.
pub fn selector_refused(error: SelectorError) -> Status {
    let error = match error {
        SelectorError::Selector(error) => error,
        SelectorError::Filter(error) => return filter_status(error),
    };
    let message = error.to_string();
    let mut values = vec![("field", error.field)];
    match error.kind {
        FilterErrorKind::InvalidPattern { offset }
        | FilterErrorKind::InvalidExpression { offset } => {
            values.push(("offset", offset.to_string()));
        }
        FilterErrorKind::InvalidField { value } => values.push(("value", value)),
        FilterErrorKind::LimitExceeded { limit, value, maximum } => values.extend([
            ("limit", limit.to_owned()),
            ("value", value.to_string()),
            ("maximum", maximum.to_string()),
        ]),
    }
    Reason::InvalidSelector.status(message, values)
}

/// The refusal of an expression for keys that cannot be taken.
pub fn key_refused(error: FilterError) -> Status {
    filter_status(error)
}
