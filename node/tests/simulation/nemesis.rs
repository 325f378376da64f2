//! The one that disturbs: draws faults from the seed, does them between two steps of the simulation, and undoes them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use reckon_node::node::Node;
use turmoil::Sim;

use crate::bugs::Bug;
use crate::faults::Fault;
use crate::machine::Machines;
use crate::operator::{Operator, Task};
use crate::scenario::Scenario;
use crate::trace::{self, Kind};
use crate::volume::{self, Calls, Survival};

/// What is done later: mostly that something is undone.
#[derive(Debug, Clone)]
enum Later {
    Start(String),
    Repair(Vec<(String, String)>),
    Release(Vec<(String, String)>),
    Loss(String, String),
    Latency,
    Pace(Vec<String>),
    Capacity(Vec<String>),
    DiskError(String),
    /// The second half of [`Fault::ForgottenVote`], as soon as somebody leads; not after this time.
    ForgetVotes(Duration),
}

/// Faults under way, and how many there were of each kind.
pub struct Nemesis {
    chance: StdRng,
    machines: Machines,
    operator: Operator,
    scenario: Scenario,
    next: Duration,
    later: Vec<(Duration, Later)>,
    down: BTreeSet<String>,
    spares: Vec<String>,
    /// The one machine whose files are damaged in this run, and that alone loses its volume from then on: what is lost
    /// on one machine must be whole on the others.
    damaged: Option<String>,
    pub counts: BTreeMap<Fault, u64>,
}

impl Nemesis {
    /// Begins after `start`.
    pub fn new(
        scenario: &Scenario,
        machines: Machines,
        operator: Operator,
        spares: Vec<String>,
        start: Duration,
    ) -> Self {
        Self {
            chance: scenario.chance(3),
            machines,
            operator,
            scenario: scenario.clone(),
            next: start,
            later: Vec::new(),
            down: BTreeSet::new(),
            spares,
            damaged: None,
            counts: BTreeMap::new(),
        }
    }

    /// Undoes what is over, and disturbs anew when it is time.
    pub fn act(&mut self, sim: &mut Sim<'_>, now: Duration) {
        self.undo_until(sim, now);
        self.restart_the_ended(sim, now);
        if now >= self.next {
            self.disturb(sim, now);
            let mean = self.scenario.fault_every.as_millis() as u64;
            self.next =
                now + Duration::from_millis(self.chance.random_range(mean / 2..=mean * 3 / 2));
        }
    }

    /// Undoes everything.
    pub fn heal(&mut self, sim: &mut Sim<'_>) {
        self.later.retain(|(_, later)| !matches!(later, Later::ForgetVotes(_)));
        self.undo_until(sim, Duration::MAX);
    }

    /// What has ended by itself is started again, as Kubernetes would.
    pub fn restart_the_ended(&mut self, sim: &mut Sim<'_>, now: Duration) {
        for name in self.machines.names() {
            if !self.down.contains(&name) && !sim.is_host_running(name.as_str()) {
                self.down.insert(name.clone());
                self.later(now, 200..=1_000, Later::Start(name));
            }
        }
    }

    /// Undoes what is over by then.
    pub fn undo_until(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let over: Vec<_> = self.later.extract_if(.., |(at, _)| *at <= now).collect();
        for (at, later) in over {
            self.do_later(sim, at, later);
        }
    }

    fn do_later(&mut self, sim: &mut Sim<'_>, now: Duration, later: Later) {
        match later {
            Later::Start(name) => {
                // What a process wrote before it ended is in the machine's memory still; after a crash the volume is
                // the image already.
                self.down.remove(&name);
                self.machines.with(&name, |machine| {
                    machine.node = None;
                    machine.volume.freeze();
                    // After an error nobody knows what of it reached the disk.
                    let failed = machine.volume.heal() > 0;
                    let left = if failed { Survival::Nothing } else { Survival::Everything };
                    machine.volume = machine.volume.crash(left);
                });
                sim.bounce(name.as_str());
            }
            Later::Repair(pairs) => {
                for (from, to) in pairs {
                    sim.repair_oneway(from.as_str(), to.as_str());
                }
            }
            Later::Release(pairs) => {
                for (one, other) in pairs {
                    sim.release(one.as_str(), other.as_str());
                }
            }
            Later::Loss(one, other) => {
                sim.set_link_fail_rate(one.as_str(), other.as_str(), 0.0);
                sim.repair(one.as_str(), other.as_str());
            }
            Later::Latency => sim.set_max_message_latency(self.scenario.latency_max),
            Later::Pace(names) => {
                for name in names {
                    self.pace(&name, self.scenario.disk_us);
                }
            }
            Later::Capacity(names) => {
                for name in names {
                    self.machines.with(&name, |machine| machine.volume.set_capacity(None));
                }
            }
            Later::ForgetVotes(until) => self.forget_votes(sim, now, until),
            Later::DiskError(name) => {
                self.machines.with(&name, |machine| {
                    if !machine.volume.has_failed() {
                        machine.volume.heal();
                    }
                });
            }
        }
    }

