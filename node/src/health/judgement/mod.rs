//! Whether the members of a store agree, judged from what each says of itself. Pure: who asks, how and when is
//! [`super::checker`]'s affair.
//!
//! What Raft rules out is split brain wherever it is seen: two leaders of one term, two memberships at one place of the
//! log, two contents at one seal. What merely is not finished, such as a member that has not heard of a change yet, is
//! degraded.

mod digests;
mod views;

use reckon_api::v1::{
    self, CheckKind, ConsistencyResult, LeaderReport, LogReport, Role, check::Data,
};

pub use views::{Asked, Observer};
use views::{Views, listed, named};

use crate::limits;

/// Every check, in the order of reports.
pub const CHECKS: [CheckKind; 4] = [
    CheckKind::MembershipConsensus,
    CheckKind::LeaderConsensus,
    CheckKind::LogConsistency,
    CheckKind::Quorum,
];

/// When members were asked, and how long it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asking {
    /// Microseconds since 1970 UTC.
    pub at_us: u64,
    pub duration_us: u64,
}

/// Judges what members answered, by the checks that are wanted.
pub fn judge(
    observer: &Observer,
    membership: &v1::Membership,
    asked: &[Asked],
    wanted: &[CheckKind],
    when: Asking,
) -> v1::ConsistencyReport {
    let views = Views::sort(observer, asked);
    let checks: Vec<v1::Check> = wanted
        .iter()
        .map(|kind| {
            let Verdict { status, message, data } = match kind {
                CheckKind::MembershipConsensus => membership_consensus(&views, observer),
                CheckKind::LeaderConsensus => leader_consensus(&views),
                CheckKind::LogConsistency => log_consistency(&views),
                CheckKind::Quorum => quorum(&views, membership),
                CheckKind::Unspecified => Verdict::default(),
            };
            v1::Check {
                kind: (*kind).into(),
                status: status.into(),
                message,
                at_us: when.at_us,
                duration_us: when.duration_us,
                data,
            }
        })
        .collect();
    v1::ConsistencyReport {
        // Their numbers go from the best to the worst.
        result: checks.iter().map(|check| check.status).max().unwrap_or_default(),
        checks,
        node_id: observer.node_id,
        at_us: when.at_us,
        duration_us: when.duration_us,
    }
}

/// Whether there is news in a report for somebody who knows the one before: numbers that go up all the time are none.
pub fn differs(before: &v1::ConsistencyReport, now: &v1::ConsistencyReport) -> bool {
    let told = |report: &v1::ConsistencyReport| {
        let checks = report.checks.iter();
        let checks = checks.map(|check| (check.kind, check.status, check.message.clone()));
        (report.result, checks.collect::<Vec<_>>())
    };
    told(before) != told(now)
}

/// What one check came to.
#[derive(Debug, Default)]
struct Verdict {
    status: ConsistencyResult,
    message: String,
    data: Option<Data>,
}

/// Findings of a check, the worst of which counts and is told.
#[derive(Debug, Default)]
struct Findings(Vec<(ConsistencyResult, String)>);

impl Findings {
    fn degraded(&mut self, message: String) {
        self.0.push((ConsistencyResult::Degraded, message));
    }

    fn split_brain(&mut self, message: String) {
        self.0.push((ConsistencyResult::SplitBrain, message));
    }

    /// All messages of the worst kind; `well` where nothing was found.
    fn verdict(self, well: String, data: Data) -> Verdict {
        let worst = self.0.iter().map(|(status, _)| *status).max();
        let Some(status) = worst else {
            return Verdict { status: ConsistencyResult::Healthy, message: well, data: Some(data) };
        };
        let worst = self.0.into_iter().filter(|(found, _)| *found == status);
        let messages: Vec<_> = worst.map(|(_, message)| message).collect();
        Verdict { status, message: messages.join("; "), data: Some(data) }
    }
}

