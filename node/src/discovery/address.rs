//! The address of a peer: a host, by name or by number, and a port.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// `host:port`; an `IPv6` address stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    host: String,
    port: u16,
}

/// The text is no `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an address of the form host:port: {problem}")]
pub struct InvalidPeerAddress {
    text: String,
    problem: &'static str,
}

impl PeerAddress {
    /// An address from its parts; `host` is a name or an IP address without brackets.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// The host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for PeerAddress {
    type Err = InvalidPeerAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |problem| InvalidPeerAddress { text: text.to_owned(), problem };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| invalid("the port is missing"))?;
        let port = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| invalid("the port must be a number from 1 to 65535"))?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(bare) if bare.parse::<Ipv6Addr>().is_ok() => bare,
            Some(_) => return Err(invalid("what stands in brackets is no IPv6 address")),
            None if host.contains(':') => {
                return Err(invalid("an IPv6 address must stand in brackets"));
            }
            None => host,
        };
        if host.is_empty() {
            return Err(invalid("the host is missing"));
        }
        if host.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(invalid("the host contains a space or a slash"));
        }
        Ok(Self::new(host, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_it_was_written() {
        for (text, host, port) in [
            ("store-0.store:7431", "store-0.store", 7431),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("[fd00::1]:65535", "fd00::1", 65535),
        ] {
            let address: PeerAddress = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, port));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn a_malformed_address_is_refused_with_what_is_wrong() {
        for (text, problem) in [
            ("store-0", "port is missing"),
            ("store-0:", "port must be"),
            ("store-0:0", "port must be"),
            ("store-0:70000", "port must be"),
            (":7431", "host is missing"),
            ("fd00::1:7431", "in brackets"),
            ("[store]:7431", "no IPv6"),
            ("http://store-0:7431", "in brackets"),
            ("store 0:7431", "space"),
        ] {
            let error = text.parse::<PeerAddress>().unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains(text), "{error}");
        }
    }
}
