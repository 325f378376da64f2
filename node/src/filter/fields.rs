//! An object that has to be a subset of an event: its envelope, or else its metadata.

use super::error::FilterError;
use super::expression::{EventValues, StaticType};
use super::literal::{Literal, field};
use super::payload::{Says, compile_value, quoted};

/// Fields that an event has to have, with these values or with what they are a part of.
#[derive(Debug)]
pub(super) struct Fields(Vec<(Place, String, Literal)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Envelope,
    Metadata,
}

/// What the indexes, and the name of a stream, can answer of an object.
#[derive(Debug, Default)]
pub(super) struct Indexed {
    pub stream_id: Option<String>,
    pub event_type: Option<String>,
    pub tags: Vec<String>,
}

impl Fields {
    /// Compiles an object; `at` is its path in the request.
    pub fn compile(at: &str, text: &str) -> Result<Self, FilterError> {
        let value = compile_value(at, text)?;
        let kind = value.kind();
        let Literal::Object(fields) = value else {
            let sentence =
                format!("is {kind}; it takes an object, as in {{\"event_type\": \"OrderPlaced\"}}");
            return Err(FilterError::invalid_field(at, text, sentence));
        };
        if fields.is_empty() {
            let sentence = "names no field; the selector `all` chooses every event";
            return Err(FilterError::invalid_field(at, text, sentence));
        }
        let placed = fields.into_iter().map(|(name, value)| {
            let Some(of_type) = EventValues::field_type(&name) else {
                return Ok((Place::Metadata, name, value));
            };
            if !may_be_part_of(&value, of_type) {
                let sentence = format!(
                    "asks for {name} to be {}, but an event's is of type {of_type}",
                    value.kind()
                );
                return Err(FilterError::invalid_field(at, text, sentence));
            }
            Ok((Place::Envelope, name, value))
        });
        placed.collect::<Result<_, _>>().map(Self)
    }

    pub fn holds(&self, values: &EventValues<'_>) -> bool {
        self.0.iter().all(|(place, name, wanted)| match place {
            Place::Envelope => {
                values.field(name).is_some_and(|found| wanted.is_part_of(found.as_ref()))
            }
            Place::Metadata => {
                field(values.metadata(), name).is_some_and(|found| wanted.is_part_of(found))
            }
        })
    }

    /// Whether no JSON has to be parsed to tell.
    pub fn is_cheap(&self) -> bool {
        let parses = |name: &str| matches!(name, "data" | "metadata");
        self.0.iter().all(|(place, name, _)| *place == Place::Envelope && !parses(name))
    }

    /// What of it can be told without looking at every event.
    pub fn indexed(&self) -> Indexed {
        let mut indexed = Indexed::default();
        for (place, name, value) in &self.0 {
            match (place, name.as_str(), value) {
                (Place::Envelope, "stream_id", Literal::Text(name)) => {
                    indexed.stream_id = Some(name.clone());
                }
                (Place::Envelope, "event_type", Literal::Text(name)) => {
                    indexed.event_type = Some(name.clone());
                }
                (Place::Envelope, "tags", Literal::List(tags)) => {
                    let text = |tag: &Literal| match tag {
                        Literal::Text(tag) => Some(tag.clone()),
                        _ => None,
                    };
                    indexed.tags = tags.iter().filter_map(text).collect();
                }
                _ => {}
            }
        }
        indexed.tags.sort_unstable();
        indexed.tags.dedup();
        indexed
    }

    /// As [`super::payload::Payload::json_string`], of the metadata.
    pub fn json_string(&self) -> Option<(Says, String)> {
        let of_metadata = self.0.iter().filter(|(place, _, _)| *place == Place::Metadata);
        let strings = of_metadata.map(|(_, name, value)| match value {
            Literal::Text(text) => (Says::Value, quoted(text)),
            _ => (Says::Name, quoted(name)),
        });
        strings.max_by_key(|(says, text)| (*says, text.len()))
    }
}

/// Whether a field of the envelope can be what is asked for at all: what holds for no event is refused.
fn may_be_part_of(value: &Literal, of_type: StaticType) -> bool {
    match of_type {
        StaticType::String => matches!(value, Literal::Text(_)),
        StaticType::Int => {
            matches!(value, Literal::Number(number) if number.integer().is_some())
        }
        StaticType::List => matches!(value, Literal::List(tags)
            if tags.iter().all(|tag| matches!(tag, Literal::Text(_)))),
        _ => true,
    }
}

/// JSON in the form that all texts with the same meaning have: no blanks, names in order, whole numbers without a point,
/// lists as the sets that they are taken for. A text that is no JSON stays as it is.
pub(crate) fn canonical_json(text: &str) -> String {
    match serde_json::from_str(text) {
        Ok(value) => canonical_value(value).to_string(),
        Err(_no_json) => text.to_owned(),
    }
}

fn canonical_value(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(number) => {
            let whole = Literal::of(Value::Number(number.clone()));
            let Literal::Number(whole) = whole else { return Value::Number(number) };
            let whole = whole.integer().and_then(serde_json::Number::from_i128);
            Value::Number(whole.unwrap_or(number))
        }
        Value::Array(elements) => {
            let mut elements: Vec<_> = elements.into_iter().map(canonical_value).collect();
            elements.sort_by_cached_key(ToString::to_string);
            elements.dedup();
            Value::Array(elements)
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> =
                fields.into_iter().map(|(name, value)| (name, canonical_value(value))).collect();
            fields.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(fields.into_iter().collect())
        }
        other => other,
    }
}
