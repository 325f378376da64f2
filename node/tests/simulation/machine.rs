//! A simulated machine: a volume that may forget, a clock that may be off, and the real node on both.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reckon_api::v1;
use reckon_node::discovery::FixedDiscovery;
use reckon_node::environment::Environment;
use reckon_node::health::settings::Settings;
use reckon_node::log::LogStore;
use reckon_node::metrics::Metrics;
use reckon_node::node::{self, Node};
use reckon_node::offload::Offload;
use reckon_node::raft::{checkpointer, intake, member, proposer};
use reckon_node::service::{admission, server};
use reckon_node::storage::{self, Identity, Store};
use reckon_node::{formation, log, shutdown};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::bugs::Bug;
use crate::log_disk::VolumeDisk;
use crate::network::{CLIENT_PORT, PEER_PORT, SimulatedDial, listen};
use crate::scenario::Scenario;
use crate::trace::{self, Kind};
use crate::volume::FaultyVolume;
use crate::world::EPOCH_SECONDS;

/// The smallest log that still rolls often.
const LOG_FILE_BYTES: u64 = 16 << 10;
/// So few that a run seals, merges, purges and sends checkpoints many times.
const SEAL_BYTES: u64 = 4 << 10;
/// The budget for blocks of sealed files: a few blocks, so that most reads go to the volume.
const BLOCK_CACHE_BYTES: u64 = 64 << 10;
/// How long a node that is asked to stop lets its clients finish.
const DRAIN: Duration = Duration::from_secs(1);
/// How late the syncs of a disk are that lies about them.
const LATE_SYNC: Duration = Duration::from_millis(300);

/// Often enough that every fault is looked at. The probe that goes furthest into a node is the one that may disturb it.
const HEALTH: Settings = Settings {
    probe_interval: Duration::from_secs(2),
    probe_timeout: Duration::from_millis(500),
    probe_failures: 2,
    probe_type: v1::ProbeType::Store,
    consistency_interval: Duration::from_secs(2),
};

/// How long pieces of disk work take.
#[derive(Debug)]
pub struct Pace {
    chance: StdRng,
    /// Microseconds.
    pub least_us: u64,
    pub most_us: u64,
}

impl Pace {
    fn next(&mut self) -> Duration {
        Duration::from_micros(self.chance.random_range(self.least_us..=self.most_us))
    }
}

/// Why a node's process ended on its own.
#[derive(Debug, Clone)]
pub struct Exit {
    pub at: Duration,
    pub machine: String,
    pub why: String,
}

/// One machine.
#[derive(Debug)]
pub struct Machine {
    pub name: String,
    pub volume: FaultyVolume,
    /// What its nodes counted, one after the other.
    pub metrics: Metrics,
    /// How often a node was started here.
    starts: u64,
    clock_offset_us: i64,
    pub pace: Arc<Mutex<Pace>>,
    /// The node that runs here, or ran last.
    pub node: Option<Node>,
    pub stop: CancellationToken,
    seed: u64,
    bug: Option<Bug>,
    /// Whether its disk was damaged or failed: then its node may end.
    pub harmed: bool,
    /// A bug: the identity that the empty volume is given before its node starts.
    reused: Option<Identity>,
}

/// All machines, as the harness and the simulated hosts share them.
#[derive(Debug, Clone)]
pub struct Machines {
    shared: Rc<RefCell<Shared>>,
    /// The nodes that found the store by themselves; empty: an operator founds it.
    expect: Rc<Vec<String>>,
    bug: Option<Bug>,
    disk_us: (u64, u64),
}

#[derive(Debug, Default)]
struct Shared {
    machines: BTreeMap<String, Machine>,
    exits: Vec<Exit>,
}

impl Machines {
    /// No machine yet.
    pub fn new(expect: Vec<String>, scenario: &Scenario) -> Self {
        let Scenario { bug, disk_us, .. } = *scenario;
        Self { shared: Rc::default(), expect: Rc::new(expect), bug, disk_us }
    }

