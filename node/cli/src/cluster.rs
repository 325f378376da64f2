//! `reckon status` and `reckon members`.

use std::time::Duration;

use clap::ValueEnum;
use reckon_api::client::Error;
use reckon_api::{Client, Reason, v1};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::check::{self, PrintedReport};
use crate::failure::Failure;
use crate::health::{self, PrintedMemberHealth};
use crate::output::{self, Output};

/// One endpoint's answer.
type Answer = (String, Result<v1::StatusResponse, Error>);

/// Show what each endpoint says of itself, and whether the members of the store agree.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon status -e orders-0.orders-peers:7430 -e orders-1.orders-peers:7430
  reckon status --wait healthy --timeout 30s
  reckon status --output json | jq '.endpoints[] | {endpoint, role, ready}'")]
pub struct Status {
    /// First wait until all members agree and none is missing, for as long as --timeout says.
    #[arg(long, value_enum, value_name = "RESULT")]
    wait: Option<Wanted>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// All checks are well.
    Healthy,
}

/// What the members say of each other; empty where nobody tells.
#[derive(Debug, Default)]
struct Agreement {
    report: Option<v1::ConsistencyReport>,
    health: Option<v1::HealthResponse>,
}

impl Status {
    /// Fails when no endpoint answers, or when what is waited for does not come true.
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        if let Some(Wanted::Healthy) = self.wait {
            wait_until_healthy(client).await?;
        }
        let answers = client.statuses().await;
        let nobody = answers.iter().all(|(_, answer)| answer.is_err());
        let agreement = if nobody { Agreement::default() } else { agreement(client).await };
        print_status(&answers, &agreement, output)?;
        if nobody {
            output.flush()?;
            return Err(Failure::NobodyAnswered);
        }
        Ok(())
    }
}

/// A node that belongs to no store, or is too old to say, tells nothing.
async fn agreement(client: &Client) -> Agreement {
    let (report, health) = tokio::join!(
        client.consistency(v1::ConsistencyRequest {}),
        client.health(v1::HealthRequest {})
    );
    Agreement { report: report.ok().and_then(|answer| answer.report), health: health.ok() }
}

/// Has the members asked again and again until all is well.
async fn wait_until_healthy(client: &Client) -> Result<(), Failure> {
    let waited = client.options().deadline;
    let until = Instant::now() + waited;
    let mut last = "no node has said how it is".to_owned();
    while let Ok(checked) =
        timeout_at(until, client.check_now(v1::CheckNowRequest::default())).await
    {
        match checked {
            Ok(answer) => {
                let report = answer.report.unwrap_or_default();
                if report.result() == v1::ConsistencyResult::Healthy {
                    return Ok(());
                }
                last = format!("{}: {}", check::result(report.result()), check::reasons(&report));
            }
            // The store may be about to be formed.
            Err(error) if error.reason() == Some(Reason::NotInitialised) => {
                last = error.to_string();
            }
            Err(error) => return Err(error.into()),
        }
        if timeout_at(until, tokio::time::sleep(WAIT_AGAIN)).await.is_err() {
            break;
        }
    }
    Err(Failure::NotYet { wanted: "healthy", waited, last })
}

/// Between two looks at a store that is waited for.
const WAIT_AGAIN: Duration = Duration::from_millis(200);

/// Shows the members of the store as its leader sees them.
pub async fn members(client: &Client, output: &mut Output) -> Result<(), Failure> {
    print_members(&client.members().await?, output)
}

/// Seal now what is in memory only, on every member.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon checkpoint
  reckon checkpoint --wait --timeout 1m")]
pub struct Checkpoint {
    /// Wait until the files of the node that was asked are durable.
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Serialize)]
struct PrintedCheckpoint {
    seal: u64,
    sealed_position: u64,
}

impl Checkpoint {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let v1::CheckpointResponse { seal, sealed_position } = client.checkpoint(self.wait).await?;
        if output.is_json() {
            return output.json(&PrintedCheckpoint { seal, sealed_position });
        }
        output.line(&format!("seal {seal}: everything below position {sealed_position} is sealed"))
    }
}

#[derive(Debug, Serialize)]
struct PrintedStatus<'a> {
    endpoint: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    node: Option<PrintedNode<'a>>,
}

