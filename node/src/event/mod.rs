//! The event model: what an event consists of, and the bytes that hold it.
//!
//! The unit of storage is the *record*: all events of one append to one stream. It is encoded once, where
//! the append enters the store, and the same bytes go through the log, to the peers and into the engine.
//! Version, position and time are not in it: apply assigns them. This module knows no stream's state, no
//! engine and no network.

pub(crate) mod codec;
mod encode;
mod record;
mod stored;
#[cfg(test)]
mod tests;
mod view;

pub use codec::Malformed;
pub use encode::{EventDraft, encode_record};
pub use record::{CorruptRecord, EventSpan, RecordView, has_control};
pub use stored::StoredRecord;
pub use view::{EventView, Tags};

/// The content type of data and metadata that name none; it costs no byte in a record.
pub const DEFAULT_CONTENT_TYPE: &str = "application/json";

/// The schema version of events that name none.
pub const DEFAULT_SCHEMA_VERSION: u32 = 1;

/// Streams and types whose names start with this belong to the server.
pub const SYSTEM_PREFIX: char = '$';

/// Whether a stream of this name belongs to the server.
pub fn is_system_stream(stream_id: &str) -> bool {
    stream_id.starts_with(SYSTEM_PREFIX)
}

/// Whether a content type says JSON: `application/json` and every type built on JSON, whatever its parameters.
/// None says it too.
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.is_empty() || essence == DEFAULT_CONTENT_TYPE || essence.ends_with("+json")
}
