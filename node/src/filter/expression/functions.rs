//! The functions that an expression may call. What is not here is refused, whatever the CEL library knows.
//!
//! Every one is deterministic (none knows a clock, a time zone or randomness) and takes time and memory at most in
//! proportion to its arguments: `replace`, `join`, `format`, `split` and `indexOf` of CEL's strings extension do
//! not, and are left out.

use super::types::StaticType;
use super::types::StaticType::{
    Bool, Bytes, Double, Duration, Dyn, Int, List, Map, String, Timestamp, Type, Uint,
};

/// One form of a function.
#[derive(Debug)]
pub(super) struct Function {
    pub name: &'static str,
    /// Called on its first argument: `text.contains('a')`.
    pub member: bool,
    /// What each argument may be; none: anything. The first one of a member is what it is called on.
    pub arguments: &'static [&'static [StaticType]],
    pub result: StaticType,
}

const fn global(
    name: &'static str,
    arguments: &'static [&'static [StaticType]],
    result: StaticType,
) -> Function {
    Function { name, member: false, arguments, result }
}

const fn member(
    name: &'static str,
    arguments: &'static [&'static [StaticType]],
    result: StaticType,
) -> Function {
    Function { name, member: true, arguments, result }
}

const TEXT: &[StaticType] = &[String];
const SIZED: &[StaticType] = &[String, Bytes, List, Map];
const NUMBER: &[StaticType] = &[Int, Uint, Double];
const TIME: &[StaticType] = &[Timestamp];
const TIME_OR_SPAN: &[StaticType] = &[Timestamp, Duration];

/// The name of the function whose second argument is a regular expression. It is compiled with the
/// expression, and so has to be written out.
pub(super) const MATCHES: &str = "matches";

pub(super) const FUNCTIONS: &[Function] = &[
    // Sizes, texts and bytes.
    global("size", &[SIZED], Int),
    member("size", &[SIZED], Int),
    member("contains", &[TEXT, TEXT], Bool),
    member("startsWith", &[TEXT, TEXT], Bool),
    member("endsWith", &[TEXT, TEXT], Bool),
    global(MATCHES, &[TEXT, TEXT], Bool),
    member(MATCHES, &[TEXT, TEXT], Bool),
    member("lowerAscii", &[TEXT], String),
    member("upperAscii", &[TEXT], String),
    member("trim", &[TEXT], String),
    member("charAt", &[TEXT, &[Int]], String),
    member("substring", &[TEXT, &[Int]], String),
    member("substring", &[TEXT, &[Int], &[Int]], String),
    // Conversions.
    global("bool", &[&[Bool, String]], Bool),
    global("bytes", &[&[Bytes, String]], Bytes),
    global("double", &[&[Int, Uint, Double, String]], Double),
    global("int", &[&[Int, Uint, Double, String, Timestamp]], Int),
    global("uint", &[&[Int, Uint, Double, String]], Uint),
    global("string", &[&[Bool, Int, Uint, Double, String, Bytes, Timestamp, Duration]], String),
    global("timestamp", &[&[Int, String, Timestamp]], Timestamp),
    global("duration", &[&[String, Duration]], Duration),
    global("dyn", &[&[]], Dyn),
    global("type", &[&[]], Type),
    // Parts of timestamps, in UTC, and of durations.
    member("getFullYear", &[TIME], Int),
    member("getMonth", &[TIME], Int),
    member("getDate", &[TIME], Int),
    member("getDayOfMonth", &[TIME], Int),
    member("getDayOfWeek", &[TIME], Int),
    member("getDayOfYear", &[TIME], Int),
    member("getHours", &[TIME_OR_SPAN], Int),
    member("getMinutes", &[TIME_OR_SPAN], Int),
    member("getSeconds", &[TIME_OR_SPAN], Int),
    member("getMilliseconds", &[TIME_OR_SPAN], Int),
    // Numbers.
    global("math.abs", &[NUMBER], Dyn),
    global("math.ceil", &[&[Double]], Double),
    global("math.floor", &[&[Double]], Double),
    global("math.round", &[&[Double]], Double),
    global("math.trunc", &[&[Double]], Double),
    global("math.sign", &[NUMBER], Dyn),
    global("math.sqrt", &[NUMBER], Double),
    global("math.isNaN", &[&[Double]], Bool),
    global("math.isInf", &[&[Double]], Bool),
    global("math.isFinite", &[&[Double]], Bool),
    // What the macros `math.greatest` and `math.least` become.
    global("math.@max", &[&[Int, Uint, Double, List]], Dyn),
    global("math.@max", &[NUMBER, NUMBER], Dyn),
    global("math.@min", &[&[Int, Uint, Double, List]], Dyn),
    global("math.@min", &[NUMBER, NUMBER], Dyn),
];

/// Every function as it is called in the text of an expression.
#[cfg(test)]
pub fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| as_written(function.name))
}

/// The name by which a function is called in the text of an expression.
pub(super) fn as_written(name: &str) -> &str {
    match name {
        "math.@max" => "math.greatest",
        "math.@min" => "math.least",
        other => other,
    }
}

/// The namespace whose functions are called as if on a variable.
pub(super) const NAMESPACE: &str = "math";

/// The types that can be named as values, as in `type(event.data.total) == int`.
pub(super) const TYPE_NAMES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// Why a call goes with no function.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoFunction {
    /// There is none of this name, called in this way.
    Unknown,
    /// There is one, of other numbers of arguments or of other types.
    Mismatched,
}

/// The function that a call means.
pub(super) fn find(
    name: &str,
    member: bool,
    arguments: &[StaticType],
) -> Result<&'static Function, NoFunction> {
    let mut error = NoFunction::Unknown;
    for function in FUNCTIONS.iter().filter(|f| f.name == name && f.member == member) {
        if takes(function, arguments) {
            return Ok(function);
        }
        error = NoFunction::Mismatched;
    }
    Err(error)
}

fn takes(function: &Function, arguments: &[StaticType]) -> bool {
    let fits = |(argument, wanted): (&StaticType, &&[StaticType])| {
        wanted.is_empty() || wanted.iter().any(|wanted| argument.may_be(*wanted))
    };
    arguments.len() == function.arguments.len()
        && arguments.iter().zip(function.arguments).all(fits)
}
