//! The types of selectors by their names.

use std::fmt;

use reckon_api::v1::selector::Kind;

use crate::filter::FilterError;

/// What a selector asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectorKind {
    All,
    Stream,
    EventType,
    EventPattern,
    EventPayload,
    Tags,
}

/// What may stand in front of a name, as other event stores have it.
const ALIAS_PREFIX: &str = "by_";

impl SelectorKind {
    /// Every type.
    pub const ALL: [Self; 6] = [
        Self::All,
        Self::Stream,
        Self::EventType,
        Self::EventPattern,
        Self::EventPayload,
        Self::Tags,
    ];

    /// The type that a definition names, whatever the case of its letters; `None`: it names none.
    pub fn declared(name: &str) -> Result<Option<Self>, FilterError> {
        if name.is_empty() {
            return Ok(None);
        }
        let lower = name.to_ascii_lowercase();
        let plain = lower.strip_prefix(ALIAS_PREFIX).unwrap_or(&lower);
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == plain);
        found.map(Some).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            FilterError::invalid_field("type", name, format!("is no type; there are: {names}"))
        })
    }

    /// The type that a selector says it is of.
    pub const fn of(kind: &Kind) -> Self {
        match kind {
            Kind::All(_) => Self::All,
            Kind::Stream(_) => Self::Stream,
            Kind::EventType(_) => Self::EventType,
            Kind::EventPattern(_) => Self::EventPattern,
            Kind::EventPayload(_) => Self::EventPayload,
            Kind::Tags(_) => Self::Tags,
        }
    }

    /// The one name that it is kept and shown by.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Stream => "stream",
            Self::EventType => "event_type",
            Self::EventPattern => "event_pattern",
            Self::EventPayload => "event_payload",
            Self::Tags => "tags",
        }
    }
}

impl fmt::Display for SelectorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
