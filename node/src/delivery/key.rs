//! By what the events of a subscription are kept in order.

use crate::engine::RecordedEvent;
use crate::filter::{EventValues, Expression, FilterError};
use crate::limits;

const FIELD: &str = "key_expression";

/// A CEL expression that gives the key of an event.
#[derive(Debug)]
pub struct KeyExpression(Expression);

impl KeyExpression {
    /// Compiles an expression that gives a text, or may do so. Takes a while: not for a thread that drives requests.
    pub fn compile(text: &str) -> Result<Self, FilterError> {
        match Expression::compile_text(text) {
            Ok(expression) => Ok(Self(expression)),
            Err(error) => Err(error.in_field(FIELD.to_owned())),
        }
    }

    /// The key of an event: the string that the expression gives, or the int or bool as a text. Where it gives nothing of
    /// the kind, fails, costs too much or gives the empty string, the stream id: an event always has a key, and one that
    /// depends on nothing but the event. Longer keys than [`limits::DELIVERY_KEY_BYTES_MAX`] are cut to it.
    pub fn key(&self, event: &RecordedEvent) -> String {
        let view = event.event();
        let text = self.0.text(&EventValues::new(event, &view));
        let text = text.unwrap_or_default().filter(|text| !text.is_empty());
        let mut key = text.unwrap_or_else(|| event.stream_id().to_owned());
        if key.len() > limits::DELIVERY_KEY_BYTES_MAX {
            key.truncate(key.floor_char_boundary(limits::DELIVERY_KEY_BYTES_MAX));
            key.shrink_to_fit();
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::FilterErrorKind;
    use crate::filter::tests::Given;

    #[test]
    fn an_event_is_kept_in_order_by_what_the_expression_gives_or_by_its_stream() {
        let long = "é".repeat(400);
        let data = format!(
            r#"{{"customer": "c-7", "number": 12, "big": 18446744073709551615, "paid": true,
                "half": 0.5, "note": null, "empty": "", "list": [], "long": "{long}"}}"#
        );
        let event = Given::data(&data);
        for (expression, key) in [
            ("event.data.customer", "c-7"),
            ("event.data.number", "12"),
            ("event.data.big", "18446744073709551615"),
            ("event.data.paid", "true"),
            ("event.version + 1", "8"),
            ("event.event_type + '/' + event.data.customer", "OrderPlaced/c-7"),
            ("event.data.note", "orders-1"),
            ("event.data.half", "orders-1"),
            ("event.data.empty", "orders-1"),
            ("event.data.list", "orders-1"),
            ("event.data.nothing", "orders-1"),
            ("event.data.number / 0", "orders-1"),
            ("event.actor_id", "orders-1"),
            ("event.data.long", &long[..512]),
        ] {
            assert_eq!(
                KeyExpression::compile(expression).unwrap().key(&event),
                key,
                "{expression}"
            );
        }
    }

    #[test]
    fn an_expression_that_costs_too_much_leaves_the_stream() {
        let loops = "event.data.l.map(a, event.data.l.map(b, event.data.l.map(c, a + b + c)))";
        let expression = format!("string({loops}.size())");
        let numbers: Vec<String> = (0..200).map(|number| number.to_string()).collect();
        let event = Given::data(&format!("{{\"l\": [{}]}}", numbers.join(",")));
        assert_eq!(KeyExpression::compile(&expression).unwrap().key(&event), "orders-1");
    }

    #[test]
    fn what_gives_no_text_is_refused() {
        for expression in ["1.5", "event.tags", "null", "{'a': 1}", "timestamp(1)"] {
            let error = KeyExpression::compile(expression).unwrap_err();
            assert_eq!(error.field, "key_expression", "{expression}");
            assert_eq!(error.kind, FilterErrorKind::InvalidExpression { offset: 0 });
        }
        let error = KeyExpression::compile("event.version +").unwrap_err();
        assert_eq!(error.kind, FilterErrorKind::InvalidExpression { offset: 15 });
    }
}
