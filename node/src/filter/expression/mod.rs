//! CEL expressions over an event: compiled once, asked for every event, within a budget.
//!
//! The library (`cel`) parses and evaluates. What is added here: limits before and after parsing, names and types
//! checked without an event, only functions that are deterministic and linear, data that is parsed when it is first
//! needed, and a count of steps.

mod environment;
mod error;
mod functions;
mod json;
mod meter;
mod parse;

mod tree;
mod types;
mod values;
mod weave;

use std::sync::Arc;
use std::thread;

use cel::common::ast::IdedExpr;
use cel::{Context, Value};

use environment::{ENVIRONMENT, RegexValue};
pub use error::{ExpressionError, OverBudget};
#[cfg(test)]
pub use functions::names as function_names;
use meter::Meter;
use parse::Parsed;
pub use types::StaticType;
use values::Bindings;
pub use values::EventValues;
use weave::{Woven, weave};

use crate::limits;

/// What can be told of an expression without an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What it gives.
    pub gives: StaticType,
    /// Whether it can be a filter: it gives a bool, or may do so.
    pub filter: bool,
    /// The fields that it refers to, as `event.data`, in order.
    pub variables: Vec<String>,
}

/// Checks an expression as compiling it would, and says of what type it is.
pub fn check_expression(text: &str) -> Result<Checked, ExpressionError> {
    let woven = weave_text(text)?;
    Ok(Checked {
        gives: woven.gives,
        filter: woven.gives.may_be(StaticType::Bool),
        variables: woven.variables.iter().map(|name| format!("event.{name}")).collect(),
    })
}

/// Parses and weaves on a thread of its own: what nests to its limit needs more stack than other threads have, and
/// a chain of operators, which is only seen to be too deep once it is a tree, does so too.
fn weave_text(text: &str) -> Result<Woven, ExpressionError> {
    let text = text.to_owned();
    let weaving = thread::Builder::new()
        .name("parse-expression".to_owned())
        .stack_size(limits::EXPRESSION_PARSE_STACK_BYTES)
        .spawn(move || weave(Parsed::new(&text)?));
    match weaving.map(thread::JoinHandle::join) {
        Ok(Ok(woven)) => woven,
        // A text that the parser cannot cope with is no expression, and must not end the node.
        Ok(Err(_panicked)) => Err(ExpressionError::invalid(0, "is no expression")),
        Err(error) => Err(ExpressionError::invalid(0, format!("cannot be parsed now: {error}"))),
    }
}

/// A condition on events, or a text that is made of each.
#[derive(Debug)]
pub struct Expression {
    root: IdedExpr,
    regexes: Vec<RegexValue>,
    /// What evaluating costs without data.
    nodes: u64,
}

impl Expression {
    /// Compiles an expression that gives a bool, or may do so.
    pub fn compile(text: &str) -> Result<Self, ExpressionError> {
        let Woven { root, gives, regexes, .. } = weave_text(text)?;
        if !gives.may_be(StaticType::Bool) {
            let reason = format!("gives {gives}; a filter gives bool");
            return Err(ExpressionError::invalid(0, reason));
        }
        let nodes = tree::size(&root).nodes as u64;
        Ok(Self { root, regexes, nodes })
    }

    /// Compiles an expression that gives a text, or may do so: a string, or what has one usual way to be written as one.
    pub fn compile_text(text: &str) -> Result<Self, ExpressionError> {
        let Woven { root, gives, regexes, .. } = weave_text(text)?;
        let texts = [StaticType::String, StaticType::Int, StaticType::Uint, StaticType::Bool];
        if !texts.iter().any(|&text| gives.may_be(text)) {
            let reason = format!("gives {gives}; it takes a string, an int, a uint or a bool");
            return Err(ExpressionError::invalid(0, reason));
        }
        let nodes = tree::size(&root).nodes as u64;
        Ok(Self { root, regexes, nodes })
    }

    /// Whether the expression gives `true` for the event. A field that is missing, a value of another type and
    /// every other error of the evaluation are a `false`.
    pub fn holds(&self, values: &EventValues<'_>) -> Result<bool, OverBudget> {
        Ok(matches!(self.evaluate(values)?, Some(Value::Bool(true))))
    }

    /// The text that the expression gives for the event; `None`: it gives none, or cannot be evaluated.
    pub fn text(&self, values: &EventValues<'_>) -> Result<Option<String>, OverBudget> {
        Ok(match self.evaluate(values)? {
            Some(Value::String(text)) => Some(Arc::unwrap_or_clone(text)),
            Some(Value::Int(number)) => Some(number.to_string()),
            Some(Value::UInt(number)) => Some(number.to_string()),
            Some(Value::Bool(value)) => Some(value.to_string()),
            _ => None,
        })
    }

    /// What the expression gives; `None`: it cannot be evaluated.
    fn evaluate(&self, values: &EventValues<'_>) -> Result<Option<Value>, OverBudget> {
        let steps_max = limits::EXPRESSION_STEPS_MAX
            + limits::EXPRESSION_STEPS_PER_EVENT_BYTE * values.bytes() as u64;
        let meter = Meter::new(steps_max.saturating_sub(self.nodes));
        let bindings = Bindings { values, meter, regexes: &self.regexes };
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(&bindings);
        let value = Value::resolve(&self.root, &context).ok();
        if bindings.meter.exhausted() { Err(OverBudget { steps_max }) } else { Ok(value) }
    }
}
