//! Where the other nodes of a store may be.
//!
//! Discovery finds addresses and never says who lives there: identity is the volume's alone, and whoever
//! answers at an address has to prove it. Must not know Raft or what is on the volume.

mod address;
mod dns;
mod fixed;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use futures::future::BoxFuture;
pub use reckon_api::connect::{Connector, ResolveError, Resolver};

pub use address::{InvalidPeerAddress, PeerAddress};
pub use dns::DnsDiscovery;
pub use fixed::FixedDiscovery;

use crate::config::{Config, DiscoveryMode};

/// Why no addresses were found.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// Names could not be resolved.
    #[error("discovery by DNS failed: {0}")]
    Resolve(#[from] ResolveError),
    /// An address in the static list is malformed.
    #[error(transparent)]
    Address(#[from] InvalidPeerAddress),
}

impl DiscoveryError {
    /// Whether discovering again may find more.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Resolve(error) => error.retryable(),
            Self::Address(_) => false,
        }
    }
}

/// One way to find peers.
pub trait Discovery: Debug + Send + Sync {
    /// The peer addresses known now as `host:port`, each once; this node's own may be among them.
    fn peers(&self) -> BoxFuture<'_, Result<BTreeSet<String>, DiscoveryError>>;
}

/// The discovery that the configuration asks for. Mode `none` finds nobody.
pub fn from_config(config: &Config) -> Result<Arc<dyn Discovery>, DiscoveryError> {
    let Config { discovery, listen, .. } = config;
    Ok(match discovery.mode {
        DiscoveryMode::None => Arc::new(FixedDiscovery::parse(&[])?),
        DiscoveryMode::Static => Arc::new(FixedDiscovery::parse(&discovery.fixed)?),
        DiscoveryMode::Dns => Arc::new(DnsDiscovery::new(
            Resolver::system(),
            &discovery.dns.service,
            &discovery.dns.port_name,
            listen.peer.port(),
        )),
    })
}
