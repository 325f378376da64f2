//! Queries by type and tags as the command line writes them.

use std::str::FromStr;

use reckon_api::v1;

/// How an item is written, for help texts.
pub const QUERY_ITEM: &str = "type=T,tag=X,…";

const FORM: &str =
    "an item of a query is a list such as type=Reserved,tag=seat:7; `\\,` is a comma in a name";

/// One item of a query: events of any of its types that carry all of its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item(v1::QueryItem);

impl FromStr for Item {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut item = v1::QueryItem::default();
        for part in parts(text) {
            match part.split_once('=') {
                Some(("type", name)) if !name.is_empty() => item.types.push(name.to_owned()),
                Some(("tag", name)) if !name.is_empty() => item.tags.push(name.to_owned()),
                _ => return Err(format!("{part:?} is neither type=… nor tag=…: {FORM}")),
            }
        }
        Ok(Self(item))
    }
}

/// The items as one query: an event matches when it matches any of them.
pub fn query(items: &[Item]) -> v1::Query {
    v1::Query { items: items.iter().map(|item| item.0.clone()).collect() }
}

/// What stands between commas.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let part = parts.last_mut().expect("there is always one");
        match character {
            ',' => parts.push(String::new()),
            '\\' => part.push(characters.next().unwrap_or('\\')),
            other => part.push(other),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_has_any_of_its_types_and_all_of_its_tags() {
        let item = |text: &str| text.parse::<Item>().map(|item| (item.0.types, item.0.tags));
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let check = |text: &str, types: &[&str], tags: &[&str]| {
            assert_eq!(item(text), Ok((names(types), names(tags))), "{text}");
        };
        check("type=A", &["A"], &[]);
        check("tag=x=1", &[], &["x=1"]);
        check("type=A,type=B,tag=x,tag=y", &["A", "B"], &["x", "y"]);
        check("tag=a\\,b\\\\c", &[], &["a,b\\c"]);
        for text in ["", "A", "kind=A", "type=", "type=A,", "type=A,,tag=b"] {
            assert!(item(text).is_err(), "{text}");
        }
    }
}
