//! The deadline of a request: the caller's `grpc-timeout`, or the configured default.

use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;

/// When the request must be answered. A malformed `grpc-timeout` counts as absent, as the gRPC
/// specification's servers do.
pub fn of(metadata: &MetadataMap, default: Duration) -> Instant {
    let asked = metadata.get("grpc-timeout").and_then(|value| parse(value.to_str().ok()?));
    Instant::now() + asked.map_or(default, told_in_time).min(TIMEOUT_MAX)
}

/// The part of a caller's time after which it is answered, so that it hears the reason while it still listens: both
/// its transport and ours count the same time, and end the call without one.
fn told_in_time(asked: Duration) -> Duration {
    asked.saturating_sub((asked / 8).min(ANSWER_TIME_MAX))
}

/// What an answer needs at most to get there.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(50);

/// Keeps the arithmetic of instants from overflowing; nobody waits longer for one request.
const TIMEOUT_MAX: Duration = Duration::from_hours(24);

/// `TimeoutValue TimeoutUnit` of the gRPC-over-HTTP/2 specification: at most eight digits and a unit.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_hours(value),
        "M" => Duration::from_mins(value),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_answered_before_it_stops_listening() {
        for (asked, answered) in [(80, 70), (400, 350), (5_000, 4_950), (0, 0)] {
            assert_eq!(told_in_time(Duration::from_millis(asked)), Duration::from_millis(answered));
        }
    }

    #[test]
    fn timeouts_of_the_specification_are_read_and_others_ignored() {
        let check =
            |text: &str, expected: Option<Duration>| assert_eq!(parse(text), expected, "{text}");
        check("5S", Some(Duration::from_secs(5)));
        check("250m", Some(Duration::from_millis(250)));
        check("1H", Some(Duration::from_hours(1)));
        check("99999999n", Some(Duration::from_nanos(99_999_999)));
        check("", None);
        check("S", None);
        check("-1S", None);
        check("123456789S", None);
        check("5s", None);
    }
}