#[derive(Debug, Serialize)]
struct PrintedNode<'a> {
    name: &'a str,
    node_id: u64,
    cluster_id: &'a str,
    volume_id: &'a str,
    epoch: u64,
    role: &'static str,
    term: u64,
    leader_id: u64,
    last_log_index: u64,
    committed_index: u64,
    applied_index: u64,
    events: u64,
    streams: u64,
    ready: bool,
    activated: bool,
    version: &'a str,
    client_address: &'a str,
    peer_address: &'a str,
    bytes: std::collections::BTreeMap<&'a str, u64>,
    start_time_us: u64,
    seal: u64,
    sealed_position: u64,
    digest: &'a str,
    fenced_files: &'a [String],
}

impl<'a> From<&'a v1::StatusResponse> for PrintedNode<'a> {
    fn from(status: &'a v1::StatusResponse) -> Self {
        Self {
            name: &status.pod_name,
            node_id: status.node_id,
            cluster_id: &status.cluster_id,
            volume_id: &status.volume_id,
            epoch: status.epoch,
            role: role(status.role()),
            term: status.term,
            leader_id: status.leader_id,
            last_log_index: status.last_log_index,
            committed_index: status.committed_index,
            applied_index: status.applied_index,
            events: status.events,
            streams: status.streams,
            ready: status.ready,
            activated: status.activated,
            version: &status.version,
            client_address: &status.client_address,
            peer_address: &status.peer_address,
            bytes: status.bytes.iter().map(|(part, bytes)| (part.as_str(), *bytes)).collect(),
            start_time_us: status.start_time_us,
            seal: status.seal,
            sealed_position: status.sealed_position,
            digest: &status.digest,
            fenced_files: &status.fenced_files,
        }
    }
}

pub const fn role(role: v1::Role) -> &'static str {
    match role {
        v1::Role::Unspecified => "none",
        v1::Role::Learner => "learner",
        v1::Role::Follower => "follower",
        v1::Role::Candidate => "candidate",
        v1::Role::Leader => "leader",
    }
}

fn print_status(
    answers: &[Answer],
    agreement: &Agreement,
    output: &mut Output,
) -> Result<(), Failure> {
    if output.is_json() {
        let endpoints: Vec<_> = answers
            .iter()
            .map(|(endpoint, answer)| PrintedStatus {
                endpoint,
                error: answer.as_ref().err().map(ToString::to_string),
                node: answer.as_ref().ok().map(PrintedNode::from),
            })
            .collect();
        let members = agreement.health.as_ref().map(|health| health.members.iter());
        let health =
            members.map(|members| members.map(PrintedMemberHealth::from).collect::<Vec<_>>());
        return output.json(&serde_json::json!({
            "endpoints": endpoints,
            "consistency": agreement.report.as_ref().map(PrintedReport::from),
            "health": health,
        }));
    }
    let rows = answers.iter().filter_map(|(endpoint, answer)| {
        let status = answer.as_ref().ok()?;
        Some(vec![
            endpoint.clone(),
            id(status.node_id),
            role(status.role()).to_owned(),
            status.term.to_string(),
            id(status.leader_id),
            status.committed_index.to_string(),
            status.applied_index.to_string(),
            status.events.to_string(),
            status.streams.to_string(),
            yes(status.ready),
            status.version.clone(),
        ])
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        output.table(
            &[
                "ENDPOINT",
                "NODE",
                "ROLE",
                "TERM",
                "LEADER",
                "COMMITTED",
                "APPLIED",
                "EVENTS",
                "STREAMS",
                "READY",
                "VERSION",
            ],
            &["NODE", "TERM", "LEADER", "COMMITTED", "APPLIED", "EVENTS", "STREAMS"],
            rows,
        )?;
    }
    for (_, answer) in answers {
        if let Err(error) = answer {
            output.line(&error.to_string())?;
        }
    }
    print_agreement(agreement, output)
}

fn print_agreement(agreement: &Agreement, output: &mut Output) -> Result<(), Failure> {
    let unwell = agreement.health.iter().flat_map(|health| &health.members);
    for member in unwell {
        if matches!(member.state(), v1::HealthState::Suspect | v1::HealthState::Failed) {
            let state = health::state(member.state());
            let why = output::plain(&member.error);
            output.line(&format!("node {} is {state}: {why}", member.node_id))?;
        }
    }
    let Some(report) = &agreement.report else { return Ok(()) };
    let (result, reasons) = (check::result(report.result()), check::reasons(report));
    let why = if reasons.is_empty() { String::new() } else { format!(": {reasons}") };
    output.line(&format!("The store is {result}{}", output::plain(&why)))
}

#[derive(Debug, Serialize)]
struct PrintedMembers<'a> {
    cluster_id: &'a str,
    term: u64,
    leader_id: u64,
    joint: bool,
    members: Vec<PrintedMember<'a>>,
}

