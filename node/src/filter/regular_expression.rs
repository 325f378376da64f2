//! Regular expressions in RE2's syntax, without look-around and back references, so that a search is linear
//! in its text. They match anywhere unless anchored.

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;

use crate::limits;

/// Why a text is no regular expression, and the byte where it goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidRegex {
    pub offset: usize,
    /// To be read behind the name of the field.
    pub reason: String,
}

/// Compiles a regular expression within the limits on nesting and size. Its length is the caller's to check.
pub fn compile(pattern: &str) -> Result<Regex, InvalidRegex> {
    check_syntax(pattern)?;
    RegexBuilder::new(pattern)
        .nest_limit(limits::REGEX_NESTING_MAX)
        .size_limit(limits::REGEX_PROGRAM_BYTES_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(bytes) => InvalidRegex {
                offset: 0,
                reason: format!(
                    "compiles to more than {bytes} bytes; repeat less, or use smaller classes such as \
                     [0-9] for \\d"
                ),
            },
            other => InvalidRegex { offset: 0, reason: format!("cannot be compiled: {other}") },
        })
}

/// The `regex` crate says what is wrong only as a text; its parser says where, too.
fn check_syntax(pattern: &str) -> Result<(), InvalidRegex> {
    let parsed = ParserBuilder::new().nest_limit(limits::REGEX_NESTING_MAX).build().parse(pattern);
    let Err(error) = parsed else { return Ok(()) };
    let (offset, what) = match &error {
        regex_syntax::Error::Parse(error) => (error.span().start.offset, error.kind().to_string()),
        regex_syntax::Error::Translate(error) => {
            (error.span().start.offset, error.kind().to_string())
        }
        other => (0, other.to_string()),
    };
    Err(InvalidRegex {
        offset,
        reason: format!("is no regular expression: {what} at byte {offset}"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_malformed_expression_is_refused_with_its_byte() {
        for (pattern, offset) in [
            ("orders-(", 7),
            ("é[", 2),
            ("a)", 1),
            ("*a", 0),
            (r"\p{Nowhere}", 0),
            (r"ab\", 2),
            ("a(?=b)", 1),
            (r"(a)\1", 3),
            ("a{2,1}", 1),
        ] {
            let error = compile(pattern).unwrap_err();
            assert_eq!(error.offset, offset, "{pattern:?}: {error}");
        }
    }

    #[test]
    fn expressions_that_explode_or_nest_too_deeply_are_refused() {
        for pattern in ["((a{100}){100}){100}".to_owned(), "(".repeat(40) + "a" + &")".repeat(40)] {
            assert!(compile(&pattern).is_err(), "{pattern:?}");
        }
    }

    #[test]
    fn expressions_match_anywhere_unless_anchored() {
        for (pattern, text, holds) in [
            ("ders", "orders-1", true),
            ("^ders", "orders-1", false),
            (r"^orders-\d+$", "orders-12", true),
            (r"^orders-\d+$", "orders-x", false),
            ("(?i)ORDERS", "orders-1", true),
            (r"^\w+@\w+$", "é@b", true),
            ("", "anything", true),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(text), holds, "{pattern:?} on {text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(pattern in "\\PC{0,40}|[a-z(){}\\[\\]*+?|\\\\^$.,0-9:<>PQE-]{0,40}") {
            if let Err(error) = compile(&pattern) {
                prop_assert!(error.offset <= pattern.len());
                prop_assert!(pattern.is_char_boundary(error.offset));
            }
        }
    }
}
