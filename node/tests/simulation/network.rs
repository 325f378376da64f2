//! gRPC over the simulated network: the node's own services and channels on turmoil's sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use reckon_node::environment::Dial;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};
use turmoil::net::{TcpListener, TcpStream};

use crate::trace::{self, Kind};

/// The port of a node's client service.
pub const CLIENT_PORT: u16 = 7001;
/// The port of a node's peer service.
pub const PEER_PORT: u16 = 7002;

/// Connects by the names of simulated hosts.
#[derive(Debug, Clone)]
pub struct SimulatedDial {
    host: String,
}

impl SimulatedDial {
    /// Connections from this host.
    pub fn new(host: impl Into<String>) -> Self {
        Self { host: host.into() }
    }

    /// A channel to the client port of a node.
    pub fn client_port(&self, node: &str) -> Channel {
        let uri = format!("http://{node}:{CLIENT_PORT}");
        self.dial(Endpoint::from_shared(uri).expect("a host's name is a valid authority"))
    }

    /// The same for calls that last: whoever only waits must notice that the other side is gone.
    pub fn lasting(&self, node: &str) -> Channel {
        let uri = format!("http://{node}:{CLIENT_PORT}");
        let endpoint = Endpoint::from_shared(uri).expect("a host's name is a valid authority");
        let endpoint = endpoint
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        self.dial(endpoint)
    }
}

/// As the client of `reckon-api` does by default.
const KEEP_ALIVE: Duration = Duration::from_millis(500);

impl Dial for SimulatedDial {
    fn dial(&self, endpoint: Endpoint) -> Channel {
        let own = self.host.clone();
        let connect = tower::service_fn(move |uri: http::Uri| {
            let host = own.clone();
            async move {
                let to = uri.host().zip(uri.port_u16()).ok_or(io::ErrorKind::InvalidInput)?;
                let socket = TcpStream::connect(to).await?;
                Ok::<_, io::Error>(TokioIo::new(Socket { socket, host }))
            }
        });
        endpoint.connect_with_connector_lazy(connect)
    }

    fn reach(&self, address: &str) -> BoxFuture<'static, io::Result<()>> {
        let address = address.to_owned();
        Box::pin(async move { TcpStream::connect(address.as_str()).await.map(drop) })
    }
}

/// The connections that come to a port of a host, for ever.
pub async fn listen(
    host: &str,
    port: u16,
) -> io::Result<impl Stream<Item = io::Result<Socket>> + use<>> {
    let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)).await?;
    Ok(futures::stream::unfold((listener, host.to_owned()), |(listener, host)| async move {
        let accepted = listener.accept().await.map(|(socket, _)| socket);
        let socket = accepted.map(|socket| Socket { socket, host: host.clone() });
        Some((socket, (listener, host)))
    }))
}

/// A connection whose traffic is in the trace.
#[derive(Debug)]
pub struct Socket {
    socket: TcpStream,
    host: String,
}

impl Connected for Socket {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            let at = turmoil::sim_elapsed().unwrap_or_default();
            let checksum = crc32c::crc32c(&bytes[..*count]);
            trace::record(at, &self.host, Kind::Sent, u64::from(checksum));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
