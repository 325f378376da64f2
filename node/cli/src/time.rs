//! Moments as the command line takes them.

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

/// A moment, in microseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub u64);

/// How a moment may be written, for help texts.
pub const MOMENT: &str = "TIME";

const FORMS: &str = "a time is 2026-03-01T12:00:00Z, microseconds since 1970, `now`, or a while ago such as -1h or -2d12h";

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text, Timestamp::now())
    }
}

impl Moment {
    fn parse(text: &str, now: Timestamp) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self).map_err(|_too_large| FORMS.to_owned());
        }
        let moment = if text == "now" {
            Some(now)
        } else if let Some(ago) = text.strip_prefix('-') {
            while_of(ago).and_then(|ago| now.checked_sub(ago).ok())
        } else {
            text.parse().ok()
        };
        moment
            .and_then(|moment| u64::try_from(moment.as_microsecond()).ok())
            .map(Self)
            .ok_or_else(|| FORMS.to_owned())
    }
}

/// A length of time such as `1h30m`. Days count 24 hours: there is no calendar here.
fn while_of(text: &str) -> Option<SignedDuration> {
    let (days, rest) = match text.split_once('d') {
        Some((days, rest)) => (days.trim().parse::<i64>().ok()?, rest.trim()),
        None => (0, text),
    };
    let rest = if rest.is_empty() && text.contains('d') {
        SignedDuration::ZERO
    } else {
        rest.parse().ok().filter(|rest: &SignedDuration| !rest.is_negative())?
    };
    if days < 0 {
        return None;
    }
    SignedDuration::try_from_hours(days.checked_mul(24)?)?.checked_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_one_of_four_forms() {
        let now: Timestamp = "2026-03-02T00:00:00Z".parse().unwrap();
        let check = |text: &str, expected: Option<&str>| {
            let expected = expected.map(|expected| {
                let expected: Timestamp = expected.parse().unwrap();
                expected.as_microsecond().cast_unsigned()
            });
            assert_eq!(Moment::parse(text, now).ok().map(|moment| moment.0), expected, "{text:?}");
        };
        check("2026-03-01T12:00:00.000001Z", Some("2026-03-01T12:00:00.000001Z"));
        check("2026-03-01T12:00:00+02:00", Some("2026-03-01T10:00:00Z"));
        check("1700000000000000", Some("2023-11-14T22:13:20Z"));
        check("now", Some("2026-03-02T00:00:00Z"));
        check("-1h", Some("2026-03-01T23:00:00Z"));
        check("-90s", Some("2026-03-01T23:58:30Z"));
        check("-1d", Some("2026-03-01T00:00:00Z"));
        check("-1d12h", Some("2026-02-28T12:00:00Z"));
        for text in ["", "yesterday", "-", "--1h", "1h", "-1x", "1969-12-31T00:00:00Z", "-d"] {
            check(text, None);
        }
        check("99999999999999999999999", None);
    }
}
