//! Streams by their names: what a listing of streams may ask for, and the terms of a filter that look at
//! nothing but the name.

use regex::Regex;

use super::error::{FilterError, Limit};
use super::pattern::Pattern;
use super::regular_expression;
use crate::limits;

pub(super) const STREAM_ID: Limit =
    Limit { name: "stream_id_bytes_max", maximum: limits::STREAM_ID_BYTES_MAX };
const PATTERN: Limit =
    Limit { name: "stream_pattern_bytes_max", maximum: limits::STREAM_PATTERN_BYTES_MAX };
const REGEX: Limit = Limit { name: "regex_bytes_max", maximum: limits::REGEX_BYTES_MAX };

/// Streams whose names fulfil everything that is asked. Asks for nothing by default.
#[derive(Debug, Clone, Default)]
pub struct StreamNameFilter {
    prefix: String,
    /// What the names begin with by the prefix and the pattern together.
    literal_prefix: String,
    suffix: String,
    pattern: Option<Pattern>,
    regex: Option<Regex>,
}

impl StreamNameFilter {
    /// As in a listing of streams: what is empty asks for nothing. Errors name the fields `prefix`, `pattern`,
    /// `suffix` and `regex`.
    pub fn new(
        prefix: &str,
        pattern: &str,
        suffix: &str,
        regex: &str,
    ) -> Result<Self, FilterError> {
        check_affix("prefix", prefix)?;
        check_affix("suffix", suffix)?;
        let pattern =
            if pattern.is_empty() { None } else { Some(compile_pattern("pattern", pattern)?) };
        let regex = if regex.is_empty() { None } else { Some(compile_regex("regex", regex)?) };
        let by_pattern = pattern.as_ref().map(Pattern::literal_prefix).unwrap_or_default();
        // Both hold, so where one goes on behind the other, the longer one says more. Where they differ, no name
        // passes `matches`.
        let literal_prefix =
            if by_pattern.len() > prefix.len() { by_pattern } else { prefix.to_owned() };
        Ok(Self {
            prefix: prefix.to_owned(),
            literal_prefix,
            suffix: suffix.to_owned(),
            pattern,
            regex,
        })
    }

    /// Whether a stream of this name is asked for.
    pub fn matches(&self, name: &str) -> bool {
        name.starts_with(&self.prefix)
            && name.ends_with(&self.suffix)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.matches(name))
            && self.regex.as_ref().is_none_or(|regex| regex.is_match(name))
    }

    /// What every name that is asked for begins with: a listing need look nowhere else.
    pub fn literal_prefix(&self) -> &str {
        &self.literal_prefix
    }
}

/// A beginning or an end of stream names. Without control characters no further check is needed: a name that
/// cannot be is never found.
pub(super) fn check_affix(field: &str, affix: &str) -> Result<(), FilterError> {
    STREAM_ID.check(field, affix.len(), "bytes")
}

pub(super) fn compile_pattern(field: &str, pattern: &str) -> Result<Pattern, FilterError> {
    PATTERN.check(field, pattern.len(), "bytes")?;
    Pattern::new(pattern)
        .map_err(|lone| FilterError::invalid_pattern(field, lone.offset, lone.to_string()))
}

pub(super) fn compile_regex(field: &str, pattern: &str) -> Result<Regex, FilterError> {
    REGEX.check(field, pattern.len(), "bytes")?;
    regular_expression::compile(pattern)
        .map(|compiled| compiled.regex)
        .map_err(|invalid| FilterError::invalid_pattern(field, invalid.offset, invalid.reason))
}

#[cfg(test)]
mod tests {
    use super::super::FilterErrorKind;
    use super::*;

    #[test]
    fn a_name_fulfils_everything_that_is_asked() {
        let filter = StreamNameFilter::new("orders-", "*-eu-*", "-v2", "[0-9]").unwrap();
        assert!(filter.matches("orders-7-eu-x-v2"));
        for name in ["orders-7-us-x-v2", "orders-a-eu-x-v", "a-orders-7-eu-x-v2", "orders-7-eu-x"] {
            assert!(!filter.matches(name), "{name}");
        }
        let nothing_asked = StreamNameFilter::new("", "", "", "").unwrap();
        assert!(nothing_asked.matches("") && nothing_asked.matches("a"));
        assert!(StreamNameFilter::default().matches("a"));
    }

    #[test]
    fn a_listing_looks_only_where_names_can_be() {
        for (prefix, pattern, literal) in [
            ("", "", ""),
            ("a", "", "a"),
            ("", "orders-*", "orders-"),
            ("or", "orders-*", "orders-"),
            ("orders-1", "orders-*", "orders-1"),
            ("", "*-eu", ""),
        ] {
            let filter = StreamNameFilter::new(prefix, pattern, "", "").unwrap();
            assert_eq!(filter.literal_prefix(), literal, "{prefix:?} {pattern:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_field() {
        let long = "a".repeat(2_000);
        let limit =
            |limit, value, maximum| FilterErrorKind::LimitExceeded { limit, value, maximum };
        let offset = |offset| FilterErrorKind::InvalidPattern { offset };
        let table = [
            (["", r"a\", "", ""], "pattern", offset(1)),
            (["", "", "", "a("], "regex", offset(1)),
            ([&long, "", "", ""], "prefix", limit("stream_id_bytes_max", 2_000, 512)),
            (["", &long, "", ""], "pattern", limit("stream_pattern_bytes_max", 2_000, 1_024)),
            (["", "", &long, ""], "suffix", limit("stream_id_bytes_max", 2_000, 512)),
            (["", "", "", &long], "regex", limit("regex_bytes_max", 2_000, 1_024)),
        ];
        for ([prefix, pattern, suffix, regex], field, kind) in table {
            let error = StreamNameFilter::new(prefix, pattern, suffix, regex).unwrap_err();
            assert_eq!((error.field.as_str(), &error.kind), (field, &kind), "{error}");
            assert!(error.to_string().starts_with(field));
        }
    }
}
