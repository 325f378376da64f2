//! A node: a volume with or without an identity, and the member that runs once it has one.
//!
//! Without an identity there is no Raft, only `Status`: an emptied volume that spoke under its old id could
//! split the store, and Raft would not see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openraft::ServerState;
use reckon_api::{Reason, v1};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tonic::Status;

use crate::environment::Environment;
use crate::log::{self, LogStore};
use crate::raft::member::{self, StartError};
use crate::raft::seals::Seal;
use crate::raft::{Member, PeerNode};
use crate::storage::{CatalogueError, FORMAT_VERSION, Identity, Store};
use crate::{limits, raft};

/// What a node is built from.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the node calls itself; the pod's name in Kubernetes.
    pub name: String,
    /// The pod's UID; empty outside Kubernetes.
    pub pod_uid: String,
    /// `host:port` under which clients and peers reach this node.
    pub client_address: String,
    pub peer_address: String,
    /// How many members form a store without an operator; 0: an operator forms it.
    pub expect: u32,
    pub member: member::Options,
    /// When this process started, microseconds since 1970 UTC.
    pub start_time_us: u64,
}

/// A cheap handle to the node; every service holds one.
#[derive(Debug, Clone)]
pub struct Node {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    store: Store,
    /// Raft and everything its peers need run here, away from what users can load.
    consensus: Handle,
    member: watch::Sender<Option<Arc<Member>>>,
    /// One formation step at a time: two `Initialise` calls must not race.
    forming: Mutex<()>,
    recovered: AtomicBool,
    draining: watch::Sender<bool>,
    expects: parking_lot::Mutex<Vec<String>>,
}

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Member(#[from] StartError),
}

impl Node {
    /// Opens the volume; starts the member if the volume carries one.
    pub async fn open(
        options: Options,
        store: Store,
        consensus: Handle,
    ) -> Result<Self, OpenError> {
        let known = store.identity();
        let node = Self {
            shared: Arc::new(Shared {
                options,
                store,
                consensus,
                member: watch::Sender::new(None),
                forming: Mutex::new(()),
                recovered: AtomicBool::new(false),
                draining: watch::Sender::new(false),
                expects: parking_lot::Mutex::default(),
            }),
        };
        if let Some(identity) = known {
            let log = node.open_log(true).await?;
            node.start_member(identity, log).await?;
        }
        Ok(node)
    }

    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// The clock, ids and connections that this node uses.
    pub fn environment(&self) -> &Environment {
        &self.shared.options.member.environment
    }

    /// The running member, if this node has an identity.
    pub fn member(&self) -> Option<Arc<Member>> {
        self.shared.member.borrow().clone()
    }

    /// Tells when a member starts.
    pub fn watch_member(&self) -> watch::Receiver<Option<Arc<Member>>> {
        self.shared.member.subscribe()
    }

    pub fn volume_id(&self) -> String {
        self.shared.store.volume_id().to_string()
    }

    /// No new work is taken from here on.
    pub fn drain(&self) {
        self.shared.draining.send_replace(true);
    }

    pub fn draining(&self) -> bool {
        *self.shared.draining.borrow()
    }

    /// Returns once no new work is taken: what would go on for ever has to end by itself then.
    pub async fn drained(&self) {
        let mut draining = self.shared.draining.subscribe();
        // The sender lives as long as this node, so waiting cannot fail.
        let _ = draining.wait_for(|draining| *draining).await;
    }

    /// Where the state of this node is kept.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Which peers this node expects while a store forms without an operator.
    pub fn set_expects(&self, peers: Vec<String>) {
        *self.shared.expects.lock() = peers;
    }

    /// What a peer is told while a store forms.
    pub fn probe(&self) -> v1::ProbeResponse {
        let member = self.member();
        let identity = member.as_ref().map(|member| member.identity());
        v1::ProbeResponse {
            volume_id: self.volume_id(),
            cluster_id: identity.map(|identity| identity.cluster_id.clone()).unwrap_or_default(),
            node_id: identity.map(|identity| identity.node_id).unwrap_or_default(),
            expects: self.shared.expects.lock().clone(),
            client_address: self.options().client_address.clone(),
            expect: self.options().expect,
        }
    }

    /// How this node appears in the membership.
    pub fn peer_node(&self) -> PeerNode {
        let options = self.options();
        PeerNode {
            name: options.name.clone(),
            peer_address: options.peer_address.clone(),
            client_address: options.client_address.clone(),
            volume_id: self.volume_id(),
        }
    }

