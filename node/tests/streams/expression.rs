//! `CheckExpression`.

use reckon_api::{Reason, v1};

use crate::calls::Calls;
use crate::messages::{refused, refused_field, value};

fn of(expression: &str) -> v1::CheckExpressionRequest {
    v1::CheckExpressionRequest { expression: expression.to_owned() }
}

pub async fn an_expression_is_typed_without_an_event(calls: Calls) {
    for (expression, gives, filter, variables) in [
        ("event.data.total > 100", "bool", true, &["event.data"] as &[&str]),
        ("event.data.total", "dyn", true, &["event.data"]),
        ("1 + 2", "int", false, &[]),
        ("event.event_type + '!'", "string", false, &["event.event_type"]),
    ] {
        let checked = calls.check_expression(of(expression)).await.unwrap();
        assert_eq!(checked.r#type, gives, "{expression}");
        assert_eq!(checked.filter, filter, "{expression}");
        assert_eq!(checked.variables, variables, "{expression}");
    }
}

pub async fn what_is_no_expression_is_refused_with_its_place(calls: Calls) {
    for expression in ["event.data.total >", "unheard_of(event)", "stranger == 1"] {
        let status =
            refused(calls.check_expression(of(expression)).await, Reason::InvalidExpression);
        let offset: usize = value(&status, "offset").parse().unwrap();
        assert!(offset <= expression.len(), "{expression}: {offset}");
    }
    refused_field(
        calls.check_expression(of(&"1 + ".repeat(100_000))).await,
        Reason::LimitExceeded,
        "expression",
    );
}
