//! `reckon health`: how the members are, as the node sees it that answers.

use clap::ValueEnum;
use futures::StreamExt as _;
use reckon_api::{Client, v1};
use serde::Serialize;
use v1::watch_health_response::Message;

use crate::failure::Failure;
use crate::output::{self, Output};
use crate::read::notice;

/// Show how a node's probes find the other members, probe them now, or change how it probes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon health
  reckon health --probe --type store --node 2
  reckon health --watch --output json | jq 'select(.to == \"failed\").node_id'
  reckon health --set probe-interval=500ms --set probe-failures=5 -e orders-0.orders-peers:7430")]
pub struct Health {
    /// Probe all other members now, rather than show what the last probes found.
    #[arg(long, conflicts_with = "watch")]
    probe: bool,
    /// What to probe by; without it, what is in force.
    #[arg(long = "type", value_enum, requires = "probe")]
    kind: Option<Kind>,
    /// Probe this member only.
    #[arg(long = "node", value_name = "NODE ID", requires = "probe", value_parser = clap::value_parser!(u64).range(1..))]
    node: Option<u64>,
    /// Print changes as they come, until interrupted.
    #[arg(long)]
    watch: bool,
    /// Change a setting of the first endpoint's node until it is restarted: probe-interval, probe-timeout or
    /// consistency-interval with a time, probe-failures with a number, probe-type with a type. Repeatable.
    #[arg(long, value_name = "NAME=VALUE", value_parser = Setting::parse, conflicts_with_all = ["probe", "watch"])]
    set: Vec<Setting>,
}

/// What a member is probed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A TCP connection to the peer port.
    Ping,
    /// The process answers a call.
    Rpc,
    /// It reads its newest event through the state machine.
    #[value(alias = "deep")]
    Store,
}

impl From<Kind> for v1::ProbeType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Ping => Self::Ping,
            Kind::Rpc => Self::Rpc,
            Kind::Store => Self::Store,
        }
    }
}

/// One setting to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    ProbeInterval(u64),
    ProbeTimeout(u64),
    ProbeFailures(u32),
    ProbeType(Kind),
    ConsistencyInterval(u64),
}

impl Setting {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("a setting is NAME=VALUE")?;
        let millis = || {
            let time = crate::args::duration(value)?;
            u64::try_from(time.as_millis()).map_err(|_| "the time is too long".to_owned())
        };
        match name {
            "probe-interval" => millis().map(Self::ProbeInterval),
            "probe-timeout" => millis().map(Self::ProbeTimeout),
            "consistency-interval" => millis().map(Self::ConsistencyInterval),
            "probe-failures" => value
                .parse()
                .map(Self::ProbeFailures)
                .map_err(|_| format!("probe-failures is a number, not {value}")),
            "probe-type" => Kind::from_str(value, true).map(Self::ProbeType),
            _ => Err("settings are probe-interval, probe-timeout, probe-failures, probe-type and \
                 consistency-interval"
                .to_owned()),
        }
    }

    fn put(self, request: &mut v1::ConfigureHealthRequest) {
        match self {
            Self::ProbeInterval(ms) => request.probe_interval_ms = Some(ms),
            Self::ProbeTimeout(ms) => request.probe_timeout_ms = Some(ms),
            Self::ProbeFailures(number) => request.probe_failures = Some(number),
            Self::ProbeType(kind) => request.set_probe_type(kind.into()),
            Self::ConsistencyInterval(ms) => request.consistency_interval_ms = Some(ms),
        }
    }
}

impl Health {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        if !self.set.is_empty() {
            return self.configure(client, output).await;
        }
        if self.watch {
            return watch(client, output).await;
        }
        if !self.probe {
            return print_health(&client.health(v1::HealthRequest {}).await?, output);
        }
        let mut request = v1::ProbeNowRequest { node_id: self.node.unwrap_or(0), r#type: 0 };
        if let Some(kind) = self.kind {
            request.set_type(kind.into());
        }
        print_probes(&client.probe_now(request).await?.results, output)
    }

    async fn configure(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let mut request = v1::ConfigureHealthRequest::default();
        self.set.iter().for_each(|setting| setting.put(&mut request));
        let endpoint = client.options().endpoints.first().map(String::as_str).unwrap_or_default();
        let settings = client.configure_health(endpoint, request).await?;
        let printed = PrintedSettings::from(&settings);
        if output.is_json() {
            return output.json(&printed);
        }
        output.line(&printed.sentence())
    }
}