    fn disturb(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let Some(victim) = self.victim() else { return };
        let fault = Fault::draw(&mut self.chance, self.scenario.bug);
        if !self.begin(sim, now, fault, &victim) {
            return;
        }
        *self.counts.entry(fault).or_default() += 1;
        trace::record(now, &victim, Kind::Fault, fault as u64);
        tracing::info!(?now, victim, fault = fault.name(), "fault");
    }

    /// Does it; false when it cannot be done now.
    fn begin(&mut self, sim: &mut Sim<'_>, now: Duration, fault: Fault, victim: &str) -> bool {
        match fault {
            Fault::Crash => {
                let survival = self.survival();
                self.crash(sim, victim, survival);
                self.later(now, 300..=4_000, Later::Start(victim.to_owned()));
            }
            Fault::PowerLoss => {
                for name in self.running() {
                    let survival = self.survival();
                    self.crash(sim, &name, survival);
                    self.later(now, 300..=2_000, Later::Start(name));
                }
            }
            Fault::Restart => {
                self.machines.with(victim, |machine| machine.stop.cancel());
                self.down.insert(victim.to_owned());
                self.later(now, 1_500..=4_000, Later::Start(victim.to_owned()));
            }
            Fault::Isolation => self.isolate(sim, now, PARTITION_MS, victim),
            Fault::OneWayPartition => self.cut_one_way(sim, now, victim),
            Fault::Pause => return self.hold(sim, now, victim),
            Fault::MessageLoss => self.lose_messages(sim, now, victim),
            Fault::MessageDelay => {
                let most = Duration::from_millis(self.chance.random_range(100..=600));
                sim.set_max_message_latency(most);
                self.later(now, 500..=4_000, Later::Latency);
            }
            Fault::SlowDisk => {
                let most_us = self.chance.random_range(50_000..=800_000);
                let victims = self.one_or_all(victim);
                for name in &victims {
                    self.pace(name, (most_us / 10, most_us));
                }
                self.later(now, 500..=4_000, Later::Pace(victims));
            }
            Fault::FullDisk => self.fill_disks(now, victim),
            Fault::Transfer => self.operator.ask(Task::Transfer),
            Fault::Checkpoint => self.operator.ask(Task::Checkpoint),
            Fault::NewMember => {
                let Some(spare) = self.spares.pop() else { return false };
                self.operator.nodes.borrow_mut().push(spare.clone());
                self.operator.ask(Task::TakeIn(spare));
            }
            Fault::VolumeLoss => return self.lose_volume(sim, now, victim),
            Fault::Damage => return self.damage(),
            Fault::DiskError => self.break_disk(now, victim),
            Fault::ForgottenVote => {
                if !self.machines.with(victim, |machine| machine.leads()) {
                    return false;
                }
                let survival = self.survival();
                self.crash(sim, victim, survival);
                self.later(now, 1_000..=2_500, Later::Start(victim.to_owned()));
                let until = now + FORGOTTEN_VOTE_MAX;
                self.later.push((now + LOOK_AGAIN, Later::ForgetVotes(until)));
            }
        }
        true
    }

    fn survival(&mut self) -> Survival {
        let drawn = self.chance.random();
        match self.chance.random_range(0..4) {
            0 => Survival::Everything,
            1 => Survival::Some(drawn),
            2 => Survival::Torn(drawn),
            _ => Survival::Nothing,
        }
    }

