//! Puts a node together and runs it until it is told to stop or Raft ends.
//!
//! Two runtimes: Raft and its peers on one, everything that users can load on the other, so that a flood of
//! reads cannot cost the leader its heartbeat.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use reckon_api::v1;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::server::HealthReporter;

use crate::config::{Config, FormationMode};
use crate::health::http;
use crate::health::memory::MemoryUsage;
use crate::health::raft::NodeProbes;
use crate::metrics::Metrics;
use crate::node::{self, Node};
use crate::raft::{member, proposer};
use crate::service::cluster::ClusterService;
use crate::service::forward::Forwarder;
use crate::service::peer::PeerService;
use crate::service::streams::{self, StreamsService};
use crate::storage::{self, Store};
use crate::{discovery, formation, health, limits, log, shutdown};

/// Runs a node in this process until SIGTERM or SIGINT, or until Raft fails, which is an error.
pub fn until_signalled(config: Config) -> anyhow::Result<()> {
    let consensus = runtime("consensus", limits::CONSENSUS_THREADS)?;
    let clients = runtime("clients", limits::CLIENT_THREADS)?;
    let outcome = clients.block_on(serve(config, consensus.handle().clone()));
    // What still runs has been drained or timed out; it must not keep the process.
    clients.shutdown_timeout(RUNTIME_STOP);
    consensus.shutdown_timeout(RUNTIME_STOP);
    outcome
}

const RUNTIME_STOP: Duration = Duration::from_secs(1);

fn runtime(name: &'static str, threads: usize) -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .enable_all()
        .build()
        .with_context(|| format!("the {name} runtime cannot start"))
}

async fn serve(config: Config, consensus: Handle) -> anyhow::Result<()> {
    let mut signals = shutdown::Signals::install()?;
    // Ports first: a taken port is the most common mistake, and nothing has been touched yet.
    let http_port = bind("listen.http", config.listen.http).await?;
    let client_port = bind("listen.client", config.listen.client).await?;
    let peer_port = bind("listen.peer", config.listen.peer).await?;

    let metrics = Metrics::new(&config.node.store_name);
    let identity =
        open_volume(&config.node.data_dir).await.context("the volume cannot be opened")?;
    let opening = Node::open(node_options(&config, &metrics), identity, consensus.clone());
    let node = tokio::select! {
        opened = opening => opened.context("the node cannot start")?,
        // Nothing has been served; the next start replays the log again.
        () = signals.come() => return Ok(()),
    };

    // Clients are let go first; peers and probes only when Raft has stopped.
    let stop = CancellationToken::new();
    let closed = CancellationToken::new();
    let probes = NodeProbes::new(node.clone());
    let http = tokio::spawn(http::serve(
        http_port,
        metrics.clone(),
        Arc::new(probes.clone()),
        closed.clone(),
    ));
    let peers = consensus.spawn(serve_peers(peer_port, node.clone(), closed.clone()));
    let (health, health_service) = tonic_health::server::health_reporter();
    let clients = tokio::spawn(serve_clients(
        client_port,
        node.clone(),
        metrics.clone(),
        streams::Options {
            request_timeout: Duration::from_millis(config.limits.request_timeout_ms),
            appends_in_flight_max: config.limits.appends_in_flight_max,
            reads_in_flight_max: config.limits.reads_in_flight_max,
        },
        health_service,
        stop.clone(),
    ));
    tokio::spawn(report_health(node.clone(), health));
    consensus.spawn(health::raft::observe(node.clone(), probes, metrics.clone()));
    if config.formation.mode == FormationMode::Expect {
        let discovery = discovery::from_config(&config)?;
        let form = formation::form(
            node.clone(),
            discovery,
            config.formation.expect,
            config.formation.cluster_id.clone(),
        );
        consensus.spawn(form);
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        volume_id = node.volume_id(),
        client = %config.listen.client,
        peer = %config.listen.peer,
        http = %config.listen.http,
        "the node is up"
    );

    let ended = shutdown::wait(&node, &mut signals).await;
    let until = Instant::now() + Duration::from_millis(config.shutdown.drain_ms);
    let last_request = async {
        stop.cancel();
        report("clients", clients.await);
    };
    shutdown::drain(&node, until, last_request).await;
    closed.cancel();
    let rest = async {
        report("peers", peers.await);
        report("http", http.await);
    };
    // Raft has stopped; a connection that stays open has nothing more to carry.
    let _ = tokio::time::timeout(limits::CONNECTIONS_CLOSE_TIMEOUT, rest).await;
    ended
}

fn report<E: Display>(server: &str, ended: Result<Result<(), E>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, server, "a server ended with an error"),
        Err(error) => tracing::warn!(%error, server, "a server ended with a panic"),
    }
}

/// Opens the volume. A pod that is deleted by force may be replaced while its process still closes its files:
/// the volume is waited for, since giving up would cost the replacement a restart with backoff.
async fn open_volume(data_dir: &Path) -> anyhow::Result<Store> {
    let give_up = Instant::now() + limits::VOLUME_WAIT;
    loop {
        let folder = data_dir.to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            Store::open_folder(&folder, &storage::Options::default(), uuid::Uuid::new_v4)
        })
        .await?;
        match opened {
            Err(error) if error.retryable() && Instant::now() < give_up => {
                tracing::info!(%error, "the volume is waited for");
                tokio::time::sleep(VOLUME_RETRY).await;
            }
            opened => return Ok(opened?),
        }
    }
}

