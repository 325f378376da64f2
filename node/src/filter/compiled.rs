//! A filter, compiled.

use memchr::{memchr, memmem};
use reckon_api::v1;

use super::candidates::{candidates, common_name};
use super::error::{FilterError, Limit};
use super::expression::{EventValues, OverBudget};
use super::term::Term;
use crate::engine::{QueryItem, RecordedEvent, Select, SelectError};
use crate::limits;

const TERMS: Limit = Limit { name: "filter_terms_max", maximum: limits::FILTER_TERMS_MAX };

/// Events for which every term holds.
#[derive(Debug)]
pub struct Filter {
    /// From the cheapest.
    terms: Vec<Term>,
    candidates: Option<Vec<QueryItem>>,
    /// Bytes that stand in every event that is chosen.
    needle: Option<memmem::Finder<'static>>,
    /// Bytes that stand in every event that is chosen and has no backslash in it: without one, JSON writes a string as it
    /// is.
    json_needle: Option<memmem::Finder<'static>>,
}

impl Filter {
    /// Compiles a filter as it came; errors name fields as `filter.terms[2].stream_regex`. No terms ask for
    /// nothing.
    pub fn compile(filter: &v1::Filter) -> Result<Self, FilterError> {
        Self::terms(filter).map(Self::of)
    }

    /// The terms of a filter as it came.
    pub(crate) fn terms(filter: &v1::Filter) -> Result<Vec<Term>, FilterError> {
        TERMS.check("filter.terms", filter.terms.len(), "terms; ask several times")?;
        let terms = filter.terms.iter().enumerate();
        terms.map(|(index, term)| Term::compile(&format!("filter.terms[{index}]"), term)).collect()
    }

    /// Events for which all of these terms hold.
    pub(crate) fn of(mut terms: Vec<Term>) -> Self {
        terms.sort_by_key(|term| term.condition.cost_rank());
        let candidates = candidates(&terms);
        let finder = |name: &str| memmem::Finder::new(name).into_owned();
        let needle = candidates.as_deref().and_then(common_name).map(finder);
        let positive = terms.iter().filter(|term| !term.negate);
        let strings = positive.filter_map(|term| term.condition.json_string());
        let string = strings.max_by_key(|(says, string)| (*says, string.len()));
        let json_needle = string.map(|(_, string)| finder(&string));
        Self { terms, candidates, needle, json_needle }
    }

    /// Whether it asks for nothing: every event is chosen.
    pub(crate) fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether JSON has to be parsed to tell, which takes time in proportion to the event.
    pub(crate) fn parses_json(&self) -> bool {
        self.terms.iter().any(|term| term.condition.parses_json())
    }
}

impl Select for Filter {
    fn candidates(&self) -> Option<&[QueryItem]> {
        self.candidates.as_deref()
    }

    fn rules_out(&self, event: &[u8]) -> bool {
        let lacks = |needle: &memmem::Finder<'_>| needle.find(event).is_none();
        self.needle.as_ref().is_some_and(lacks)
            || self.json_needle.as_ref().is_some_and(lacks) && memchr(b'\\', event).is_none()
    }

    fn selects(&self, event: &RecordedEvent) -> Result<bool, SelectError> {
        if self.terms.is_empty() {
            return Ok(true);
        }
        let view = event.event();
        let values = EventValues::new(event, &view);
        for term in &self.terms {
            let holds = term.holds(event.stream_id(), &view, &values).map_err(
                |OverBudget { steps_max }| SelectError::TooCostly {
                    position: event.position,
                    steps_max,
                },
            )?;
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
