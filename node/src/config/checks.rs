//! What a configuration must fulfil beyond being well-formed: each value within its limits, which stand in
//! the schema, and the values in agreement with each other.

use std::net::SocketAddr;

use serde_json::Value;
use uuid::Uuid;

use super::layers::{at, leaves};
use super::reference::{property, schema_tree};
use super::{Config, DiscoveryMode, FormationMode, Problem};
use crate::discovery::PeerAddress;
use crate::logging;

/// The sizes a store can be formed with: odd, since an even one survives no more failures than the odd one
/// below it.
const EXPECT_ALLOWED: &[u32] = &[1, 3, 5, 7];

/// How many heartbeats fit at least into the shortest election timeout.
const HEARTBEATS_PER_ELECTION_TIMEOUT_MIN: u64 = 3;

/// Everything that is wrong, in the order of the tree, then what is wrong between fields.
pub(super) fn check(config: &Config, tree: &Value, origins: &[(String, String)]) -> Vec<Problem> {
    let mut problems = Problems { found: Vec::new(), origins };
    check_limits(tree, &mut problems);
    check_addresses(config, &mut problems);
    check_formation(config, &mut problems);
    check_timing(config, &mut problems);
    if let Err(error) = logging::filter(&config.logging.level) {
        problems.add("logging.level", error.to_string());
    }
    problems.found
}

struct Problems<'a> {
    found: Vec<Problem>,
    origins: &'a [(String, String)],
}

impl Problems<'_> {
    fn add(&mut self, field: &str, message: String) {
        let origin = self.origins.iter().find(|(path, _)| path == field);
        let origin = origin.map(|(_, origin)| origin.clone()).unwrap_or_default();
        self.found.push(Problem { field: field.to_owned(), origin, message });
    }
}

fn check_limits(tree: &Value, problems: &mut Problems<'_>) {
    let schema = schema_tree();
    for path in leaves(tree) {
        let (Some(value), Some(limits)) = (at(tree, &path), property(&schema, &path)) else {
            continue;
        };
        let (size, unit) = match value {
            Value::Number(number) => (number.as_u64(), ""),
            Value::String(text) => (Some(text.chars().count() as u64), " characters long"),
            _ => continue,
        };
        let Some(size) = size else { continue };
        let limit = |keys: [&str; 2]| keys.iter().find_map(|key| limits.get(*key)?.as_u64());
        if let Some(minimum) = limit(["minimum", "minLength"]).filter(|minimum| size < *minimum) {
            problems.add(&path, format!("is {size}{unit}, and the minimum is {minimum}"));
        }
        if let Some(maximum) = limit(["maximum", "maxLength"]).filter(|maximum| size > *maximum) {
            problems.add(&path, format!("is {size}{unit}, and the maximum is {maximum}"));
        }
    }
}

fn check_addresses(config: &Config, problems: &mut Problems<'_>) {
    let listen = &config.listen;
    let ports: [(&str, SocketAddr); 3] = [
        ("listen.client", listen.client),
        ("listen.peer", listen.peer),
        ("listen.http", listen.http),
    ];
    for (index, (field, address)) in ports.iter().enumerate() {
        for (other, taken) in &ports[..index] {
            let overlap = address.ip() == taken.ip()
                || address.ip().is_unspecified()
                || taken.ip().is_unspecified();
            if address.port() != 0 && address.port() == taken.port() && overlap {
                problems.add(field, format!("is {address}, a port that {other} uses already"));
            }
        }
    }
    let stated = [
        ("advertise.client", &config.advertise.client),
        ("advertise.peer", &config.advertise.peer),
    ];
    for (field, address) in stated {
        if !address.is_empty()
            && let Err(error) = address.parse::<PeerAddress>()
        {
            problems.add(field, error.to_string());
        }
    }
}

fn check_formation(config: &Config, problems: &mut Problems<'_>) {
    let (formation, discovery) = (&config.formation, &config.discovery);
    if formation.mode == FormationMode::Expect {
        if !EXPECT_ALLOWED.contains(&formation.expect) {
            let message =
                format!("is {}, and formation.mode `expect` needs 1, 3, 5 or 7", formation.expect);
            problems.add("formation.expect", message);
        }
        if discovery.mode == DiscoveryMode::None {
            let message =
                "is `none`, and formation.mode `expect` needs `dns` or `static`".to_owned();
            problems.add("discovery.mode", message);
        }
    }
    if let Some(id) = &formation.cluster_id
        && Uuid::try_parse(id).is_err()
    {
        problems.add("formation.cluster_id", format!("is `{id}`, which is no UUID"));
    }
    for address in &discovery.fixed {
        if let Err(error) = address.parse::<PeerAddress>() {
            problems.add("discovery.static", error.to_string());
        }
    }
    match discovery.mode {
        DiscoveryMode::Dns if discovery.dns.service.is_empty() => {
            let message = "is empty, and discovery.mode `dns` needs it".to_owned();
            problems.add("discovery.dns.service", message);
        }
        DiscoveryMode::Static if discovery.fixed.is_empty() => {
            let message = "is empty, and discovery.mode `static` needs it".to_owned();
            problems.add("discovery.static", message);
        }
        _ => {}
    }
}

fn check_timing(config: &Config, problems: &mut Problems<'_>) {
    let raft = &config.raft;
    let (min, max, beat) =
        (raft.election_timeout_ms_min, raft.election_timeout_ms_max, raft.heartbeat_ms);
    if max <= min {
        let message =
            format!("is {max}, and must be more than raft.election_timeout_ms_min, {min}");
        problems.add("raft.election_timeout_ms_max", message);
    }
    if beat * HEARTBEATS_PER_ELECTION_TIMEOUT_MIN > min {
        let limit = min / HEARTBEATS_PER_ELECTION_TIMEOUT_MIN;
        let message = format!(
            "is {beat}, and the maximum is {limit}, a third of raft.election_timeout_ms_min, {min}"
        );
        problems.add("raft.heartbeat_ms", message);
    }
}
