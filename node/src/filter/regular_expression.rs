//! Regular expressions in RE2's syntax, without look-around and back references, so that a search is linear
//! in its text. They match anywhere unless anchored.
//!
//! The `regex` crate does the work. It takes `\d`, `\w`, `\s` and `\b` for classes of Unicode; in RE2 they are
//! classes of ASCII, which also compile to a hundredth of the size, so they are written out before.

use regex::{Regex, RegexBuilder};
use regex_syntax::ast::parse::ParserBuilder;
use regex_syntax::ast::{
    AssertionKind, Ast, ClassPerl, ClassPerlKind, ClassSetItem, Span, Visitor, visit,
};
use regex_syntax::hir::translate::Translator;
use regex_syntax::hir::{Hir, HirKind};

use crate::limits;

/// Why a text is no regular expression, and the byte where it goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidRegex {
    pub offset: usize,
    /// To be read behind the name of the field.
    pub reason: String,
}

/// A regular expression, ready to search.
#[derive(Debug, Clone)]
pub struct Compiled {
    pub regex: Regex,
    /// How many parts of the expression a byte of text may have to be tried against.
    pub parts: u64,
}

/// Compiles a regular expression within the limits on nesting and size. Its length is the caller's to check.
pub fn compile(pattern: &str) -> Result<Compiled, InvalidRegex> {
    let (ast, hir) = parse(pattern)?;
    let regex = RegexBuilder::new(&in_ascii(pattern, &ast)?)
        // A class that is written out may nest in another one.
        .nest_limit(limits::REGEX_NESTING_MAX + 2)
        .size_limit(limits::REGEX_PROGRAM_BYTES_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(bytes) => {
                let reason = format!("compiles to more than {bytes} bytes; repeat less");
                InvalidRegex { offset: 0, reason }
            }
            other => InvalidRegex { offset: 0, reason: format!("cannot be compiled: {other}") },
        })?;
    Ok(Compiled { regex, parts: parts(&hir) })
}

/// The `regex` crate says what is wrong only as a text; its parser says where, too.
fn parse(pattern: &str) -> Result<(Ast, Hir), InvalidRegex> {
    let ast = ParserBuilder::new()
        .nest_limit(limits::REGEX_NESTING_MAX)
        .build()
        .parse(pattern)
        .map_err(|error| invalid(error.span(), &error.kind()))?;
    let hir = Translator::new()
        .translate(pattern, &ast)
        .map_err(|error| invalid(error.span(), &error.kind()))?;
    Ok((ast, hir))
}

/// Counts the parts that are compiled, repeated ones as often as they are repeated. Recurses as deep as groups
/// nest.
fn parts(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        // A character beyond ASCII is a sequence of bytes.
        HirKind::Class(class) => {
            if class.is_utf8() && class.maximum_len() > Some(1) {
                4
            } else {
                1
            }
        }
        HirKind::Capture(capture) => parts(&capture.sub),
        HirKind::Repetition(repeated) => {
            let times = u64::from(repeated.max.unwrap_or(repeated.min).max(1));
            parts(&repeated.sub).saturating_mul(times)
        }
        HirKind::Concat(subs) | HirKind::Alternation(subs) => {
            subs.iter().map(parts).fold(0, u64::saturating_add)
        }
    }
}

fn invalid(span: &Span, what: &dyn std::fmt::Display) -> InvalidRegex {
    let offset = span.start.offset;
    InvalidRegex { offset, reason: format!("is no regular expression: {what} at byte {offset}") }
}

/// The same expression with the classes that RE2 keeps to ASCII written out.
fn in_ascii(pattern: &str, ast: &Ast) -> Result<String, InvalidRegex> {
    let mut replacements = visit(ast, PerlClasses { found: Vec::new() })
        .map_err(|error| InvalidRegex { offset: 0, reason: error.to_string() })?;
    replacements.sort_by_key(|(span, _)| span.start.offset);
    let mut written = String::with_capacity(pattern.len() + 16 * replacements.len());
    let mut copied = 0;
    for (span, replacement) in replacements {
        written.push_str(&pattern[copied..span.start.offset]);
        written.push_str(replacement);
        copied = span.end.offset;
    }
    written.push_str(&pattern[copied..]);
    Ok(written)
}

