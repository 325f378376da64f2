//! A member of a store: everything that runs once a node has an identity.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{InitializeError, RaftError};
use openraft::metrics::{RaftMetrics, WaitError};
use openraft::{Config, ServerState, SnapshotPolicy};
use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};

use super::RaftCore;
use super::checkpointer;
use super::compactor::Compactor;
use super::fetcher::{Fetcher, Rewriting};
use super::installer::Installer;
use super::intake::{self, Intake};
use super::network::{CheckpointSource, Connections, PeerNetwork};
use super::prefetcher::Prefetcher;
use super::proposer::{self, Proposer};
use super::reads::ReadIndexes;
use super::repairer::{RepairError, Repairer};
use super::sealer::Sealer;
use super::seals::Seals;
use super::sends::SnapshotSends;
use super::snapshot;
use super::state_machine::{Applied, SharedEngine, StateMachine};
use super::types::{LogId, PeerNode, TypeConfig};
use crate::engine::{self, StateReader};
use crate::environment::Environment;
use crate::limits;
use crate::log::files::Disk;
use crate::log::{self, LogStore};
use crate::offload::Offload;
use crate::storage::{Identity, Store};

/// What a member is built from.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the log is; its room is watched.
    pub disk: Arc<dyn Disk>,
    pub log: log::Options,
    /// How much log stays behind a checkpoint, in bytes.
    pub retain_bytes: u64,
    /// `host:port` under which peers reach this member.
    pub peer_address: String,
    pub checkpointer: checkpointer::Options,
    pub fetch_bytes_per_second_max: u64,
    /// The longest time that removed events stay in sealed files.
    pub reclaim_after: Duration,
    pub election_timeout_min: Duration,
    pub election_timeout_max: Duration,
    pub heartbeat_interval: Duration,
    pub intake: intake::Options,
    pub proposer: proposer::Options,
    pub environment: Environment,
}

