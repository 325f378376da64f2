//! Stream patterns: `*` is any run of characters, also empty, `?` is one character, and `\` takes the next
//! one as it is. A character is a Unicode scalar value; a pattern covers the whole name.

/// A compiled stream pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
}

/// What a pattern consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// Exactly this character.
    Literal(char),
    /// One character.
    One,
    /// Any run of characters. Never two in a row.
    Run,
}

/// A pattern that ends in a lone `\`; its offset in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ends in a lone \\ at byte {offset}; write \\\\ for the character itself")]
pub struct LoneEscape {
    pub offset: usize,
}

impl Pattern {
    /// Every text but one that ends in a lone `\` is a pattern.
    pub fn new(pattern: &str) -> Result<Self, LoneEscape> {
        let mut tokens = Vec::with_capacity(pattern.len());
        let mut characters = pattern.char_indices();
        while let Some((offset, character)) = characters.next() {
            let token = match character {
                '*' => Token::Run,
                '?' => Token::One,
                '\\' => match characters.next() {
                    Some((_, escaped)) => Token::Literal(escaped),
                    None => return Err(LoneEscape { offset }),
                },
                literal => Token::Literal(literal),
            };
            // Two runs in a row are one, and would only cost time.
            if !(token == Token::Run && tokens.last() == Some(&Token::Run)) {
                tokens.push(token);
            }
        }
        Ok(Self { tokens })
    }

    /// Whether the pattern covers the whole name.
    ///
    /// The greedy match with one remembered run: when the part behind a run does not fit, only the latest run
    /// takes one character more, because whatever an earlier one could take, the latest can as well. So the
    /// time is at most the product of both lengths, and linear for patterns with a single run.
    pub fn matches(&self, name: &str) -> bool {
        let mut at_token = 0;
        let mut at_byte = 0;
        // The latest run: the token behind it, and where what it has not taken begins.
        let mut run: Option<(usize, usize)> = None;
        loop {
            let character = name[at_byte..].chars().next();
            match (self.tokens.get(at_token), character) {
                (None, None) => return true,
                (Some(Token::Run), _) => {
                    at_token += 1;
                    run = Some((at_token, at_byte));
                    continue;
                }
                (Some(Token::One), Some(character)) => {
                    at_token += 1;
                    at_byte += character.len_utf8();
                    continue;
                }
                (Some(Token::Literal(literal)), Some(character)) if *literal == character => {
                    at_token += 1;
                    at_byte += character.len_utf8();
                    continue;
                }
                _ => {}
            }
            let Some((behind, taken)) = run else { return false };
            let Some(character) = name[taken..].chars().next() else { return false };
            at_byte = taken + character.len_utf8();
            at_token = behind;
            run = Some((behind, at_byte));
        }
    }

    /// What every name that the pattern covers begins with.
    pub fn literal_prefix(&self) -> String {
        let literals = self.tokens.iter().map_while(|token| match token {
            Token::Literal(character) => Some(*character),
            Token::One | Token::Run => None,
        });
        literals.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, covered: &[&str], not_covered: &[&str]) {
        let compiled = Pattern::new(pattern).unwrap();
        for name in covered {
            assert!(compiled.matches(name), "{pattern:?} covers {name:?}");
        }
        for name in not_covered {
            assert!(!compiled.matches(name), "{pattern:?} does not cover {name:?}");
        }
    }

    #[test]
    fn patterns_cover_whole_names() {
        check("orders-*", &["orders-1", "orders-"], &["orders", "my-orders-1", "Orders-1"]);
        check("*-completed", &["a-completed", "-completed"], &["a-completed-2", "completed"]);
        check("orders-*-v2", &["orders-a-v2", "orders--v2", "orders-a-v2-v2"], &["orders-v2"]);
        check("a?c", &["abc", "aéc", "a🦀c", "a?c"], &["ac", "abbc"]);
        check("*", &["", "a", "a*b"], &[]);
        check("?*", &["a", "ab"], &[""]);
        check("**a**", &["a", "bab"], &["", "b"]);
        check("*a*b*c*", &["abc", "xaxbxcx", "aabbcc"], &["acb", "ab"]);
        check("", &[""], &["a"]);
    }

    #[test]
    fn a_backslash_takes_the_next_character_as_it_is() {
        check(r"a\*b", &["a*b"], &["aXb", r"a\*b"]);
        check(r"a\?b", &["a?b"], &["aXb"]);
        check(r"a\\b", &[r"a\b"], &["ab", r"a\\b"]);
        check(r"\a", &["a"], &[r"\a"]);
        check(r"\é*", &["éa"], &["e"]);
    }

    #[test]
    fn a_lone_backslash_at_the_end_is_refused_with_its_byte() {
        assert_eq!(Pattern::new("\\"), Err(LoneEscape { offset: 0 }));
        assert_eq!(Pattern::new("é-\\"), Err(LoneEscape { offset: 3 }));
        assert_eq!(Pattern::new(r"a\\\"), Err(LoneEscape { offset: 3 }));
        assert!(Pattern::new(r"a\\").is_ok());
    }

    #[test]
    fn the_literal_prefix_ends_at_the_first_wildcard() {
        for (pattern, prefix) in
            [("orders-*", "orders-"), ("a?", "a"), ("*", ""), (r"a\*b*", "a*b"), ("abc", "abc")]
        {
            assert_eq!(Pattern::new(pattern).unwrap().literal_prefix(), prefix, "{pattern:?}");
        }
    }

    /// What a pattern means, without a thought for time.
    fn covers(tokens: &[Token], name: &[char]) -> bool {
        match (tokens.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((Token::Run, rest)), after) => {
                covers(rest, name) || after.is_some_and(|(_, after)| covers(tokens, after))
            }
            (Some((Token::One, rest)), Some((_, after))) => covers(rest, after),
            (Some((Token::Literal(literal), rest)), Some((character, after))) => {
                literal == character && covers(rest, after)
            }
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn patterns_match_what_the_naive_matcher_does(
            pattern in "[ab*?é]{0,10}(\\\\[*?a])?[ab*]{0,3}",
            name in "[abé*?]{0,12}",
        ) {
            let compiled = Pattern::new(&pattern).unwrap();
            let characters: Vec<char> = name.chars().collect();
            prop_assert_eq!(compiled.matches(&name), covers(&compiled.tokens, &characters));
            if compiled.matches(&name) {
                prop_assert!(name.starts_with(&compiled.literal_prefix()));
            }
        }

        #[test]
        fn no_pattern_and_no_name_panics(pattern: String, name: String) {
            if let Ok(compiled) = Pattern::new(&pattern) {
                compiled.matches(&name);
            }
        }
    }
}
