//! Causation, correlation, actor and schema version out of an event's metadata, for callers that keep them
//! there: applications written for other stores do.

use serde::Deserialize;
use serde_json::Value;

use crate::event::is_json;

/// A value, and the key it stood under.
pub(super) type Found<T> = Option<(&'static str, T)>;

/// What metadata says of an event. Only values of the right JSON type count; whether they are within their
/// limits is the caller's to check.
#[derive(Debug, Default, PartialEq)]
pub(super) struct FromMetadata {
    pub causation_id: Found<String>,
    pub correlation_id: Found<String>,
    pub actor_id: Found<String>,
    /// `None` inside: a number that is no schema version.
    pub schema_version: Found<Option<u32>>,
}

impl FromMetadata {
    /// Reads metadata. What is not a JSON object says nothing: metadata belongs to the caller.
    pub fn read(metadata: &[u8], content_type: &str) -> Self {
        // An array would be read too, its values by their places.
        let is_object = metadata.trim_ascii_start().starts_with(b"{");
        if !is_object || !is_json(content_type) {
            return Self::default();
        }
        serde_json::from_slice::<Keys>(metadata).map(Self::from).unwrap_or_default()
    }
}

impl From<Keys> for FromMetadata {
    fn from(keys: Keys) -> Self {
        Self {
            causation_id: text([
                ("causation_id", keys.causation_id),
                ("$causationId", keys.dollar_causation_id),
                ("causationId", keys.camel_causation_id),
            ]),
            correlation_id: text([
                ("correlation_id", keys.correlation_id),
                ("$correlationId", keys.dollar_correlation_id),
                ("correlationId", keys.camel_correlation_id),
            ]),
            actor_id: text([
                ("actor_id", keys.actor_id),
                ("$actorId", keys.dollar_actor_id),
                ("actorId", keys.camel_actor_id),
            ]),
            schema_version: version([
                ("schema_version", keys.schema_version),
                ("$schemaVersion", keys.dollar_schema_version),
                ("schemaVersion", keys.camel_schema_version),
            ]),
        }
    }
}

/// Every key that is looked for; the others are passed over without being built.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Keys {
    causation_id: Value,
    #[serde(rename = "$causationId")]
    dollar_causation_id: Value,
    #[serde(rename = "causationId")]
    camel_causation_id: Value,
    correlation_id: Value,
    #[serde(rename = "$correlationId")]
    dollar_correlation_id: Value,
    #[serde(rename = "correlationId")]
    camel_correlation_id: Value,
    actor_id: Value,
    #[serde(rename = "$actorId")]
    dollar_actor_id: Value,
    #[serde(rename = "actorId")]
    camel_actor_id: Value,
    schema_version: Value,
    #[serde(rename = "$schemaVersion")]
    dollar_schema_version: Value,
    #[serde(rename = "schemaVersion")]
    camel_schema_version: Value,
}

/// The first that is a text with something in it.
fn text(candidates: [(&'static str, Value); 3]) -> Found<String> {
    candidates.into_iter().find_map(|(key, value)| match value {
        Value::String(text) if !text.is_empty() => Some((key, text)),
        _ => None,
    })
}

/// The first that is a number.
fn version(candidates: [(&'static str, Value); 3]) -> Found<Option<u32>> {
    candidates.into_iter().find_map(|(key, value)| match value {
        Value::Number(number) => {
            let version = number.as_u64().and_then(|version| u32::try_from(version).ok());
            Some((key, version.filter(|&version| version > 0)))
        }
        _ => None,
    })
}
