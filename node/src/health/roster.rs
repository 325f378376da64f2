//! The members that are probed, how each stands, and what changed lately. Pure: the time comes from outside.

use std::collections::{BTreeMap, VecDeque};

use reckon_api::v1::{self, HealthState};

use super::standing::{Change, Standing};
use crate::limits;

/// What a probe came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// When it began, microseconds since 1970 UTC.
    pub at_us: u64,
    /// Until the answer, or until it was given up, in microseconds.
    pub took_us: u64,
    /// Why it failed.
    pub answer: Result<(), String>,
}

/// All members that this node probes.
#[derive(Debug, Default)]
pub struct Roster {
    members: BTreeMap<u64, Tracked>,
    notices: VecDeque<v1::HealthNotice>,
    /// How many notices there have been.
    noticed: u64,
}

#[derive(Debug)]
struct Tracked {
    member: v1::Member,
    standing: Standing,
    since_us: u64,
    probed_at_us: u64,
    latency_us: u64,
    error: String,
}

impl Roster {
    /// Takes over the membership. Who is new is unknown at first; who is gone is forgotten; who stays keeps its state,
    /// unless it lives on another volume now.
    pub fn follow(&mut self, members: impl IntoIterator<Item = v1::Member>, now_us: u64) {
        let mut before = std::mem::take(&mut self.members);
        for member in members {
            let known = before.remove(&member.node_id);
            let known = known.filter(|known| known.member.volume_id == member.volume_id);
            let tracked = match known {
                Some(known) => Tracked { member, ..known },
                None => Tracked {
                    member,
                    standing: Standing::default(),
                    since_us: now_us,
                    probed_at_us: 0,
                    latency_us: 0,
                    error: String::new(),
                },
            };
            self.members.insert(tracked.member.node_id, tracked);
        }
    }

    /// Takes the outcome of a probe; gives the change of state that it made, if it made one. A member that left
    /// meanwhile has no state.
    pub fn take(&mut self, node_id: u64, outcome: &Outcome, failures_max: u32) -> Option<Change> {
        let tracked = self.members.get_mut(&node_id)?;
        tracked.probed_at_us = outcome.at_us;
        match &outcome.answer {
            Ok(()) => {
                tracked.latency_us = outcome.took_us;
                tracked.error.clear();
            }
            Err(why) => why.clone_into(&mut tracked.error),
        }
        let change = tracked.standing.take(outcome.answer.is_ok(), failures_max)?;
        tracked.since_us = outcome.at_us.saturating_add(outcome.took_us);
        if change.is_news() {
            self.noticed += 1;
            if self.notices.len() == limits::HEALTH_NOTICES_MAX {
                self.notices.pop_front();
            }
            self.notices.push_back(v1::HealthNotice {
                number: self.noticed,
                node_id,
                name: tracked.member.name.clone(),
                from: change.from.into(),
                to: change.to.into(),
                at_us: tracked.since_us,
                error: tracked.error.clone(),
            });
        }
        Some(change)
    }

    /// How the members are, by node id.
    pub fn members(&self) -> Vec<v1::MemberHealth> {
        let described = self.members.values().map(|tracked| v1::MemberHealth {
            node_id: tracked.member.node_id,
            name: tracked.member.name.clone(),
            peer_address: tracked.member.peer_address.clone(),
            voter: tracked.member.voter,
            state: tracked.standing.state().into(),
            since_us: tracked.since_us,
            failures: tracked.standing.failures(),
            probed_at_us: tracked.probed_at_us,
            latency_us: tracked.latency_us,
            error: tracked.error.clone(),
        });
        described.collect()
    }

    /// The state of a member; unknown where it is none.
    pub fn state(&self, node_id: u64) -> HealthState {
        self.members.get(&node_id).map(|tracked| tracked.standing.state()).unwrap_or_default()
    }

    /// How many members are in a state.
    pub fn count(&self, state: HealthState) -> usize {
        self.members.values().filter(|tracked| tracked.standing.state() == state).count()
    }

    /// How many notices there have been.
    pub const fn noticed(&self) -> u64 {
        self.noticed
    }

