//! Selectors: which events somebody wants, compiled once and asked for every event.
//!
//! A selector is a filter with two things on top: it may be about one stream, which is then read by its own index, and it
//! leaves out the server's streams unless it names one of them exactly, or is told to include them.

mod canonical;
mod error;
mod kind;
#[cfg(test)]
mod tests;

use reckon_api::v1;
use reckon_api::v1::event_pattern::Kind as PatternKind;
use reckon_api::v1::selector::Kind;

pub use canonical::canonical;
pub use error::SelectorError;
pub use kind::SelectorKind;

use super::interests::Interest;
use crate::engine::{QueryItem, RecordedEvent, Select, SelectError};
use crate::event::is_system_stream;
use crate::filter::{Filter, FilterError, Limit, Term, check_name};
use crate::limits;

const STREAM_ID: Limit =
    Limit { name: "stream_id_bytes_max", maximum: limits::STREAM_ID_BYTES_MAX };
const CONDITIONS: Limit =
    Limit { name: "payload_conditions_max", maximum: limits::PAYLOAD_CONDITIONS_MAX };

/// The name under which a stream selector means every event.
pub const ALL_STREAM: &str = "$all";

/// Chooses the events of a follower or of a subscription.
#[derive(Debug)]
pub struct Selector {
    kind: SelectorKind,
    stream: Option<String>,
    includes_system: bool,
    filter: Filter,
}

impl Selector {
    /// Compiles what was asked for; all of it has to hold. An empty type is what the selector says, and neither of both
    /// is every event. Parsing expressions takes a while: not for a thread that drives requests.
    pub fn compile(
        type_name: &str,
        selector: Option<&v1::Selector>,
        partition: Option<v1::Partition>,
        filter: Option<&v1::Filter>,
    ) -> Result<Self, SelectorError> {
        let declared = SelectorKind::declared(type_name).map_err(SelectorError::Selector)?;
        let Parts { kind, stream, mut terms } =
            parts(declared, selector).map_err(SelectorError::Selector)?;
        if let Some(partition) = partition {
            let partition = Term::partition("partition", partition);
            terms.push(partition.map_err(SelectorError::Selector)?);
        }
        if let Some(filter) = filter {
            terms.extend(Filter::terms(filter).map_err(SelectorError::Filter)?);
        }
        Ok(Self { kind, stream, includes_system: false, filter: Filter::of(terms) })
    }

    /// The same, with events of the server's own streams among them or not.
    #[must_use]
    pub fn including_system(self, includes_system: bool) -> Self {
        Self { includes_system, ..self }
    }

    /// The form that all selectors with the same meaning have, as far as can be told from how they are written.
    pub fn canonical(selector: &v1::Selector) -> v1::Selector {
        canonical(selector)
    }

    /// What it asks about.
    pub const fn kind(&self) -> SelectorKind {
        self.kind
    }

    /// The type by its one name.
    pub const fn type_name(&self) -> &'static str {
        self.kind.as_str()
    }

    /// The one stream that it is about, if it is about one.
    pub fn stream(&self) -> Option<&str> {
        self.stream.as_deref()
    }

    /// Whether events of the server's own streams are among them.
    pub const fn includes_system(&self) -> bool {
        self.includes_system
    }

    /// Whether telling takes time in proportion to an event's size, and more: not for a thread that drives requests.
    pub fn is_costly(&self) -> bool {
        self.filter.parses_json()
    }

    /// Whether nothing is asked of the events, but that they are of its stream.
    pub fn takes_every_event(&self) -> bool {
        self.filter.is_empty()
    }

    /// Whose records have to be looked at when they are new. All others hold nothing that is wanted.
    pub fn interest(&self) -> Interest {
        if let Some(stream) = &self.stream {
            return Interest::Stream(stream.clone());
        }
        let everything = Interest::Everything { system: self.includes_system };
        // The indexes know the server's records too, but only whoever is interested in everything is woken for them.
        let Some(items) = self.filter.candidates().filter(|_| !self.includes_system) else {
            return everything;
        };
        // An event has all tags of an item, so it is enough to wait for one: the longest, which says most.
        let tags = items.iter().map(|item| item.tags.iter().max_by_key(|tag| tag.len()).cloned());
        if let Some(tags) = tags.collect::<Option<Vec<_>>>() {
            return Interest::Tags(tags);
        }
        if items.iter().all(|item| !item.types.is_empty()) {
            return Interest::Types(items.iter().flat_map(|item| item.types.clone()).collect());
        }
        everything
    }
}