#[derive(Debug, Serialize)]
struct PrintedMember<'a> {
    node_id: u64,
    name: &'a str,
    role: &'static str,
    client_address: &'a str,
    peer_address: &'a str,
    matched_index: Option<u64>,
    lag_bytes: Option<u64>,
    last_ack_age_ms: Option<u64>,
}

const fn member_role(member: &v1::Member) -> &'static str {
    if member.leader {
        "leader"
    } else if member.voter {
        "voter"
    } else {
        "learner"
    }
}

fn print_members(answer: &v1::MembersResponse, output: &mut Output) -> Result<(), Failure> {
    let membership = answer.membership.as_ref();
    let members = membership.map(|membership| membership.members.as_slice()).unwrap_or_default();
    let joint = membership.is_some_and(|membership| membership.joint);
    if output.is_json() {
        return output.json(&PrintedMembers {
            cluster_id: &answer.cluster_id,
            term: answer.term,
            leader_id: answer.leader_id,
            joint,
            members: members
                .iter()
                .map(|member| PrintedMember {
                    node_id: member.node_id,
                    name: &member.name,
                    role: member_role(member),
                    client_address: &member.client_address,
                    peer_address: &member.peer_address,
                    matched_index: member.matched_index,
                    lag_bytes: member.lag_bytes,
                    last_ack_age_ms: member.last_ack_age_ms,
                })
                .collect(),
        });
    }
    let rows = members.iter().map(|member| {
        vec![
            id(member.node_id),
            dash(&member.name),
            member_role(member).to_owned(),
            dash(&member.client_address),
            member.matched_index.map_or_else(|| "-".to_owned(), |index| index.to_string()),
            member.lag_bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes} B")),
            member.last_ack_age_ms.map_or_else(|| "-".to_owned(), |age| format!("{age} ms")),
        ]
    });
    output.table(
        &["NODE", "NAME", "ROLE", "ADDRESS", "MATCHED", "LAG", "LAST ACK"],
        &["NODE", "MATCHED", "LAG", "LAST ACK"],
        rows,
    )?;
    if joint {
        output.line("A change of members is under way: both its halves are shown.")?;
    }
    Ok(())
}

