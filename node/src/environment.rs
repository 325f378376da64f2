//! What a node takes from the world around it. A process gives it the machine's; a simulation gives it a world of
//! its own, in which the same seed gives the same run. Nothing else in the node may read a clock to decide, make up
//! an id or open a connection.
//!
//! Durations are measured with tokio's clock, which a simulation drives; openraft's randomness hangs on the thread
//! ([`crate::raft::runtime::Randomness`]); the disks come with [`crate::node::Options`].

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use reckon_api::connect::{Connector, Resolver};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::Service as _;
use uuid::Uuid;

use crate::limits;
use crate::offload::Offload;

/// Reads the wall clock, in microseconds since 1970 UTC.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Makes an id that nobody made before; later ones sort behind earlier ones (`UUIDv7`).
pub type NewId = Arc<dyn Fn() -> Uuid + Send + Sync>;

/// Makes connections to other nodes.
pub trait Dial: fmt::Debug + Send + Sync {
    /// A channel that connects when it is first used, and again whenever its connection is lost.
    fn dial(&self, endpoint: Endpoint) -> Channel;

    /// Whether somebody takes a connection at `host:port`: makes one and closes it again.
    fn reach(&self, address: &str) -> BoxFuture<'static, io::Result<()>>;
}

/// The world of one node; cheap to clone.
#[derive(Clone)]
pub struct Environment {
    pub clock: Clock,
    pub new_id: NewId,
    pub dial: Arc<dyn Dial>,
    /// Where work goes that may read files.
    pub offload: Offload,
}

impl Environment {
    /// The machine's clock, randomness, network and threads.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(now_us),
            new_id: Arc::new(Uuid::now_v7),
            dial: Arc::new(Tcp),
            offload: Offload::pool(),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("dial", &self.dial)
            .field("offload", &self.offload)
            .finish_non_exhaustive()
    }
}

/// The wall clock, the one place where the node reads it. Before 1970 counts as 1970.
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// TCP to names that are looked up anew for every connection: pods keep their name and change their address.
#[derive(Debug)]
struct Tcp;

impl Dial for Tcp {
    fn dial(&self, endpoint: Endpoint) -> Channel {
        endpoint.connect_with_connector_lazy(connector())
    }

    fn reach(&self, address: &str) -> BoxFuture<'static, io::Result<()>> {
        let uri = format!("http://{address}").parse::<Uri>();
        async move {
            let uri = uri.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            connector().call(uri).await.map(drop).map_err(io::Error::other)
        }
        .boxed()
    }
}

fn connector() -> Connector {
    Connector::new(Resolver::system(), limits::PEER_CONNECT_TIMEOUT)
}
