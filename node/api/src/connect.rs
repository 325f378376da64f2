//! How a gRPC channel reaches a host by name.
//!
//! The binaries are static, so libc's resolver is not there to be used: names are looked up by
//! [`Resolver`], which reads the system's configuration and keeps no answers. Pods change their
//! addresses, and [`Connector`] therefore resolves anew for every connection it makes.
//!
//! Must not know what is spoken over a connection, or who is at its other end.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData};
use hickory_resolver::{TokioResolver, proto};
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower::Service;

/// How long one question to one name server may take before it is asked again. The default of five
/// seconds is longer than an election, and a lost datagram must not cost more than that.
const QUERY_TIMEOUT_MAX: Duration = Duration::from_secs(1);

/// How long resolving and connecting may take together, when the caller has no opinion.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);

/// Why a name could not be turned into addresses.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ResolveError {
    /// The text is no name that DNS could hold.
    #[error("`{name}` is not a host name: {source}")]
    InvalidName {
        /// The text that was to be resolved.
        name: String,
        /// What is wrong with it.
        source: proto::ProtoError,
    },
    /// The system's resolver configuration is missing or names no server.
    #[error("the system's DNS configuration cannot be used: {source}")]
    Configuration {
        /// What is wrong with it.
        source: NetError,
    },
    /// DNS answered that there is no such record, now.
    #[error("`{name}` is not in DNS")]
    NotFound {
        /// The name that was looked up.
        name: String,
    },
    /// DNS gave no answer.
    #[error("looking up `{name}` failed: {source}")]
    Lookup {
        /// The name that was looked up.
        name: String,
        /// What went wrong.
        source: NetError,
    },
}

impl ResolveError {
    /// Whether the same name may resolve later, unchanged. A name that is not in DNS may appear there.
    pub fn retryable(&self) -> bool {
        !matches!(self, Self::InvalidName { .. })
    }

    fn of_lookup(name: &str, source: NetError) -> Self {
        if source.is_no_records_found() {
            Self::NotFound { name: name.to_owned() }
        } else {
            Self::Lookup { name: name.to_owned(), source }
        }
    }
}

/// One answer to an SRV question: where an instance of a service listens (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceTarget {
    /// The host name of the instance, without the final dot.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Looks up names by the system's configuration. Cheap to clone; clones share their sockets' set-up.
///
/// A resolver does its work on the runtime that asks it, so two runtimes should not share one.
#[derive(Clone, Default)]
pub struct Resolver {
    /// Built at the first question, so that a process that never asks needs no configuration.
    dns: Arc<OnceLock<TokioResolver>>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver by the system's configuration: `/etc/resolv.conf` and `/etc/hosts`.
    pub fn system() -> Self {
        Self::default()
    }

    /// A resolver that asks these servers only, over UDP, without search domains.
    pub fn with_name_servers(servers: &[SocketAddr]) -> Result<Self, ResolveError> {
        let servers = servers
            .iter()
            .map(|address| {
                let mut connection = ConnectionConfig::udp();
                connection.port = address.port();
                NameServerConfig::new(address.ip(), true, vec![connection])
            })
            .collect();
        let mut builder = TokioResolver::builder_with_config(
            ResolverConfig::from_name_servers(servers),
            TokioRuntimeProvider::default(),
        );
        forget_answers(builder.options_mut());
        let built = builder.build().map_err(|source| ResolveError::Configuration { source })?;
        Ok(Self { dns: Arc::new(OnceLock::from(built)) })
    }

    /// The addresses of a host, `IPv4` first. An IP literal (with or without brackets) and `localhost`
    /// are answered without asking anyone. Never empty.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if let Some(addresses) = literal(host) {
            return Ok(addresses);
        }
        let lookup = self
            .dns()?
            .lookup_ip(parse(host)?)
            .await
            .map_err(|source| ResolveError::of_lookup(host, source))?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in lookup.iter() {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(ResolveError::NotFound { name: host.to_owned() });
        }
        Ok(addresses)
    }

    /// The instances behind a service name such as `_peer._tcp.orders.shop.svc`, in no particular order.
    /// Priorities and weights are left aside: whoever asks wants all of them. Never empty.
    pub async fn resolve_service(&self, name: &str) -> Result<Vec<ServiceTarget>, ResolveError> {
        let lookup = self
            .dns()?
            .srv_lookup(parse(name)?)
            .await
            .map_err(|source| ResolveError::of_lookup(name, source))?;
        let targets: Vec<ServiceTarget> = lookup
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                // A target of "." says that the service is decidedly not here.
                RData::SRV(srv) if !srv.target.is_root() => Some(ServiceTarget {
                    host: srv.target.to_string().trim_end_matches('.').to_owned(),
                    port: srv.port,
                }),
                _ => None,
            })
            .collect();
        if targets.is_empty() {
            return Err(ResolveError::NotFound { name: name.to_owned() });
        }
        Ok(targets)
    }

    fn dns(&self) -> Result<&TokioResolver, ResolveError> {
        if let Some(dns) = self.dns.get() {
            return Ok(dns);
        }
        let built = TokioResolver::builder_tokio()
            .and_then(|mut builder| {
                forget_answers(builder.options_mut());
                builder.build()
            })
            .map_err(|source| ResolveError::Configuration { source })?;
        Ok(self.dns.get_or_init(|| built))
    }
}

