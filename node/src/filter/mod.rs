//! Filters: what a caller asks of events and of streams, compiled once and asked for every event.
//!
//! [`Filter`] is what reads of the whole store take, [`StreamNameFilter`] what listings of streams take, and
//! [`check_expression`] types a CEL expression without evaluating it. A filter is a pure function of an event: it
//! knows no clock, no randomness, no network and no gRPC status. Whatever a caller sends, compiling and asking are
//! bounded in time and memory by the limits of [`crate::limits`]. `FILTERS.md` beside the crate says what a filter
//! can say.

#![deny(clippy::disallowed_methods)]

mod candidates;
mod compiled;
mod error;
mod expression;
mod fields;
mod literal;
mod partition;
mod pattern;
mod payload;
mod query;
mod regular_expression;
mod stream_names;
mod term;
#[cfg(test)]
pub(crate) mod tests;

pub use crate::engine::{QueryItem, Select, SelectError};
pub use compiled::Filter;
pub use error::{FilterError, FilterErrorKind};
pub(crate) use error::{Limit, check_name};
pub use expression::{Checked, ExpressionError, StaticType, check_expression};
pub(crate) use expression::{EventValues, Expression};
pub(crate) use fields::canonical_json;
pub use query::query_items;
pub use stream_names::StreamNameFilter;
pub(crate) use term::Term;
