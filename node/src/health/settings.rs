//! How members are probed and checked, and within which limits that may be changed. Pure.

use std::time::Duration;

use reckon_api::v1;

use crate::limits;

/// What is in force on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Between two probes of a member.
    pub probe_interval: Duration,
    /// After which a probe has failed.
    pub probe_timeout: Duration,
    /// So many failed probes in a row make a member failed.
    pub probe_failures: u32,
    pub probe_type: v1::ProbeType,
    /// Between two checks of consistency.
    pub consistency_interval: Duration,
}

/// Why settings cannot be changed like that. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("{field} is {value}, and must be between {minimum} and {maximum}")]
    OutOfRange { field: &'static str, value: u64, minimum: u64, maximum: u64 },
    #[error("there is no probe type {0}")]
    UnknownType(i32),
}

impl SettingsError {
    /// Never: the same values stay wrong.
    pub const fn retryable(&self) -> bool {
        false
    }
}

impl Settings {
    /// These settings with the changes that a request asks for; all of them or none.
    pub fn changed_by(self, request: &v1::ConfigureHealthRequest) -> Result<Self, SettingsError> {
        let mut changed = self;
        if let Some(value) = request.probe_interval_ms {
            let (min, max) = (limits::PROBE_INTERVAL_MS_MIN, limits::PROBE_INTERVAL_MS_MAX);
            changed.probe_interval = millis("probe_interval_ms", value, min, max)?;
        }
        if let Some(value) = request.probe_timeout_ms {
            let (min, max) = (limits::PROBE_TIMEOUT_MS_MIN, limits::PROBE_TIMEOUT_MS_MAX);
            changed.probe_timeout = millis("probe_timeout_ms", value, min, max)?;
        }
        if let Some(value) = request.probe_failures {
            let (min, max) = (limits::PROBE_FAILURES_MIN, limits::PROBE_FAILURES_MAX);
            within("probe_failures", value.into(), min.into(), max.into())?;
            changed.probe_failures = value;
        }
        if let Some(value) = request.consistency_interval_ms {
            let min = limits::CONSISTENCY_INTERVAL_MS_MIN;
            let max = limits::CONSISTENCY_INTERVAL_MS_MAX;
            changed.consistency_interval = millis("consistency_interval_ms", value, min, max)?;
        }
        match probe_type(request.probe_type)? {
            v1::ProbeType::Unspecified => {}
            named => changed.probe_type = named,
        }
        Ok(changed)
    }

    /// In the words of the protocol.
    pub fn to_message(self) -> v1::HealthSettings {
        v1::HealthSettings {
            probe_interval_ms: in_millis(self.probe_interval),
            probe_timeout_ms: in_millis(self.probe_timeout),
            probe_failures: self.probe_failures,
            probe_type: self.probe_type.into(),
            consistency_interval_ms: in_millis(self.consistency_interval),
        }
    }
}

/// The probe type of this number in the protocol.
pub fn probe_type(number: i32) -> Result<v1::ProbeType, SettingsError> {
    v1::ProbeType::try_from(number).map_err(|_unknown| SettingsError::UnknownType(number))
}

fn millis(
    field: &'static str,
    value: u64,
    minimum: u64,
    maximum: u64,
) -> Result<Duration, SettingsError> {
    within(field, value, minimum, maximum).map(|()| Duration::from_millis(value))
}

fn within(
    field: &'static str,
    value: u64,
    minimum: u64,
    maximum: u64,
) -> Result<(), SettingsError> {
    if (minimum..=maximum).contains(&value) {
        return Ok(());
    }
    Err(SettingsError::OutOfRange { field, value, minimum, maximum })
}

fn in_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            probe_interval: Duration::from_secs(2),
            probe_timeout: Duration::from_secs(1),
            probe_failures: 3,
            probe_type: v1::ProbeType::Rpc,
            consistency_interval: Duration::from_secs(5),
        }
    }

    #[test]
    fn what_a_request_names_is_changed_and_the_rest_stays() {
        let request = v1::ConfigureHealthRequest {
            probe_interval_ms: Some(200),
            probe_type: v1::ProbeType::Store.into(),
            ..v1::ConfigureHealthRequest::default()
        };
        let changed = settings().changed_by(&request).unwrap();
        let expected = Settings {
            probe_interval: Duration::from_millis(200),
            probe_type: v1::ProbeType::Store,
            ..settings()
        };
        assert_eq!(changed, expected);
        assert_eq!(changed.changed_by(&v1::ConfigureHealthRequest::default()), Ok(changed));
    }

    #[test]
    fn a_value_beyond_its_limits_is_refused_by_name() {
        type Request = v1::ConfigureHealthRequest;
        let none = Request::default();
        for (request, message) in [
            (
                Request { probe_interval_ms: Some(199), ..none },
                "probe_interval_ms is 199, and must be between 200 and 3600000",
            ),
            (
                Request { probe_timeout_ms: Some(60_001), ..none },
                "probe_timeout_ms is 60001, and must be between 10 and 60000",
            ),
            (
                Request { probe_failures: Some(0), ..none },
                "probe_failures is 0, and must be between 1 and 100",
            ),
            (
                Request { consistency_interval_ms: Some(999), ..none },
                "consistency_interval_ms is 999, and must be between 1000 and 3600000",
            ),
            (Request { probe_type: 9, ..none }, "there is no probe type 9"),
        ] {
            let error = settings().changed_by(&request).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
