//! One seed, from an empty store over faults to the checks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rand::RngExt as _;
use reckon_api::v1;
use reckon_node::raft::runtime::Randomness;
use serde::{Deserialize, Serialize};
use tonic::Request;
use turmoil::Sim;
use v1::streams_client::StreamsClient;

use crate::checks::replicas::{self, Replica};
use crate::checks::{Violation, consumers, followers, order};
use crate::client::{Client, read_all};
use crate::delivery::{Counts, Deliveries};
use crate::history::{History, Outcome};
use crate::machine::Machines;
use crate::nemesis::Nemesis;
use crate::network::SimulatedDial;
use crate::operator::{self, Operator, Task};
use crate::scenario::Scenario;
use crate::trace::{self, Kind};
use crate::{workload, world};

/// One step of the simulation. Everything within it happens at the same time as far as faults are concerned.
const TICK: Duration = Duration::from_millis(2);
/// Simulated time within which a store must be open after its nodes started.
const FOUNDING_MAX: Duration = Duration::from_mins(1);
/// Simulated time within which a healed store must serve, and finish what its operator was asked.
const RECOVERY_MAX: Duration = Duration::from_mins(1);

/// What a run came to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    pub seed: u64,
    /// How often it ran again with the same trace.
    pub runs: u64,
    /// Broken promises: the name of the check and the evidence.
    pub violations: Vec<(String, String)>,
    pub trace: u64,
    pub trace_events: u64,
    pub simulated_ms: u64,
    pub faults: BTreeMap<String, u64>,
    pub operations: usize,
    pub unknown: usize,
    pub reads: usize,
    pub events: usize,
    pub undecided: usize,
    /// How long the healed store took to serve, milliseconds.
    pub recovery_ms: u64,
    pub seals: u64,
    pub deliveries: Counts,
}

/// The parts of a run.
struct Run<'s> {
    sim: Sim<'s>,
    scenario: Scenario,
    machines: Machines,
    operator: Operator,
    history: History,
    deliveries: Deliveries,
    ending: Rc<Cell<bool>>,
}

/// Runs a seed in this process, which must not have run another one.
pub fn run(scenario: &Scenario) -> Report {
    let mut run = Run::new(scenario);
    let mut report = Report { seed: scenario.seed, ..Report::default() };
    if let Err(violation) = run.through(&mut report) {
        report.violations.push((violation.check.to_owned(), violation.what));
    }
    for exit in run.machines.exits() {
        let what = format!("{} ended at {:?}: {}", exit.machine, exit.at, exit.why);
        report.violations.push(("nodes-live".to_owned(), what));
    }
    for name in run.machines.names() {
        // Raft and the sealing rule out what the checker calls that; so it must not see it either, whatever was lost,
        // cut off or late. A bug that is put back may well split the store.
        let split_brains =
            run.machines.with(&name, |machine| machine.metrics.health().split_brains());
        if split_brains > 0 && scenario.bug.is_none() {
            let what = format!("{name} saw the store split {split_brains} times");
            report.violations.push(("nobody-sees-a-split".to_owned(), what));
        }
        let changes = run.machines.with(&name, |machine| machine.volume.changes());
        trace::record(run.sim.elapsed(), &name, Kind::Ended, changes);
    }
    report.simulated_ms = run.sim.elapsed().as_millis() as u64;
    (report.trace, report.trace_events) = trace::summary();
    report
}

