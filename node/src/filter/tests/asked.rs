//! Expressions asked about an event.

use crate::engine::RecordedEvent;
use crate::filter::expression::{EventValues, Expression};

/// Whether an expression holds; `None`: it costs too much.
pub fn holds(expression: &str, event: &RecordedEvent) -> Option<bool> {
    let compiled = Expression::compile(expression)
        .unwrap_or_else(|error| panic!("{expression} compiles: {error}"));
    compiled.holds(&EventValues::new(event, &event.event())).ok()
}

/// Checks which expressions hold for an event.
pub fn check(event: &RecordedEvent, hold: &[&str], do_not_hold: &[&str]) {
    for expression in hold {
        assert_eq!(holds(expression, event), Some(true), "{expression} holds");
    }
    for expression in do_not_hold {
        assert_eq!(holds(expression, event), Some(false), "{expression} does not hold");
    }
}