    /// Makes the first member of a new store. The log exists before the identity and the identity before the
    /// first entry, so that a crash in between either starts over or goes on, and never founds two stores.
    pub async fn initialise(
        &self,
        cluster_id: &str,
        volume_id: &str,
        node: PeerNode,
    ) -> Result<Arc<Member>, Status> {
        let _one_at_a_time = self.shared.forming.lock().await;
        self.check_volume(volume_id)?;
        if cluster_id.is_empty() {
            return Err(Reason::InvalidArgument
                .status("cluster_id must not be empty", [("field", "cluster_id")]));
        }
        let member = match self.member() {
            None => {
                let identity = Identity {
                    node_id: FIRST_NODE_ID,
                    cluster_id: cluster_id.to_owned(),
                    epoch: FIRST_EPOCH,
                    format_version: FORMAT_VERSION,
                };
                self.become_member(identity).await?
            }
            Some(member) => {
                let own = member.identity();
                if own.cluster_id != cluster_id || own.node_id != FIRST_NODE_ID {
                    return Err(already_initialised(own));
                }
                member
            }
        };
        member.initialise(node).await.map_err(|error| {
            Reason::Internal.plain(format!("raft cannot be initialised: {error}"))
        })?;
        Ok(member)
    }

    /// Takes an identity that the store's leader gave out, and starts Raft with it.
    pub async fn adopt(&self, identity: Identity, volume_id: &str) -> Result<Arc<Member>, Status> {
        let _one_at_a_time = self.shared.forming.lock().await;
        self.check_volume(volume_id)?;
        match self.member() {
            None => self.become_member(identity).await,
            Some(member) if *member.identity() == identity => Ok(member),
            Some(member) => Err(already_initialised(member.identity())),
        }
    }

    async fn become_member(&self, identity: Identity) -> Result<Arc<Member>, Status> {
        let internal = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "this node cannot become a member");
            Reason::Internal.plain(format!("this node cannot become a member: {error}"))
        };
        let log = self.open_log(false).await.map_err(|error| internal(&error))?;
        let store = self.shared.store.clone();
        let assigned = identity.clone();
        // Durable on return: from here on this volume is that member and no other.
        let assigning = self.environment().offload.run(move || store.assign(assigned));
        assigning.await.map_err(|error| internal(&error))?;
        self.start_member(identity, log).await.map_err(|error| internal(&error))
    }

    async fn open_log(&self, must_exist: bool) -> Result<LogStore, StartError> {
        let options = &self.options().member;
        let disk = Arc::clone(&options.disk);
        let log = log::Options { must_exist, ..options.log.clone() };
        Ok(self.environment().offload.run(move || LogStore::open(disk, log)).await?)
    }

    async fn start_member(
        &self,
        identity: Identity,
        log: LogStore,
    ) -> Result<Arc<Member>, StartError> {
        let options = self.options().member.clone();
        let store = self.shared.store.clone();
        let started = self
            .shared
            .consensus
            .spawn(async move { Member::start(identity, log, store, &options).await });
        let member = Arc::new(started.await.expect("starting a member does not panic")?);
        let node = self.clone();
        let recovering = Arc::clone(&member);
        self.shared.consensus.spawn(async move {
            // Before this a restarted node would answer from a state older than the one it had shown.
            match recovering.recovered().await {
                Ok(()) => node.shared.recovered.store(true, Ordering::SeqCst),
                Err(error) => tracing::error!(%error, "the state was not recovered"),
            }
        });
        self.shared.member.send_replace(Some(Arc::clone(&member)));
        Ok(member)
    }

    fn check_volume(&self, asked: &str) -> Result<(), Status> {
        let own = self.volume_id();
        if asked == own {
            return Ok(());
        }
        Err(Reason::WrongVolume.status(
            format!("the request is for volume {asked}, but this node runs on volume {own}"),
            [("field", "volume_id"), ("value", asked), ("own", own.as_str())],
        ))
    }

    /// Whether everything this node had shown before a restart is there again.
    pub fn recovered(&self) -> Result<(), String> {
        if self.shared.recovered.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err("the node is replaying its log".to_owned())
    }

    /// Joined, state loaded, not stopping; otherwise why not.
    pub fn ready(&self) -> Result<(), String> {
        if self.draining() {
            return Err("the node is stopping".to_owned());
        }
        let Some(member) = self.member() else {
            return Err(
                "the node has no identity: it waits to be initialised or to join".to_owned()
            );
        };
        self.recovered()?;
        if member.installer().busy() {
            return Err("the node takes in a checkpoint".to_owned());
        }
        let metrics = member.metrics();
        let known = metrics.membership_config.get_node(&metrics.id).is_some();
        if !known {
            return Err("the node has an id but the store has not taken it in yet".to_owned());
        }
        metrics.running_state.map_err(|fatal| fatal.to_string())
    }

    /// Whether Raft's core still takes part: it answers, not merely its port.
    pub async fn live(&self) -> Result<(), String> {
        let Some(member) = self.member() else { return Ok(()) };
        let answer = member.raft().with_raft_state(|_| ());
        match tokio::time::timeout(limits::RAFT_CORE_ANSWER_TIMEOUT, answer).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(fatal)) => Err(format!("raft has stopped: {fatal}")),
            Err(_elapsed) => Err("raft's core does not answer".to_owned()),
        }
    }

    /// Where Raft and what looks after it runs, away from what users can load.
    pub fn consensus(&self) -> &Handle {
        &self.shared.consensus
    }

    /// What this node knows of itself and its store.
    pub fn status(&self) -> v1::StatusResponse {
        let mut status = self.brief_status();
        if let Some(member) = self.member() {
            describe_bytes(&member, &mut status);
        }
        status
    }

    /// The same without where the bytes are, for which files are looked at.
    pub fn brief_status(&self) -> v1::StatusResponse {
        let options = self.options();
        let mut status = v1::StatusResponse {
            volume_id: self.volume_id(),
            pod_uid: options.pod_uid.clone(),
            pod_name: options.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            client_address: options.client_address.clone(),
            peer_address: options.peer_address.clone(),
            ready: self.ready().is_ok(),
            start_time_us: options.start_time_us,
            ..v1::StatusResponse::default()
        };
        if let Some(member) = self.member() {
            describe_member(&member, &mut status);
        }
        status
    }
}

