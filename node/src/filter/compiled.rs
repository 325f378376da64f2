//! A filter, compiled.

use memchr::memmem;
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
}

impl Filter {
    /// Compiles a filter as it came; errors name fields as `filter.terms[2].stream_regex`. No terms ask for
    /// nothing.
    pub fn compile(filter: &v1::Filter) -> Result<Self, FilterError> {
        TERMS.check("filter.terms", filter.terms.len(), "terms; ask several times")?;
        let mut terms = filter
            .terms
            .iter()
            .enumerate()
            .map(|(index, term)| Term::compile(&format!("filter.terms[{index}]"), term))
            .collect::<Result<Vec<_>, _>>()?;
        terms.sort_by_key(|term| term.condition.cost_rank());
        let candidates = candidates(&terms);
        let needle = candidates.as_deref().and_then(common_name);
        let needle = needle.map(|name| memmem::Finder::new(name).into_owned());
        Ok(Self { terms, candidates, needle })
    }
}

impl Select for Filter {
    fn candidates(&self) -> Option<&[QueryItem]> {
        self.candidates.as_deref()
    }

    fn rules_out(&self, event: &[u8]) -> bool {
        self.needle.as_ref().is_some_and(|needle| needle.find(event).is_none())
    }

    fn selects(&self, event: &RecordedEvent) -> Result<bool, SelectError> {
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