fn membership_consensus(views: &Views<'_>, observer: &Observer) -> Verdict {
    let mut findings = Findings::default();
    for message in &views.contradictions {
        findings.split_brain(message.clone());
    }
    for failed in &views.failed {
        findings.degraded(format!("member {} does not count: {}", failed.node_id, failed.error));
    }
    let those = |unlike: fn(&v1::StatusResponse) -> bool| -> Vec<u64> {
        let unlike = views.answered.iter().filter(|view| unlike(view));
        unlike.map(|view| view.node_id).collect()
    };
    let (unready, closed) = (those(|view| !view.ready), those(|view| !view.activated));
    if !unready.is_empty() {
        findings.degraded(format!("not ready yet: {}", named(&unready)));
    }
    if !closed.is_empty() {
        findings.degraded(format!("not open to clients yet: {}", named(&closed)));
    }
    let known = views.memberships();
    for (index, one) in known.iter().enumerate() {
        for other in &known[..index] {
            // Whoever has just joined knows none yet.
            let empty = |view: &v1::MembershipView| view.voters.is_empty();
            if one.log_index == other.log_index && !empty(one) && !empty(other) {
                findings.split_brain(format!(
                    "different memberships stand at log index {}: one of {}, one of {}",
                    one.log_index,
                    named(&other.seen_by),
                    named(&one.seen_by)
                ));
            }
        }
    }
    if let [newest, behind @ ..] = known.as_slice() {
        let behind: Vec<u64> = behind.iter().flat_map(|view| view.seen_by.clone()).collect();
        if !behind.is_empty() {
            findings.degraded(format!(
                "the membership at log index {} has not reached {} yet",
                newest.log_index,
                named(&behind)
            ));
        }
        let is_member =
            [&newest.voters, &newest.learners].iter().any(|ids| ids.contains(&observer.node_id));
        if !is_member {
            findings.degraded(format!("node {} is no member of the store", observer.node_id));
        }
    }
    let data = v1::MembershipConsensus {
        checked: count(views.asked),
        responded: count(views.answered.len()),
        failed: views.failed.clone(),
        views: known,
    };
    let well = format!("all {} members answer and know the same members", views.asked);
    findings.verdict(well, Data::Membership(data))
}

fn leader_consensus(views: &Views<'_>) -> Verdict {
    let mut findings = Findings::default();
    let reports: Vec<LeaderReport> = views
        .answered
        .iter()
        .map(|view| LeaderReport {
            node_id: view.node_id,
            term: view.term,
            role: view.role,
            leader_id: view.leader_id,
        })
        .collect();
    let leaders_of = |term: u64| {
        let of_term = reports.iter().filter(|report| report.term == term);
        let mut leaders: Vec<u64> = of_term
            .flat_map(|report| {
                let leads = report.role() == Role::Leader;
                [report.leader_id, if leads { report.node_id } else { 0 }]
            })
            .filter(|leader| *leader != 0)
            .collect();
        leaders.sort_unstable();
        leaders.dedup();
        leaders
    };
    let mut terms: Vec<u64> = reports.iter().map(|report| report.term).collect();
    terms.sort_unstable();
    terms.dedup();
    for term in &terms {
        let leaders = leaders_of(*term);
        if leaders.len() > 1 {
            let leaders = listed(&leaders);
            findings.split_brain(format!("term {term} has more than one leader: {leaders}"));
        }
    }
    let term = terms.last().copied().unwrap_or_default();
    let leader_id = leaders_of(term).first().copied().unwrap_or_default();
    if leader_id == 0 {
        findings.degraded(format!("no member knows a leader of term {term}"));
    } else {
        let mut astray = Vec::new();
        for report in &reports {
            if report.leader_id != leader_id || report.term != term {
                astray.push(report.node_id);
            }
        }
        if !astray.is_empty() {
            let astray = named(&astray);
            findings.degraded(format!("leader {leader_id} is not followed by {astray} yet"));
        }
        if !reports.iter().any(|report| report.node_id == leader_id) {
            findings.degraded(format!("the leader, member {leader_id}, does not answer here"));
        }
    }
    let well = format!("all members follow leader {leader_id}");
    findings.verdict(well, Data::Leader(v1::LeaderConsensus { term, leader_id, reports }))
}

