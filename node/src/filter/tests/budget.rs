//! What expressions may cost, in size, stack and steps.

use super::Given;
use super::asked::{check, holds};
use crate::filter::{ExpressionError, check_expression};
use crate::limits;

#[test]
fn expressions_that_are_too_large_are_refused_with_the_limit() {
    let long = format!("'{}' == ''", "a".repeat(limits::EXPRESSION_BYTES_MAX));
    for (expression, expected) in [
        (long, "expression_bytes_max"),
        ("(".repeat(33) + "true" + &")".repeat(33), "expression_nesting_max"),
        ("(".repeat(4_000), "expression_nesting_max"),
        ("true?true:".repeat(100) + "true", "expression_nesting_max"),
        ("event.data".to_owned() + &".a".repeat(2_000), "expression_depth_max"),
        ("1".to_owned() + &"+1".repeat(2_000), "expression_depth_max"),
        (format!("1 in [{}1]", "1,".repeat(1_500)), "expression_nodes_max"),
        (["'a'.matches('a')"; 9].join("&&"), "expression_regexes_max"),
    ] {
        match check_expression(&expression) {
            Err(ExpressionError::LimitExceeded { limit, value, maximum, .. }) => {
                assert_eq!(limit, expected);
                assert!(value > maximum, "{limit}: {value} > {maximum}");
            }
            other => panic!("{expected} is refused: {other:?}"),
        }
    }
}

#[test]
fn expressions_at_their_limits_compile_and_run_on_a_small_stack() {
    let chained = ["event.data.a"; 60].join("+") + " == 60";
    let nested = "(".repeat(31) + "event.data.a == 1" + &")".repeat(31);
    let loops = "event.data.l.all(a,".repeat(14) + "a == 1" + &")".repeat(14);
    let lists = "[".repeat(28) + "event.data.a" + &"]".repeat(28) + " != []";
    let run = move || {
        let event = Given::data(r#"{"a": 1, "l": [1]}"#);
        for expression in [&chained, &nested, &loops, &lists] {
            assert_eq!(holds(expression, &event), Some(true), "{expression}");
        }
    };
    // A quarter of what a thread has by default.
    std::thread::Builder::new().stack_size(512 << 10).spawn(run).unwrap().join().unwrap();
}

#[test]
fn going_over_the_largest_data_a_few_times_is_within_the_budget() {
    let items = "{\"sku\": \"a\"},".repeat(80_000);
    let event = Given::data(&format!("{{\"items\": [{items} 1]}}"));
    check(
        &event,
        &["event.data.items.exists(item, item == 1)", "event.data == event.data"],
        &["event.data.items.all(item, item.sku == 'a')", "size(event.data.items.map(i, i)) == 1"],
    );
}

#[test]
fn what_costs_too_much_says_so() {
    let numbers = "1,".repeat(20_000);
    let event =
        Given::data(&format!("{{\"l\": [{numbers} 1], \"t\": \"{}\"}}", "a".repeat(20_000)));
    let doubled = "['aaaaaaaa']".to_owned() + &".map(a, a + a)".repeat(40) + "[0] == ''";
    let nested = "[1]".to_owned() + &".map(a, [a, a])".repeat(40) + "[0] == []";
    let in_maps = "[1]".to_owned() + &".map(a, {'a': a, 'b': a})".repeat(40) + "[0] == {}";
    for expression in [
        "event.data.l.all(a, event.data.l.all(b, a == b))",
        "event.data.l.all(a, event.data == event.data)",
        "event.data.l.exists(a, event.data < a)",
        "event.data.l.exists(a, event.data + a == a)",
        "event.data.l.exists(a, a - event.data == a)",
        "event.data.l.exists(a, a in event.data.l && a == 2)",
        "event.data.l.exists(a, event.data.t.contains('b'))",
        "event.data.l.exists(a, event.data.t.matches('b'))",
        "event.data.l.exists(a, size(event.data.t) == 1)",
        "event.data.l.exists(a, event.data[event.data.t] == 1)",
        "event.data.l.exists(a, {event.data.t: 1} == {})",
        "event.data.l.exists(a, [event.data.l] == [])",
        "event.data.l.map(a, event.data.l) == []",
        &doubled,
        &nested,
        &in_maps,
    ] {
        assert_eq!(holds(expression, &event), None, "{expression} is given up");
        // Neither do errors that a condition over a list passes over hide it.
        let hidden = format!("true || [1].exists(x, {expression})");
        assert_eq!(holds(&hidden, &event), Some(true), "{hidden} never gets there");
        let reached = format!("[1, 2].exists(x, {expression}) || true");
        assert_eq!(holds(&reached, &event), None, "{reached} is given up");
    }
}

#[test]
fn a_text_made_for_a_regular_expression_is_not_searched_for_long() {
    // A generator of pseudo-random numbers, so that no two stretches of the text are alike.
    let mut state = 1_u64;
    let text: String = (0..500_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if state >> 63 == 0 { 'a' } else { 'b' }
        })
        .collect();
    let event = Given::data(&format!("\"{text}\""));
    assert_eq!(holds("event.data.matches('(?:(?:a|b){1,30}){1,30}[^ab]')", &event), None);
    assert_eq!(holds("event.data.matches('^[ab]+c?$')", &event), Some(true));
    let twelve = Given::data("\"abababababab\"");
    assert_eq!(holds("event.data.matches('(?:(?:a|b){1,30}){1,30}[^ab]')", &twelve), Some(false));
}