/// Collects the classes to write out, and what to write.
struct PerlClasses {
    found: Vec<(Span, &'static str)>,
}

impl PerlClasses {
    fn class(&mut self, class: &ClassPerl) {
        let written = match (&class.kind, class.negated) {
            (ClassPerlKind::Digit, false) => "[0-9]",
            (ClassPerlKind::Digit, true) => "[^0-9]",
            // In an expression with comments, a bare space would be none.
            (ClassPerlKind::Space, false) => r"[\t\n\f\r\x20]",
            (ClassPerlKind::Space, true) => r"[^\t\n\f\r\x20]",
            (ClassPerlKind::Word, false) => "[0-9A-Za-z_]",
            (ClassPerlKind::Word, true) => "[^0-9A-Za-z_]",
        };
        self.found.push((class.span, written));
    }
}

impl Visitor for PerlClasses {
    type Output = Vec<(Span, &'static str)>;
    type Err = std::convert::Infallible;

    fn finish(self) -> Result<Self::Output, Self::Err> {
        Ok(self.found)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Self::Err> {
        match ast {
            Ast::ClassPerl(class) => self.class(class),
            Ast::Assertion(assertion) => match assertion.kind {
                AssertionKind::WordBoundary => self.found.push((assertion.span, r"(?-u:\b)")),
                AssertionKind::NotWordBoundary => self.found.push((assertion.span, r"(?-u:\B)")),
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Self::Err> {
        if let ClassSetItem::Perl(class) = item {
            self.class(class);
        }
        Ok(())
    }
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
    fn parts_are_counted_as_often_as_they_are_repeated() {
        for (pattern, counted) in [
            ("abc", 3),
            ("^a|bc$", 5),
            ("a{10}", 10),
            ("a{3,}", 3),
            ("a*", 1),
            ("(ab?){2,7}", 14),
            ("(?:(?:a|b){1,30}){1,30}", 900),
            (".", 4),
            ("[a-z]", 1),
        ] {
            assert_eq!(compile(pattern).unwrap().parts, counted, "{pattern:?}");
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
            (r"^\w+@\w+$", "e@b", true),
            (r"^[\w-]{36}$", "01900000-0000-7000-8000-000000000001", true),
            (r"^\pL+$", "é", true),
            (r"^.$", "🦀", true),
            ("", "anything", true),
        ] {
            assert_eq!(
                compile(pattern).unwrap().regex.is_match(text),
                holds,
                "{pattern:?} on {text:?}"
            );
        }
    }

    #[test]
    fn classes_are_of_ascii_as_in_re2() {
        for (pattern, text, holds) in [
            (r"^\w$", "é", false),
            (r"^\W$", "é", true),
            (r"^\d$", "٣", false),
            (r"^\D$", "٣", true),
            (r"^\s$", "\u{a0}", false),
            (r"^\s$", " ", true),
            (r"^\S$", "\u{a0}", true),
            (r"^[^\d\s]$", "٣", true),
            (r"^[^\d\s]$", "3", false),
            (r"^[\D]$", "x", true),
            (r"^[a\D]$", "3", false),
            (r"^[\w&&[^a]]$", "a", false),
            (r"(?x) ^ \s \d $ # a space and a digit", " 1", true),
            (r"a\b", "aé", true),
            (r"a\B", "ab", true),
            (r"a\B", "aé", false),
            (r"(?i)^\w+$", "AbC", true),
        ] {
            assert_eq!(
                compile(pattern).unwrap().regex.is_match(text),
                holds,
                "{pattern:?} on {text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(pattern in "\\PC{0,40}|[a-z(){}\\[\\]*+?|\\\\^$.,0-9:<>PQEdwsbWSBD-]{0,40}|(\\\\[dwsbWSBDpQ]|[\\[\\]()a^|*]|&&){0,20}") {
            if let Err(error) = compile(&pattern) {
                prop_assert!(error.offset <= pattern.len());
                prop_assert!(pattern.is_char_boundary(error.offset));
            }
        }
    }
}