const VOLUME_RETRY: Duration = Duration::from_millis(100);

async fn bind(field: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{field}: the address {address} cannot be listened on"))
}

fn node_options(config: &Config, metrics: &Metrics) -> node::Options {
    let fsyncs = metrics.clone();
    // The indexes over small events weigh about as much as the events, and the log's cache stands beside them: a
    // store has to refuse appends before the kernel ends it.
    let memory = MemoryUsage::now().map_or(u64::MAX, |memory| memory.total);
    let millis = Duration::from_millis;
    node::Options {
        data_dir: config.node.data_dir.clone(),
        name: config.node.name.clone(),
        pod_uid: config.node.pod_uid.clone(),
        client_address: config.advertised_client(),
        peer_address: config.advertised_peer(),
        expect: match config.formation.mode {
            FormationMode::Expect => config.formation.expect,
            FormationMode::Operator => 0,
        },
        member: member::Options {
            log: log::Options {
                dir: config.node.data_dir.join("log"),
                file_bytes: config.log.file_bytes,
                cache_bytes: config.log.cache_bytes.min(memory / limits::LOG_CACHE_MEMORY_PART),
                must_exist: false,
                on_fsync: Arc::new(move |took| fsyncs.fsynced(took)),
            },
            election_timeout_min: millis(config.raft.election_timeout_ms_min),
            election_timeout_max: millis(config.raft.election_timeout_ms_max),
            heartbeat_interval: millis(config.raft.heartbeat_ms),
            proposer: proposer::Options {
                group_bytes_max: config.limits.group_bytes_max,
                group_commands_max: config.limits.group_commands_max,
                groups_in_flight_max: config.limits.groups_in_flight_max,
                unsealed_bytes_max: config
                    .limits
                    .unsealed_bytes_max
                    .min(memory / limits::UNSEALED_MEMORY_PART),
                clock: Arc::new(now_us),
            },
        },
        start_time_us: now_us(),
    }
}

/// The wall clock, the one place where the node reads it. Before 1970 counts as 1970.
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

async fn serve_peers(port: TcpListener, node: Node, stop: CancellationToken) -> anyhow::Result<()> {
    let service = v1::peer_server::PeerServer::new(PeerService::new(node))
        .max_decoding_message_size(limits::PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::PEER_MESSAGE_BYTES_MAX);
    Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(limits::PEER_KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(limits::PEER_KEEP_ALIVE_TIMEOUT))
        .initial_stream_window_size(limits::PEER_WINDOW_BYTES)
        .initial_connection_window_size(limits::PEER_WINDOW_BYTES)
        .add_service(service)
        .serve_with_incoming_shutdown(
            TcpIncoming::from(port).with_nodelay(Some(true)),
            stopped(stop),
        )
        .await?;
    Ok(())
}

async fn serve_clients(
    port: TcpListener,
    node: Node,
    metrics: Metrics,
    options: streams::Options,
    health: tonic_health::pb::health_server::HealthServer<
        impl tonic_health::pb::health_server::Health,
    >,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let forwarder = Forwarder::default();
    let cluster = ClusterService::new(node.clone(), forwarder.clone());
    let streams = StreamsService::new(node, forwarder, metrics, &options);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // What is on this port; the descriptors also know the peers' service.
        .with_service_name("grpc.health.v1.Health")
        .with_service_name("grpc.reflection.v1.ServerReflection")
        .with_service_name("reckon.v1.Cluster")
        .with_service_name("reckon.v1.Streams")
        .build_v1()?;
    Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(limits::CLIENT_KEEP_ALIVE_INTERVAL))
        .max_concurrent_streams(Some(limits::CONNECTION_STREAMS_MAX))
        .add_service(health)
        .add_service(reflection)
        .add_service(v1::cluster_server::ClusterServer::new(cluster))
        .add_service(
            v1::streams_server::StreamsServer::new(streams)
                .max_decoding_message_size(limits::CLIENT_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(limits::CLIENT_MESSAGE_BYTES_MAX),
        )
        .serve_with_incoming_shutdown(
            TcpIncoming::from(port).with_nodelay(Some(true)),
            stopped(stop),
        )
        .await?;
    Ok(())
}

async fn stopped(stop: CancellationToken) {
    stop.cancelled().await;
}

/// Keeps `grpc.health.v1` in step with readiness.
async fn report_health(node: Node, health: HealthReporter) {
    let mut shown = None;
    loop {
        let ready = node.ready().is_ok();
        if shown != Some(ready) {
            let status = if ready {
                tonic_health::ServingStatus::Serving
            } else {
                tonic_health::ServingStatus::NotServing
            };
            for service in ["", "reckon.v1.Streams", "reckon.v1.Cluster"] {
                health.set_service_status(service, status).await;
            }
            shown = Some(ready);
        }
        tokio::time::sleep(limits::HEALTH_REPORT_INTERVAL).await;
    }
}