    /// Puts up a machine with an empty volume.
    pub fn add(&self, name: &str, seed: u64, clock_offset_us: i64) {
        let (least_us, most_us) = self.disk_us;
        let pace = Pace { chance: StdRng::seed_from_u64(seed), least_us, most_us };
        let machine = Machine {
            name: name.to_owned(),
            volume: FaultyVolume::default(),
            metrics: Metrics::new("simulated"),
            starts: 0,
            clock_offset_us,
            pace: Arc::new(Mutex::new(pace)),
            node: None,
            stop: CancellationToken::new(),
            seed,
            bug: self.bug,
            harmed: false,
            reused: None,
        };
        self.shared.borrow_mut().machines.insert(name.to_owned(), machine);
    }

    /// The names of all machines.
    pub fn names(&self) -> Vec<String> {
        self.shared.borrow().machines.keys().cloned().collect()
    }

    /// Looks at or changes a machine.
    pub fn with<T>(&self, name: &str, look: impl FnOnce(&mut Machine) -> T) -> T {
        look(self.shared.borrow_mut().machines.get_mut(name).expect("the machine was added"))
    }

    /// Gives a machine an empty volume, as if its disk had been lost. `reused` is a bug: who it comes back as.
    pub fn wipe(&self, name: &str, reused: Option<Identity>) {
        self.with(name, |machine| {
            machine.reused = reused;
            machine.volume = FaultyVolume::default();
        });
    }

    /// The processes that ended on their own so far, on machines whose disks are well.
    pub fn exits(&self) -> Vec<Exit> {
        self.shared.borrow().exits.clone()
    }

    /// The software of a simulated host: one life of a node.
    pub async fn run(self, name: String) -> turmoil::Result {
        let ended = self.live(&name).await;
        if let Err(error) = ended {
            let at = turmoil::sim_elapsed().unwrap_or_default();
            let why = format!("{error:#}");
            tracing::error!(machine = name, why, "the node ended");
            let mut shared = self.shared.borrow_mut();
            if !shared.machines[&name].harmed {
                shared.exits.push(Exit { at, machine: name, why });
            }
        }
        Ok(())
    }

    async fn live(&self, name: &str) -> anyhow::Result<()> {
        let (options, volume, stop) = self.with(name, |machine| {
            machine.starts += 1;
            machine.node = None;
            machine.stop = CancellationToken::new();
            let options = machine.options(self.expect.len());
            options.map(|options| (options, machine.volume.clone(), machine.stop.clone()))
        })?;
        let new_id = Arc::clone(&options.member.environment.new_id);
        let cache = storage::Options { cache_bytes: BLOCK_CACHE_BYTES };
        let store = Store::open(Arc::new(volume), &cache, || new_id())?;
        if let Some(reused) = self.with(name, |machine| machine.reused.take()) {
            let begun =
                LogStore::open(Arc::clone(&options.member.disk), options.member.log.clone())?;
            begun.shutdown();
            store.assign(reused)?;
        }
        let node = Node::open(options, store, Handle::current()).await?;
        let at = turmoil::sim_elapsed().unwrap_or_default();
        trace::record(at, name, Kind::Started, 0);
        self.with(name, |machine| machine.node = Some(node.clone()));
        let serving = self.serve(name, node.clone(), stop.clone());
        tokio::select! {
            biased;
            served = serving => served,
            fatal = shutdown::must_stop(&node) => Err(fatal),
            () = stop.cancelled() => {
                shutdown::drain(&node, Instant::now() + DRAIN, std::future::ready(())).await;
                Ok(())
            }
        }
    }

