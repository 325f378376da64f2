//! The cluster's network: a bridge on this machine, a network namespace for each node, and one for the gateway through
//! which the machine itself reaches the addresses of Services. Packets for the cluster never leave the machine.

use std::{fs, net::Ipv4Addr, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::journal::{Change, Journal, namespace_folder};
use crate::command::run;

/// The bridge, and the machine's address on it. The control plane listens there and nowhere else.
const BRIDGE: &str = "reckon0";
/// See [`BRIDGE`].
pub const HOST: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
/// Where kube-proxy translates Service addresses for the machine, without touching the machine's own packet filter.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 10);
const GATEWAY_NAME: &str = "gateway";
const BRIDGE_PREFIX: &str = "172.30.0.0/24";

/// Addresses of pods; each node has a /24 of it.
pub const PODS: &str = "10.244.0.0/16";
/// Addresses of Services.
pub const SERVICES: &str = "10.96.0.0/16";
/// Where pods ask for names.
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// Routes of the cluster come before this one, which says that what they do not reach is nowhere.
const UNREACHABLE_METRIC: &str = "4096";

/// The most nodes a cluster can have: their names are one letter and their addresses one digit.
pub const NODES_MAX: usize = 9;

/// A node's name and addresses, from its place in the cluster, 0 first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeNetwork {
    /// `node-a` …
    pub name: String,
    /// On the bridge.
    pub address: Ipv4Addr,
    /// The node's share of [`PODS`].
    pub pods: String,
}

impl NodeNetwork {
    /// The node at `place`, below [`NODES_MAX`].
    #[must_use]
    pub fn at(place: usize) -> Self {
        assert!(place < NODES_MAX, "a cluster has at most {NODES_MAX} nodes");
        let place = u8::try_from(place).expect("below NODES_MAX");
        Self {
            name: format!("node-{}", char::from(b'a' + place)),
            address: Ipv4Addr::new(172, 30, 0, 11 + place),
            pods: format!("10.244.{}.0/24", 1 + place),
        }
    }

    /// The network namespace's name.
    #[must_use]
    pub fn namespace(&self) -> String {
        namespace(&self.name)
    }

    /// Unplugs the node.
    pub fn cut(&self) -> Result<()> {
        run("ip", &["link", "set", &port(&self.name), "down"]).map(drop)
    }

    /// Plugs the node in again.
    pub fn heal(&self) -> Result<()> {
        run("ip", &["link", "set", &port(&self.name), "up"]).map(drop)
    }
}

/// The gateway's network namespace.
#[must_use]
pub fn gateway_namespace() -> String {
    namespace(GATEWAY_NAME)
}

fn namespace(name: &str) -> String {
    format!("reckon-{name}")
}

/// The bridge's end of a namespace's cable. At most 15 bytes, the kernel's limit.
fn port(name: &str) -> String {
    format!("rk-{name}")
}

/// Why the cluster's addresses cannot be used here, if they cannot.
pub fn conflict() -> Result<Option<String>> {
    let routes: Value = serde_json::from_str(&run("ip", &["-json", "-4", "route", "show"])?)?;
    for route in routes.as_array().into_iter().flatten() {
        let Some(destination) = route["dst"].as_str() else { continue };
        for ours in [BRIDGE_PREFIX, PODS, SERVICES] {
            if overlap(destination, ours) {
                return Ok(Some(format!("this machine already has a route to {destination}")));
            }
        }
    }
    Ok(None)
}