/// The node id of a store's founder. Ids count from here and are never given out twice.
pub const FIRST_NODE_ID: u64 = 1;
/// The epoch of a store that was never restored or recovered by hand.
pub const FIRST_EPOCH: u64 = 1;

fn describe_member(member: &Member, status: &mut v1::StatusResponse) {
    let identity = member.identity();
    status.node_id = identity.node_id;
    status.cluster_id.clone_from(&identity.cluster_id);
    status.epoch = identity.epoch;

    let metrics = member.metrics();
    status.role = match metrics.state {
        ServerState::Learner => v1::Role::Learner,
        ServerState::Follower => v1::Role::Follower,
        ServerState::Candidate => v1::Role::Candidate,
        ServerState::Leader => v1::Role::Leader,
        ServerState::Shutdown => v1::Role::Unspecified,
    }
    .into();
    status.term = metrics.current_term;
    status.leader_id = metrics.current_leader.unwrap_or_default();
    status.last_log_index = metrics.last_log_index.unwrap_or_default();
    status.committed_index =
        metrics.local_committed.as_ref().map(openraft::LogId::index).unwrap_or_default();
    status.applied_index =
        metrics.last_applied.as_ref().map(openraft::LogId::index).unwrap_or_default();
    status.membership =
        Some(raft::membership::describe(&metrics, |index| member.log().bytes_behind(index)));

    let engine = member.engine().read();
    status.events = engine.events();
    status.streams = engine.streams();
    status.activated = engine.activated();
    drop(engine);
    describe_sealed(member, status);
}

/// What of the state is in files.
fn describe_sealed(member: &Member, status: &mut v1::StatusResponse) {
    if let Some(checkpoint) = member.store().checkpoint() {
        status.seal = checkpoint.seal;
        status.sealed_position = checkpoint.end_position;
        status.digest = hexadecimal(&checkpoint.digest);
    }
    let seals = member.seals().last().into_iter().map(|Seal { seal, position, digest }| v1::Seal {
        seal,
        position,
        digest: hexadecimal(&digest),
    });
    status.seals = seals.collect();
    status.fenced_files = member.store().fenced().into_iter().map(|file| file.name).collect();
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from_digit(u32::from(four), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Where the bytes are.
fn describe_bytes(member: &Member, status: &mut v1::StatusResponse) {
    let (log, store, intake) = (member.log(), member.store(), member.intake());
    status.bytes.insert("overlay".to_owned(), member.engine().read().overlay_bytes());
    // Where the volume cannot be looked at, what is known without it is told.
    let parts = store.bytes().unwrap_or_default();
    let parts = parts.into_iter().map(|(part, bytes)| (part.to_owned(), bytes));
    status.bytes.extend(parts);
    status.bytes.insert("block_cache".to_owned(), store.cache_bytes());
    status.bytes.insert("log".to_owned(), log.bytes_on_disk());
    status.bytes.insert("log_cache".to_owned(), log.cached_bytes());
    if let Some(available) = intake.disk_available() {
        status.bytes.insert("disk_available".to_owned(), available);
    }
}

fn already_initialised(own: &Identity) -> Status {
    Reason::AlreadyInitialised.status(
        format!(
            "this node is already member {} of the store {}; an empty volume is needed to become another",
            own.node_id, own.cluster_id
        ),
        [("node_id", own.node_id.to_string()), ("cluster_id", own.cluster_id.clone())],
    )
}
