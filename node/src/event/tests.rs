//! Records survive their encoding, and no bytes whatever make the decoder panic.

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::codec::{Reader, put_varint, varint_len};
use super::*;

#[derive(Debug, Clone)]
struct Owned {
    id: u128,
    event_type: String,
    data: Vec<u8>,
    content_types: (String, String),
    metadata: Vec<u8>,
    tags: Vec<String>,
    ids: (Option<String>, Option<String>, Option<String>),
    schema_version: u32,
    occurred_at_us: Option<i64>,
}

impl Owned {
    fn draft(&self) -> EventDraft<'_> {
        let mut draft =
            EventDraft::new(Uuid::from_u128(self.id), &self.event_type, self.data.as_slice());
        draft.data_content_type = &self.content_types.0;
        draft.metadata_content_type = &self.content_types.1;
        draft.metadata = &self.metadata;
        draft.set_tags(self.tags.iter().map(String::as_str));
        draft.causation_id = self.ids.0.as_deref();
        draft.correlation_id = self.ids.1.as_deref();
        draft.actor_id = self.ids.2.as_deref();
        draft.schema_version = self.schema_version;
        draft.occurred_at_us = self.occurred_at_us;
        draft
    }
}

fn owned() -> impl Strategy<Value = Owned> {
    let content_type = || {
        prop_oneof![
            Just(String::new()),
            Just(DEFAULT_CONTENT_TYPE.to_owned()),
            Just("application/octet-stream".to_owned()),
        ]
    };
    (
        (any::<u128>(), ".{1,20}", prop::collection::vec(any::<u8>(), 0..300)),
        (content_type(), content_type()),
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec("[a-c]{1,2}", 0..8),
        (any::<Option<String>>(), any::<Option<String>>(), any::<Option<String>>()),
        prop_oneof![Just(1_u32), any::<u32>()],
        any::<Option<i64>>(),
    )
        .prop_map(
            |(core, content_types, metadata, tags, ids, schema_version, occurred_at_us)| Owned {
                id: core.0,
                event_type: core.1,
                data: core.2,
                content_types,
                metadata,
                tags,
                ids,
                schema_version,
                occurred_at_us,
            },
        )
}

fn expected_content_type(given: &str) -> &str {
    if given.is_empty() { DEFAULT_CONTENT_TYPE } else { given }
}

/// Decodes, and encodes again from what was decoded.
fn encoded_again(record: &RecordView) -> RecordView {
    let drafts: Vec<EventDraft<'_>> = record
        .events()
        .map(|event| {
            let mut draft = EventDraft::new(event.event_id, event.event_type, event.data);
            draft.data_content_type = event.data_content_type;
            draft.metadata_content_type = event.metadata_content_type;
            draft.metadata = event.metadata;
            draft.set_tags(event.tags.iter());
            draft.causation_id = event.causation_id;
            draft.correlation_id = event.correlation_id;
            draft.actor_id = event.actor_id;
            draft.schema_version = event.schema_version;
            draft.occurred_at_us = event.occurred_at_us;
            draft
        })
        .collect();
    encode_record(record.stream_id(), &drafts).unwrap()
}