impl Select for Selector {
    fn candidates(&self) -> Option<&[QueryItem]> {
        self.filter.candidates()
    }

    fn rules_out(&self, event: &[u8]) -> bool {
        self.filter.rules_out(event)
    }

    fn selects(&self, event: &RecordedEvent) -> Result<bool, SelectError> {
        let of_its_streams = match &self.stream {
            Some(stream) => event.stream_id() == stream,
            None => self.includes_system || !event.is_system(),
        };
        Ok(of_its_streams && self.filter.selects(event)?)
    }
}

/// What a selector says, taken apart.
struct Parts {
    kind: SelectorKind,
    stream: Option<String>,
    terms: Vec<Term>,
}

impl Parts {
    const fn of(kind: SelectorKind, terms: Vec<Term>) -> Self {
        Self { kind, stream: None, terms }
    }
}

fn parts(
    declared: Option<SelectorKind>,
    selector: Option<&v1::Selector>,
) -> Result<Parts, FilterError> {
    let kind = match selector.map(|selector| selector.kind.as_ref()) {
        // A selector that says nothing may be one that this build cannot read.
        Some(None) if declared != Some(SelectorKind::All) => {
            return Err(FilterError::empty("selector", "it says which events are meant"));
        }
        Some(Some(kind)) => kind,
        None | Some(None) => match declared {
            None | Some(SelectorKind::All) => return Ok(Parts::of(SelectorKind::All, Vec::new())),
            Some(declared) => {
                let what = format!("the type {declared} needs a selector {declared}");
                return Err(FilterError::empty("selector", &what));
            }
        },
    };
    let parts = compile(kind)?;
    match declared {
        // A stream named `$all` may be called by either type.
        Some(declared) if declared != parts.kind && declared != SelectorKind::of(kind) => {
            let sentence = format!("contradicts the selector, which is of the type {}", parts.kind);
            Err(FilterError::invalid_field("type", declared.as_str(), sentence))
        }
        _ => Ok(parts),
    }
}

fn compile(kind: &Kind) -> Result<Parts, FilterError> {
    let of = SelectorKind::of(kind);
    Ok(match kind {
        Kind::All(true) => Parts::of(of, Vec::new()),
        Kind::All(false) => {
            let sentence = "is ambiguous: send true, or leave it out";
            return Err(FilterError::invalid_field("selector.all", "false", sentence));
        }
        Kind::Stream(stream) if stream == ALL_STREAM => Parts::of(SelectorKind::All, Vec::new()),
        Kind::Stream(stream) => {
            check_name("selector.stream", stream, STREAM_ID)?;
            Parts { kind: of, stream: Some(stream.clone()), terms: Vec::new() }
        }
        Kind::EventType(event_type) => {
            Parts::of(of, vec![Term::event_type("selector.event_type", event_type)?])
        }
        Kind::EventPattern(pattern) => {
            let field = "selector.event_pattern";
            match &pattern.kind {
                None => {
                    let what = "it takes a pattern of streams, or an object of fields";
                    return Err(FilterError::empty(field, what));
                }
                Some(PatternKind::Stream(pattern)) => {
                    let field = format!("{field}.stream");
                    Parts::of(of, vec![Term::stream_pattern(&field, pattern)?])
                }
                Some(PatternKind::Fields(object)) => {
                    let (terms, stream) = Term::fields(&format!("{field}.fields"), object)?;
                    // The server's streams are for whoever names one by the selector `stream`.
                    let stream = stream.filter(|stream| !is_system_stream(stream));
                    Parts { kind: of, stream, terms }
                }
            }
        }
        Kind::EventPayload(payload) => Parts::of(of, payload_terms(payload)?),
        Kind::Tags(tags) => Parts::of(of, vec![Term::tags("selector.tags", tags)?]),
    })
}

fn payload_terms(payload: &v1::EventPayload) -> Result<Vec<Term>, FilterError> {
    let field = "selector.event_payload";
    let v1::EventPayload { conditions, expression } = payload;
    if conditions.is_empty() && expression.is_empty() {
        return Err(FilterError::empty(field, "it takes conditions, an expression, or both"));
    }
    let at = format!("{field}.conditions");
    CONDITIONS.check(&at, conditions.len(), "conditions; use an expression")?;
    let conditions = conditions.iter().enumerate();
    let terms =
        conditions.map(|(index, condition)| Term::payload(&format!("{at}[{index}]"), condition));
    let expression = (!expression.is_empty())
        .then(|| Term::expression(&format!("{field}.expression"), expression));
    terms.chain(expression).collect()
}
