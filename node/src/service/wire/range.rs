//! Which part of a stream or of the store a read asks for.

use reckon_api::{Reason, v1};
use tonic::Status;

use super::refusal::invalid_field;
use crate::engine::Direction;

/// Bounds by the time when the store took an event: microseconds since 1970 UTC, both inclusive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    pub since_us: Option<u64>,
    pub until_us: Option<u64>,
}

/// Bounds by position, both inclusive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Positions {
    pub from: Option<u64>,
    pub to: Option<u64>,
}

/// Where a read begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    First,
    Last,
    /// A version or a position, inclusive.
    At(u64),
    /// Microseconds since 1970 UTC, inclusive.
    Time(u64),
}

/// The direction of a read; unspecified is forward.
pub fn direction(direction: i32) -> Result<Direction, Status> {
    match v1::Direction::try_from(direction) {
        Ok(v1::Direction::Unspecified | v1::Direction::Forward) => Ok(Direction::Forward),
        Ok(v1::Direction::Backward) => Ok(Direction::Backward),
        Err(_unknown) => Err(invalid_field(
            "direction",
            &direction.to_string(),
            "is no direction: 1 is forward, 2 is backward",
        )),
    }
}

/// Where a read begins; absent is the start when forward, the end when backward.
pub fn start(from: Option<v1::ReadFrom>, direction: Direction) -> Result<Start, Status> {
    use v1::read_from::Kind;
    match (from.and_then(|from| from.kind), direction) {
        (Some(Kind::At(at)), _) => Ok(Start::At(at)),
        (Some(Kind::TimeUs(time_us)), _) => Ok(Start::Time(time_us)),
        (Some(Kind::Start(true)), _) | (None, Direction::Forward) => Ok(Start::First),
        (Some(Kind::End(true)), _) | (None, Direction::Backward) => Ok(Start::Last),
        (Some(Kind::Start(false)), _) => Err(ambiguous("from.start")),
        (Some(Kind::End(false)), _) => Err(ambiguous("from.end")),
    }
}

/// A choice that is made by naming it, and was named with `false`.
pub fn ambiguous(field: &str) -> Status {
    invalid_field(field, "false", "is ambiguous: send true, or leave it out")
}

/// The time bounds of a read.
pub fn times(since_us: Option<u64>, until_us: Option<u64>) -> Result<Times, Status> {
    in_order(("since_us", since_us), ("until_us", until_us))?;
    Ok(Times { since_us, until_us })
}

/// The position bounds of a count.
pub fn positions(from: Option<u64>, to: Option<u64>) -> Result<Positions, Status> {
    in_order(("from_position", from), ("to_position", to))?;
    Ok(Positions { from, to })
}

type Bound = (&'static str, Option<u64>);

fn in_order(lower: Bound, upper: Bound) -> Result<(), Status> {
    let ((lower_field, Some(lower)), (upper_field, Some(upper))) = (lower, upper) else {
        return Ok(());
    };
    if lower <= upper {
        return Ok(());
    }
    Err(Reason::InvalidArgument.status(
        format!("{lower_field} {lower} is after {upper_field} {upper}; exchange them"),
        [
            ("field", lower_field.to_owned()),
            ("value", lower.to_string()),
            (lower_field, lower.to_string()),
            (upper_field, upper.to_string()),
        ],
    ))
}

/// How many events are wanted; 0 is no limit.
pub const fn limit(asked: u64) -> u64 {
    if asked == 0 { u64::MAX } else { asked }
}
