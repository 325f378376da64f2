//! One term of a filter, compiled.

use reckon_api::v1;
use reckon_api::v1::filter_term::Kind;
use regex::Regex;

use super::error::FilterError;
use super::expression::{EventValues, Expression, ExpressionError, OverBudget};
use super::fields::Fields;
use super::partition::{NoPartition, Partition};
use super::pattern::Pattern;
use super::payload::{Payload, Says};
use super::query;
use super::stream_names::{check_affix, compile_pattern, compile_regex};
use crate::engine::QueryItem;
use crate::event::EventView;

/// A condition on events, and whether it is meant the other way round.
#[derive(Debug)]
pub(crate) struct Term {
    pub(super) negate: bool,
    pub(super) condition: Condition,
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
    Fields(Fields),
    Payload(Payload),
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

    /// Events of one type; `field` is its path in the request, here and below.
    pub fn event_type(field: &str, event_type: &str) -> Result<Self, FilterError> {
        Ok(Self::of(Condition::Types(vec![query::event_type(field, event_type)?])))
    }

    pub fn tags(field: &str, named: &v1::Tags) -> Result<Self, FilterError> {
        Condition::compile_tags(field, named).map(Self::of)
    }

    pub fn stream_pattern(field: &str, pattern: &str) -> Result<Self, FilterError> {
        if pattern.is_empty() {
            return Err(FilterError::empty(field, "`*` covers every stream"));
        }
        Ok(Self::of(Condition::StreamPattern(compile_pattern(field, pattern)?)))
    }

    pub fn expression(field: &str, expression: &str) -> Result<Self, FilterError> {
        Condition::compile_expression(field, expression).map(Self::of)
    }

    pub fn partition(field: &str, partition: v1::Partition) -> Result<Self, FilterError> {
        compile_partition(field, partition).map(Condition::Partition).map(Self::of)
    }

    pub fn payload(field: &str, condition: &v1::PayloadCondition) -> Result<Self, FilterError> {
        Payload::compile(field, condition).map(Condition::Payload).map(Self::of)
    }

    /// An object that is a subset of the event, and with it what the indexes can answer of it. Also gives the one stream
    /// that it names, if it does.
    pub fn fields(field: &str, object: &str) -> Result<(Vec<Self>, Option<String>), FilterError> {
        let fields = Fields::compile(field, object)?;
        let indexed = fields.indexed();
        let mut terms = vec![Self::of(Condition::Fields(fields))];
        if let Some(event_type) = indexed.event_type {
            terms.push(Self::of(Condition::Types(vec![event_type])));
        }
        if !indexed.tags.is_empty() {
            terms.push(Self::of(Condition::AllTags(indexed.tags)));
        }
        Ok((terms, indexed.stream_id))
    }

    const fn of(condition: Condition) -> Self {
        Self { negate: false, condition }
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
            Kind::Tags(named) => Self::compile_tags(&format!("{term}.tags"), named)?,
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
                Self::compile_expression(&field, expression)?
            }
            Kind::Partition(partition) => {
                Self::Partition(compile_partition(&format!("{term}.partition"), *partition)?)
            }
        })
    }

    fn compile_tags(field: &str, named: &v1::Tags) -> Result<Self, FilterError> {
        if named.tags.is_empty() {
            return Err(FilterError::empty(field, "name at least one tag"));
        }
        let tags = query::tags(&format!("{field}.tags"), &named.tags)?;
        Ok(if named.all { Self::AllTags(tags) } else { Self::AnyTag(tags) })
    }

    fn compile_expression(field: &str, expression: &str) -> Result<Self, FilterError> {
        let compiled = Expression::compile(expression)
            .map_err(|error: ExpressionError| error.in_field(field.to_owned()))?;
        Ok(Self::Expression(Box::new(compiled)))
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
            Self::Fields(fields) => fields.holds(values),
            Self::Payload(payload) => payload.holds(values),
            Self::Expression(expression) => expression.holds(values)?,
        })
    }

    /// A JSON string that stands in every event for which the condition holds, unless it is written with escapes there.
    pub fn json_string(&self) -> Option<(Says, String)> {
        match self {
            Self::Fields(fields) => fields.json_string(),
            Self::Payload(payload) => payload.json_string(),
            _ => None,
        }
    }

    /// Whether JSON has to be parsed to tell, which takes time in proportion to the event.
    pub fn parses_json(&self) -> bool {
        match self {
            Self::Payload(_) | Self::Expression(_) => true,
            Self::Fields(fields) => !fields.is_cheap(),
            _ => false,
        }
    }

    /// Terms that cost little go first: most events fail early.
    pub fn cost_rank(&self) -> u8 {
        match self {
            Self::Partition(_) | Self::StreamPrefix(_) | Self::StreamSuffix(_) => 0,
            Self::Types(_) | Self::AnyTag(_) | Self::AllTags(_) | Self::StreamPattern(_) => 1,
            Self::Query(_) => 2,
            Self::Fields(fields) if fields.is_cheap() => 2,
            Self::StreamRegex(_) => 3,
            Self::Fields(_) | Self::Payload(_) => 4,
            Self::Expression(_) => 5,
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
