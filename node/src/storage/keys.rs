//! The keys of a run and what their values hold.
//!
//! | key | value | what it finds |
//! |---|---|---|
//! | `H` stream `00` | the engine's bytes | what is known of a stream |
//! | `V` stream `00` first version | position | the records of a stream |
//! | `T` type `00` position | | records with an event of a type |
//! | `G` tag `00` position | | records with an event with a tag |
//! | `I` event id | position, index | the event with an id |
//! | `C` id `00` position | | records with an event caused by `id` |
//! | `R` id `00` position | | records with an event correlated by `id` |
//! | `L` `00` position | | records that create or re-open a stream |
//! | `D` stream `00` | the engine's bytes | what was removed of a stream |
//!
//! Positions are those of the record's first event, removed or not; in keys they and versions are big-endian, so that
//! they sort as numbers; in values they are variable-length. Texts hold no control characters, so a zero ends them and
//! no text's keys lie among another's.

use bytes::BufMut as _;

use crate::event::codec::{Reader, put_varint};

const HEAD: u8 = b'H';
const VERSION: u8 = b'V';
const EVENT_ID: u8 = b'I';
const CREATED: u8 = b'L';
const REMOVED: u8 = b'D';

/// Ends a text.
const END: u8 = 0;
/// Bytes of the number at the end of a key.
const NUMBER_BYTES: usize = size_of::<u64>();

/// What a posting is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Posting {
    /// Events of a type.
    Type = b'T' as isize,
    /// Events with a tag.
    Tag = b'G' as isize,
    /// Events with a causation id.
    Causation = b'C' as isize,
    /// Events with a correlation id.
    Correlation = b'R' as isize,
}

/// Where the event with an id stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPlace {
    /// The position of its record.
    pub position: u64,
    /// Which event of the record, from 0, removed ones counted.
    pub index: u32,
}

/// The key of what is known of a stream.
pub fn head(stream: &str) -> Vec<u8> {
    text(HEAD, stream)
}

/// The stream that a head's key is of; `None`: it is the key of something else.
pub fn head_stream(key: &[u8]) -> Option<&str> {
    stream_of(HEAD, key)
}

/// The key of what was removed of a stream.
pub fn removed(stream: &str) -> Vec<u8> {
    text(REMOVED, stream)
}

/// The stream that the key of a removal is of; `None`: it is the key of something else.
pub fn removed_stream(key: &[u8]) -> Option<&str> {
    stream_of(REMOVED, key)
}

/// The key of the first record of a stream from its first version on. Without the number: before all of them.
pub fn version(stream: &str, first_version: u64) -> Vec<u8> {
    numbered(text(VERSION, stream), first_version)
}

/// The key of a posting.
pub fn posting(kind: Posting, value: &str, position: u64) -> Vec<u8> {
    numbered(text(kind as u8, value), position)
}

/// The key of an event's id.
pub fn event_id(id: &[u8; 16]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + id.len());
    key.push(EVENT_ID);
    key.extend_from_slice(id);
    key
}

/// The key of a record that creates or re-opens a stream.
pub fn created(position: u64) -> Vec<u8> {
    numbered(text(CREATED, ""), position)
}

/// The key without its trailing number: what the filter knows. Keys that have none are their own.
pub fn filter_key(key: &[u8]) -> &[u8] {
    match key.first() {
        None | Some(&(HEAD | EVENT_ID | REMOVED)) => key,
        Some(_) => &key[..key.len().saturating_sub(NUMBER_BYTES)],
    }
}

/// The number that a key ends with; `None` when it is too short to have one.
pub fn trailing_number(key: &[u8]) -> Option<u64> {
    key.last_chunk::<NUMBER_BYTES>().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The id in an event id's key; `None`: it is the key of something else.
pub(super) fn id_of(key: &[u8]) -> Option<&[u8; 16]> {
    let (kind, id) = key.split_first()?;
    if *kind == EVENT_ID { id.try_into().ok() } else { None }
}

/// The value of a version's key.
pub fn position_value(position: u64) -> Vec<u8> {
    let mut value = Vec::with_capacity(NUMBER_BYTES);
    put_varint(&mut value, position);
    value
}

/// Reads the value of a version's key; `None`: it is none.
pub fn read_position(value: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(value);
    let position = reader.varint().ok()?;
    reader.finish().ok().map(|()| position)
}

/// The value of an event id's key.
pub fn place_value(place: EventPlace) -> Vec<u8> {
    let mut value = position_value(place.position);
    put_varint(&mut value, u64::from(place.index));
    value
}

/// Reads the value of an event id's key; `None`: it is none.
pub fn read_place(value: &[u8]) -> Option<EventPlace> {
    let mut reader = Reader::new(value);
    let position = reader.varint().ok()?;
    let index = reader.varint_u32().ok()?;
    reader.finish().ok().map(|()| EventPlace { position, index })
}

fn stream_of(kind: u8, key: &[u8]) -> Option<&str> {
    let stream = key.strip_prefix(&[kind])?.strip_suffix(&[END])?;
    std::str::from_utf8(stream).ok()
}

fn text(kind: u8, text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + text.len() + 1 + NUMBER_BYTES);
    key.push(kind);
    key.extend_from_slice(text.as_bytes());
    key.push(END);
    key
}

fn numbered(mut key: Vec<u8>, number: u64) -> Vec<u8> {
    key.put_u64(number);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_text_and_then_by_number() {
        let keys = [
            created(1),
            posting(Posting::Type, "a", 1),
            posting(Posting::Type, "a", 256),
            posting(Posting::Type, "a b", 0),
            posting(Posting::Type, "ab", 0),
            version("s", 2),
            version("s", u64::MAX),
            version("s1", 0),
        ];
        assert!(keys.is_sorted(), "{keys:?}");
    }

    #[test]
    fn the_filter_knows_keys_without_their_numbers() {
        assert_eq!(filter_key(&version("s", 7)), filter_key(&version("s", 9)));
        assert_eq!(filter_key(&version("s", 7)), b"Vs\0");
        assert_eq!(filter_key(&head("12345678")), head("12345678"));
        assert_eq!(filter_key(&removed("12345678")), removed("12345678"));
        assert_eq!(filter_key(&event_id(&[9; 16])), event_id(&[9; 16]));
        assert_eq!(filter_key(&created(3)), b"L\0");
        assert_eq!(filter_key(b""), b"");
        assert_eq!(filter_key(b"T"), b"");
    }

    #[test]
    fn a_key_gives_back_what_it_was_made_from() {
        assert_eq!(head_stream(&head("orders-1")), Some("orders-1"));
        assert_eq!(head_stream(&version("orders-1", 0)), None);
        assert_eq!(removed_stream(&removed("orders-1")), Some("orders-1"));
        assert_eq!(removed_stream(&head("orders-1")), None);
        assert_eq!(trailing_number(&posting(Posting::Tag, "t", 77)), Some(77));
        assert_eq!(id_of(&event_id(&[3; 16])), Some(&[3; 16]));
        assert_eq!(read_position(&position_value(1 << 40)), Some(1 << 40));
        let place = EventPlace { position: 300, index: 9_999 };
        assert_eq!(read_place(&place_value(place)), Some(place));
        assert_eq!(read_place(b""), None);
    }
}