impl Run<'_> {
    fn new(scenario: &Scenario) -> Self {
        Randomness::seed(scenario.seed);
        let founders: Vec<_> = (1..=scenario.founders).map(|n| format!("node-{n}")).collect();
        let expect = if scenario.expect { founders.clone() } else { Vec::new() };
        let machines = Machines::new(expect, scenario);
        let mut sim = turmoil::Builder::new()
            .rng_seed(scenario.seed)
            .simulation_duration(Duration::from_hours(1))
            .tick_duration(TICK)
            .min_message_latency(Duration::ZERO)
            .max_message_latency(scenario.latency_max)
            .tcp_capacity(1 << 16)
            .enable_random_order()
            .build();
        let mut chance = scenario.chance(1);
        let names = founders.iter().cloned().chain(spares(scenario));
        for name in names {
            let most = scenario.clock_offset_us_max;
            machines.add(&name, chance.random(), chance.random_range(-most..=most));
            let (all, own) = (machines.clone(), name.clone());
            sim.host(name.as_str(), move || all.clone().run(own.clone()));
        }
        let operator = Operator::default();
        operator.nodes.borrow_mut().extend(founders.iter().cloned());
        operator.ask(if scenario.expect {
            Task::AwaitOpen(scenario.founders)
        } else {
            Task::Found(founders)
        });
        let ending = Rc::new(Cell::new(false));
        sim.client("operator", operator.clone().run(Rc::clone(&ending)));
        let (history, deliveries) = (History::default(), Deliveries::default());
        Self { sim, scenario: scenario.clone(), machines, operator, history, deliveries, ending }
    }

    fn through(&mut self, report: &mut Report) -> Result<(), Violation> {
        self.step_until(FOUNDING_MAX, "the store is open", |run| run.operator.idle())?;
        self.start_clients();
        let start = self.sim.elapsed();
        let spares = spares(&self.scenario).collect();
        let mut nemesis = Nemesis::new(
            &self.scenario,
            self.machines.clone(),
            self.operator.clone(),
            spares,
            start,
        );
        while self.sim.elapsed() < start + self.scenario.duration {
            let now = self.sim.elapsed();
            nemesis.act(&mut self.sim, now);
            self.step()?;
        }
        nemesis.heal(&mut self.sim);
        let healed = self.sim.elapsed();
        report.faults =
            nemesis.counts.iter().map(|(kind, count)| (kind.name().to_owned(), *count)).collect();
        self.ending.set(true);
        let found = self.start_audit();
        let end = healed + RECOVERY_MAX;
        while found.borrow().is_none() {
            let now = self.sim.elapsed();
            if now > end {
                return Err(self.not_at_its_end());
            }
            nemesis.restart_the_ended(&mut self.sim, now);
            nemesis.undo_until(&mut self.sim, now);
            self.step()?;
        }
        report.recovery_ms = self.sim.elapsed().saturating_sub(healed).as_millis() as u64;
        let found = found.borrow_mut().take().expect("the audit has ended");
        self.check(&found, report);
        Ok(())
    }

    /// What a run that should have ended by now still waits for.
    fn not_at_its_end(&self) -> Violation {
        self.deliveries.tell();
        let pending = self.operator.pending();
        if pending.is_empty() && !self.history.pending() && !self.deliveries.is_done() {
            let pending = self.deliveries.pending().join("; ");
            let what = format!("{RECOVERY_MAX:?} after everything was healed: {pending}");
            return Violation::new("all-is-delivered", what);
        }
        Violation::new(
            "serves-again",
            format!("{RECOVERY_MAX:?} after everything was healed; still to do: {pending:?}"),
        )
    }

    fn check(&self, found: &[Replica], report: &mut Report) {
        let contents = &found[0].events;
        self.deliveries.tell();
        let delivered = self.deliveries.seen();
        let (mut violations, counts) = order::check(&self.history, contents, &delivered);
        violations.extend(replicas::check(found, &[]));
        for consumed in &self.deliveries.consumed {
            let told = consumers::check(consumed, &self.history, contents);
            violations.extend(told);
        }
        for followed in &self.deliveries.followed {
            violations.extend(followers::check(followed, contents));
        }
        report.deliveries = self.deliveries.counts();
        report.operations = counts.operations;
        report.unknown = counts.unknown;
        report.reads = counts.reads;
        report.events = counts.events;
        report.undecided = counts.undecided;
        report.seals = found.iter().map(|replica| replica.seal.0).max().unwrap_or_default();
        let violations = violations.into_iter().map(|found| (found.check.to_owned(), found.what));
        report.violations.extend(violations);
    }

    fn step(&mut self) -> Result<(), Violation> {
        world::set_now(self.sim.elapsed());
        match self.sim.step() {
            Ok(_) => Ok(()),
            Err(error) => Err(Violation::new("no-panic", error.to_string())),
        }
    }

    fn step_until(
        &mut self,
        limit: Duration,
        what: &str,
        done: impl Fn(&Self) -> bool,
    ) -> Result<(), Violation> {
        let end = self.sim.elapsed() + limit;
        while !done(self) {
            if self.sim.elapsed() > end {
                return Err(Violation::new(
                    "serves-again",
                    format!("not within {limit:?}: {what}"),
                ));
            }
            self.step()?;
        }
        Ok(())
    }

    fn start_clients(&mut self) {
        for number in 0..self.scenario.clients {
            let host = format!("client-{number}");
            let nodes = self.operator.nodes.borrow().clone();
            let client = Client::new(&host, nodes, self.scenario.chance(100 + number as u64));
            let mix = self.scenario.mix.clone();
            let (history, ending) = (self.history.clone(), Rc::clone(&self.ending));
            self.sim.client(host.as_str(), workload::run(number, client, mix, history, ending));
        }
        let nodes = &self.operator.nodes;
        self.deliveries =
            Deliveries::start(&mut self.sim, &self.scenario, nodes, &self.history, &self.ending);
    }

    /// Waits until clients and operator have ended, everything is delivered and every member serves, and reads all of
    /// every member.
    fn start_audit(&mut self) -> Rc<RefCell<Option<Vec<Replica>>>> {
        let found = Rc::new(RefCell::new(None));
        let (result, operator) = (Rc::clone(&found), self.operator.clone());
        let (history, deliveries) = (self.history.clone(), self.deliveries.clone());
        self.sim.client("auditor", async move {
            while !operator.idle() || history.pending() || !deliveries.is_done() {
                tokio::time::sleep(AUDIT_AGAIN).await;
            }
            let nodes = operator.nodes.borrow().clone();
            let dial = SimulatedDial::new("auditor");
            let mut replicas = Vec::new();
            for node in nodes {
                loop {
                    if let Some(replica) = audit(&dial, &node).await {
                        replicas.push(replica);
                        break;
                    }
                    tokio::time::sleep(AUDIT_AGAIN).await;
                }
            }
            *result.borrow_mut() = Some(replicas);
            Ok(())
        });
        found
    }
}

/// The pause before something is looked at again.
const AUDIT_AGAIN: Duration = Duration::from_millis(200);

/// Everything that a node has, if it serves.
async fn audit(dial: &SimulatedDial, node: &str) -> Option<Replica> {
    let request = v1::ReadAllRequest { include_system: true, ..v1::ReadAllRequest::default() };
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_secs(5));
    let mut client = StreamsClient::new(dial.client_port(node));
    let reading = async {
        let pages = client.read_all(request).await?;
        read_all(pages.into_inner()).await
    };
    let read = tokio::time::timeout(Duration::from_secs(8), reading).await.ok()?.ok()?;
    let Outcome::All { next_position, events } = read else { return None };
    let status = operator::status(dial, node).await.ok()?;
    let seal = (status.seal, status.digest);
    Some(Replica { node: node.to_owned(), next_position, events, seal })
}

fn spares(scenario: &Scenario) -> impl Iterator<Item = String> + use<> {
    let founders = scenario.founders;
    (1..=scenario.spares).map(move |n| format!("node-{}", founders + n))
}