    async fn serve(&self, name: &str, node: Node, stop: CancellationToken) -> anyhow::Result<()> {
        let peers = server::peers(listen(name, PEER_PORT).await?, node.clone(), stop.clone());
        let (_reporter, health) = tonic_health::server::health_reporter();
        let clients = server::clients(
            listen(name, CLIENT_PORT).await?,
            node.clone(),
            self.with(name, |machine| machine.metrics.clone()),
            admission::Options {
                health: HEALTH,
                request_timeout: Duration::from_secs(5),
                appends_in_flight_max: 100,
                reads_in_flight_max: 100,
                subscription_health_interval: Duration::from_secs(10),
            },
            health,
            stop,
        );
        if self.expect.iter().any(|founder| founder == name) {
            let peers: Vec<_> =
                self.expect.iter().map(|founder| format!("{founder}:{PEER_PORT}")).collect();
            let discovery = Arc::new(FixedDiscovery::parse(&peers)?);
            let expect = u32::try_from(self.expect.len())?;
            tokio::spawn(formation::form(node, discovery, expect, None));
        }
        let (peers, clients) = tokio::join!(tokio::spawn(peers), tokio::spawn(clients));
        peers??;
        clients??;
        std::future::pending().await
    }
}

impl Machine {
    /// Whether its node believes that it leads.
    pub fn leads(&self) -> bool {
        self.node.as_ref().and_then(Node::member).is_some_and(|member| member.leads())
    }

    fn options(&self, expect: usize) -> anyhow::Result<node::Options> {
        let seed = self.seed.wrapping_add(self.starts.wrapping_mul(0x9e37_79b9));
        let environment = self.environment(seed);
        let start_time_us = (environment.clock)();
        Ok(node::Options {
            name: self.name.clone(),
            pod_uid: String::new(),
            client_address: format!("{}:{CLIENT_PORT}", self.name),
            peer_address: format!("{}:{PEER_PORT}", self.name),
            expect: u32::try_from(expect)?,
            start_time_us,
            member: member::Options {
                disk: Arc::new(self.disk(seed)?),
                log: log::Options {
                    file_bytes: LOG_FILE_BYTES,
                    // So small that replication and apply also read files.
                    cache_bytes: 4 << 10,
                    offload: environment.offload.clone(),
                    ..log::Options::default()
                },
                // Everything behind a checkpoint goes: who was away is given the checkpoint.
                retain_bytes: 0,
                peer_address: format!("{}:{PEER_PORT}", self.name),
                checkpointer: checkpointer::Options {
                    seal_bytes: SEAL_BYTES,
                    interval: Duration::from_secs(3),
                },
                fetch_bytes_per_second_max: 64 << 20,
                reclaim_after: Duration::from_secs(4),
                election_timeout_min: Duration::from_millis(500),
                election_timeout_max: Duration::from_secs(1),
                heartbeat_interval: Duration::from_millis(150),
                intake: intake::Options {
                    unsealed_bytes_max: u64::MAX,
                    log_file_bytes: LOG_FILE_BYTES,
                },
                proposer: proposer::Options {
                    group_bytes_max: 64 << 10,
                    group_commands_max: 64,
                    groups_in_flight_max: 4,
                },
                environment,
            },
        })
    }

    fn disk(&self, seed: u64) -> io::Result<VolumeDisk<FaultyVolume>> {
        let disk = VolumeDisk::open(self.volume.clone(), seed)?;
        Ok(match self.bug {
            Some(Bug::AckBeforeFsync) => disk.syncing_late(LATE_SYNC),
            _ => disk,
        })
    }

    fn environment(&self, seed: u64) -> Environment {
        let offset = self.clock_offset_us;
        let clock = move || {
            let elapsed = turmoil::sim_elapsed().unwrap_or_default();
            let now_us = EPOCH_SECONDS * 1_000_000 + elapsed.as_micros() as u64;
            now_us.saturating_add_signed(offset)
        };
        let ids = Mutex::new(StdRng::seed_from_u64(seed ^ 0x1d5));
        let pace = Arc::clone(&self.pace);
        Environment {
            clock: Arc::new(clock),
            new_id: Arc::new(move || {
                let millis = clock() / 1000;
                let random: [u8; 10] = ids.lock().random();
                uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
            }),
            dial: Arc::new(SimulatedDial::new(self.name.clone())),
            offload: Offload::paced(Arc::new(move || pace.lock().next())),
        }
    }
}

/// An id that follows from a seed.
pub fn seeded_id(chance: &mut StdRng) -> Uuid {
    uuid::Builder::from_random_bytes(chance.random()).into_uuid()
}