    /// The disk stands still before the process dies: what is dropped must not tidy up.
    fn crash(&mut self, sim: &mut Sim<'_>, name: &str, survival: Survival) {
        self.machines.with(name, |machine| {
            machine.volume.freeze();
            machine.node = None;
        });
        sim.crash(name);
        self.machines.with(name, |machine| machine.volume = machine.volume.crash(survival));
        self.down.insert(name.to_owned());
    }

    fn isolate(
        &mut self,
        sim: &mut Sim<'_>,
        now: Duration,
        for_ms: RangeInclusive<u64>,
        victim: &str,
    ) {
        let both = |other: String| [(victim.to_owned(), other.clone()), (other, victim.to_owned())];
        let pairs: Vec<_> = self.others(victim).into_iter().flat_map(both).collect();
        self.cut(sim, now, for_ms, pairs);
    }

    fn cut_one_way(&mut self, sim: &mut Sim<'_>, now: Duration, victim: &str) {
        let outgoing = self.chance.random();
        let mut pairs = Vec::new();
        for other in self.others(victim) {
            if self.chance.random_ratio(2, 3) {
                let pair = (victim.to_owned(), other);
                pairs.push(if outgoing { pair } else { (pair.1, pair.0) });
            }
        }
        self.cut(sim, now, PARTITION_MS, pairs);
    }

    fn cut(
        &mut self,
        sim: &mut Sim<'_>,
        now: Duration,
        for_ms: RangeInclusive<u64>,
        pairs: Vec<(String, String)>,
    ) {
        for (from, to) in &pairs {
            sim.partition_oneway(from.as_str(), to.as_str());
        }
        self.later(now, for_ms, Later::Repair(pairs));
    }

    /// As a process that is stopped and goes on: nothing comes out, nothing goes in, and then all at once. turmoil cannot
    /// hold what is also cut.
    fn hold(&mut self, sim: &mut Sim<'_>, now: Duration, victim: &str) -> bool {
        if self.later.iter().any(|(_, later)| matches!(later, Later::Repair(_) | Later::Loss(..))) {
            return false;
        }
        let pairs: Vec<_> =
            self.others(victim).into_iter().map(|other| (victim.to_owned(), other)).collect();
        for (one, other) in &pairs {
            sim.hold(one.as_str(), other.as_str());
        }
        self.later(now, 200..=2_500, Later::Release(pairs));
        true
    }

    fn lose_messages(&mut self, sim: &mut Sim<'_>, now: Duration, victim: &str) {
        let others = self.others(victim);
        let other = others[self.chance.random_range(0..others.len())].clone();
        sim.set_link_fail_rate(victim, other.as_str(), 0.05);
        self.later(now, 500..=4_000, Later::Loss(victim.to_owned(), other));
    }

    fn fill_disks(&mut self, now: Duration, victim: &str) {
        let victims = self.one_or_all(victim);
        for name in &victims {
            self.machines.with(name, |machine| {
                let used = machine.volume.used_bytes();
                machine.volume.set_capacity(Some(used + DISK_LEFT_BYTES));
            });
        }
        self.later(now, 1_000..=4_000, Later::Capacity(victims));
    }

    /// A volume is lost for good; the machine comes back empty, as somebody else. One at a time.
    fn lose_volume(&mut self, sim: &mut Sim<'_>, now: Duration, victim: &str) -> bool {
        let elsewhere = self.damaged.as_deref().is_some_and(|damaged| damaged != victim);
        if elsewhere || !self.operator.idle() || self.spares.iter().any(|spare| spare == victim) {
            return false;
        }
        let identity = self.machines.with(victim, |machine| {
            let member = machine.node.as_ref().and_then(Node::member);
            member.map(|member| member.identity().clone())
        });
        let reused = identity.filter(|_| self.scenario.bug == Some(Bug::NodeIdReused));
        let replaced = reused.is_none();
        self.crash(sim, victim, Survival::Nothing);
        self.machines.wipe(victim, reused);
        self.later(now, 300..=1_500, Later::Start(victim.to_owned()));
        if replaced {
            self.operator.ask(Task::Remove(victim.to_owned()));
            self.operator.ask(Task::TakeIn(victim.to_owned()));
        }
        true
    }

