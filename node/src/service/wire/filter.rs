//! Filters of a request, compiled, and what their errors read like as statuses.

use std::sync::Arc;

use reckon_api::{Reason, v1};
use tonic::Status;

use crate::filter::{Filter, FilterError, FilterErrorKind, StreamNameFilter, check_expression};

/// Compiles the filter of a read; `None`: every event is wanted. Parsing takes a while: not for a thread that
/// drives requests.
pub fn filter(filter: Option<&v1::Filter>) -> Result<Option<Arc<Filter>>, Status> {
    match filter {
        Some(filter) if !filter.terms.is_empty() => {
            Filter::compile(filter).map(|filter| Some(Arc::new(filter))).map_err(filter_status)
        }
        _ => Ok(None),
    }
}

/// Compiles what a listing asks of names. As [`filter`], not for a thread that drives requests.
pub fn stream_names(request: &v1::ListStreamsRequest) -> Result<StreamNameFilter, Status> {
    let v1::ListStreamsRequest { prefix, pattern, suffix, regex, .. } = request;
    StreamNameFilter::new(prefix, pattern, suffix, regex).map_err(filter_status)
}

/// Checks and types an expression. As [`filter`], not for a thread that drives requests.
pub fn checked_expression(expression: &str) -> Result<v1::CheckExpressionResponse, Status> {
    let checked = check_expression(expression)
        .map_err(|error| filter_status(error.in_field("expression".to_owned())))?;
    Ok(v1::CheckExpressionResponse {
        r#type: checked.gives.to_string(),
        filter: checked.filter,
        variables: checked.variables,
    })
}

/// The refusal of a filter that cannot be taken.
pub(super) fn filter_status(error: FilterError) -> Status {
    let message = error.to_string();
    let field = ("field", error.field);
    match error.kind {
        FilterErrorKind::InvalidPattern { offset } => {
            Reason::InvalidPattern.status(message, [field, ("offset", offset.to_string())])
        }
        FilterErrorKind::InvalidExpression { offset } => {
            Reason::InvalidExpression.status(message, [field, ("offset", offset.to_string())])
        }
        FilterErrorKind::InvalidField { value } => {
            Reason::InvalidArgument.status(message, [field, ("value", value)])
        }
        FilterErrorKind::LimitExceeded { limit, value, maximum } => Reason::LimitExceeded.status(
            message,
            [
                field,
                ("limit", limit.to_owned()),
                ("value", value.to_string()),
                ("maximum", maximum.to_string()),
            ],
        ),
    }
}