/// Lays everything for `nodes`.
pub fn lay(journal: &Journal, nodes: &[NodeNetwork]) -> Result<()> {
    for destination in [SERVICES, PODS] {
        let change = Change::UnreachableRoute { destination: destination.into() };
        journal.make(&change, || {
            ip(&["route", "add", "unreachable", destination, "metric", UNREACHABLE_METRIC])
        })?;
    }
    journal.make(&Change::Link { name: BRIDGE.into() }, || {
        ip(&["link", "add", BRIDGE, "type", "bridge"])
    })?;
    // A bridge without traffic to learn from floods; one that waits to forward would delay every node by 15 s.
    ip(&["link", "set", BRIDGE, "type", "bridge", "forward_delay", "0"])?;
    ip(&["address", "add", &format!("{HOST}/24"), "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])?;

    if let Some(change) = namespace_folder()? {
        journal.make(&change, || Ok(()))?;
    }
    plug(journal, GATEWAY_NAME, GATEWAY)?;
    for node in nodes {
        plug(journal, &node.name, node.address)?;
    }
    for from in nodes {
        for to in nodes.iter().filter(|to| *to != from) {
            let via = to.address.to_string();
            ip(&["-netns", &from.namespace(), "route", "add", &to.pods, "via", &via])?;
        }
    }
    let (host, gateway) = (HOST.to_string(), GATEWAY.to_string());
    for node in nodes {
        let via = node.address.to_string();
        ip(&["-netns", &gateway_namespace(), "route", "add", &node.pods, "via", &via])?;
        ip(&["route", "add", &node.pods, "via", &via, "src", &host])?;
    }
    ip(&["route", "add", SERVICES, "via", &gateway, "src", &host])
}

/// Makes a namespace that forwards packets, and connects it to the bridge as `eth0`.
fn plug(journal: &Journal, name: &str, address: Ipv4Addr) -> Result<()> {
    let (namespace, port) = (namespace(name), port(name));
    journal.make(&Change::Namespace { name: namespace.clone() }, || {
        ip(&["netns", "add", &namespace])
    })?;
    journal.make(&Change::Link { name: port.clone() }, || {
        ip(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &namespace])
    })?;
    ip(&["link", "set", &port, "master", BRIDGE, "up"])?;
    for command in [
        &["link", "set", "lo", "up"][..],
        &["address", "add", &format!("{address}/24"), "dev", "eth0"],
        &["link", "set", "eth0", "up"],
        &["route", "add", "default", "via", &HOST.to_string()],
    ] {
        ip(&[&["-netns", namespace.as_str()][..], command].concat())?;
    }
    // The gateway sends packets back out of the interface they came in by; nobody must be told of a shorter way.
    let settings = "echo 1 > /proc/sys/net/ipv4/ip_forward
         echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects
         echo 0 > /proc/sys/net/ipv4/conf/eth0/send_redirects";
    run("nsenter", &[&format!("--net=/run/netns/{namespace}"), "sh", "-ec", settings]).map(drop)
}

/// Raises a kernel setting to `least` if it is lower.
pub fn raise(journal: &Journal, setting: &str, least: u64) -> Result<()> {
    let path = Path::new("/proc/sys").join(setting);
    let before = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    if before.trim().parse::<u64>()? >= least {
        return Ok(());
    }
    journal.make(&Change::Setting { path: path.clone(), restore: before }, || {
        Ok(fs::write(&path, least.to_string())?)
    })
}

fn ip(arguments: &[&str]) -> Result<()> {
    run("ip", arguments).map(drop)
}

/// Whether two IPv4 prefixes share an address; `default` shares none, since every route comes before it.
fn overlap(one: &str, other: &str) -> bool {
    let (Some((one, one_length)), Some((other, other_length))) = (prefix(one), prefix(other))
    else {
        return false;
    };
    let length = one_length.min(other_length);
    length > 0 && (one ^ other).leading_zeros() >= length
}

fn prefix(text: &str) -> Option<(u32, u32)> {
    let (address, length) = text.split_once('/').unwrap_or((text, "32"));
    Some((address.parse::<Ipv4Addr>().ok()?.to_bits(), length.parse().ok()?))
}

/// Refuses a cluster of no or too many nodes.
pub fn nodes(count: usize) -> Result<Vec<NodeNetwork>> {
    if count == 0 || count > NODES_MAX {
        bail!("a cluster has 1 to {NODES_MAX} nodes, not {count}");
    }
    Ok((0..count).map(NodeNetwork::at).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_overlap_when_one_holds_the_other() {
        for (one, other, expected) in [
            ("10.244.0.0/16", "10.244.3.0/24", true),
            ("10.0.0.0/8", "10.96.0.0/16", true),
            ("10.97.0.0/16", "10.96.0.0/16", false),
            ("172.30.0.9", "172.30.0.0/24", true),
            ("default", "10.96.0.0/16", false),
            ("0.0.0.0/0", "10.96.0.0/16", false),
        ] {
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn names_of_interfaces_fit_the_kernel() {
        for place in 0..NODES_MAX {
            assert!(port(&NodeNetwork::at(place).name).len() <= 15);
        }
        assert!(port(GATEWAY_NAME).len() <= 15);
    }
}
