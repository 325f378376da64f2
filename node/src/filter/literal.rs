//! A JSON value that a caller wrote down, to be compared with what stands in an event.
//!
//! Numbers are compared as numbers, whatever their JSON looks like: `1` and `1.0` are equal, and integers of 64 bits are
//! never taken for their neighbours. Values of different types are neither equal nor in any order.

use std::cmp::Ordering;

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::Val;
use serde_json::Value;

/// A value that was written down.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Literal>),
    Object(Vec<(String, Literal)>),
}

/// A number of JSON.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// An `i64` or a `u64`.
    Integer(i128),
    /// Never infinite and never NaN: JSON has neither.
    Double(f64),
}

impl Literal {
    /// The value that JSON stands for.
    pub fn of(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::Number(Number::of(&number)),
            Value::String(text) => Self::Text(text),
            Value::Array(elements) => Self::List(elements.into_iter().map(Self::of).collect()),
            Value::Object(fields) => Self::Object(
                fields.into_iter().map(|(name, value)| (name, Self::of(value))).collect(),
            ),
        }
    }

    /// What kind of value it is, for people.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// How what was found compares to this scalar. Lists and objects compare to nothing.
    pub fn compare(&self, found: &dyn Val) -> Compared {
        match self {
            Self::Null if found.downcast_ref::<CelNull>().is_some() => Compared::Equal,
            Self::Bool(wanted) => match found.downcast_ref::<CelBool>() {
                Some(found) if found.inner() == wanted => Compared::Equal,
                Some(_) => Compared::Different,
                None => Compared::OfOtherType,
            },
            Self::Number(wanted) => match Number::in_event(found) {
                Some(found) => found.cmp(*wanted).into(),
                None => Compared::OfOtherType,
            },
            Self::Text(wanted) => match found.downcast_ref::<CelString>() {
                Some(found) => found.inner().cmp(wanted.as_str()).into(),
                None => Compared::OfOtherType,
            },
            Self::Null | Self::List(_) | Self::Object(_) => Compared::OfOtherType,
        }
    }

    /// Whether the value is a part of what was found: scalars are equal, objects have every field that is asked for, and
    /// lists every element. Takes at most the product of the values on both sides, nested ones counted.
    pub fn is_part_of(&self, found: &dyn Val) -> bool {
        match self {
            Self::List(wanted) => found.downcast_ref::<CelList>().is_some_and(|list| {
                let holds = |wanted: &Self| {
                    list.inner().iter().any(|element| wanted.is_part_of(element.as_ref()))
                };
                wanted.iter().all(holds)
            }),
            Self::Object(wanted) => wanted
                .iter()
                .all(|(name, wanted)| field(found, name).is_some_and(|it| wanted.is_part_of(it))),
            scalar => scalar.compare(found) == Compared::Equal,
        }
    }

    /// Whether it is neither a list nor an object.
    pub const fn is_scalar(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Object(_))
    }

    /// How many values it consists of, itself counted.
    pub fn values(&self) -> usize {
        1 + match self {
            Self::List(elements) => elements.iter().map(Self::values).sum(),
            Self::Object(fields) => fields.iter().map(|(_, value)| value.values()).sum(),
            _ => 0,
        }
    }

    /// How deep it nests: 1 for a scalar.
    pub fn depth(&self) -> usize {
        1 + match self {
            Self::List(elements) => elements.iter().map(Self::depth).max().unwrap_or(0),
            Self::Object(fields) => {
                fields.iter().map(|(_, value)| value.depth()).max().unwrap_or(0)
            }
            _ => 0,
        }
    }
}

/// How a value of an event compares to one that was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    Less,
    Equal,
    Greater,
    /// Of the same type and not equal, without an order.
    Different,
    OfOtherType,
}

impl From<Ordering> for Compared {
    fn from(ordering: Ordering) -> Self {
        match ordering {
            Ordering::Less => Self::Less,
            Ordering::Equal => Self::Equal,
            Ordering::Greater => Self::Greater,
        }
    }
}

