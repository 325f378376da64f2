//! Which events a subscription chooses.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema;

/// Which events: exactly one of these. System streams (`$…`) are only ever delivered to whoever names one
/// exactly.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("[has(self.all), has(self.stream), has(self.eventType), has(self.eventPattern), has(self.eventPayload), has(self.tags)].filter(given, given).size() == 1")
        .message("selector must have exactly one of all, stream, eventType, eventPattern, eventPayload and tags"),
    validation = Rule::new("!has(self.all) || self.all")
        .message("selector.all can only be true: to choose something else, say what")
)]
pub struct Selector {
    /// Every event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,

    /// One stream, by its exact id; `$all` is every event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub stream: Option<String>,

    /// One event type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub event_type: Option<String>,

    /// Streams by a pattern, or events by the fields of their envelope and metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_pattern: Option<EventPattern>,

    /// Events by what is in their data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_payload: Option<EventPayload>,

    /// Any or all of these tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Tags>,
}

impl Selector {
    /// The type of subscription that this selector makes; `None` if it chooses nothing.
    pub fn kind(&self) -> Option<&'static str> {
        [
            ("all", self.all.is_some()),
            ("stream", self.stream.is_some()),
            ("event_type", self.event_type.is_some()),
            ("event_pattern", self.event_pattern.is_some()),
            ("event_payload", self.event_payload.is_some()),
            ("tags", self.tags.is_some()),
        ]
        .into_iter()
        .find_map(|(kind, given)| given.then_some(kind))
    }
}

/// A pattern: exactly one of these.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("has(self.stream) != has(self.fields)")
        .message("selector.eventPattern must have exactly one of stream and fields")
)]
pub struct EventPattern {
    /// Streams: `*` any run of characters, also empty; `?` one character; `\` takes the next one as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub stream: Option<String>,

    /// An object that has to be a subset of the event: each of its fields equals the field of the same name of
    /// the event's envelope (`event_type`, `stream_id`, `tags`, `actor_id`, …) or else of its metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_form")]
    pub fields: Option<serde_json::Map<String, Value>>,
}

/// Conditions on data that is a JSON object; with both, both have to hold. A field that is missing, or has
/// another type, does not match.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("has(self.expression) || (has(self.conditions) && size(self.conditions) > 0)")
        .message("selector.eventPayload must have conditions, an expression, or both")
)]
pub struct EventPayload {
    /// All of them hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub conditions: Vec<PayloadCondition>,

    /// A CEL expression over `event` that gives a bool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub expression: Option<String>,
}

/// A condition on one field of the data.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PayloadCondition {
    /// `a.b` is the field `b` of the field `a`.
    #[schemars(length(min = 1, max = 1024))]
    pub field: String,

    /// How the field is compared.
    #[serde(default)]
    pub operator: PayloadOperator,

    /// What with: a text, a number, true, false, null; for `In` a list of those. Absent: null.
    #[serde(default)]
    #[schemars(schema_with = "schema::any_value")]
    pub value: Value,
}

/// How a field of the data is compared with a value.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadOperator {
    /// Equal.
    #[default]
    Eq,
    /// Not equal.
    Ne,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
    /// One of a list.
    In,
}

/// Tags of events.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Tags {
    /// The tags.
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 256)))]
    pub names: Vec<String>,

    /// All of them; otherwise any of them.
    #[serde(default)]
    pub all: bool,
}
