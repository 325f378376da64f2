//! Which events are meant: the options of `read-all`, `count` and `any`.

use std::str::FromStr;

use reckon_api::v1::{self, filter_term::Kind};

use crate::query::{self, Item, QUERY_ITEM};

/// Which events. Options of different names must all hold.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Filters (all that are given must hold; each has a --not- form)")]
pub struct FilterArgs {
    /// Events of this type. Several: any of them.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Events with this tag. Several: any of them.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Events with this tag. Several: all of them.
    #[arg(long = "all-tags", value_name = "TAG")]
    all_tags: Vec<String>,
    /// Events of any of the types that carry all of the tags. Several: any of them.
    #[arg(long = "query", value_name = QUERY_ITEM)]
    query: Vec<Item>,
    /// Events of streams by pattern: `*` any run of characters, `?` one, `\` takes the next as it is.
    #[arg(long, value_name = "PATTERN")]
    pattern: Option<String>,
    /// Events of streams whose names start with this.
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Events of streams whose names end with this.
    #[arg(long, value_name = "TEXT")]
    suffix: Option<String>,
    /// Events of streams whose names match this regular expression (RE2), anywhere unless anchored.
    #[arg(long, value_name = "REGEX")]
    regex: Option<String>,
    /// Events for which this CEL expression over `event` holds. Several: all of them.
    #[arg(long = "where", value_name = "CEL")]
    expressions: Vec<String>,
    /// A share of the streams: part I, from 0, of N.
    #[arg(long, value_name = "I/N")]
    partition: Option<Partition>,

    #[arg(long = "not-type", value_name = "TYPE", hide_short_help = true)]
    not_types: Vec<String>,
    #[arg(long = "not-tag", value_name = "TAG", hide_short_help = true)]
    not_tags: Vec<String>,
    #[arg(long = "not-all-tags", value_name = "TAG", hide_short_help = true)]
    not_all_tags: Vec<String>,
    #[arg(long = "not-query", value_name = QUERY_ITEM, hide_short_help = true)]
    not_query: Vec<Item>,
    #[arg(long = "not-pattern", value_name = "PATTERN", hide_short_help = true)]
    not_patterns: Vec<String>,
    #[arg(long = "not-prefix", value_name = "TEXT", hide_short_help = true)]
    not_prefixes: Vec<String>,
    #[arg(long = "not-suffix", value_name = "TEXT", hide_short_help = true)]
    not_suffixes: Vec<String>,
    #[arg(long = "not-regex", value_name = "REGEX", hide_short_help = true)]
    not_regexes: Vec<String>,
    #[arg(long = "not-where", value_name = "CEL", hide_short_help = true)]
    not_expressions: Vec<String>,
    #[arg(long = "not-partition", value_name = "I/N", hide_short_help = true)]
    not_partition: Option<Partition>,
}

/// Makes a term of a text.
type Make = fn(String) -> Kind;

/// A share of the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    pub index: u32,
    pub count: u32,
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(index, count)| {
            Some(Self { index: index.parse().ok()?, count: count.parse().ok()? })
        });
        parsed
            .filter(|share| share.index < share.count)
            .ok_or_else(|| "a share is I/N with I from 0 to N−1, such as 0/4".to_owned())
    }
}

impl FilterArgs {
    /// The filter as the protocol writes it; `None` when everything is meant.
    pub fn to_message(&self) -> Option<v1::Filter> {
        let mut terms = Vec::new();
        let mut add = |negate, kind| terms.push(v1::FilterTerm { negate, kind: Some(kind) });
        let types = |types: &[String]| Kind::Types(v1::EventTypes { types: types.to_vec() });
        let tags = |tags: &[String], all| Kind::Tags(v1::Tags { tags: tags.to_vec(), all });
        let share = |Partition { index, count }| Kind::Partition(v1::Partition { index, count });

        let lists = [
            (false, &self.types, &self.tags, &self.all_tags, &self.query),
            (true, &self.not_types, &self.not_tags, &self.not_all_tags, &self.not_query),
        ];
        for (negate, own_types, any_tags, all_tags, query) in lists {
            if !own_types.is_empty() {
                add(negate, types(own_types));
            }
            if !any_tags.is_empty() {
                add(negate, tags(any_tags, false));
            }
            if !all_tags.is_empty() {
                add(negate, tags(all_tags, true));
            }
            if !query.is_empty() {
                add(negate, Kind::Query(query::query(query)));
            }
        }
        let texts: [(&[String], &[String], Make); 5] = [
            (self.pattern.as_slice(), &self.not_patterns, Kind::StreamPattern),
            (self.prefix.as_slice(), &self.not_prefixes, Kind::StreamPrefix),
            (self.suffix.as_slice(), &self.not_suffixes, Kind::StreamSuffix),
            (self.regex.as_slice(), &self.not_regexes, Kind::StreamRegex),
            (&self.expressions, &self.not_expressions, Kind::Expression),
        ];
        for (wanted, unwanted, kind) in texts {
            for text in wanted {
                add(false, kind(text.clone()));
            }
            for text in unwanted {
                add(true, kind(text.clone()));
            }
        }
        if let Some(partition) = self.partition {
            add(false, share(partition));
        }
        if let Some(partition) = self.not_partition {
            add(true, share(partition));
        }
        (!terms.is_empty()).then_some(v1::Filter { terms })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        filter: FilterArgs,
    }

    fn terms(line: &[&str]) -> Vec<(bool, Kind)> {
        let line = Line::try_parse_from(["filter"].iter().chain(line)).unwrap();
        let terms = line.filter.to_message().map(|filter| filter.terms).unwrap_or_default();
        terms.into_iter().map(|term| (term.negate, term.kind.unwrap())).collect()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn nothing_said_is_no_filter() {
        assert!(terms(&[]).is_empty());
    }

    #[test]
    fn options_of_one_name_make_one_term_and_those_of_several_names_several() {
        let found = terms(&["--type", "A", "--type", "B", "--tag", "x", "--all-tags", "y"]);
        let expected = vec![
            (false, Kind::Types(v1::EventTypes { types: names(&["A", "B"]) })),
            (false, Kind::Tags(v1::Tags { tags: names(&["x"]), all: false })),
            (false, Kind::Tags(v1::Tags { tags: names(&["y"]), all: true })),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn every_option_has_its_negation() {
        let options = [
            ("type", "A"),
            ("tag", "x"),
            ("all-tags", "x"),
            ("query", "type=A,tag=x"),
            ("pattern", "a-*"),
            ("prefix", "a"),
            ("suffix", "z"),
            ("regex", "^a"),
            ("where", "true"),
            ("partition", "1/3"),
        ];
        for (name, value) in options {
            let wanted = terms(&[&format!("--{name}"), value]);
            let unwanted = terms(&[&format!("--not-{name}"), value]);
            assert_eq!((wanted.len(), unwanted.len()), (1, 1), "{name}");
            assert_eq!((wanted[0].0, unwanted[0].0), (false, true), "{name}");
            assert_eq!(wanted[0].1, unwanted[0].1, "{name}");
        }
    }

    #[test]
    fn a_share_that_is_none_is_refused() {
        for text in ["", "1", "3/3", "0/0", "-1/2", "1/x"] {
            assert!(text.parse::<Partition>().is_err(), "{text}");
        }
    }
}
