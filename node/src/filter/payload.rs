//! Conditions on fields of an event's data.

use cel::common::value::Val;
use reckon_api::v1::{PayloadCondition, PayloadOperator};
use serde_json::Value;

use super::error::{FilterError, Limit};
use super::expression::EventValues;
use super::literal::{Compared, Literal, field};
use crate::limits;

const FIELD: Limit =
    Limit { name: "payload_field_bytes_max", maximum: limits::PAYLOAD_FIELD_BYTES_MAX };
const FIELD_DEPTH: Limit =
    Limit { name: "selector_nesting_max", maximum: limits::SELECTOR_NESTING_MAX };
const VALUE: Limit =
    Limit { name: "selector_json_bytes_max", maximum: limits::SELECTOR_JSON_BYTES_MAX };
const VALUES: Limit = Limit { name: "selector_values_max", maximum: limits::SELECTOR_VALUES_MAX };

/// A condition on one field. It does not hold where the field is missing or has another type, whatever is asked of it.
#[derive(Debug)]
pub(super) struct Payload {
    /// The names of the fields on the way, from the data on.
    path: Vec<String>,
    asked: Asked,
}

#[derive(Debug)]
enum Asked {
    Equal(Literal),
    NotEqual(Literal),
    Greater(Literal),
    GreaterOrEqual(Literal),
    Less(Literal),
    LessOrEqual(Literal),
    In(Vec<Literal>),
}

impl Payload {
    /// Compiles a condition; `at` is its path in the request.
    pub fn compile(at: &str, condition: &PayloadCondition) -> Result<Self, FilterError> {
        let path = compile_path(&format!("{at}.field"), &condition.field)?;
        let operator = PayloadOperator::try_from(condition.operator).map_err(|_unknown| {
            let sentence = "is no operator: 1 is eq, 2 ne, 3 gt, 4 gte, 5 lt, 6 lte, 7 in";
            let value = condition.operator.to_string();
            FilterError::invalid_field(format!("{at}.operator"), &value, sentence)
        })?;
        let at = format!("{at}.value");
        let value = compile_value(&at, &condition.value)?;
        Ok(Self { path, asked: Asked::new(&at, &condition.value, operator, value)? })
    }

    pub fn holds(&self, values: &EventValues<'_>) -> bool {
        let mut found: &dyn Val = values.data();
        for name in &self.path {
            match field(found, name) {
                Some(value) => found = value,
                None => return false,
            }
        }
        self.asked.of(found)
    }

    /// A JSON string that stands in the data of every event for which the condition holds, unless it is written with
    /// escapes there: the value, or else the name of the field.
    pub fn json_string(&self) -> Option<(Says, String)> {
        match &self.asked {
            Asked::Equal(Literal::Text(text)) => Some((Says::Value, quoted(text))),
            _ => self.path.last().map(|name| (Says::Name, quoted(name))),
        }
    }
}

/// How much a string that must be there says: names of fields stand in most events of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Says {
    Name,
    Value,
}

pub(super) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

impl Asked {
    fn new(
        at: &str,
        text: &str,
        operator: PayloadOperator,
        value: Literal,
    ) -> Result<Self, FilterError> {
        let refused = |sentence: String| Err(FilterError::invalid_field(at, text, sentence));
        let kind = value.kind();
        if operator == PayloadOperator::In {
            let Literal::List(values) = value else {
                return refused(format!("is {kind}; `in` takes a list"));
            };
            if values.is_empty() {
                return refused("is an empty list, and nothing is in it".to_owned());
            }
            VALUES.check(at, values.len(), "values; use several conditions or an expression")?;
            return match values.iter().find(|value| !value.is_scalar()) {
                Some(value) => refused(format!("has {}; a list for `in` has none", value.kind())),
                None => Ok(Self::In(values)),
            };
        }
        if !value.is_scalar() {
            return refused(format!("is {kind}; only `in` takes a list, and nothing an object"));
        }
        let has_order = matches!(value, Literal::Number(_) | Literal::Text(_));
        Ok(match operator {
            PayloadOperator::Ne if value == Literal::Null => {
                return refused(
                    "never differs from a value of its type; ask `event.data.field != null` by an \
                     expression"
                        .to_owned(),
                );
            }
            PayloadOperator::Unspecified | PayloadOperator::Eq => Self::Equal(value),
            PayloadOperator::Ne => Self::NotEqual(value),
            _ if !has_order => {
                return refused(format!("is {kind}; only numbers and strings have an order"));
            }
            PayloadOperator::Gt => Self::Greater(value),
            PayloadOperator::Gte => Self::GreaterOrEqual(value),
            PayloadOperator::Lt => Self::Less(value),
            PayloadOperator::Lte => Self::LessOrEqual(value),
            PayloadOperator::In => unreachable!("`in` was dealt with above"),
        })
    }

    fn of(&self, found: &dyn Val) -> bool {
        use Compared::{Different, Equal, Greater, Less};
        match self {
            Self::Equal(value) => value.compare(found) == Equal,
            Self::NotEqual(value) => matches!(value.compare(found), Less | Greater | Different),
            Self::Greater(value) => value.compare(found) == Greater,
            Self::GreaterOrEqual(value) => matches!(value.compare(found), Greater | Equal),
            Self::Less(value) => value.compare(found) == Less,
            Self::LessOrEqual(value) => matches!(value.compare(found), Less | Equal),
            Self::In(values) => values.iter().any(|value| value.compare(found) == Equal),
        }
    }
}

fn compile_path(at: &str, path: &str) -> Result<Vec<String>, FilterError> {
    if path.is_empty() {
        return Err(FilterError::empty(at, "name the field of the data that is asked about"));
    }
    FIELD.check(at, path.len(), "bytes")?;
    let names: Vec<String> = path.split('.').map(str::to_owned).collect();
    if names.iter().any(String::is_empty) {
        let sentence = "has an empty name between its dots; a field whose name has dots is reached \
                        by an expression, as in event.data['a.b']";
        return Err(FilterError::invalid_field(at, path, sentence));
    }
    FIELD_DEPTH.check(at, names.len(), "names; use an expression")?;
    Ok(names)
}

/// Reads JSON that a caller wrote down, of a size that may be kept and compared.
pub(super) fn compile_value(at: &str, text: &str) -> Result<Literal, FilterError> {
    if text.is_empty() {
        return Err(FilterError::empty(at, "it takes a JSON value; a string stands in quotes"));
    }
    VALUE.check(at, text.len(), "bytes")?;
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let sentence = format!("is no JSON: {error}; a string stands in quotes");
        FilterError::invalid_field(at, text, sentence)
    })?;
    let value = Literal::of(value);
    FIELD_DEPTH.check(at, value.depth(), "levels")?;
    VALUES.check(at, value.values() - 1, "values")?;
    Ok(value)
}
