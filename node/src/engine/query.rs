//! Queries: which events are meant, by type and tags. An OR of items; an item is any of its types AND all of
//! its tags. The same in append conditions and in reads.

use bytes::BufMut;

use super::command::CorruptCommand;
use crate::event::EventView;
use crate::event::codec::{Malformed, Reader, prefixed_len, put_prefixed, put_varint, varint_len};
use crate::limits::{QUERY_ITEM_TAGS_MAX, QUERY_ITEM_TYPES_MAX, QUERY_ITEMS_MAX, QUERY_TERMS_MAX};

/// Events that match any of the items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pub items: Vec<QueryItem>,
}

/// Events of any of the types that carry all of the tags. No types: of any type; no tags: whatever they carry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryItem {
    pub types: Vec<String>,
    pub tags: Vec<String>,
}

/// Fails an append if an event matches: a dynamic consistency boundary. The server's own streams do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendCondition {
    /// At least one item.
    pub query: Query,
    /// Only events at positions above this one count; `None`: all.
    pub after_position: Option<u64>,
}

impl Query {
    /// Whether the event is meant.
    pub fn matches(&self, event: &EventView<'_>) -> bool {
        self.items.iter().any(|item| item.matches(event))
    }
}

impl QueryItem {
    /// Whether the event is meant.
    pub fn matches(&self, event: &EventView<'_>) -> bool {
        let of_type =
            || self.types.is_empty() || self.types.iter().any(|name| name == event.event_type);
        let tagged = || self.tags.iter().all(|tag| event.tags.iter().any(|own| own == tag));
        of_type() && tagged()
    }

    fn encoded_len(&self) -> usize {
        texts_len(&self.types) + texts_len(&self.tags)
    }
}

impl AppendCondition {
    /// The first position that counts; `None`: none does.
    pub(super) fn from(&self) -> Option<u64> {
        self.after_position.map_or(Some(0), |after| after.checked_add(1))
    }

    /// Bytes of the encoded form.
    pub(super) fn encoded_len(&self) -> usize {
        let after = self.after_position.map_or(0, varint_len);
        let items = &self.query.items;
        1 + after
            + varint_len(items.len() as u64)
            + items.iter().map(QueryItem::encoded_len).sum::<usize>()
    }

    pub(super) fn put(&self, buf: &mut impl BufMut) {
        buf.put_u8(u8::from(self.after_position.is_some()));
        if let Some(position) = self.after_position {
            put_varint(buf, position);
        }
        put_varint(buf, self.query.items.len() as u64);
        for item in &self.query.items {
            put_texts(buf, &item.types);
            put_texts(buf, &item.tags);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, CorruptCommand> {
        let after_position = match reader.u8()? {
            0 => None,
            1 => Some(reader.varint()?),
            _ => return Err(Malformed::NumberTooLarge.into()),
        };
        let count = bounded(reader.varint()?, QUERY_ITEMS_MAX)?;
        if count == 0 {
            return Err(CorruptCommand::EmptyQuery);
        }
        let mut items = Vec::with_capacity(count);
        let mut terms = 0;
        for _ in 0..count {
            let types = read_texts(reader, QUERY_ITEM_TYPES_MAX)?;
            let tags = read_texts(reader, QUERY_ITEM_TAGS_MAX)?;
            terms += types.len() + tags.len();
            items.push(QueryItem { types, tags });
        }
        bounded(terms as u64, QUERY_TERMS_MAX)?;
        Ok(Self { query: Query { items }, after_position })
    }
}

fn texts_len(texts: &[String]) -> usize {
    varint_len(texts.len() as u64)
        + texts.iter().map(|text| prefixed_len(text.len())).sum::<usize>()
}

fn put_texts(buf: &mut impl BufMut, texts: &[String]) {
    put_varint(buf, texts.len() as u64);
    for text in texts {
        put_prefixed(buf, text.as_bytes());
    }
}

fn read_texts(reader: &mut Reader<'_>, maximum: usize) -> Result<Vec<String>, CorruptCommand> {
    let count = bounded(reader.varint()?, maximum)?;
    let mut texts = Vec::with_capacity(count);
    for _ in 0..count {
        texts.push(reader.text()?.to_owned());
    }
    Ok(texts)
}

fn bounded(count: u64, maximum: usize) -> Result<usize, CorruptCommand> {
    usize::try_from(count)
        .ok()
        .filter(|&count| count <= maximum)
        .ok_or(CorruptCommand::QueryTooLarge { maximum })
}
