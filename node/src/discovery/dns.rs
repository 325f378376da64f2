//! Discovery by the DNS records of a headless Service.
//!
//! Such a Service has an SRV record per pod and named port, which gives each pod's own stable name; a pod's
//! address changes with every restart, its name does not. Where a name server has no SRV records, the
//! addresses of the service itself are taken.

use std::collections::BTreeSet;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Discovery, DiscoveryError, PeerAddress, ResolveError, Resolver};

/// Finds the pods behind a headless Service.
#[derive(Debug, Clone)]
pub struct DnsDiscovery {
    resolver: Resolver,
    service: String,
    port_name: String,
    port: u16,
}

impl DnsDiscovery {
    /// `service` is the Service's DNS name, `port_name` its named peer port, and `port` the peer port to
    /// assume when DNS knows addresses only.
    pub fn new(resolver: Resolver, service: &str, port_name: &str, port: u16) -> Self {
        Self { resolver, service: service.to_owned(), port_name: port_name.to_owned(), port }
    }

    async fn look_up(&self) -> Result<BTreeSet<String>, DiscoveryError> {
        let name = format!("_{}._tcp.{}", self.port_name, self.service);
        match self.resolver.resolve_service(&name).await {
            Ok(targets) => Ok(targets
                .into_iter()
                .map(|target| PeerAddress::new(target.host, target.port).to_string())
                .collect()),
            Err(ResolveError::NotFound { .. }) => Ok(self
                .resolver
                .resolve(&self.service)
                .await?
                .into_iter()
                .map(|address| PeerAddress::new(address.to_string(), self.port).to_string())
                .collect()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Discovery for DnsDiscovery {
    fn peers(&self) -> BoxFuture<'_, Result<BTreeSet<String>, DiscoveryError>> {
        self.look_up().boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
    use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
    use hickory_resolver::proto::rr::{Name, RData, Record};
    use tokio::net::UdpSocket;

    use super::*;

    /// A name server on loopback that knows these records and no others.
    async fn name_server(zone: Vec<(&'static str, RData)>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut datagram = [0_u8; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
                let question = Message::from_vec(&datagram[..length]).unwrap();
                let query = question.queries[0].clone();
                let mut answer = Message::response(question.metadata.id, OpCode::Query);
                answer.add_query(query.clone());
                for (name, data) in &zone {
                    if query.name().to_string() == *name && data.record_type() == query.query_type()
                    {
                        answer.add_answer(Record::from_rdata(
                            query.name().clone(),
                            30,
                            data.clone(),
                        ));
                    }
                }
                if answer.answers.is_empty() {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        address
    }

    async fn discover(zone: Vec<(&'static str, RData)>) -> Result<Vec<String>, DiscoveryError> {
        let resolver = Resolver::with_name_servers(&[name_server(zone).await]).unwrap();
        let discovery = DnsDiscovery::new(resolver, "store.shop.svc", "peer", 7431);
        Ok(Vec::from_iter(discovery.peers().await?))
    }

    fn srv(host: &str, port: u16) -> RData {
        RData::SRV(SRV::new(0, 33, port, Name::from_utf8(host).unwrap()))
    }

    #[tokio::test]
    async fn service_records_give_the_stable_name_of_every_pod() {
        let found = discover(vec![
            ("_peer._tcp.store.shop.svc.", srv("store-1.store.shop.svc.", 9431)),
            ("_peer._tcp.store.shop.svc.", srv("store-0.store.shop.svc.", 9431)),
            ("_client._tcp.store.shop.svc.", srv("store-0.store.shop.svc.", 7430)),
            ("store.shop.svc.", RData::A(A([10, 0, 0, 1].into()))),
        ])
        .await
        .unwrap();
        assert_eq!(found, ["store-0.store.shop.svc:9431", "store-1.store.shop.svc:9431"]);
    }

    #[tokio::test]
    async fn without_service_records_the_addresses_are_taken_with_our_own_port() {
        let found = discover(vec![
            ("store.shop.svc.", RData::A(A([10, 0, 0, 2].into()))),
            ("store.shop.svc.", RData::A(A([10, 0, 0, 1].into()))),
            ("store.shop.svc.", RData::AAAA(AAAA("fd00::1".parse().unwrap()))),
        ])
        .await
        .unwrap();
        assert_eq!(found, ["10.0.0.1:7431", "10.0.0.2:7431", "[fd00::1]:7431"]);
    }

    #[tokio::test]
    async fn a_service_without_pods_is_an_error_worth_a_retry() {
        let error = discover(Vec::new()).await.unwrap_err();
        assert!(error.retryable(), "{error}");
        assert!(error.to_string().contains("store.shop.svc"), "{error}");
    }
}
