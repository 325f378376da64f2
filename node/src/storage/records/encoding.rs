//! How a stored record stands in a records file.

use bytes::Bytes;

use crate::event::codec::{Malformed, Reader, put_varint};
use crate::event::{CorruptRecord, RecordView, StoredRecord};

/// The key of a record.
pub(super) const fn key(first_position: u64) -> [u8; 8] {
    first_position.to_be_bytes()
}

/// What stands in front of the record in its value.
pub(super) fn put_front(buf: &mut Vec<u8>, stored: &StoredRecord) {
    put_varint(buf, stored.first_version);
    put_varint(buf, stored.epoch_us);
    put_varint(buf, u64::from(stored.removed));
}

/// What the index notes of a block's first record.
pub(super) fn put_note(buf: &mut Vec<u8>, epoch_us: u64) {
    put_varint(buf, epoch_us);
}

/// The time in a note; `None`: it is none.
pub(super) fn read_note(note: &[u8]) -> Option<u64> {
    Reader::new(note).varint().ok()
}

/// The time in a value; `None`: it is none.
pub(super) fn read_epoch_us(value: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(value);
    reader.varint().ok()?;
    reader.varint().ok()
}

/// Reads an entry; the record shares the value's bytes.
pub(super) fn read(key: &[u8], value: &Bytes) -> Result<StoredRecord, CorruptRecord> {
    let key = <[u8; 8]>::try_from(key).map_err(|_| Malformed::Short)?;
    let mut reader = Reader::new(value);
    let first_version = reader.varint()?;
    let epoch_us = reader.varint()?;
    let removed = reader.varint_u32()?;
    let record = RecordView::stored(value.slice(reader.at()..))?;
    let first_position = u64::from_be_bytes(key);
    Ok(StoredRecord { record, first_position, first_version, epoch_us, removed })
}