async fn watch(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let mut watching = client.watch_health();
    while let Some(message) = watching.next().await {
        match message {
            Ok(Message::Current(view)) if output.is_json() => {
                for member in &view.members {
                    output.json(&PrintedMemberHealth::from(member))?;
                }
            }
            Ok(Message::Current(view)) => print_health(&view, output)?,
            Ok(Message::Notice(notice)) => print_notice(&notice, output)?,
            Err(error) if error.retryable() => notice(&format!("waiting for the store: {error}")),
            Err(error) => return Err(error.into()),
        }
        output.flush()?;
    }
    Ok(())
}

/// A member's state as it is printed.
pub const fn state(state: v1::HealthState) -> &'static str {
    match state {
        v1::HealthState::Unknown => "unknown",
        v1::HealthState::Healthy => "healthy",
        v1::HealthState::Suspect => "suspect",
        v1::HealthState::Failed => "failed",
    }
}

const fn probe_type(kind: v1::ProbeType) -> &'static str {
    match kind {
        v1::ProbeType::Unspecified => "unknown",
        v1::ProbeType::Ping => "ping",
        v1::ProbeType::Rpc => "rpc",
        v1::ProbeType::Store => "store",
    }
}

#[derive(Debug, Serialize)]
struct PrintedHealth<'a> {
    node_id: u64,
    members: Vec<PrintedMemberHealth<'a>>,
    settings: PrintedSettings,
}

/// A member as a node's probes find it.
#[derive(Debug, Serialize)]
pub struct PrintedMemberHealth<'a> {
    node_id: u64,
    name: &'a str,
    peer_address: &'a str,
    voter: bool,
    state: &'static str,
    since_us: u64,
    failures: u32,
    probed_at_us: u64,
    latency_us: u64,
    error: &'a str,
}

impl<'a> From<&'a v1::MemberHealth> for PrintedMemberHealth<'a> {
    fn from(member: &'a v1::MemberHealth) -> Self {
        Self {
            node_id: member.node_id,
            name: &member.name,
            peer_address: &member.peer_address,
            voter: member.voter,
            state: state(member.state()),
            since_us: member.since_us,
            failures: member.failures,
            probed_at_us: member.probed_at_us,
            latency_us: member.latency_us,
            error: &member.error,
        }
    }
}

#[derive(Debug, Serialize)]
struct PrintedSettings {
    probe_interval_ms: u64,
    probe_timeout_ms: u64,
    probe_failures: u32,
    probe_type: &'static str,
    consistency_interval_ms: u64,
}

impl From<&v1::HealthSettings> for PrintedSettings {
    fn from(settings: &v1::HealthSettings) -> Self {
        Self {
            probe_interval_ms: settings.probe_interval_ms,
            probe_timeout_ms: settings.probe_timeout_ms,
            probe_failures: settings.probe_failures,
            probe_type: probe_type(settings.probe_type()),
            consistency_interval_ms: settings.consistency_interval_ms,
        }
    }
}

impl PrintedSettings {
    fn sentence(&self) -> String {
        format!(
            "Probed by {} every {} ms, for at most {} ms, failed after {} in a row; checked every {} ms.",
            self.probe_type,
            self.probe_interval_ms,
            self.probe_timeout_ms,
            self.probe_failures,
            self.consistency_interval_ms
        )
    }
}