fn log_consistency(views: &Views<'_>) -> Verdict {
    let mut findings = Findings::default();
    let range = |number: fn(&v1::StatusResponse) -> u64| {
        let numbers = views.answered.iter().map(|view| number(view));
        (numbers.clone().min().unwrap_or_default(), numbers.max().unwrap_or_default())
    };
    let (term_min, term_max) = range(|view| view.term);
    let (committed_index_min, committed_index_max) = range(|view| view.committed_index);
    let progress = views.progress();
    let reports = views.answered.iter().map(|view| {
        let told = progress.iter().find(|member| member.node_id == view.node_id);
        LogReport {
            node_id: view.node_id,
            term: view.term,
            last_log_index: view.last_log_index,
            committed_index: view.committed_index,
            applied_index: view.applied_index,
            lag_entries: committed_index_max.saturating_sub(view.applied_index),
            lag_bytes: told.and_then(|member| member.lag_bytes),
            seal: view.seal,
            sealed_position: view.sealed_position,
        }
    });
    let reports = reports.collect();

    let (seal_compared, divergences) = digests::compare(&views.answered);
    for found in &divergences {
        findings.split_brain(digests::sentence(found));
    }
    for member in progress.iter().filter(|member| member.voter) {
        // How much exactly changes from look to look.
        if member.lag_bytes.is_some_and(|lag| lag > limits::CONSISTENCY_LAG_BYTES_MAX) {
            let most = limits::CONSISTENCY_LAG_BYTES_MAX >> 20;
            let node_id = member.node_id;
            findings.degraded(format!("member {node_id} lacks more than {most} MiB of the log"));
        }
    }
    for view in views.answered.iter().filter(|view| !view.fenced_files.is_empty()) {
        let (node_id, files) = (view.node_id, view.fenced_files.len());
        findings.degraded(format!("member {node_id} fetches damaged files again: {files}"));
    }
    let data = v1::LogConsistency {
        term_min,
        term_max,
        committed_index_min,
        committed_index_max,
        reports,
        seal_compared,
        divergences,
    };
    findings.verdict("no two members differ".to_owned(), Data::Log(data))
}

fn quorum(views: &Views<'_>, membership: &v1::Membership) -> Verdict {
    let voters: Vec<u64> =
        membership.members.iter().filter(|member| member.voter).map(|it| it.node_id).collect();
    let answers = |voter: &&u64| views.answered.iter().any(|view| view.node_id == **voter);
    let available = voters.iter().filter(answers).count();
    let total = voters.len();
    // Of all voters also where a change goes by two steps: nothing stays joint.
    let required = total / 2 + 1;
    let can_lose = available.saturating_sub(required);
    let status = match available {
        _ if total == 0 => ConsistencyResult::Degraded,
        available if available < required => ConsistencyResult::NoQuorum,
        available if available < total => ConsistencyResult::Degraded,
        _ => ConsistencyResult::Healthy,
    };
    let message = match status {
        _ if total == 0 => "this node knows no voters yet".to_owned(),
        ConsistencyResult::NoQuorum => format!(
            "{available} of {total} voters answer, and {required} must: appends and linearizable reads wait"
        ),
        _ => format!("{available} of {total} voters answer; {can_lose} of them may be lost"),
    };
    let signed = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let data = v1::QuorumMargin {
        total: count(total),
        available: count(available),
        required: count(required),
        margin: signed(available) - signed(required),
        can_lose: count(can_lose),
    };
    Verdict { status, message, data: Some(Data::Quorum(data)) }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