/// Node ids begin at 1; 0 is none.
fn id(id: u64) -> String {
    if id == 0 { "-".to_owned() } else { id.to_string() }
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use reckon_api::client::Options;
    use reckon_api::testing::{Checkup, Said};

    use super::*;
    use crate::args::Format;

    fn answers() -> Vec<Answer> {
        let node = v1::StatusResponse {
            node_id: 1,
            role: v1::Role::Leader.into(),
            term: 4,
            leader_id: 1,
            committed_index: 12,
            applied_index: 12,
            events: 9,
            streams: 2,
            ready: true,
            version: "0.1.0".to_owned(),
            ..Default::default()
        };
        let gone = Error::Unreachable {
            endpoint: "b:7430".to_owned(),
            message: "connection refused".to_owned(),
        };
        vec![("a:7430".to_owned(), Ok(node)), ("b:7430".to_owned(), Err(gone))]
    }

    #[test]
    fn who_answers_stands_in_the_table_and_who_does_not_below_it() {
        let (mut output, written) = Output::to_memory(Format::Text);
        print_status(&answers(), &Agreement::default(), &mut output).unwrap();
        assert_eq!(
            written.text(),
            "ENDPOINT  NODE  ROLE    TERM  LEADER  COMMITTED  APPLIED  EVENTS  STREAMS  READY  VERSION\n\
             a:7430       1  leader     4       1         12       12       9        2  yes    0.1.0\n\
             b:7430 is not reachable: connection refused\n"
        );
    }

    async fn waited(answers: &[Said], limit: Duration) -> (Result<(), Failure>, usize) {
        let server = Checkup::start(answers.iter().copied()).await;
        let options = Options { deadline: limit, ..Options::new([server.address.to_string()]) };
        let ended = wait_until_healthy(&Client::new(options).unwrap()).await;
        (ended, server.left())
    }

    #[tokio::test]
    async fn a_store_is_waited_for_until_it_is_healthy_also_before_it_is_formed() {
        use v1::ConsistencyResult::{Degraded, Healthy, NoQuorum};
        let answers =
            [Err(Reason::NotInitialised), Ok(NoQuorum), Ok(Degraded), Ok(Healthy), Ok(Degraded)];
        let (ended, left) = waited(&answers, Duration::from_mins(1)).await;
        ended.unwrap();
        assert_eq!(left, 1, "nothing was asked after the answer that was waited for");
    }

    #[tokio::test]
    async fn a_store_that_does_not_become_healthy_is_told_of_with_the_last_reason() {
        let answers = [Ok(v1::ConsistencyResult::Degraded)];
        let (ended, _) = waited(&answers, Duration::from_secs(1)).await;
        let failure = ended.unwrap_err().to_string();
        assert!(failure.contains("not healthy after 1000 ms: degraded: it is"), "{failure}");
    }

    #[tokio::test]
    async fn a_refusal_that_no_time_helps_ends_the_wait() {
        let (ended, left) = waited(
            &[Err(Reason::WrongStore), Ok(v1::ConsistencyResult::Healthy)],
            Duration::from_mins(1),
        )
        .await;
        assert!(matches!(ended, Err(Failure::Client(_))), "{ended:?}");
        assert_eq!(left, 1);
    }

    #[test]
    fn who_is_unwell_and_what_is_amiss_stands_below() {
        let failed = v1::MemberHealth {
            node_id: 2,
            state: v1::HealthState::Failed.into(),
            error: "connection refused".to_owned(),
            ..Default::default()
        };
        let check = v1::Check {
            status: v1::ConsistencyResult::Degraded.into(),
            message: "2 of 3 voters answer; 0 of them may be lost".to_owned(),
            ..Default::default()
        };
        let agreement = Agreement {
            report: Some(v1::ConsistencyReport {
                result: v1::ConsistencyResult::Degraded.into(),
                checks: vec![check],
                ..Default::default()
            }),
            health: Some(v1::HealthResponse { members: vec![failed], ..Default::default() }),
        };
        let (mut output, written) = Output::to_memory(Format::Text);
        print_agreement(&agreement, &mut output).unwrap();
        assert_eq!(
            written.text(),
            "node 2 is failed: connection refused\n\
             The store is degraded: 2 of 3 voters answer; 0 of them may be lost\n"
        );
    }

    #[test]
    fn a_program_finds_both_kinds_in_one_list() {
        let (mut output, written) = Output::to_memory(Format::Json);
        let report = Some(v1::ConsistencyReport {
            result: v1::ConsistencyResult::Degraded.into(),
            ..Default::default()
        });
        print_status(&answers(), &Agreement { report, health: None }, &mut output).unwrap();
        let object: serde_json::Value = serde_json::from_str(&written.text()).unwrap();
        assert_eq!(object["endpoints"][0]["role"], "leader");
        assert_eq!(object["endpoints"][1]["endpoint"], "b:7430");
        assert!(object["endpoints"][1]["error"].as_str().unwrap().contains("refused"));
        assert_eq!(object["consistency"]["result"], "degraded");
    }

    #[test]
    fn members_show_what_the_leader_knows_of_them() {
        let member = |node_id, voter, leader, lag_bytes| v1::Member {
            node_id,
            voter,
            leader,
            name: format!("orders-{}", node_id - 1),
            client_address: format!("orders-{}:7430", node_id - 1),
            lag_bytes,
            ..Default::default()
        };
        let answer = v1::MembersResponse {
            membership: Some(v1::Membership {
                members: vec![member(1, true, true, None), member(2, false, false, Some(4096))],
                joint: true,
                ..Default::default()
            }),
            leader_id: 1,
            ..Default::default()
        };
        let (mut output, written) = Output::to_memory(Format::Text);
        print_members(&answer, &mut output).unwrap();
        assert_eq!(
            written.text(),
            "NODE  NAME      ROLE     ADDRESS        MATCHED     LAG  LAST ACK\n   \
             1  orders-0  leader   orders-0:7430        -       -         -\n   \
             2  orders-1  learner  orders-1:7430        -  4096 B         -\n\
             A change of members is under way: both its halves are shown.\n"
        );
    }
}