    /// The notices that are remembered, oldest first.
    pub fn notices(&self) -> impl Iterator<Item = &v1::HealthNotice> {
        self.notices.iter()
    }

    /// The notices behind the one of this number; `None`: some of them are forgotten.
    pub fn notices_behind(&self, number: u64) -> Option<Vec<v1::HealthNotice>> {
        let behind = self.notices.iter().filter(|notice| notice.number > number);
        let behind: Vec<_> = behind.cloned().collect();
        (behind.len() as u64 == self.noticed.saturating_sub(number)).then_some(behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node_id: u64, volume_id: &str) -> v1::Member {
        v1::Member {
            node_id,
            name: format!("orders-{}", node_id - 1),
            volume_id: volume_id.to_owned(),
            voter: true,
            ..v1::Member::default()
        }
    }

    fn outcome(at_us: u64, answered: bool) -> Outcome {
        let answer = if answered { Ok(()) } else { Err("connection refused".to_owned()) };
        Outcome { at_us, took_us: 5, answer }
    }

    /// A roster of two, both healthy.
    fn healthy() -> Roster {
        let mut roster = Roster::default();
        roster.follow([member(2, "b"), member(3, "c")], 10);
        assert_eq!(roster.state(2), HealthState::Unknown);
        for node_id in [2, 3] {
            roster.take(node_id, &outcome(20, true), 2);
        }
        roster
    }

    #[test]
    fn a_failure_and_a_recovery_are_noticed_with_their_reason_and_time() {
        let mut roster = healthy();
        assert_eq!(roster.noticed(), 0, "a first answer is no news");
        for (at_us, answered) in [(30, false), (40, false), (50, false), (60, true)] {
            roster.take(3, &outcome(at_us, answered), 2);
        }
        let told: Vec<_> = roster
            .notices()
            .map(|notice| (notice.number, notice.to(), notice.at_us, notice.error.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (1, HealthState::Suspect, 35, "connection refused"),
                (2, HealthState::Failed, 45, "connection refused"),
                (3, HealthState::Healthy, 65, ""),
            ]
        );
        assert_eq!(roster.state(2), HealthState::Healthy, "others have nothing to do with it");
    }

    #[test]
    fn a_member_is_described_by_its_last_probes() {
        let mut roster = healthy();
        roster.take(3, &outcome(30, false), 2);
        let described = &roster.members()[1];
        assert_eq!((described.node_id, described.state()), (3, HealthState::Suspect));
        assert_eq!((described.failures, described.probed_at_us, described.since_us), (1, 30, 35));
        assert_eq!(described.latency_us, 5, "of the last probe that was answered");
        assert_eq!(described.error, "connection refused");
        assert_eq!(roster.count(HealthState::Healthy), 1);
    }

    #[test]
    fn who_leaves_is_forgotten_and_who_is_new_is_unknown() {
        let mut roster = healthy();
        roster.follow([member(3, "c"), member(4, "d")], 100);
        let states: Vec<_> =
            roster.members().iter().map(|member| (member.node_id, member.state())).collect();
        assert_eq!(states, [(3, HealthState::Healthy), (4, HealthState::Unknown)]);
        assert_eq!(roster.take(2, &outcome(110, false), 1), None);
        roster.follow([member(3, "another")], 120);
        assert_eq!(roster.state(3), HealthState::Unknown, "it is not who it was");
    }

    #[test]
    fn a_reader_that_missed_notices_is_told_so() {
        let mut roster = healthy();
        for turn in 0..limits::HEALTH_NOTICES_MAX as u64 {
            roster.take(2, &outcome(turn, turn % 2 == 1), 1);
        }
        assert_eq!(roster.notices_behind(0).map(|all| all.len()), Some(64));
        assert_eq!(roster.notices_behind(64), Some(Vec::new()));
        roster.take(2, &outcome(99, false), 1);
        assert_eq!(roster.notices_behind(0), None);
        assert_eq!(roster.notices_behind(64).map(|last| last[0].number), Some(65));
    }
}
