//! Puts a node together and runs it until it is told to stop or Raft ends.
//!
//! Two runtimes: Raft and its peers on one, everything that users can load on the other, so that a flood of
//! reads cannot cost the leader its heartbeat.

use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use reckon_api::v1;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic_health::server::HealthReporter;

use crate::config::{Config, FormationMode, HealthConfig, ProbeType};
use crate::environment::Environment;
use crate::health::http;
use crate::health::memory::MemoryUsage;
use crate::health::raft::NodeProbes;
use crate::log::files::{Directory, Disk};
use crate::metrics::Metrics;
use crate::node::{self, Node};
use crate::raft::{checkpointer, intake, member, proposer};
use crate::service::{admission, server};
use crate::storage::{self, Store};
use crate::{discovery, formation, health, limits, log, shutdown};

/// Runs a node in this process until SIGTERM or SIGINT, or until Raft fails, which is an error.
pub fn until_signalled(config: Config) -> anyhow::Result<()> {
    let consensus = runtime("consensus", limits::CONSENSUS_THREADS)?;
    let clients = runtime("clients", client_threads())?;
    let outcome = clients.block_on(serve(config, consensus.handle().clone()));
    // What still runs has been drained or timed out; it must not keep the process.
    clients.shutdown_timeout(RUNTIME_STOP);
    consensus.shutdown_timeout(RUNTIME_STOP);
    outcome
}

/// Half of the processors: what is proposed here keeps the others busy. More threads than that wake each other up to
/// find nothing to do, which on two processors costs a fifth of the appends.
fn client_threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (processors / 2).clamp(1, limits::CLIENT_THREADS_MAX)
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
    let memory = MemoryUsage::now().map_or(u64::MAX, |memory| memory.total);
    let (store, disk) =
        open_volume(&config, memory).await.context("the volume cannot be opened")?;
    let options = node_options(&config, &metrics, disk, memory);
    let opening = Node::open(options, store, consensus.clone());
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
    let peers = consensus.spawn(server::peers(incoming(peer_port), node.clone(), closed.clone()));
    let (health, health_service) = tonic_health::server::health_reporter();
    let clients = tokio::spawn(server::clients(
        incoming(client_port),
        node.clone(),
        metrics.clone(),
        admission::Options {
            request_timeout: Duration::from_millis(config.limits.request_timeout_ms),
            appends_in_flight_max: config.limits.appends_in_flight_max,
            reads_in_flight_max: config.limits.reads_in_flight_max,
            subscription_health_interval: Duration::from_millis(
                config.subscriptions.health_interval_ms,
            ),
            health: health_settings(&config.health),
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
async fn open_volume(config: &Config, memory: u64) -> anyhow::Result<(Store, Arc<dyn Disk>)> {
    let give_up = Instant::now() + limits::VOLUME_WAIT;
    let options = storage::Options {
        cache_bytes: config.storage.cache_bytes.min(memory / limits::BLOCK_CACHE_MEMORY_PART),
    };
    let store = loop {
        let (folder, options) = (config.node.data_dir.clone(), options.clone());
        let opened = tokio::task::spawn_blocking(move || {
            Store::open_folder(&folder, &options, uuid::Uuid::new_v4)
        })
        .await?;
        match opened {
            Err(error) if error.retryable() && Instant::now() < give_up => {
                tracing::info!(%error, "the volume is waited for");
                tokio::time::sleep(VOLUME_RETRY).await;
            }
            opened => break opened?,
        }
    };
    let folder = config.node.data_dir.join("log");
    let disk = tokio::task::spawn_blocking(move || Directory::open(&folder)).await??;
    Ok((store, Arc::new(disk)))
}

const VOLUME_RETRY: Duration = Duration::from_millis(100);

/// The connections that come in; requests are small and wait for their answers, so nothing may linger.
fn incoming(port: TcpListener) -> TcpIncoming {
    TcpIncoming::from(port).with_nodelay(Some(true))
}

async fn bind(field: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{field}: the address {address} cannot be listened on"))
}

/// `memory` is what the node may use, in bytes. The indexes over small events weigh about as much as the events, and
/// caches stand beside them: a store has to refuse appends before the kernel ends it.
fn node_options(
    config: &Config,
    metrics: &Metrics,
    disk: Arc<dyn Disk>,
    memory: u64,
) -> node::Options {
    let environment = Environment::system();
    let start_time_us = (environment.clock)();
    let fsyncs = metrics.clone();
    let millis = Duration::from_millis;
    node::Options {
        name: config.node.name.clone(),
        pod_uid: config.node.pod_uid.clone(),
        client_address: config.advertised_client(),
        peer_address: config.advertised_peer(),
        expect: match config.formation.mode {
            FormationMode::Expect => config.formation.expect,
            FormationMode::Operator => 0,
        },
        member: member::Options {
            disk,
            log: log::Options {
                file_bytes: config.log.file_bytes,
                cache_bytes: config.log.cache_bytes.min(memory / limits::LOG_CACHE_MEMORY_PART),
                must_exist: false,
                on_fsync: Arc::new(move |took| fsyncs.fsynced(took)),
                offload: environment.offload.clone(),
            },
            retain_bytes: config.log.retain_bytes,
            peer_address: config.advertised_peer(),
            checkpointer: checkpointer::Options {
                seal_bytes: config.storage.seal_bytes.min(memory / limits::SEAL_MEMORY_PART),
                interval: millis(config.storage.checkpoint_interval_ms),
            },
            fetch_bytes_per_second_max: config.storage.fetch_bytes_per_second_max,
            reclaim_after: millis(config.storage.reclaim_after_ms),
            election_timeout_min: millis(config.raft.election_timeout_ms_min),
            election_timeout_max: millis(config.raft.election_timeout_ms_max),
            heartbeat_interval: millis(config.raft.heartbeat_ms),
            intake: intake::Options {
                unsealed_bytes_max: config
                    .limits
                    .unsealed_bytes_max
                    .min(memory / limits::UNSEALED_MEMORY_PART),
                log_file_bytes: config.log.file_bytes,
            },
            proposer: proposer::Options {
                group_bytes_max: config.limits.group_bytes_max,
                group_commands_max: config.limits.group_commands_max,
                groups_in_flight_max: config.limits.groups_in_flight_max,
            },
            environment,
        },
        start_time_us,
    }
}

fn health_settings(config: &HealthConfig) -> health::settings::Settings {
    let millis = Duration::from_millis;
    health::settings::Settings {
        probe_interval: millis(config.probe_interval_ms),
        probe_timeout: millis(config.probe_timeout_ms),
        probe_failures: config.probe_failures,
        probe_type: match config.probe_type {
            ProbeType::Ping => v1::ProbeType::Ping,
            ProbeType::Rpc => v1::ProbeType::Rpc,
            ProbeType::Store => v1::ProbeType::Store,
        },
        consistency_interval: millis(config.consistency_interval_ms),
    }
}

/// What `grpc.health.v1` is asked for; the empty one is the whole node.
const SERVICES: [&str; 5] =
    ["", "reckon.v1.Streams", "reckon.v1.Subscriptions", "reckon.v1.Cluster", "reckon.v1.Health"];

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
            for service in SERVICES {
                health.set_service_status(service, status).await;
            }
            shown = Some(ready);
        }
        tokio::time::sleep(limits::HEALTH_REPORT_INTERVAL).await;
    }
}
