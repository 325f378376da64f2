//! The contents of a block of entries: keys and values in ascending order of keys, each found by binary search.
//!
//! An entry is the length of the key, the length of the value, the key, the value. Where each begins is not stored:
//! it is found once when the block is read, and every length is checked then, so that no look-up can fail later.

use bytes::Bytes;

use crate::event::codec::{Reader, put_varint, varint_len};

/// Gathers the entries of one block.
#[derive(Debug, Default)]
pub(super) struct EntriesBuilder {
    raw: Vec<u8>,
    first_key: Vec<u8>,
}

impl EntriesBuilder {
    /// Adds an entry; its key is above all before it.
    pub fn push(&mut self, key: &[u8], value_parts: &[&[u8]]) {
        if self.raw.is_empty() {
            self.first_key.clear();
            self.first_key.extend_from_slice(key);
        }
        put_varint(&mut self.raw, key.len() as u64);
        let value_bytes = value_parts.iter().map(|part| part.len()).sum::<usize>();
        put_varint(&mut self.raw, value_bytes as u64);
        self.raw.extend_from_slice(key);
        for part in value_parts {
            self.raw.extend_from_slice(part);
        }
    }

    /// What an entry would add, in bytes.
    pub const fn entry_bytes(key_bytes: usize, value_bytes: usize) -> usize {
        varint_len(key_bytes as u64) + varint_len(value_bytes as u64) + key_bytes + value_bytes
    }

    pub const fn bytes(&self) -> usize {
        self.raw.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The key of the first entry; empty when there is none.
    pub fn first_key(&self) -> &[u8] {
        &self.first_key
    }

    pub fn clear(&mut self) {
        self.raw.clear();
    }
}

/// Where an entry's key begins in its block, where its value does, and where that ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spans {
    key: usize,
    value: usize,
    end: usize,
}

impl Spans {
    /// Those of no entry.
    pub const NONE: Self = Self { key: 0, value: 0, end: 0 };
}

/// The entries of a block that was read. Everything handed out shares its bytes.
#[derive(Debug)]
pub(super) struct Entries {
    bytes: Bytes,
    /// Where each entry begins.
    starts: Box<[u32]>,
}

impl Entries {
    /// Checks that the bytes are entries in strictly ascending order of keys; the reason if not.
    pub fn parse(bytes: Bytes) -> Result<Self, &'static str> {
        let mut reader = Reader::new(&bytes);
        let mut starts = Vec::with_capacity(bytes.len() / 32);
        let mut previous: Option<&[u8]> = None;
        while reader.at() < bytes.len() {
            starts.push(reader.at() as u32);
            let key = read_entry(&mut reader).ok_or("an entry has an impossible length")?;
            if previous.is_some_and(|previous| previous >= key) {
                return Err("the entries are not in order");
            }
            previous = Some(key);
        }
        let starts = starts.into_boxed_slice();
        Ok(Self { bytes, starts })
    }

    pub const fn len(&self) -> usize {
        self.starts.len()
    }

    /// Bytes of the block before compression.
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The key and the value of an entry, by its place from 0.
    pub fn entry(&self, place: usize) -> (&[u8], &[u8]) {
        self.at(self.spans(place))
    }

    /// The key and the value of an entry whose [`Self::spans`] are known.
    pub fn at(&self, spans: Spans) -> (&[u8], &[u8]) {
        let Spans { key, value, end } = spans;
        (&self.bytes[key..value], &self.bytes[value..end])
    }

    /// The same as bytes that share the block's.
    pub fn shared(&self, place: usize) -> (Bytes, Bytes) {
        let Spans { key, value, end } = self.spans(place);
        (self.bytes.slice(key..value), self.bytes.slice(value..end))
    }

    /// The value of an entry, sharing the block's bytes.
    pub fn shared_value(&self, place: usize) -> Bytes {
        let Spans { value, end, .. } = self.spans(place);
        self.bytes.slice(value..end)
    }

    /// The first place whose key and value are not `before`; all those that are come first.
    pub fn partition_point(&self, before: impl Fn(&[u8], &[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            let (key, value) = self.entry(middle);
            if before(key, value) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Memory in use, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len() + size_of_val::<[u32]>(&self.starts)
    }

    /// Where the key and the value of an entry lie.
    pub fn spans(&self, place: usize) -> Spans {
        let mut reader = Reader::starting_at(&self.bytes, self.starts[place] as usize);
        let mut length =
            || reader.varint().expect("`parse` read the lengths of every entry") as usize;
        let (key_bytes, value_bytes) = (length(), length());
        let key = reader.at();
        let value = key + key_bytes;
        Spans { key, value, end: value + value_bytes }
    }
}

/// Passes over an entry and returns its key.
fn read_entry<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let key_bytes = usize::try_from(reader.varint().ok()?).ok()?;
    let value_bytes = usize::try_from(reader.varint().ok()?).ok()?;
    let key = reader.take(key_bytes).ok()?;
    reader.take(value_bytes).ok()?;
    Some(key)
}
