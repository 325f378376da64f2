//! What the outcomes of probes make of a member: healthy, suspect or failed, and when that is worth a notice. Pure.

use reckon_api::v1::HealthState;

/// How a member stands with the one who probes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    state: HealthState,
    failures: u32,
}

/// A member's state became another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub from: HealthState,
    pub to: HealthState,
}

impl Change {
    /// Whether others want to know. That a member answers its very first probe is no news.
    pub fn is_news(self) -> bool {
        (self.from, self.to) != (HealthState::Unknown, HealthState::Healthy)
    }
}

impl Standing {
    pub const fn state(self) -> HealthState {
        self.state
    }

    /// Probes failed in a row.
    pub const fn failures(self) -> u32 {
        self.failures
    }

    /// Takes the outcome of a probe. One answer makes a member healthy, whatever was before; `failures_max` failures in a
    /// row make it failed, fewer make it suspect.
    pub fn take(&mut self, answered: bool, failures_max: u32) -> Option<Change> {
        self.failures = if answered { 0 } else { self.failures.saturating_add(1) };
        let to = match self.failures {
            0 => HealthState::Healthy,
            // A threshold that was raised meanwhile does not make a failed member better: only an answer does.
            _ if self.state == HealthState::Failed => HealthState::Failed,
            failures if failures >= failures_max => HealthState::Failed,
            _ => HealthState::Suspect,
        };
        let from = std::mem::replace(&mut self.state, to);
        (from != to).then_some(Change { from, to })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each probe is a letter: `.` answered, `x` failed. After each the state is one too: `h`, `s` or `f`; capital where
    /// there was a notice.
    #[track_caller]
    fn check(failures_max: u32, outcomes: &str, expect: &str) {
        let mut standing = Standing::default();
        let told: String = outcomes
            .chars()
            .map(|outcome| {
                let change = standing.take(outcome == '.', failures_max);
                let state = match standing.state() {
                    HealthState::Healthy => 'h',
                    HealthState::Suspect => 's',
                    HealthState::Failed => 'f',
                    HealthState::Unknown => '?',
                };
                let news = change.is_some_and(Change::is_news);
                if news { state.to_ascii_uppercase() } else { state }
            })
            .collect();
        assert_eq!(told, expect, "{outcomes} with {failures_max}");
    }

    #[test]
    fn failures_in_a_row_make_a_member_suspect_and_then_failed() {
        assert_eq!(Standing::default().state(), HealthState::Unknown);
        check(3, "..", "hh");
        check(3, ".xxx", "hSsF");
        check(3, ".xxxxx", "hSsFff");
        check(3, ".xx.xx", "hSsHSs");
        check(3, "xxx", "SsF");
        check(3, "xxxx.", "SsFfH");
        check(1, ".x.x", "hFHF");
        check(2, "x.xx", "SHSF");
    }

    #[test]
    fn a_changed_threshold_counts_from_the_next_probe_on() {
        let mut standing = Standing::default();
        for _ in 0..3 {
            standing.take(false, 5);
        }
        assert_eq!(standing.state(), HealthState::Suspect);
        let change = standing.take(false, 2);
        assert_eq!(change.map(|change| change.to), Some(HealthState::Failed));
        assert_eq!(standing.take(false, 100), None, "failed it stays until it answers");
        assert_eq!(standing.take(true, 100).map(|change| change.to), Some(HealthState::Healthy));
    }

    proptest! {
        #[test]
        fn the_state_follows_from_the_last_failures_in_a_row(
            outcomes in proptest::collection::vec(any::<bool>(), 1..60),
            failures_max in 1_u32..6,
        ) {
            let mut standing = Standing::default();
            let mut before = standing.state();
            for (index, answered) in outcomes.iter().enumerate() {
                let change = standing.take(*answered, failures_max);
                let row = outcomes[..=index].iter().rev().take_while(|answered| !**answered).count();
                let expected = match row as u32 {
                    0 => HealthState::Healthy,
                    row if row < failures_max => HealthState::Suspect,
                    _ => HealthState::Failed,
                };
                prop_assert_eq!(standing.state(), expected);
                prop_assert_eq!(standing.failures(), row as u32);
                // There is a change exactly where the state is another one, and it says from what to what.
                let differs = (before != expected).then_some(Change { from: before, to: expected });
                prop_assert_eq!(change, differs);
                before = expected;
            }
        }
    }
}