fn print_health(view: &v1::HealthResponse, output: &mut Output) -> Result<(), Failure> {
    let settings = PrintedSettings::from(&view.settings.unwrap_or_default());
    if output.is_json() {
        let members = view.members.iter().map(PrintedMemberHealth::from).collect();
        return output.json(&PrintedHealth { node_id: view.node_id, members, settings });
    }
    let rows: Vec<_> = view
        .members
        .iter()
        .map(|member| {
            vec![
                member.node_id.to_string(),
                member.name.clone(),
                state(member.state()).to_owned(),
                output::time(member.since_us),
                member.failures.to_string(),
                format!("{} us", member.latency_us),
                member.error.clone(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let header = ["NODE", "NAME", "STATE", "SINCE", "FAILURES", "LATENCY", "WHY"];
        output.table(&header, &["NODE", "FAILURES", "LATENCY"], rows)?;
    }
    output.line(&format!("As node {} sees it. {}", view.node_id, settings.sentence()))
}

#[derive(Debug, Serialize)]
struct PrintedProbe<'a> {
    node_id: u64,
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    answered: bool,
    latency_us: u64,
    state: &'static str,
    error: &'a str,
}

fn print_probes(results: &[v1::ProbeResult], output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return results.iter().try_for_each(|result| {
            output.json(&PrintedProbe {
                node_id: result.node_id,
                name: &result.name,
                kind: probe_type(result.r#type()),
                answered: result.answered,
                latency_us: result.latency_us,
                state: state(result.state()),
                error: &result.error,
            })
        });
    }
    let rows = results.iter().map(|result| {
        vec![
            result.node_id.to_string(),
            result.name.clone(),
            probe_type(result.r#type()).to_owned(),
            if result.answered { "yes" } else { "no" }.to_owned(),
            format!("{} us", result.latency_us),
            state(result.state()).to_owned(),
            result.error.clone(),
        ]
    });
    let header = ["NODE", "NAME", "TYPE", "ANSWERED", "LATENCY", "STATE", "WHY"];
    output.table(&header, &["NODE", "LATENCY"], rows)
}

#[derive(Debug, Serialize)]
struct PrintedNotice<'a> {
    number: u64,
    node_id: u64,
    name: &'a str,
    from: &'static str,
    to: &'static str,
    at_us: u64,
    error: &'a str,
}

fn print_notice(notice: &v1::HealthNotice, output: &mut Output) -> Result<(), Failure> {
    let printed = PrintedNotice {
        number: notice.number,
        node_id: notice.node_id,
        name: &notice.name,
        from: state(notice.from()),
        to: state(notice.to()),
        at_us: notice.at_us,
        error: &notice.error,
    };
    if output.is_json() {
        return output.json(&printed);
    }
    let time = output.paint(&output::time(notice.at_us), output::FAINT);
    let to = output.paint(&format!("{:<8}", printed.to), output::STRONG);
    let why = if notice.error.is_empty() { "it answers" } else { &notice.error };
    let name = output::plain(&notice.name);
    output.line(&format!("{time}  {to}  node {} {name}: {}", notice.node_id, output::plain(why)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;

    #[test]
    fn members_are_shown_with_their_state_and_why() {
        let view = v1::HealthResponse {
            node_id: 1,
            members: vec![v1::MemberHealth {
                node_id: 2,
                name: "orders-1".to_owned(),
                state: v1::HealthState::Failed.into(),
                since_us: 1_700_000_000_123_456,
                failures: 3,
                latency_us: 250,
                error: "connection refused".to_owned(),
                ..v1::MemberHealth::default()
            }],
            settings: Some(v1::HealthSettings {
                probe_interval_ms: 2000,
                probe_timeout_ms: 1000,
                probe_failures: 3,
                probe_type: v1::ProbeType::Rpc.into(),
                consistency_interval_ms: 5000,
            }),
            notices: Vec::new(),
        };
        let (mut output, written) = Output::to_memory(Format::Text);
        print_health(&view, &mut output).unwrap();
        let text = written.text();
        let rows: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            rows[1],
            "2 orders-1 failed 2023-11-14T22:13:20.123Z 3 250 us connection refused"
        );
        assert_eq!(
            rows[2],
            "As node 1 sees it. Probed by rpc every 2000 ms, for at most 1000 ms, failed after 3 in a row; checked every \
             5000 ms."
        );
    }

    #[test]
    fn settings_are_given_as_people_write_them() {
        for (text, expected) in [
            ("probe-interval=500ms", Ok(Setting::ProbeInterval(500))),
            ("consistency-interval=1m", Ok(Setting::ConsistencyInterval(60_000))),
            ("probe-failures=5", Ok(Setting::ProbeFailures(5))),
            ("probe-type=deep", Ok(Setting::ProbeType(Kind::Store))),
            ("probe-failures=many", Err(())),
            ("probe-interval=500", Err(())),
            ("interval=1s", Err(())),
            ("probe-interval", Err(())),
        ] {
            assert_eq!(Setting::parse(text).map_err(|_| ()), expected, "{text}");
        }
    }

    #[test]
    fn a_change_is_one_line_with_its_reason() {
        let notice = v1::HealthNotice {
            number: 1,
            node_id: 2,
            name: "orders-1".to_owned(),
            from: v1::HealthState::Failed.into(),
            to: v1::HealthState::Healthy.into(),
            at_us: 1_700_000_000_123_456,
            error: String::new(),
        };
        let (mut output, written) = Output::to_memory(Format::Text);
        print_notice(&notice, &mut output).unwrap();
        assert_eq!(
            written.text(),
            "2023-11-14T22:13:20.123Z  healthy   node 2 orders-1: it answers\n"
        );
    }
}
