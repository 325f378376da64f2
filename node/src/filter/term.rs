//! One term of a filter, compiled.

use reckon_api::v1;
use reckon_api::v1::filter_term::Kind;
use regex::Regex;

use super::error::FilterError;
use super::expression::{EventValues, Expression, ExpressionError, OverBudget};
use super::partition::{NoPartition, Partition};
use super::pattern::Pattern;
use super::query;
use super::stream_names::{check_affix, compile_pattern, compile_regex};
use crate::engine::QueryItem;
use crate::event::EventView;

/// A condition on events, and whether it is meant the other way round.
#[derive(Debug)]
pub(super) struct Term {
    pub negate: bool,
    pub condition: Condition,
}

/// What a term asks of an event. In the order of what it costs.
#[derive(Debug)]
pub(super) enum Condition {
    Partition(Partition),
    StreamPrefix(String),
    StreamSuffix(String),
    StreamPattern(Pattern),
    /// Sorted and distinct.
    Types(Vec<String>),
    /// Sorted and distinct.
    AnyTag(Vec<String>),
    /// Sorted and distinct.
    AllTags(Vec<String>),
    Query(Vec<QueryItem>),
    StreamRegex(Regex),
    Expression(Box<Expression>),
}

impl Term {
    /// Compiles a term; `field` is its path in the request.
    pub fn compile(field: &str, term: &v1::FilterTerm) -> Result<Self, FilterError> {
        let Some(kind) = &term.kind else {
            return Err(FilterError::empty(field, "a term says what it asks of events"));
        };
        Ok(Self { negate: term.negate, condition: Condition::compile(field, kind)? })
    }

    /// Whether the term holds. `view` and `values` are of the same event.
    pub fn holds(
        &self,
        stream_id: &str,
        view: &EventView<'_>,
        values: &EventValues<'_>,
    ) -> Result<bool, OverBudget> {
        Ok(self.condition.holds(stream_id, view, values)? != self.negate)
    }
}

impl Condition {
    fn compile(term: &str, kind: &Kind) -> Result<Self, FilterError> {
        Ok(match kind {
            Kind::Types(named) => {
                let field = format!("{term}.types");
                if named.types.is_empty() {
                    return Err(FilterError::empty(field, "name at least one event type"));
                }
                Self::Types(query::types(&format!("{field}.types"), &named.types)?)
            }
            Kind::Tags(named) => {
                let field = format!("{term}.tags");
                if named.tags.is_empty() {
                    return Err(FilterError::empty(field, "name at least one tag"));
                }
                let tags = query::tags(&format!("{field}.tags"), &named.tags)?;
                if named.all { Self::AllTags(tags) } else { Self::AnyTag(tags) }
            }
            Kind::Query(query) => {
                Self::Query(query::query_items(format_args!("{term}.query"), query)?)
            }
            Kind::StreamPattern(pattern) => {
                let field = &not_empty(format!("{term}.stream_pattern"), pattern)?;
                Self::StreamPattern(compile_pattern(field, pattern)?)
            }
            Kind::StreamPrefix(prefix) => {
                check_affix(&not_empty(format!("{term}.stream_prefix"), prefix)?, prefix)?;
                Self::StreamPrefix(prefix.clone())
            }
            Kind::StreamSuffix(suffix) => {
                check_affix(&not_empty(format!("{term}.stream_suffix"), suffix)?, suffix)?;
                Self::StreamSuffix(suffix.clone())
            }
            Kind::StreamRegex(regex) => {
                let field = &not_empty(format!("{term}.stream_regex"), regex)?;
                Self::StreamRegex(compile_regex(field, regex)?)
            }
            Kind::Expression(expression) => {
                let field = not_empty(format!("{term}.expression"), expression)?;
                let compiled = Expression::compile(expression)
                    .map_err(|error: ExpressionError| error.in_field(field))?;
                Self::Expression(Box::new(compiled))
            }
            Kind::Partition(partition) => {
                Self::Partition(compile_partition(&format!("{term}.partition"), *partition)?)
            }
        })
    }

    fn holds(
        &self,
        stream_id: &str,
        view: &EventView<'_>,
        values: &EventValues<'_>,
    ) -> Result<bool, OverBudget> {
        Ok(match self {
            Self::Partition(partition) => partition.holds(stream_id),
            Self::StreamPrefix(prefix) => stream_id.starts_with(prefix),
            Self::StreamSuffix(suffix) => stream_id.ends_with(suffix),
            Self::StreamPattern(pattern) => pattern.matches(stream_id),
            Self::Types(types) => query::is_of(view, types),
            Self::AnyTag(tags) => query::carries_any(view, tags),
            Self::AllTags(tags) => query::carries_all(view, tags),
            Self::Query(items) => items.iter().any(|item| query::fulfils(view, item)),
            Self::StreamRegex(regex) => regex.is_match(stream_id),
            Self::Expression(expression) => expression.holds(values)?,
        })
    }

    /// Terms that cost little go first: most events fail early.
    pub const fn cost_rank(&self) -> u8 {
        match self {
            Self::Partition(_) | Self::StreamPrefix(_) | Self::StreamSuffix(_) => 0,
            Self::Types(_) | Self::AnyTag(_) | Self::AllTags(_) | Self::StreamPattern(_) => 1,
            Self::Query(_) => 2,
            Self::StreamRegex(_) => 3,
            Self::Expression(_) => 4,
        }
    }
}

fn compile_partition(field: &str, partition: v1::Partition) -> Result<Partition, FilterError> {
    let v1::Partition { index, count } = partition;
    Partition::new(index, count).map_err(|error| {
        let (name, value) = match error {
            NoPartition::NoCount => ("count", count),
            NoPartition::IndexTooLarge { .. } => ("index", index),
        };
        FilterError::invalid_field(format!("{field}.{name}"), &value.to_string(), error.to_string())
    })
}

/// An empty text holds for every event or for none: nobody means to ask for it.
fn not_empty(field: String, text: &str) -> Result<String, FilterError> {
    if text.is_empty() {
        return Err(FilterError::empty(field, "leave the term out to ask for nothing"));
    }
    Ok(field)
}