impl Number {
    fn of(number: &serde_json::Number) -> Self {
        match number.as_i128() {
            Some(integer) => Self::Integer(integer),
            // Without arbitrary precision everything else is a double.
            None => Self::Double(number.as_f64().unwrap_or(0.0)),
        }
    }

    fn in_event(found: &dyn Val) -> Option<Self> {
        if let Some(integer) = found.downcast_ref::<CelInt>() {
            return Some(Self::Integer(i128::from(*integer.inner())));
        }
        if let Some(double) = found.downcast_ref::<CelDouble>() {
            return Some(Self::Double(*double.inner()));
        }
        let integer = found.downcast_ref::<CelUInt>()?;
        Some(Self::Integer(i128::from(*integer.inner())))
    }

    fn cmp(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Integer(one), Self::Integer(other)) => one.cmp(&other),
            (Self::Double(one), Self::Double(other)) => {
                one.partial_cmp(&other).unwrap_or(Ordering::Equal)
            }
            (Self::Integer(integer), Self::Double(double)) => integer_to_double(integer, double),
            (Self::Double(double), Self::Integer(integer)) => {
                integer_to_double(integer, double).reverse()
            }
        }
    }

    /// The integer that the number is, if it is one of 64 bits.
    pub fn integer(self) -> Option<i128> {
        match self {
            Self::Integer(integer) => Some(integer),
            Self::Double(double) => {
                let fits = double.fract() == 0.0 && (-TWO_TO_63..TWO_TO_64).contains(&double);
                fits.then_some(double as i128)
            }
        }
    }
}

const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;

/// Compares without rounding either: the part of a double before its point fits `i128` wherever an integer of 64 bits is
/// near, and where it does not the conversion ends at the nearest bound.
fn integer_to_double(integer: i128, double: f64) -> Ordering {
    let whole = double.trunc();
    integer.cmp(&(whole as i128)).then_with(|| {
        let rest = double - whole;
        0.0_f64.partial_cmp(&rest).unwrap_or(Ordering::Equal)
    })
}

/// A field of an object of an event; `None`: it has none of this name, or is no object.
pub(super) fn field<'b>(found: &'b dyn Val, name: &'b str) -> Option<&'b dyn Val> {
    let map: &'b CelMap<'b> = found.downcast_ref::<CelMap>()?;
    map.inner().get(&CelMapKey::from(name)).map(AsRef::as_ref)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        Number::of(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn numbers_are_compared_without_rounding() {
        let ascending = [
            "-1e300",
            "-18446744073709551616.0",
            "-9223372036854775808",
            "-9007199254740993",
            "-9007199254740992.0",
            "-1.5",
            "-1",
            "0",
            "0.5",
            "1.0",
            "1.5",
            "9007199254740992.0",
            "9007199254740993",
            "9223372036854775807",
            "9223372036854775808.0",
            "9223372036854775809",
            "18446744073709551615",
            "18446744073709551616",
            "1e300",
        ];
        for (place, one) in ascending.iter().enumerate() {
            for (other_place, other) in ascending.iter().enumerate() {
                let expected = place.cmp(&other_place);
                assert_eq!(number(one).cmp(number(other)), expected, "{one} and {other}");
            }
        }
        assert_eq!(number("1").cmp(number("1.0")), Ordering::Equal);
        assert_eq!(number("100").cmp(number("1e2")), Ordering::Equal);
        assert_eq!(number("-0.0").cmp(number("0")), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn an_integer_and_a_double_compare_as_two_integers_do(one: i32, other: i32) {
            let doubled = Number::Double(f64::from(other));
            let integer = Number::Integer(i128::from(one));
            prop_assert_eq!(integer.cmp(doubled), one.cmp(&other));
            prop_assert_eq!(doubled.cmp(integer), other.cmp(&one));
        }
    }
}
