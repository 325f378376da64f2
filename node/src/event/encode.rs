//! Encoding: drafts of events become a record, in one allocation.

use bytes::{BufMut as _, BytesMut};
use uuid::Uuid;

use super::codec::{Malformed, prefixed_len, put_prefixed, put_varint, varint_len};
use super::record::{RECORD_FORMAT_VERSION, has_control};
use super::view::{
    EVENT_ID_BYTES, HAS_ACTOR_ID, HAS_CAUSATION_ID, HAS_CORRELATION_ID, HAS_DATA_CONTENT_TYPE,
    HAS_METADATA_CONTENT_TYPE, HAS_OCCURRED_AT, HAS_SCHEMA_VERSION, HAS_TAGS,
};
use super::{CorruptRecord, DEFAULT_CONTENT_TYPE, DEFAULT_SCHEMA_VERSION, RecordView};

/// An event to be encoded. Limits are checked by who takes it from a caller, not here.
#[derive(Debug, Clone)]
pub struct EventDraft<'a> {
    pub event_id: Uuid,
    pub event_type: &'a str,
    pub data: &'a [u8],
    /// Empty: the default.
    pub data_content_type: &'a str,
    pub metadata: &'a [u8],
    /// Empty: the default.
    pub metadata_content_type: &'a str,
    tags: Vec<&'a str>,
    pub causation_id: Option<&'a str>,
    pub correlation_id: Option<&'a str>,
    pub actor_id: Option<&'a str>,
    pub schema_version: u32,
    pub occurred_at_us: Option<i64>,
}

impl<'a> EventDraft<'a> {
    /// An event with defaults for all that is optional.
    pub fn new(event_id: Uuid, event_type: &'a str, data: &'a [u8]) -> Self {
        Self {
            event_id,
            event_type,
            data,
            data_content_type: DEFAULT_CONTENT_TYPE,
            metadata: &[],
            metadata_content_type: DEFAULT_CONTENT_TYPE,
            tags: Vec::new(),
            causation_id: None,
            correlation_id: None,
            actor_id: None,
            schema_version: DEFAULT_SCHEMA_VERSION,
            occurred_at_us: None,
        }
    }

    /// Sets the tags; order and repetition do not matter, a set is kept.
    pub fn set_tags(&mut self, tags: impl IntoIterator<Item = &'a str>) {
        self.tags = tags.into_iter().collect();
        self.tags.sort_unstable();
        self.tags.dedup();
    }

    /// The tags, sorted and each once.
    pub fn tags(&self) -> &[&'a str] {
        &self.tags
    }

    /// Size of the event in a record, in bytes, without the length in front. This is what limits speak of.
    pub fn encoded_len(&self) -> usize {
        let text = |text: Option<&str>| text.map_or(0, |text| prefixed_len(text.len()));
        let tags = if self.tags.is_empty() {
            0
        } else {
            varint_len(self.tags.len() as u64)
                + self.tags.iter().map(|tag| prefixed_len(tag.len())).sum::<usize>()
        };
        let schema_version = match self.schema_version {
            DEFAULT_SCHEMA_VERSION => 0,
            version => varint_len(u64::from(version)),
        };
        EVENT_ID_BYTES
            + size_of::<u8>()
            + prefixed_len(self.event_type.len())
            + text(written_out(self.data_content_type))
            + text(written_out(self.metadata_content_type))
            + text(self.causation_id)
            + text(self.correlation_id)
            + text(self.actor_id)
            + schema_version
            + self.occurred_at_us.map_or(0, |_| size_of::<i64>())
            + tags
            + prefixed_len(self.metadata.len())
            + self.data.len()
    }

    /// The texts that become keys of indexes.
    fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        let references = [self.causation_id, self.correlation_id];
        references.into_iter().flatten().chain([self.event_type]).chain(self.tags.iter().copied())
    }

    fn flags(&self) -> u8 {
        [
            (written_out(self.data_content_type).is_some(), HAS_DATA_CONTENT_TYPE),
            (written_out(self.metadata_content_type).is_some(), HAS_METADATA_CONTENT_TYPE),
            (self.causation_id.is_some(), HAS_CAUSATION_ID),
            (self.correlation_id.is_some(), HAS_CORRELATION_ID),
            (self.actor_id.is_some(), HAS_ACTOR_ID),
            (self.schema_version != DEFAULT_SCHEMA_VERSION, HAS_SCHEMA_VERSION),
            (self.occurred_at_us.is_some(), HAS_OCCURRED_AT),
            (!self.tags.is_empty(), HAS_TAGS),
        ]
        .into_iter()
        .filter_map(|(set, flag)| set.then_some(flag))
        .sum()
    }

    fn put(&self, buf: &mut BytesMut) {
        buf.put_slice(self.event_id.as_bytes());
        buf.put_u8(self.flags());
        put_prefixed(buf, self.event_type.as_bytes());
        let texts = [
            written_out(self.data_content_type),
            written_out(self.metadata_content_type),
            self.causation_id,
            self.correlation_id,
            self.actor_id,
        ];
        for text in texts.into_iter().flatten() {
            put_prefixed(buf, text.as_bytes());
        }
        if self.schema_version != DEFAULT_SCHEMA_VERSION {
            put_varint(buf, u64::from(self.schema_version));
        }
        if let Some(occurred_at_us) = self.occurred_at_us {
            buf.put_i64_le(occurred_at_us);
        }
        if !self.tags.is_empty() {
            put_varint(buf, self.tags.len() as u64);
            for tag in &self.tags {
                put_prefixed(buf, tag.as_bytes());
            }
        }
        put_prefixed(buf, self.metadata);
        buf.put_slice(self.data);
    }
}

/// A content type, if it has to stand in the record.
fn written_out(content_type: &str) -> Option<&str> {
    (!content_type.is_empty() && content_type != DEFAULT_CONTENT_TYPE).then_some(content_type)
}

/// Encodes the events of one append to one stream. Refuses an empty stream id, no events, and more than
/// 4 GiB, which no reader could take back.
pub fn encode_record(
    stream_id: &str,
    events: &[EventDraft<'_>],
) -> Result<RecordView, CorruptRecord> {
    let lens: Vec<usize> = events.iter().map(EventDraft::encoded_len).collect();
    let record_bytes = size_of::<u8>()
        + prefixed_len(stream_id.len())
        + varint_len(events.len() as u64)
        + lens.iter().copied().map(prefixed_len).sum::<usize>();
    let mut buf = BytesMut::with_capacity(record_bytes);
    buf.put_u8(RECORD_FORMAT_VERSION);
    put_prefixed(&mut buf, stream_id.as_bytes());
    put_varint(&mut buf, events.len() as u64);
    for (event, len) in events.iter().zip(lens) {
        put_varint(&mut buf, len as u64);
        let start = buf.len();
        event.put(&mut buf);
        debug_assert_eq!(buf.len() - start, len, "an event's size is told before it is written");
    }
    debug_assert_eq!(buf.len(), record_bytes, "a record is made in one allocation");
    if stream_id.is_empty() {
        return Err(CorruptRecord::NoStream);
    }
    if events.is_empty() {
        return Err(CorruptRecord::NoEvents);
    }
    if u32::try_from(record_bytes).is_err() {
        return Err(Malformed::NumberTooLarge.into());
    }
    let plain_names =
        !has_control(stream_id) && !events.iter().any(|event| event.names().any(has_control));
    Ok(RecordView::encoded(buf.freeze(), stream_id.len(), events.len(), plain_names))
}
