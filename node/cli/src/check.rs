//! `reckon check` and `reckon watch-status`: whether the members agree, as the node sees it that answers.

use clap::ValueEnum;
use futures::StreamExt as _;
use reckon_api::{Client, v1};
use serde::Serialize;
use v1::check::Data;

use crate::failure::Failure;
use crate::output::{self, Output};
use crate::read::notice;

/// Have a node ask all members how they are, and show whether they agree.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon check
  reckon check --only quorum --only leader
  reckon check --output json | jq '.checks[] | select(.status != \"healthy\").message'")]
pub struct Check {
    /// Make this check only. Repeatable.
    #[arg(long, value_enum, value_name = "CHECK")]
    only: Vec<CheckName>,
}

/// One of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckName {
    /// Whether all members answer, and know the same members.
    Membership,
    /// Whether they follow one leader.
    Leader,
    /// Whether they have the same history.
    Log,
    /// How many voters answer, and how many more may be lost.
    Quorum,
}

impl From<CheckName> for v1::CheckKind {
    fn from(name: CheckName) -> Self {
        match name {
            CheckName::Membership => Self::MembershipConsensus,
            CheckName::Leader => Self::LeaderConsensus,
            CheckName::Log => Self::LogConsistency,
            CheckName::Quorum => Self::Quorum,
        }
    }
}

impl Check {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let checks = self.only.into_iter().map(|name| v1::CheckKind::from(name).into()).collect();
        let answer = client.check_now(v1::CheckNowRequest { checks }).await?;
        print_report(&answer.report.unwrap_or_default(), output)
    }
}

/// Show whether all members agree, and again whenever that changes, until interrupted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon watch-status
  reckon watch-status --limit 1 --output json | jq .result")]
pub struct WatchStatus {
    /// End after this many reports.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

impl WatchStatus {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut watching = client.watch_status();
        while let Some(report) = watching.next().await {
            match report {
                Ok(report) => {
                    print_report(&report, output)?;
                    left -= 1;
                    if left == 0 {
                        return Ok(());
                    }
                }
                Err(error) if error.retryable() => {
                    notice(&format!("waiting for the store: {error}"));
                }
                Err(error) => return Err(error.into()),
            }
            output.flush()?;
        }
        Ok(())
    }
}

/// The result as it is printed.
pub const fn result(result: v1::ConsistencyResult) -> &'static str {
    match result {
        v1::ConsistencyResult::Unknown => "unknown",
        v1::ConsistencyResult::Healthy => "healthy",
        v1::ConsistencyResult::Degraded => "degraded",
        v1::ConsistencyResult::NoQuorum => "no_quorum",
        v1::ConsistencyResult::SplitBrain => "split_brain",
    }
}

const fn check_kind(kind: v1::CheckKind) -> &'static str {
    match kind {
        v1::CheckKind::Unspecified => "unknown",
        v1::CheckKind::MembershipConsensus => "membership",
        v1::CheckKind::LeaderConsensus => "leader",
        v1::CheckKind::LogConsistency => "log",
        v1::CheckKind::Quorum => "quorum",
    }
}

/// A report as it is printed for programs.
#[derive(Debug, Serialize)]
pub struct PrintedReport<'a> {
    result: &'static str,
    node_id: u64,
    at_us: u64,
    duration_us: u64,
    checks: Vec<PrintedCheck<'a>>,
}

#[derive(Debug, Serialize)]
struct PrintedCheck<'a> {
    check: &'static str,
    status: &'static str,
    message: &'a str,
    at_us: u64,
    duration_us: u64,
    data: serde_json::Value,
}

impl<'a> From<&'a v1::ConsistencyReport> for PrintedReport<'a> {
    fn from(report: &'a v1::ConsistencyReport) -> Self {
        let checks = report.checks.iter().map(|check| PrintedCheck {
            check: check_kind(check.kind()),
            status: result(check.status()),
            message: &check.message,
            at_us: check.at_us,
            duration_us: check.duration_us,
            data: check.data.as_ref().map(data).unwrap_or_default(),
        });
        Self {
            result: result(report.result()),
            node_id: report.node_id,
            at_us: report.at_us,
            duration_us: report.duration_us,
            checks: checks.collect(),
        }
    }
}

