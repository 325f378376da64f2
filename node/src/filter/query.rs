//! Queries by types and tags, checked: those of filters and those of append conditions.

use std::fmt::Display;

use reckon_api::v1;

use super::error::{FilterError, Limit, check_name};
use crate::engine::QueryItem;
use crate::event::EventView;
use crate::limits;

const ITEMS: Limit = Limit { name: "query_items_max", maximum: limits::QUERY_ITEMS_MAX };
const ITEM_TYPES: Limit =
    Limit { name: "query_item_types_max", maximum: limits::QUERY_ITEM_TYPES_MAX };
const ITEM_TAGS: Limit =
    Limit { name: "query_item_tags_max", maximum: limits::QUERY_ITEM_TAGS_MAX };
const QUERY_TERMS: Limit = Limit { name: "query_terms_max", maximum: limits::QUERY_TERMS_MAX };
const TYPES: Limit = Limit { name: "filter_types_max", maximum: limits::FILTER_TYPES_MAX };
const TAGS: Limit = Limit { name: "filter_tags_max", maximum: limits::FILTER_TAGS_MAX };
const EVENT_TYPE: Limit =
    Limit { name: "event_type_bytes_max", maximum: limits::EVENT_TYPE_BYTES_MAX };
const TAG: Limit = Limit { name: "tag_bytes_max", maximum: limits::TAG_BYTES_MAX };

/// Checks a query; `field` is its path in the request. The types and tags of the items are sorted and distinct.
pub fn query_items(field: impl Display, query: &v1::Query) -> Result<Vec<QueryItem>, FilterError> {
    let field = &format_args!("{field}.items");
    if query.items.is_empty() {
        return Err(FilterError::empty(field, "a query has at least one item"));
    }
    ITEMS.check(field, query.items.len(), "items; ask several times")?;
    let terms = query.items.iter().map(|item| item.types.len() + item.tags.len()).sum();
    QUERY_TERMS.check(field, terms, "types and tags over all; ask several times")?;
    let items = query.items.iter().enumerate().map(|(index, item)| {
        let types = &format_args!("{field}[{index}].types");
        ITEM_TYPES.check(types, item.types.len(), "types; ask several times")?;
        let tags = &format_args!("{field}[{index}].tags");
        ITEM_TAGS.check(tags, item.tags.len(), "tags; ask several times")?;
        Ok(QueryItem {
            types: names(types, &item.types, EVENT_TYPE)?,
            tags: names(tags, &item.tags, TAG)?,
        })
    });
    items.collect()
}

/// Checks event types, and puts them in order, each once.
pub(super) fn types(field: &str, types: &[String]) -> Result<Vec<String>, FilterError> {
    TYPES.check(field, types.len(), "types; ask several times")?;
    names(field, types, EVENT_TYPE)
}

/// Checks the name of one event type.
pub(super) fn event_type(field: &str, name: &str) -> Result<String, FilterError> {
    check_name(field, name, EVENT_TYPE)?;
    Ok(name.to_owned())
}

/// Checks tags, and puts them in order, each once.
pub(super) fn tags(field: &str, tags: &[String]) -> Result<Vec<String>, FilterError> {
    TAGS.check(field, tags.len(), "tags; ask several times")?;
    names(field, tags, TAG)
}

fn names(field: impl Display, names: &[String], limit: Limit) -> Result<Vec<String>, FilterError> {
    for (index, name) in names.iter().enumerate() {
        check_name(format_args!("{field}[{index}]"), name, limit)?;
    }
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Whether an event is of any of the types and carries all of the tags.
pub(super) fn fulfils(event: &EventView<'_>, item: &QueryItem) -> bool {
    (item.types.is_empty() || is_of(event, &item.types)) && carries_all(event, &item.tags)
}

/// Whether the event is of one of the types, which are in order.
pub(super) fn is_of(event: &EventView<'_>, types: &[String]) -> bool {
    types.binary_search_by(|name| name.as_str().cmp(event.event_type)).is_ok()
}

/// Whether the event carries one of the tags, which are in order.
pub(super) fn carries_any(event: &EventView<'_>, tags: &[String]) -> bool {
    event.tags.iter().any(|tag| tags.binary_search_by(|name| name.as_str().cmp(tag)).is_ok())
}

/// Whether the event carries all of the tags, which are in order and distinct, as those of an event are.
pub(super) fn carries_all(event: &EventView<'_>, tags: &[String]) -> bool {
    if tags.len() > event.tags.len() {
        return false;
    }
    let mut carried = event.tags.iter();
    tags.iter().all(|tag| carried.by_ref().any(|carried| carried == tag))
}