/// Makes a resolver ask again every time. A pod's record has a time to live of up to 30 seconds, and its
/// absence is remembered as long, both of which are ages to a cluster that looks for its leader.
fn forget_answers(options: &mut ResolverOpts) {
    options.cache_size = 0;
    options.positive_max_ttl = Some(Duration::ZERO);
    options.negative_max_ttl = Some(Duration::ZERO);
    options.timeout = options.timeout.min(QUERY_TIMEOUT_MAX);
}

fn parse(name: &str) -> Result<Name, ResolveError> {
    Name::from_str_relaxed(name)
        .map_err(|source| ResolveError::InvalidName { name: name.to_owned(), source })
}

/// The addresses of a host that needs no name server.
fn literal(host: &str) -> Option<Vec<IpAddr>> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse() {
        return Some(vec![address]);
    }
    host.trim_end_matches('.')
        .eq_ignore_ascii_case("localhost")
        .then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The endpoint's URI lacks what a connection needs.
    #[error("the endpoint `{uri}` names no {part}")]
    IncompleteUri {
        /// The endpoint.
        uri: Uri,
        /// `host` or `port`.
        part: &'static str,
    },
    /// The host has no address.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// No address of the host took the connection; this is what the last one answered.
    #[error("connecting to {address} failed: {source}")]
    Refused {
        /// The address that was tried last.
        address: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
    /// Resolving and connecting took longer than allowed.
    #[error("connecting to `{uri}` took longer than {} ms", limit.as_millis())]
    TimedOut {
        /// The endpoint.
        uri: Uri,
        /// The time allowed.
        limit: Duration,
    },
}

impl ConnectError {
    /// Whether the same endpoint may be reached later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::IncompleteUri { .. } => false,
            Self::Resolve(error) => error.retryable(),
            Self::Refused { .. } | Self::TimedOut { .. } => true,
        }
    }
}

/// Makes the TCP connections of a channel, for `tonic::transport::Endpoint::connect_with_connector_lazy`.
/// A channel asks its connector each time it has to connect again, which is when names are resolved again.
#[derive(Debug, Clone)]
pub struct Connector {
    resolver: Resolver,
    connect_timeout: Duration,
}

impl Connector {
    /// A connector that gives up after `connect_timeout`, which covers resolving and connecting together.
    pub fn new(resolver: Resolver, connect_timeout: Duration) -> Self {
        Self { resolver, connect_timeout }
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::new(Resolver::system(), CONNECT_TIMEOUT_DEFAULT)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { resolver, connect_timeout: limit } = self.clone();
        Box::pin(async move {
            let deadline = Instant::now() + limit;
            tokio::time::timeout_at(deadline, connect(&resolver, &uri, deadline))
                .await
                .unwrap_or_else(|_| Err(ConnectError::TimedOut { uri: uri.clone(), limit }))
                .map(TokioIo::new)
        })
    }
}

async fn connect(
    resolver: &Resolver,
    uri: &Uri,
    deadline: Instant,
) -> Result<TcpStream, ConnectError> {
    let incomplete = |part| ConnectError::IncompleteUri { uri: uri.clone(), part };
    let host = uri.host().ok_or_else(|| incomplete("host"))?;
    let port = uri.port_u16().ok_or_else(|| incomplete("port"))?;
    let addresses = resolver.resolve(host).await?;

    let mut refused = None;
    for (tried, ip) in addresses.iter().enumerate() {
        // One address that swallows packets must leave time to try the others.
        let share = deadline.saturating_duration_since(Instant::now())
            / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let address = SocketAddr::new(*ip, port);
        let attempt = tokio::time::timeout(share, TcpStream::connect(address)).await;
        match attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // Requests are small and wait for their answers: nothing may linger to be merged.
                stream
                    .set_nodelay(true)
                    .map_err(|source| ConnectError::Refused { address, source })?;
                return Ok(stream);
            }
            Err(source) => refused = Some(ConnectError::Refused { address, source }),
        }
    }
    Err(refused.expect("a resolved host has at least one address, and each was tried"))
}

#[cfg(test)]
mod tests;
