//! Which part of a filter the indexes can answer. They may give too many events, never too few.

use super::term::{Condition, Term};
use crate::engine::QueryItem;

/// Items of which every event that all terms hold for fulfils at least one; `None`: the indexes do not help.
pub(super) fn candidates(terms: &[Term]) -> Option<Vec<QueryItem>> {
    let usable = || terms.iter().filter(|term| !term.negate).map(|term| &term.condition);
    let base = usable().filter(|condition| answers(condition)).min_by_key(|c| rank(c))?;
    let mut items = items_of(base);
    for other in usable().filter(|condition| !std::ptr::eq(*condition, base)) {
        for item in &mut items {
            narrow(item, other);
        }
    }
    Some(items)
}

/// A name, of a tag or a type, that stands in every event which fulfils one of the items: the longest, which says most.
pub(super) fn common_name(items: &[QueryItem]) -> Option<&str> {
    let (first, rest) = items.split_first()?;
    let common =
        names(first).filter(|name| rest.iter().all(|item| names(item).any(|n| n == *name)));
    common.max_by_key(|name| name.len())
}

/// Names that every event has which fulfils the item.
fn names(item: &QueryItem) -> impl Iterator<Item = &str> {
    let only_type = item.types.first().filter(|_| item.types.len() == 1);
    item.tags.iter().chain(only_type).map(String::as_str)
}

/// A query with an item that asks for nothing may be fulfilled by any event.
fn answers(condition: &Condition) -> bool {
    match condition {
        Condition::AllTags(_) | Condition::AnyTag(_) | Condition::Types(_) => true,
        Condition::Query(items) => {
            items.iter().all(|item| !(item.types.is_empty() && item.tags.is_empty()))
        }
        _ => false,
    }
}

/// The kinds from the one that usually leaves the fewest events.
fn rank(condition: &Condition) -> u8 {
    match condition {
        Condition::AllTags(_) => 0,
        Condition::Query(_) => 1,
        Condition::AnyTag(_) => 2,
        _ => 3,
    }
}

fn items_of(condition: &Condition) -> Vec<QueryItem> {
    match condition {
        Condition::Types(types) => vec![QueryItem { types: types.clone(), tags: Vec::new() }],
        Condition::AllTags(tags) => vec![QueryItem { types: Vec::new(), tags: tags.clone() }],
        Condition::AnyTag(tags) => tags
            .iter()
            .map(|tag| QueryItem { types: Vec::new(), tags: vec![tag.clone()] })
            .collect(),
        Condition::Query(items) => items.clone(),
        _ => Vec::new(),
    }
}

/// Every term has to hold, so what another one asks for goes into the item where an item can say it.
fn narrow(item: &mut QueryItem, other: &Condition) {
    match other {
        Condition::Types(types) if item.types.is_empty() => item.types.clone_from(types),
        Condition::AllTags(tags) => {
            item.tags.extend(tags.iter().cloned());
            item.tags.sort_unstable();
            item.tags.dedup();
        }
        _ => {}
    }
}
