//! Puts the parts together: clients, lease, pages and controllers.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams};
use kube::{Client, Config as ClientConfig};
use reckon_crds::{EventStore, Subscription};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Config, ReachBy};
use crate::controller::{self, Context};
use crate::http::{self, Pages, Readiness};
use crate::lease::{Candidate, Leadership};
use crate::metrics::Metrics;
use crate::nodes::Nodes;
use crate::observe::{REQUEST_TIMEOUT, bounded};
use crate::subscription;

/// How long a watch may be silent before its connection counts as dead: longer than the server lets it last.
const WATCH_SILENCE: Duration = Duration::from_secs(40);

/// How often it is checked that the definitions are served.
const DEFINITION_PERIOD: Duration = Duration::from_secs(10);

/// Why the operator could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cluster is configured.
    #[error("finding the cluster: {0}")]
    Cluster(#[from] Box<dyn std::error::Error + Send + Sync>),
    /// The client could not be made.
    #[error("making the client: {0}")]
    Client(#[from] kube::Error),
    /// The pages cannot be served.
    #[error("serving metrics and probes on {address}: {source}")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
}

impl Error {
    /// Whether starting again may help.
    pub fn retryable(&self) -> bool {
        !matches!(self, Self::Cluster(_))
    }
}

/// Runs the operator until `stop` completes.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<(), Error> {
    let (cluster, inside) = cluster().await?;
    let own_namespace = cluster.default_namespace.clone();
    let client = client(cluster.clone(), REQUEST_TIMEOUT)?;
    let watching = client_of_watches(cluster.clone())?;
    let by_address = match config.reach {
        ReachBy::Auto => inside,
        ReachBy::Address => true,
        ReachBy::PortForward => false,
    };
    let nodes = if by_address {
        Nodes::by_address()
    } else {
        // A forwarded connection lasts as long as it is used.
        Nodes::by_port_forward(Client::try_from(cluster)?)
    };
    let metrics = Arc::new(Metrics::default());
    let readiness = Arc::new(Readiness::default());
    let stopping = CancellationToken::new();

    let address = config.http_listen;
    let listener =
        TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    let pages = Pages { metrics: Arc::clone(&metrics), readiness: Arc::clone(&readiness) };
    let serving = tokio::spawn(http::serve(listener, pages, stopping.clone().cancelled_owned()));

    let lease_namespace = config.lease_namespace.clone().unwrap_or(own_namespace);
    let leases: Api<Lease> = Api::namespaced(client.clone(), &lease_namespace);
    let (candidate, leadership) =
        Candidate::new(leases, config.lease_name.clone(), config.identity());
    let electing = tokio::spawn(candidate.run(stopping.clone().cancelled_owned()));

    let context = Arc::new(Context::new(
        client.clone(),
        nodes,
        leadership.clone(),
        Arc::clone(&metrics),
        config.node_image.clone(),
        config.identity(),
    ));
    let refresh = Duration::from_secs(config.subscription_refresh_s);
    let of_subscriptions =
        Arc::new(subscription::controller::Context::new(Arc::clone(&context), refresh));
    info!(version = env!("CARGO_PKG_VERSION"), %address, inside, "the operator starts");
    tokio::select! {
        () = stop => info!("the operator stops"),
        () = lead(&config, watching, leadership, (context, of_subscriptions), &readiness, &metrics) => {}
        () = watch_definitions(&client, config.namespaces.first(), &readiness) => {}
    }
    stopping.cancel();
    let _ = electing.await;
    serving.abort();
    Ok(())
}

/// Works whenever the lease is held.
async fn lead(
    config: &Config,
    watching: Client,
    mut leadership: Leadership,
    (of_stores, of_subscriptions): (Arc<Context>, Arc<subscription::controller::Context>),
    readiness: &Arc<Readiness>,
    metrics: &Metrics,
) {
    loop {
        leadership.gained().await;
        info!("this replica leads");
        metrics.set_leading(true);
        readiness.set_leading(true);
        let namespaces: Vec<Option<&str>> = match config.namespaces.as_slice() {
            [] => vec![None],
            some => some.iter().map(|namespace| Some(namespace.as_str())).collect(),
        };
        let controllers = namespaces.into_iter().map(|namespace| {
            let readiness = Arc::clone(readiness);
            let synced = move || readiness.set_synced();
            let of_subscriptions = Arc::clone(&of_subscriptions);
            futures::future::join(
                controller::run(watching.clone(), namespace, Arc::clone(&of_stores), synced),
                subscription::controller::run(watching.clone(), namespace, of_subscriptions),
            )
        });
        tokio::select! {
            _ = futures::future::join_all(controllers) => {}
            () = leadership.lost() => warn!("the lease is lost: standing by"),
        }
        metrics.set_leading(false);
        readiness.set_leading(false);
    }
}

/// Keeps an eye on whether the API server knows our resources, and whether we may read them.
async fn watch_definitions(client: &Client, namespace: Option<&String>, readiness: &Readiness) {
    let namespace = namespace.map(String::as_str);
    let stores: Api<EventStore> = controller::api(client, namespace);
    let subscriptions: Api<Subscription> = controller::api(client, namespace);
    let one = ListParams::default().limit(1);
    let mut served = true;
    loop {
        let listed = tokio::try_join!(
            bounded(stores.list_metadata(&one)),
            bounded(subscriptions.list_metadata(&one)),
        );
        match listed {
            Ok(_) => {
                served = true;
                readiness.set_served(true);
            }
            Err(error) => {
                if std::mem::take(&mut served) {
                    warn!(
                        %error,
                        "EventStores and Subscriptions cannot be listed: is the chart reckon-crds installed, of this version?"
                    );
                }
                readiness.set_served(false);
            }
        }
        let period = if served { DEFINITION_PERIOD } else { DEFINITION_PERIOD / 5 };
        tokio::time::sleep(period).await;
    }
}

/// The cluster to work in, and whether we are inside of it.
async fn cluster() -> Result<(ClientConfig, bool), Error> {
    let inside = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        && std::env::var_os("KUBECONFIG").is_none();
    // By the address in the environment: a static binary has no business with a name here.
    let cluster = if inside {
        ClientConfig::incluster_env().map_err(|error| Error::Cluster(Box::new(error)))?
    } else {
        ClientConfig::infer().await.map_err(|error| Error::Cluster(Box::new(error)))?
    };
    Ok((cluster, inside))
}

/// A client whose requests may be silent for `silence` at most.
fn client(mut cluster: ClientConfig, silence: Duration) -> Result<Client, kube::Error> {
    cluster.read_timeout = Some(silence);
    cluster.write_timeout = Some(REQUEST_TIMEOUT);
    cluster.reset_reader_on_write = true;
    Client::try_from(cluster)
}

fn client_of_watches(cluster: ClientConfig) -> Result<Client, kube::Error> {
    client(cluster, WATCH_SILENCE)
}
