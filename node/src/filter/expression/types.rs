//! What can be told of a value before there is one, and which operators go with it.

use std::fmt;

use cel::common::ast::{LiteralValue, operators};

/// The type of an expression, as far as can be told without an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaticType {
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    List,
    Map,
    Timestamp,
    Duration,
    Null,
    /// A type as a value, as `type(1)` and `int` give.
    Type,
    /// Only an event will tell.
    Dyn,
}

use StaticType::{
    Bool, Bytes, Double, Duration, Dyn, Int, List, Map, Null, String, Timestamp, Type, Uint,
};

impl StaticType {
    /// The name as the protocol has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Bool => "bool",
            Int => "int",
            Uint => "uint",
            Double => "double",
            String => "string",
            Bytes => "bytes",
            List => "list",
            Map => "map",
            Timestamp => "timestamp",
            Duration => "duration",
            Null => "null",
            Type => "type",
            Dyn => "dyn",
        }
    }

    pub(super) fn of_literal(literal: &LiteralValue) -> Self {
        match literal {
            LiteralValue::Boolean(_) => Bool,
            LiteralValue::Bytes(_) => Bytes,
            LiteralValue::Double(_) => Double,
            LiteralValue::Int(_) => Int,
            LiteralValue::Null => Null,
            LiteralValue::String(_) => String,
            LiteralValue::UInt(_) => Uint,
        }
    }

    /// Whether a value of this type may be one of `wanted`.
    pub(super) const fn may_be(self, wanted: Self) -> bool {
        matches!(self, Dyn) || self as u8 == wanted as u8
    }

    /// Whether every value of this type takes a few bytes.
    pub(super) const fn is_scalar(self) -> bool {
        matches!(self, Bool | Int | Uint | Double | Timestamp | Duration | Null | Type)
    }

    const fn is_number(self) -> bool {
        matches!(self, Int | Uint | Double)
    }
}

impl fmt::Display for StaticType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an operator on two values gives; `None`: it does not go with them. Logical operators and
/// conditionals are not among them, nor is `[]`.
pub(super) fn binary(operator: &str, left: StaticType, right: StaticType) -> Option<StaticType> {
    match operator {
        operators::ADD => arithmetic(left, right, &ADD),
        operators::SUBSTRACT => arithmetic(left, right, &SUBTRACT),
        operators::MULTIPLY | operators::DIVIDE => arithmetic(left, right, &NUMBERS),
        operators::MODULO => arithmetic(left, right, &NUMBERS[..2]),
        operators::LESS
        | operators::LESS_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS => ordered(left, right).then_some(Bool),
        operators::EQUALS | operators::NOT_EQUALS => comparable(left, right).then_some(Bool),
        operators::IN => (right.may_be(List) || right.may_be(Map)).then_some(Bool),
        _ => None,
    }
}

/// What an operator on one value gives; `None`: it does not go with it.
pub(super) fn unary(operator: &str, operand: StaticType) -> Option<StaticType> {
    match operator {
        operators::LOGICAL_NOT => operand.may_be(Bool).then_some(Bool),
        operators::NEGATE => matches!(operand, Int | Double | Dyn).then_some(operand),
        // Written by macros around conditions of any kind.
        operators::NOT_STRICTLY_FALSE => Some(Bool),
        _ => None,
    }
}

const NUMBERS: [(StaticType, StaticType, StaticType); 3] =
    [(Int, Int, Int), (Uint, Uint, Uint), (Double, Double, Double)];

const ADD: [(StaticType, StaticType, StaticType); 9] = [
    (Int, Int, Int),
    (Uint, Uint, Uint),
    (Double, Double, Double),
    (String, String, String),
    (Bytes, Bytes, Bytes),
    (List, List, List),
    (Timestamp, Duration, Timestamp),
    (Duration, Timestamp, Timestamp),
    (Duration, Duration, Duration),
];

const SUBTRACT: [(StaticType, StaticType, StaticType); 6] = [
    (Int, Int, Int),
    (Uint, Uint, Uint),
    (Double, Double, Double),
    (Timestamp, Timestamp, Duration),
    (Timestamp, Duration, Timestamp),
    (Duration, Duration, Duration),
];

/// Goes by the rows (left, right, result) that both sides may be of: one result, or `dyn` if they differ.
fn arithmetic(
    left: StaticType,
    right: StaticType,
    rows: &[(StaticType, StaticType, StaticType)],
) -> Option<StaticType> {
    let mut results = rows
        .iter()
        .filter(|(row_left, row_right, _)| left.may_be(*row_left) && right.may_be(*row_right))
        .map(|&(_, _, result)| result);
    let first = results.next()?;
    Some(if results.all(|result| result == first) { first } else { Dyn })
}

fn ordered(left: StaticType, right: StaticType) -> bool {
    let has_order = |kind| {
        matches!(kind, Bool | Int | Uint | Double | String | Bytes | Timestamp | Duration | Dyn)
    };
    has_order(left) && has_order(right) && comparable(left, right)
}

/// Whether two values can be equal at all. Numbers of all kinds can; anything can turn out to be null.
fn comparable(left: StaticType, right: StaticType) -> bool {
    left == right
        || (left.is_number() && right.is_number())
        || matches!(left, Dyn | Null)
        || matches!(right, Dyn | Null)
}
