//! `reckon status` and `reckon members`.

use reckon_api::client::Error;
use reckon_api::{Client, v1};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::Output;

/// One endpoint's answer.
type Answer = (String, Result<v1::StatusResponse, Error>);

/// Shows what each endpoint says of itself. Fails when none answers.
pub async fn status(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let answers = client.statuses().await;
    print_status(&answers, output)?;
    if answers.iter().all(|(_, answer)| answer.is_err()) {
        output.flush()?;
        return Err(Failure::NobodyAnswered);
    }
    Ok(())
}

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

const fn role(role: v1::Role) -> &'static str {
    match role {
        v1::Role::Unspecified => "none",
        v1::Role::Learner => "learner",
        v1::Role::Follower => "follower",
        v1::Role::Candidate => "candidate",
        v1::Role::Leader => "leader",
    }
}

fn print_status(answers: &[Answer], output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        let endpoints: Vec<_> = answers
            .iter()
            .map(|(endpoint, answer)| PrintedStatus {
                endpoint,
                error: answer.as_ref().err().map(ToString::to_string),
                node: answer.as_ref().ok().map(PrintedNode::from),
            })
            .collect();
        return output.json(&serde_json::json!({ "endpoints": endpoints }));
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
    Ok(())
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
        print_status(&answers(), &mut output).unwrap();
        assert_eq!(
            written.text(),
            "ENDPOINT  NODE  ROLE    TERM  LEADER  COMMITTED  APPLIED  EVENTS  STREAMS  READY  VERSION\n\
             a:7430       1  leader     4       1         12       12       9        2  yes    0.1.0\n\
             b:7430 is not reachable: connection refused\n"
        );
    }

    #[test]
    fn a_program_finds_both_kinds_in_one_list() {
        let (mut output, written) = Output::to_memory(Format::Json);
        print_status(&answers(), &mut output).unwrap();
        let object: serde_json::Value = serde_json::from_str(&written.text()).unwrap();
        assert_eq!(object["endpoints"][0]["role"], "leader");
        assert_eq!(object["endpoints"][1]["endpoint"], "b:7430");
        assert!(object["endpoints"][1]["error"].as_str().unwrap().contains("refused"));
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