/// Why a member could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the log cannot be opened: {0}")]
    Log(#[from] log::OpenError),
    #[error("the raft settings contradict each other: {0}")]
    Config(#[from] openraft::ConfigError),
    #[error("the sealed state cannot be read: {0}")]
    Sealed(#[from] engine::OpenError),
    #[error(transparent)]
    Repair(#[from] RepairError),
    #[error("the checkpoint cannot be read: {0}")]
    Checkpoint(std::io::Error),
    #[error("raft cannot start: {0}")]
    Raft(#[from] openraft::errors::Fatal<TypeConfig>),
}

impl StartError {
    /// Whether starting again, unchanged, may help.
    pub const fn retryable(&self) -> bool {
        false
    }
}

/// A running member.
#[derive(Debug)]
pub struct Member {
    identity: Identity,
    raft: RaftCore,
    engine: SharedEngine,
    store: Store,
    log: LogStore,
    intake: Arc<Intake>,
    prefetcher: Prefetcher,
    proposer: Proposer,
    reads: ReadIndexes,
    installer: Arc<Installer>,
    applied: watch::Receiver<Applied>,
    activated: AtomicBool,
    checkpoints: watch::Receiver<u64>,
    seals: Seals,
    failed: watch::Receiver<Option<String>>,
    connections: Connections,
    offload: Offload,
    election_timeout_max: Duration,
    /// The last entry of the log when this process opened it.
    tail_at_start: Option<LogId>,
}

impl Member {
    /// Starts Raft on the current runtime, over an opened log and the sealed state.
    pub async fn start(
        identity: Identity,
        log: LogStore,
        store: Store,
        options: &Options,
    ) -> Result<Self, StartError> {
        let tail_at_start = log.last_log_id();
        let config = raft_config(&identity, options).validate()?;
        let environment = &options.environment;
        let offload = environment.offload.clone();
        let connections = Connections::new(Arc::clone(&environment.dial));
        let fetcher = Fetcher {
            store: store.clone(),
            offload: offload.clone(),
            connections: connections.clone(),
            bytes_per_second_max: options.fetch_bytes_per_second_max,
            rewriting: Rewriting::default(),
        };
        let repairer = Repairer { identity: identity.clone(), fetcher: fetcher.clone() };
        repairer.before_start(&log).await?;
        let opening = store.clone();
        let engine = offload.run(move || snapshot::engine(&opening)).await?;
        let engine: SharedEngine = Arc::new(RwLock::new(engine));
        let (frozen, to_seal) = mpsc::unbounded_channel();
        let checkpoints = watch::Sender::new(store.checkpoint().map_or(0, |last| last.seal));
        let seals = Seals::default();
        if let Some(last) = store.checkpoint() {
            seals.sealed(&last);
        }
        let (state_machine, applied) = StateMachine::new(
            Arc::clone(&engine),
            store.clone(),
            offload.clone(),
            checkpoints.clone(),
            seals.clone(),
            frozen,
        )
        .map_err(StartError::Checkpoint)?;
        let intake = Intake::new(Arc::clone(&engine), options.intake);
        let sends = SnapshotSends::default();
        let network = PeerNetwork::new(
            identity.clone(),
            Connections::new(Arc::clone(&environment.dial)),
            Arc::clone(&intake),
            Arc::new(CheckpointSource {
                store: store.clone(),
                sends: sends.clone(),
                own_address: options.peer_address.clone(),
            }),
            options.election_timeout_max,
        );
        let raft =
            RaftCore::new(identity.node_id, Arc::new(config), network, log.clone(), state_machine)
                .await?;
        let prefetcher = Prefetcher::start(
            store.clone(),
            StateReader::new(Arc::clone(&engine)),
            offload.clone(),
        );
        let proposer = Proposer::start(
            raft.clone(),
            Arc::clone(&intake),
            prefetcher.clone(),
            options.proposer.clone(),
            Arc::clone(&environment.clock),
        );
        let (fail, failed) = watch::channel(None);
        let member = Self {
            reads: ReadIndexes::start(raft.clone()),
            installer: Installer::new(raft.clone(), fetcher),
            identity,
            raft,
            engine,
            store,
            log,
            intake,
            prefetcher,
            proposer,
            applied,
            activated: AtomicBool::new(false),
            checkpoints: checkpoints.subscribe(),
            seals: seals.clone(),
            failed,
            // Apart from Raft's own: what reads ask of the leader runs on their runtime, over their connections.
            connections,
            offload,
            election_timeout_max: options.election_timeout_max,
            tail_at_start,
        };
        let sealer = Sealer {
            store: member.store.clone(),
            engine: Arc::clone(&member.engine),
            log: member.log.clone(),
            sends,
            seals,
            offload: member.offload.clone(),
            retain_bytes: options.retain_bytes,
            checkpoints,
            failed: fail.clone(),
        };
        tokio::spawn(sealer.run(member.raft.clone(), to_seal));
        member.start_upkeep(options, repairer, fail);
        Ok(member)
    }

    /// Starts what keeps a member well beside Raft. Each task ends with the member, or says why the node has to stop.
    fn start_upkeep(
        &self,
        options: &Options,
        repairer: Repairer,
        failed: watch::Sender<Option<String>>,
    ) {
        let disk = Arc::clone(&options.disk);
        tokio::spawn(watch_disk(disk, self.offload.clone(), Arc::clone(&self.intake)));
        tokio::spawn(release_applied(self.log.clone(), self.applied.clone()));
        tokio::spawn(checkpointer::run(
            self.raft.clone(),
            Arc::clone(&self.engine),
            self.proposer.clone(),
            self.applied.clone(),
            options.checkpointer,
        ));
        let compactor = Compactor {
            store: self.store.clone(),
            engine: Arc::clone(&self.engine),
            intake: Arc::clone(&self.intake),
            offload: self.offload.clone(),
            rewriting: Arc::clone(&repairer.fetcher.rewriting),
            checkpoints: self.checkpoints.clone(),
            reclaim_after: options.reclaim_after,
            failed: failed.clone(),
        };
        tokio::spawn(compactor.run());
        tokio::spawn(repairer.run(self.raft.clone(), Arc::clone(&self.engine), failed));
    }

    /// Makes this node the only voter of a new store; the same again changes nothing.
    pub async fn initialise(
        &self,
        node: PeerNode,
    ) -> Result<(), RaftError<TypeConfig, InitializeError<TypeConfig>>> {
        let members = std::collections::BTreeMap::from([(self.identity.node_id, node)]);
        match self.raft.initialize(members).await {
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            outcome => outcome,
        }
    }

    /// Returns when everything this node had shown before it was restarted is applied again. That is all up to
    /// the end of its log then, as far as the store has committed it. A commit of a later term says that too, also
    /// below the end: what stood here beyond it was never committed, and in a quiet store nothing may follow.
    pub async fn recovered(&self) -> Result<(), WaitError> {
        let Some(tail) = self.tail_at_start else { return Ok(()) };
        let committed = self
            .raft
            .wait(None)
            .metrics(
                |metrics| metrics.cluster_committed >= Some(tail),
                "the store's commit covers the log at the start",
            )
            .await?;
        let upto =
            committed.cluster_committed.map_or(tail.index(), |id| id.index().min(tail.index()));
        self.raft
            .wait(None)
            .applied_index_at_least(Some(upto), "the log at the start is applied")
            .await?;
        Ok(())
    }

    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub const fn raft(&self) -> &RaftCore {
        &self.raft
    }

    pub fn reader(&self) -> StateReader {
        StateReader::new(Arc::clone(&self.engine))
    }

    pub const fn engine(&self) -> &SharedEngine {
        &self.engine
    }

    /// The sealed state.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Who takes in checkpoints that a leader offers.
    pub const fn installer(&self) -> &Arc<Installer> {
        &self.installer
    }

    /// Tells of each new checkpoint: the number of its seal.
    pub fn checkpoints(&self) -> watch::Receiver<u64> {
        self.checkpoints.clone()
    }

    /// The last seals, for comparing replicas.
    pub const fn seals(&self) -> &Seals {
        &self.seals
    }

    /// Tells when this node has to stop, and why.
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.clone()
    }

    pub const fn log(&self) -> &LogStore {
        &self.log
    }

    pub const fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    /// Who reads ahead what applying entries will need.
    pub const fn prefetcher(&self) -> &Prefetcher {
        &self.prefetcher
    }

    pub const fn proposer(&self) -> &Proposer {
        &self.proposer
    }

    pub const fn reads(&self) -> &ReadIndexes {
        &self.reads
    }

    pub const fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Where to take a look at the store that may read files.
    pub const fn offload(&self) -> &Offload {
        &self.offload
    }

    /// Whether the store is open to clients. Once it is it stays so, and that is remembered: a request must not wait
    /// for the engine to be told.
    pub fn activated(&self) -> bool {
        if self.activated.load(Ordering::Relaxed) {
            return true;
        }
        let activated = self.engine.read().activated();
        self.activated.store(activated, Ordering::Relaxed);
        activated
    }

    /// Raft's own view of itself, as of now.
    pub fn metrics(&self) -> RaftMetrics<TypeConfig> {
        self.raft.metrics().borrow_watched().clone()
    }

    pub fn leads(&self) -> bool {
        self.leads_in().is_some()
    }

    /// The term in which this node leads.
    pub fn leads_in(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        (metrics.state == ServerState::Leader).then_some(metrics.current_term)
    }

    /// Waits until somebody leads; false when nobody does by then.
    pub async fn wait_for_leader(&self, limit: Duration) -> bool {
        let led = self.raft.wait(Some(limit));
        led.metrics(|metrics| metrics.current_leader.is_some(), "a leader is known").await.is_ok()
    }

    /// The leader this node knows of, if it is another one.
    pub fn other_leader(&self) -> Option<(u64, PeerNode)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader.filter(|id| *id != self.identity.node_id)?;
        let node = metrics.membership_config.get_node(&leader)?.clone();
        Some((leader, node))
    }

    /// Watches how far apply has come.
    pub fn applied(&self) -> watch::Receiver<Applied> {
        self.applied.clone()
    }

    /// How old a member's last answer may be for it to count as alive.
    pub fn answer_age_max(&self) -> Duration {
        self.election_timeout_max * 2
    }

    /// Stops Raft and closes the log. Leadership should have been handed over before.
    pub async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
        // A merge under way would keep the process for minutes; it begins anew after the next start.
        self.store.stop();
        let log = self.log.clone();
        // Joining the writer's thread blocks until its last sync is done.
        self.offload.run(move || log.shutdown()).await;
    }
}

/// Looks at the room on the log's disk at a steady pace. A full disk would end the node in the middle of a write,
/// so appends are refused while there is still room for votes, membership and what is under way.
async fn watch_disk(disk: Arc<dyn Disk>, offload: Offload, intake: Arc<Intake>) {
    loop {
        let disk = Arc::clone(&disk);
        if let Ok(bytes) = offload.run(move || disk.available_bytes()).await {
            intake.set_disk_available(bytes);
        }
        tokio::time::sleep(limits::DISK_SAMPLE_INTERVAL).await;
    }
}

/// Tells the log's cache which entries replication alone still needs.
async fn release_applied(log: LogStore, mut applied: watch::Receiver<Applied>) {
    while applied.changed().await.is_ok() {
        let next_index = applied.borrow_and_update().next_index;
        if let Some(index) = next_index.checked_sub(1) {
            log.set_applied(index);
        }
        tokio::time::sleep(limits::APPLIED_LOOK_INTERVAL).await;
    }
}

fn raft_config(identity: &Identity, options: &Options) -> Config {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: identity.cluster_id.clone(),
        election_timeout_min: millis(options.election_timeout_min),
        election_timeout_max: millis(options.election_timeout_max),
        heartbeat_interval: millis(options.heartbeat_interval),
        max_payload_entries: limits::REPLICATION_ENTRIES_MAX,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        state_machine_channel_size: Some(limits::APPLY_CHANNEL_SIZE),
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        ..Config::default()
    }
}
