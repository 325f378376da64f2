//! An event as the variable `event` of expressions.

use std::fmt;
use std::sync::OnceLock;

use cel::common::types::{CelInt, CelList, CelNull, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;

use super::environment::RegexValue;
use super::json;
use super::meter::Meter;
use super::types::StaticType;
use crate::engine::RecordedEvent;
use crate::event::{EventView, is_json};

/// The one variable.
pub(super) const EVENT: &str = "event";
/// The variable that woven-in calls pay from.
pub(super) const METER: &str = "@meter";
/// The variables that hold the regular expressions of an expression, by number.
pub(super) const REGEX: &str = "@regex";

/// The fields of `event`, and what they are. An id that an event may lack is `dyn`: it is null then.
pub(super) const FIELDS: [(&str, StaticType); 16] = [
    ("event_id", StaticType::String),
    ("stream_id", StaticType::String),
    ("version", StaticType::Int),
    ("position", StaticType::Int),
    ("event_type", StaticType::String),
    ("data", StaticType::Dyn),
    ("data_content_type", StaticType::String),
    ("metadata", StaticType::Dyn),
    ("metadata_content_type", StaticType::String),
    ("tags", StaticType::List),
    ("causation_id", StaticType::Dyn),
    ("correlation_id", StaticType::Dyn),
    ("actor_id", StaticType::Dyn),
    ("schema_version", StaticType::Int),
    ("occurred_at_us", StaticType::Dyn),
    ("epoch_us", StaticType::Int),
];

/// One event, for all expressions that are asked about it. What is costly to make is made when first asked for.
pub struct EventValues<'a> {
    event: &'a RecordedEvent,
    view: &'a EventView<'a>,
    data: OnceLock<Box<dyn Val + 'a>>,
    metadata: OnceLock<Box<dyn Val + 'a>>,
    tags: OnceLock<Box<dyn Val + 'a>>,
}

impl<'a> EventValues<'a> {
    /// `view` is the event's own.
    pub const fn new(event: &'a RecordedEvent, view: &'a EventView<'a>) -> Self {
        Self {
            event,
            view,
            data: OnceLock::new(),
            metadata: OnceLock::new(),
            tags: OnceLock::new(),
        }
    }

    /// Size of the event in bytes.
    pub fn bytes(&self) -> usize {
        self.event.bytes()
    }

    /// The data as it was parsed; null where it is not JSON.
    pub fn data(&self) -> &dyn Val {
        let view = self.view;
        self.data.get_or_init(|| content(view.data, view.data_content_type)).as_ref()
    }

    /// The metadata as it was parsed; null where it is not JSON.
    pub fn metadata(&self) -> &dyn Val {
        let view = self.view;
        self.metadata.get_or_init(|| content(view.metadata, view.metadata_content_type)).as_ref()
    }

    /// Of what type a field of every event is; `None`: there is none of this name.
    pub fn field_type(name: &str) -> Option<StaticType> {
        FIELDS.iter().find(|(field, _)| *field == name).map(|&(_, of_type)| of_type)
    }

    /// A field by its name in expressions, without `event.`.
    pub fn field(&self, name: &str) -> Option<CowVal<'_, '_>> {
        let view = self.view;
        Some(match name {
            "event_id" => CowVal::owned(CelString::from(view.event_id.to_string())),
            "stream_id" => text(self.event.stream_id()),
            "version" => number(self.event.version),
            "position" => number(self.event.position),
            "event_type" => text(view.event_type),
            "data" => CowVal::Borrowed(self.data()),
            "data_content_type" => text(view.data_content_type),
            "metadata" => CowVal::Borrowed(self.metadata()),
            "metadata_content_type" => text(view.metadata_content_type),
            "tags" => CowVal::Borrowed(self.tags.get_or_init(|| tags(view)).as_ref()),
            "causation_id" => optional_text(view.causation_id),
            "correlation_id" => optional_text(view.correlation_id),
            "actor_id" => optional_text(view.actor_id),
            "schema_version" => number(u64::from(view.schema_version)),
            "occurred_at_us" => match view.occurred_at_us {
                Some(time_us) => CowVal::owned(CelInt::from(time_us)),
                None => CowVal::owned(CelNull),
            },
            "epoch_us" => number(self.event.epoch_us),
            _ => return None,
        })
    }
}

impl fmt::Debug for EventValues<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventValues").field("event", self.event).finish_non_exhaustive()
    }
}

fn content<'a>(bytes: &'a [u8], content_type: &str) -> Box<dyn Val + 'a> {
    let parsed = is_json(content_type).then(|| json::parse(bytes)).flatten();
    parsed.unwrap_or_else(|| Box::new(CelNull))
}

fn tags<'a>(view: &EventView<'a>) -> Box<dyn Val + 'a> {
    let tags: Vec<Box<dyn Val + 'a>> =
        view.tags.iter().map(|tag| Box::new(CelString::from(tag)) as Box<dyn Val + 'a>).collect();
    Box::new(CelList::from(tags))
}

fn text(text: &str) -> CowVal<'_, '_> {
    CowVal::owned(CelString::from(text))
}

fn optional_text(value: Option<&str>) -> CowVal<'_, '_> {
    match value {
        Some(value) => text(value),
        None => CowVal::owned(CelNull),
    }
}

/// Versions, positions and times are far from the end of `int`, and arithmetic does not mix it with `uint`.
fn number<'a>(number: u64) -> CowVal<'a, 'a> {
    CowVal::owned(CelInt::from(i64::try_from(number).unwrap_or(i64::MAX)))
}

/// Everything that one evaluation of an expression can name.
pub(super) struct Bindings<'a, 'e> {
    pub values: &'a EventValues<'e>,
    pub meter: Meter,
    pub regexes: &'a [RegexValue],
}

impl VariableResolver for Bindings<'_, '_> {
    /// Qualified names come whole, and then with ever fewer of their parts: `event.data.total`, `event.data`.
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(field) = name.strip_prefix("event.") {
            return self.values.field(field);
        }
        if name == METER {
            return Some(CowVal::Borrowed(&self.meter));
        }
        let number: usize = name.strip_prefix(REGEX)?.parse().ok()?;
        self.regexes.get(number).map(|regex| CowVal::Borrowed(regex as &dyn Val))
    }
}
