//! One event as it stands in a record: every field borrowed from the record's bytes.
//!
//! ```text
//! id (16) | flags (1) | type | [data content type] | [metadata content type] | [causation id]
//! | [correlation id] | [actor id] | [schema version] | [occurred at (8)] | [tag count, tags]
//! | metadata | data (the rest)
//! ```
//!
//! Fields in brackets are there when their flag is. Texts, tags and metadata have their length in front.
//! The encoding is canonical: a default is never written out, tags are sorted and distinct, numbers are in
//! their shortest form. So two events are equal exactly when their bytes are.

use uuid::Uuid;

use super::codec::Reader;
use super::{CorruptRecord, DEFAULT_CONTENT_TYPE, DEFAULT_SCHEMA_VERSION};

pub(super) const HAS_DATA_CONTENT_TYPE: u8 = 1 << 0;
pub(super) const HAS_METADATA_CONTENT_TYPE: u8 = 1 << 1;
pub(super) const HAS_CAUSATION_ID: u8 = 1 << 2;
pub(super) const HAS_CORRELATION_ID: u8 = 1 << 3;
pub(super) const HAS_ACTOR_ID: u8 = 1 << 4;
pub(super) const HAS_SCHEMA_VERSION: u8 = 1 << 5;
pub(super) const HAS_OCCURRED_AT: u8 = 1 << 6;
pub(super) const HAS_TAGS: u8 = 1 << 7;

/// Bytes of an event id at the front of an event.
pub(super) const EVENT_ID_BYTES: usize = 16;

/// An event, borrowed from a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventView<'a> {
    pub event_id: Uuid,
    pub event_type: &'a str,
    pub data: &'a [u8],
    pub data_content_type: &'a str,
    pub metadata: &'a [u8],
    pub metadata_content_type: &'a str,
    pub tags: Tags<'a>,
    pub causation_id: Option<&'a str>,
    pub correlation_id: Option<&'a str>,
    pub actor_id: Option<&'a str>,
    pub schema_version: u32,
    /// The caller's own time, microseconds since 1970 UTC.
    pub occurred_at_us: Option<i64>,
}

impl<'a> EventView<'a> {
    /// Reads an event from exactly its bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CorruptRecord> {
        let mut reader = Reader::new(bytes);
        let event_id = Uuid::from_bytes(reader.array()?);
        let flags = reader.u8()?;
        let has = |flag: u8| flags & flag != 0;
        let event_type = reader.text()?;
        let data_content_type = content_type(&mut reader, has(HAS_DATA_CONTENT_TYPE))?;
        let metadata_content_type = content_type(&mut reader, has(HAS_METADATA_CONTENT_TYPE))?;
        let causation_id = has(HAS_CAUSATION_ID).then(|| reader.text()).transpose()?;
        let correlation_id = has(HAS_CORRELATION_ID).then(|| reader.text()).transpose()?;
        let actor_id = has(HAS_ACTOR_ID).then(|| reader.text()).transpose()?;
        let schema_version = if has(HAS_SCHEMA_VERSION) {
            match reader.varint_u32()? {
                DEFAULT_SCHEMA_VERSION => return Err(CorruptRecord::DefaultWrittenOut),
                version => version,
            }
        } else {
            DEFAULT_SCHEMA_VERSION
        };
        let occurred_at_us =
            if has(HAS_OCCURRED_AT) { Some(i64::from_le_bytes(reader.array()?)) } else { None };
        let tags = if has(HAS_TAGS) { Tags::parse(bytes, &mut reader)? } else { Tags::default() };
        let metadata = reader.prefixed()?;
        let data = reader.rest();
        Ok(Self {
            event_id,
            event_type,
            data,
            data_content_type,
            metadata,
            metadata_content_type,
            tags,
            causation_id,
            correlation_id,
            actor_id,
            schema_version,
            occurred_at_us,
        })
    }
}

impl<'a> EventView<'a> {
    /// The texts that become keys of indexes.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let references = [self.causation_id, self.correlation_id];
        references.into_iter().flatten().chain([self.event_type]).chain(self.tags.iter())
    }
}

fn content_type<'a>(reader: &mut Reader<'a>, written: bool) -> Result<&'a str, CorruptRecord> {
    if !written {
        return Ok(DEFAULT_CONTENT_TYPE);
    }
    match reader.text()? {
        "" | DEFAULT_CONTENT_TYPE => Err(CorruptRecord::DefaultWrittenOut),
        other => Ok(other),
    }
}

/// The tags of an event: sorted by their bytes, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags<'a> {
    count: u32,
    encoded: &'a [u8],
}

impl<'a> Tags<'a> {
    fn parse(event: &'a [u8], reader: &mut Reader<'a>) -> Result<Self, CorruptRecord> {
        let count = reader.varint_u32()?;
        if count == 0 {
            return Err(CorruptRecord::DefaultWrittenOut);
        }
        let start = reader.at();
        let mut previous = None;
        for _ in 0..count {
            let tag = reader.text()?;
            if previous.is_some_and(|previous| previous >= tag) {
                return Err(CorruptRecord::TagsOutOfOrder);
            }
            previous = Some(tag);
        }
        Ok(Self { count, encoded: &event[start..reader.at()] })
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Every tag in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut reader = Reader::new(self.encoded);
        // `parse` read these same texts, so none of them can fail here.
        (0..self.count).map_while(move |_| reader.text().ok())
    }
}