proptest! {
    #[test]
    fn a_record_gives_back_what_was_encoded(
        stream in ".{1,40}",
        events in prop::collection::vec(owned(), 1..6),
    ) {
        let drafts: Vec<_> = events.iter().map(Owned::draft).collect();
        let record = encode_record(&stream, &drafts).unwrap();
        prop_assert_eq!(record.stream_id(), &stream);
        prop_assert_eq!(record.events_len() as usize, events.len());
        for ((given, draft), span) in events.iter().zip(&drafts).zip(record.spans()) {
            let event = record.event(span);
            prop_assert_eq!(span.bytes(), draft.encoded_len());
            prop_assert_eq!(record.event_id(span), *event.event_id.as_bytes());
            prop_assert_eq!(event.event_id.as_u128(), given.id);
            prop_assert_eq!(event.event_type, &given.event_type);
            prop_assert_eq!(event.data, &given.data);
            prop_assert_eq!(event.metadata, &given.metadata);
            prop_assert_eq!(event.data_content_type, expected_content_type(&given.content_types.0));
            prop_assert_eq!(
                event.metadata_content_type,
                expected_content_type(&given.content_types.1)
            );
            prop_assert_eq!(event.tags.iter().collect::<Vec<_>>(), draft.tags());
            prop_assert_eq!(event.causation_id, given.ids.0.as_deref());
            prop_assert_eq!(event.correlation_id, given.ids.1.as_deref());
            prop_assert_eq!(event.actor_id, given.ids.2.as_deref());
            prop_assert_eq!(event.schema_version, given.schema_version);
            prop_assert_eq!(event.occurred_at_us, given.occurred_at_us);
        }
    }

    #[test]
    fn untrusted_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = EventView::parse(&bytes);
        let _ = RecordView::new(Bytes::from(bytes));
    }

    /// Flipped, cut and lengthened records are refused, or are another record in its one encoding.
    #[test]
    fn a_damaged_record_is_refused_or_canonical(
        events in prop::collection::vec(owned(), 1..4),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in 0_usize..3,
    ) {
        let drafts: Vec<_> = events.iter().map(Owned::draft).collect();
        let mut bytes = encode_record("orders-1", &drafts).unwrap().bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = value;
        bytes.truncate(bytes.len() - cut);
        if let Ok(record) = RecordView::new(Bytes::from(bytes)) {
            prop_assert_eq!(encoded_again(&record), record);
        }
    }

    #[test]
    fn a_number_has_one_form_and_a_known_size(value in any::<u64>()) {
        let mut buf = Vec::new();
        put_varint(&mut buf, value);
        prop_assert_eq!(buf.len(), varint_len(value));
        prop_assert_eq!(Reader::new(&buf).varint(), Ok(value));
        let last = buf.len() - 1;
        buf[last] |= 0x80;
        buf.push(0);
        prop_assert!(Reader::new(&buf).varint().is_err());
    }
}

#[test]
fn defaults_cost_at_most_one_byte_each() {
    let bare = EventDraft::new(Uuid::from_u128(7), "t", b"");
    // Id, flags, type with its length, length of the metadata.
    assert_eq!(bare.encoded_len(), 16 + 1 + 2 + 1);
    let mut spelled = bare.clone();
    spelled.data_content_type = "";
    spelled.metadata_content_type = DEFAULT_CONTENT_TYPE;
    assert_eq!(spelled.encoded_len(), bare.encoded_len());
}

#[test]
fn order_and_repetition_of_tags_do_not_change_a_record() {
    let record = |tags: &[&'static str]| {
        let mut draft = EventDraft::new(Uuid::from_u128(7), "t", b"{}");
        draft.set_tags(tags.iter().copied());
        encode_record("s", &[draft]).unwrap()
    };
    assert_eq!(record(&["b", "a", "b"]), record(&["a", "b"]));
}

#[test]
fn records_that_say_nothing_or_too_much_are_refused() {
    let record = encode_record("s", &[EventDraft::new(Uuid::from_u128(7), "t", b"{}")]).unwrap();
    let damaged = |damage: fn(&mut Vec<u8>)| {
        let mut bytes = record.bytes().to_vec();
        damage(&mut bytes);
        RecordView::new(Bytes::from(bytes)).unwrap_err()
    };
    assert_eq!(damaged(|bytes| bytes[0] = 2), CorruptRecord::UnknownVersion(2));
    assert_eq!(damaged(|bytes| bytes.push(0)), CorruptRecord::Malformed(Malformed::Trailing));
    assert_eq!(damaged(Vec::clear), CorruptRecord::Malformed(Malformed::Short));
    assert_eq!(encode_record("", &[]).unwrap_err(), CorruptRecord::NoStream);
    assert_eq!(encode_record("s", &[]).unwrap_err(), CorruptRecord::NoEvents);
}
