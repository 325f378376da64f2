//! Nothing that anybody could write panics.

use proptest::prelude::*;

use super::Given;
use crate::filter::ExpressionError;
use crate::filter::expression::{EventValues, Expression};

/// Pieces that expressions are made of, put together with and without sense.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "event.data",
        "event.version",
        "event.tags",
        "event.data.a",
        "event.data.l",
        "event",
        ".a",
        "[0]",
        "['a']",
        "1",
        "-1",
        "2u",
        "1.5",
        "'a'",
        "b'\\xff'",
        "null",
        "true",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        ":",
        ",",
        "?",
        "+",
        "-",
        "*",
        "/",
        "%",
        "==",
        "!=",
        "<",
        ">=",
        " in ",
        "&&",
        "||",
        "!",
        ".all(x,",
        ".exists(x,",
        ".map(x,",
        ".filter(x,",
        "x",
        "size(",
        ".size()",
        "has(",
        "int(",
        "timestamp(",
        "duration(",
        "'1s'",
        ".matches('a+')",
        ".contains('a')",
        "math.greatest(",
        "string(",
        "é",
        "@",
        "\\",
        "'",
        "\n",
        " ",
        "9223372036854775807",
        "timestamp(253402300799)",
        ".getFullYear()",
        ".substring(0,",
        ".charAt(",
        "type(",
        "dyn(",
        "uint(",
        r"'\u00'",
        r"'\ud800'",
        r"'\U00110000'",
        r"'\x4'",
        r"b'\777'",
        r"r'\'",
        "'''",
        "0x",
        "1e400",
        "-9223372036854775808",
        "// ",
    ]);
    prop::collection::vec(piece, 0..25).prop_map(|pieces| pieces.concat())
}

/// Expressions that compile, of a few kinds that nest in each other.
fn sensible() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "event.data",
        "event.data.a",
        "event.data.l",
        "event.data.t",
        "event.version",
        "event.tags",
        "event.stream_id",
        "1",
        "0",
        "-7",
        "2u",
        "0.5",
        "'a'",
        "''",
        "b'a'",
        "null",
        "true",
        "[]",
        "{}",
        "9223372036854775807",
        "dyn('a')",
        "timestamp(0)",
        "duration('1h')",
        "double('NaN')",
        "dyn(timestamp(253402300799))",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        let operator = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", " in ", "&&", "||",
        ]);
        let function = prop::sample::select(vec![
            "size",
            "string",
            "int",
            "uint",
            "double",
            "bool",
            "bytes",
            "timestamp",
            "duration",
            "type",
            "math.abs",
            "math.sqrt",
            "math.round",
            "math.greatest",
            "!",
            "-",
        ]);
        let method = prop::sample::select(vec![
            ".all(x, {})",
            ".exists(x, {})",
            ".map(x, {})",
            ".filter(x, {})",
            ".exists_one(x, {})",
            ".map(x, [x, x] + [{}])",
            ".contains({})",
            ".startsWith({})",
            ".charAt({})",
            ".substring({})",
            "[{}]",
            ".map(x, x + {})",
        ]);
        prop_oneof![
            (two.clone(), operator)
                .prop_map(|((a, b), operator)| format!("dyn({a}){operator}dyn({b})")),
            (inner.clone(), function).prop_map(|(a, function)| format!("{function}(dyn({a}))")),
            (two.clone(), method)
                .prop_map(|((a, b), method)| format!("dyn({a}){}", method.replace("{}", &b))),
            (two, inner).prop_map(|((a, b), c)| format!("(dyn({a}) ? {b} : {c})")),
        ]
    })
}

const ANYTHING: &str =
    r#"{"a": [1, "a", {"a": 1.5}], "l": [3, 1, 2, -9223372036854775808], "t": "aé🦀", "b": true}"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(expression in prop_oneof![pieces(), "\\PC{0,30}".prop_map(String::from)]) {
        match Expression::compile(&expression) {
            Ok(compiled) => {
                let event = Given::data(ANYTHING);
                let _ = compiled.holds(&EventValues::new(&event, &event.event()));
            }
            Err(ExpressionError::Invalid { offset, reason }) => {
                prop_assert!(expression.is_char_boundary(offset), "{} at {}", reason, offset);
                prop_assert_ne!(reason, "is no expression");
            }
            Err(ExpressionError::LimitExceeded { value, maximum, .. }) => prop_assert!(value > maximum),
        }
    }

    #[test]
    fn no_expression_panics_on_an_event(expression in sensible()) {
        let expression = format!("dyn({expression})");
        let event = Given::data(ANYTHING);
        if let Ok(compiled) = Expression::compile(&expression) {
            let view = event.event();
            let first = compiled.holds(&EventValues::new(&event, &view));
            let second = compiled.holds(&EventValues::new(&event, &view));
            prop_assert_eq!(first, second, "evaluating is deterministic");
        }
    }
}
