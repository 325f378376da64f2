//! Discovery by a list that a person wrote.

use std::collections::BTreeSet;

use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};

use super::{Discovery, DiscoveryError, InvalidPeerAddress, PeerAddress};

/// Always finds the same addresses.
#[derive(Debug, Clone)]
pub struct FixedDiscovery {
    peers: BTreeSet<String>,
}

impl FixedDiscovery {
    /// Takes a list of `host:port`; the first malformed one is the error.
    pub fn parse(list: &[String]) -> Result<Self, InvalidPeerAddress> {
        let addresses = list.iter().map(|text| text.parse::<PeerAddress>());
        let peers = addresses.map(|address| Ok(address?.to_string())).collect::<Result<_, _>>()?;
        Ok(Self { peers })
    }
}

impl Discovery for FixedDiscovery {
    fn peers(&self) -> BoxFuture<'_, Result<BTreeSet<String>, DiscoveryError>> {
        ready(Ok(self.peers.clone())).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_list_comes_back_sorted_and_each_address_once() {
        let list = ["b:2", "a:1", "b:2", "a:2"].map(str::to_owned);
        let found = FixedDiscovery::parse(&list).unwrap().peers().await.unwrap();
        assert_eq!(Vec::from_iter(found), ["a:1", "a:2", "b:2"]);
    }

    #[test]
    fn one_malformed_address_refuses_the_list_and_is_named() {
        let list = ["a:1", "nonsense"].map(str::to_owned);
        let error = FixedDiscovery::parse(&list).unwrap_err();
        assert!(error.to_string().contains("nonsense"), "{error}");
    }
}