    /// Bytes of a sealed file rot, in place.
    fn damage(&mut self) -> bool {
        if self.damaged.is_none() {
            // While somebody is being replaced the store has no copy to spare.
            let Some(victim) = self.victim().filter(|_| self.operator.idle()) else { return false };
            self.damaged = Some(victim);
        }
        let name = self.damaged.clone().expect("it is chosen");
        let chance = &mut self.chance;
        self.machines.with(&name, |machine| {
            let sealed = |path: &str| {
                let in_place = path.starts_with("records/") || path.starts_with("runs/");
                // What is being written has another ending.
                in_place && !path.contains('.')
            };
            let mut files = machine.volume.files();
            files.retain(|(path, bytes)| sealed(path) && *bytes > 0);
            if files.is_empty() {
                return false;
            }
            let (path, bytes) = &files[chance.random_range(0..files.len())];
            let rotten: [u8; 64] = chance.random();
            machine.volume.overwrite(path, chance.random_range(0..*bytes), &rotten);
            machine.harmed = true;
            true
        })
    }

    fn break_disk(&mut self, now: Duration, victim: &str) {
        let calls = [Calls::Changes, Calls::Growth, Calls::Syncs, Calls::Reads];
        let calls = calls[self.chance.random_range(0..calls.len())];
        let (after, times) = (self.chance.random_range(0..100), self.chance.random_range(1..=3));
        self.machines.with(victim, |machine| {
            machine.volume.fail(calls, after, times, volume::Fault::Eio);
            machine.harmed = true;
        });
        self.later(now, 1_000..=4_000, Later::DiskError(victim.to_owned()));
    }

    /// Once somebody else leads, those who voted for it lose their power, and the new leader its connections: whom they
    /// have voted for they must still know.
    fn forget_votes(&mut self, sim: &mut Sim<'_>, now: Duration, until: Duration) {
        let running = self.running();
        let leads = |name: &String| self.machines.with(name, |machine| machine.leads());
        let Some(leader) = running.iter().find(|name| leads(name)).cloned() else {
            if now < until {
                self.later.push((now + LOOK_AGAIN, Later::ForgetVotes(until)));
            }
            return;
        };
        self.isolate(sim, now, 2_500..=4_000, &leader);
        for name in running.into_iter().filter(|name| *name != leader) {
            self.crash(sim, &name, Survival::Nothing);
            self.later(now, 100..=300, Later::Start(name));
        }
    }

    fn pace(&self, name: &str, (least_us, most_us): (u64, u64)) {
        self.machines.with(name, |machine| {
            let mut pace = machine.pace.lock();
            pace.least_us = least_us;
            pace.most_us = most_us;
        });
    }

    fn later(&mut self, now: Duration, after_ms: RangeInclusive<u64>, what: Later) {
        let after = Duration::from_millis(self.chance.random_range(after_ms));
        self.later.push((now + after, what));
    }

    fn others(&self, victim: &str) -> Vec<String> {
        self.machines.names().into_iter().filter(|name| name != victim).collect()
    }

    fn running(&self) -> Vec<String> {
        self.machines.names().into_iter().filter(|name| !self.down.contains(name)).collect()
    }

    fn one_or_all(&mut self, victim: &str) -> Vec<String> {
        if self.chance.random() { self.machines.names() } else { vec![victim.to_owned()] }
    }

    /// A machine that runs: any, or, as often, one that leads or believes that it does.
    fn victim(&mut self) -> Option<String> {
        let mut running = self.running();
        if self.chance.random() {
            let leads = |name: &String| self.machines.with(name, |machine| machine.leads());
            let leaders: Vec<_> = running.iter().filter(|name| leads(name)).cloned().collect();
            if !leaders.is_empty() {
                running = leaders;
            }
        }
        let choice = self.chance.random_range(0..running.len().max(1));
        running.get(choice).cloned()
    }
}

/// How long an election is waited for that is to be forgotten.
const FORGOTTEN_VOTE_MAX: Duration = Duration::from_secs(3);
/// When it is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// How long a partition lasts, milliseconds.
const PARTITION_MS: RangeInclusive<u64> = 500..=5_000;
/// Room that a filled disk has left: below what the node keeps back, and enough for what is under way.
const DISK_LEFT_BYTES: u64 = 1 << 20;