fn data(data: &Data) -> serde_json::Value {
    use serde_json::json;
    match data {
        Data::Membership(it) => json!({
            "checked": it.checked,
            "responded": it.responded,
            "failed": it.failed.iter().map(|failed| {
                json!({ "node_id": failed.node_id, "name": failed.name, "error": failed.error })
            }).collect::<Vec<_>>(),
            "views": it.views.iter().map(|view| json!({
                "log_term": view.log_term,
                "log_index": view.log_index,
                "voters": view.voters,
                "learners": view.learners,
                "seen_by": view.seen_by,
            })).collect::<Vec<_>>(),
        }),
        Data::Leader(it) => json!({
            "term": it.term,
            "leader_id": it.leader_id,
            "reports": it.reports.iter().map(|report| json!({
                "node_id": report.node_id,
                "term": report.term,
                "role": crate::cluster::role(report.role()),
                "leader_id": report.leader_id,
            })).collect::<Vec<_>>(),
        }),
        Data::Log(it) => json!({
            "term_min": it.term_min,
            "term_max": it.term_max,
            "committed_index_min": it.committed_index_min,
            "committed_index_max": it.committed_index_max,
            "seal_compared": it.seal_compared,
            "reports": it.reports.iter().map(|report| json!({
                "node_id": report.node_id,
                "term": report.term,
                "last_log_index": report.last_log_index,
                "committed_index": report.committed_index,
                "applied_index": report.applied_index,
                "lag_entries": report.lag_entries,
                "lag_bytes": report.lag_bytes,
                "seal": report.seal,
                "sealed_position": report.sealed_position,
            })).collect::<Vec<_>>(),
            "divergences": it.divergences.iter().map(|found| json!({
                "node_id": found.node_id,
                "seal": found.seal,
                "from_position": found.from_position,
                "to_position": found.to_position,
                "digest": found.digest,
                "compared_with": found.compared_with,
                "minority": found.minority,
            })).collect::<Vec<_>>(),
        }),
        Data::Quorum(it) => json!({
            "total": it.total,
            "available": it.available,
            "required": it.required,
            "margin": it.margin,
            "can_lose": it.can_lose,
        }),
    }
}

fn print_report(report: &v1::ConsistencyReport, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&PrintedReport::from(report));
    }
    let time = output.paint(&output::time(report.at_us), output::FAINT);
    let verdict = output.paint(result(report.result()), output::STRONG);
    output.line(&format!("{time}  {verdict}, as node {} sees it", report.node_id))?;
    for check in &report.checks {
        let (kind, status) = (check_kind(check.kind()), result(check.status()));
        output.line(&format!("  {kind:<10}  {status:<11}  {}", output::plain(&check.message)))?;
    }
    Ok(())
}

/// The sentences of the checks that are not well.
pub fn reasons(report: &v1::ConsistencyReport) -> String {
    let amiss = |check: &&v1::Check| check.status() != v1::ConsistencyResult::Healthy;
    let messages = report.checks.iter().filter(amiss).map(|check| check.message.as_str());
    messages.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;

    fn report() -> v1::ConsistencyReport {
        let quorum =
            v1::QuorumMargin { total: 3, available: 1, required: 2, margin: -1, can_lose: 0 };
        v1::ConsistencyReport {
            result: v1::ConsistencyResult::NoQuorum.into(),
            node_id: 1,
            at_us: 1_700_000_000_123_456,
            checks: vec![v1::Check {
                kind: v1::CheckKind::Quorum.into(),
                status: v1::ConsistencyResult::NoQuorum.into(),
                message: "1 of 3 voters answer, and 2 must".to_owned(),
                data: Some(Data::Quorum(quorum)),
                ..v1::Check::default()
            }],
            ..v1::ConsistencyReport::default()
        }
    }

    #[test]
    fn a_report_says_its_result_and_what_each_check_found() {
        let (mut output, written) = Output::to_memory(Format::Text);
        print_report(&report(), &mut output).unwrap();
        assert_eq!(
            written.text(),
            "2023-11-14T22:13:20.123Z  no_quorum, as node 1 sees it\n  \
             quorum      no_quorum    1 of 3 voters answer, and 2 must\n"
        );
    }

    #[test]
    fn a_program_reads_the_numbers_of_a_check() {
        let (mut output, written) = Output::to_memory(Format::Json);
        print_report(&report(), &mut output).unwrap();
        let object: serde_json::Value = serde_json::from_str(&written.text()).unwrap();
        assert_eq!(object["result"], "no_quorum");
        assert_eq!(object["checks"][0]["check"], "quorum");
        assert_eq!(object["checks"][0]["data"]["margin"], -1);
    }
}
