//! Deliveries in a run: subscriptions with consumers that misbehave, and followers. Everything they are told and say goes
//! into ledgers, by which `checks` judges.
//!
//! Each subscription has a simulated host of its own, on which its consumers and its keeper live; the followers share
//! one. A keeper creates its subscription, looks at it, replays and discards what was parked, and finds out in the end
//! whether all was done. Once the run's faults are over consumers behave well.

pub mod ledger;
pub mod plan;

mod consumer;
mod follower;
mod keeper;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::future;
use serde::{Deserialize, Serialize};
use turmoil::Sim;

use crate::history::{History, Seen};
use crate::scenario::Scenario;
use ledger::{FollowerLedger, FollowerNote, Ledger, Note};
use plan::{Plan, Planned, PlannedFollower};

/// One subscription in a run: what it is, and what its consumers were told and said.
#[derive(Debug, Clone)]
pub struct Consumed {
    pub planned: Planned,
    pub ledger: Ledger,
    /// What its keeper waits for.
    pub stage: Rc<RefCell<String>>,
}

/// One follower in a run, and what it was told.
#[derive(Debug, Clone)]
pub struct Followed {
    pub planned: PlannedFollower,
    pub ledger: FollowerLedger,
    pub stage: Rc<RefCell<String>>,
}

/// What everybody in here knows of the run.
#[derive(Debug, Clone)]
struct Around {
    nodes: Rc<RefCell<Vec<String>>>,
    history: History,
    /// The faults are over, and clients end.
    ending: Rc<Cell<bool>>,
}

/// What was delivered in a run, in numbers.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Calls of consumers that were taken in.
    pub consumers: usize,
    pub delivered: usize,
    /// Of those, not for the first time.
    pub redelivered: usize,
    /// Of those, after they had been parked.
    pub replayed: usize,
    pub resets: usize,
    /// Events that followers were told.
    pub followed: usize,
}

impl Counts {
    /// Adds those of another run.
    pub const fn add(&mut self, other: &Self) {
        self.consumers += other.consumers;
        self.delivered += other.delivered;
        self.redelivered += other.redelivered;
        self.replayed += other.replayed;
        self.resets += other.resets;
        self.followed += other.followed;
    }
}

/// All deliveries of a run.
#[derive(Debug, Clone, Default)]
pub struct Deliveries {
    pub consumed: Vec<Consumed>,
    pub followed: Vec<Followed>,
    /// Keepers and followers that are not at their end.
    open: Rc<Cell<usize>>,
}

impl Deliveries {
    /// Starts everybody whom the scenario plans.
    pub fn start(
        sim: &mut Sim<'_>,
        scenario: &Scenario,
        nodes: &Rc<RefCell<Vec<String>>>,
        history: &History,
        ending: &Rc<Cell<bool>>,
    ) -> Self {
        let around =
            Around { nodes: Rc::clone(nodes), history: history.clone(), ending: Rc::clone(ending) };
        let Plan { subscriptions, followers } = &scenario.deliveries;
        let mut all = Self::default();
        for (number, planned) in subscriptions.iter().enumerate() {
            let consumed = Consumed {
                planned: planned.clone(),
                ledger: Ledger::default(),
                stage: Rc::default(),
            };
            all.consumed.push(consumed.clone());
            all.open.update(|open| open + 1);
            all.start_subscription(sim, scenario, number as u64, consumed, &around);
        }
        let mut following = Vec::new();
        for (number, planned) in followers.iter().enumerate() {
            let followed = Followed {
                planned: planned.clone(),
                ledger: FollowerLedger::default(),
                stage: Rc::default(),
            };
            all.followed.push(followed.clone());
            all.open.update(|open| open + 1);
            let chance = scenario.chance(300 + number as u64);
            let open = Rc::clone(&all.open);
            let following_one = follower::run(followed, around.clone(), chance);
            following.push(async move {
                following_one.await;
                open.update(|open| open - 1);
            });
        }
        if !following.is_empty() {
            sim.client("followers", async move {
                future::join_all(following).await;
                Ok(())
            });
        }
        all
    }

    fn start_subscription(
        &self,
        sim: &mut Sim<'_>,
        scenario: &Scenario,
        number: u64,
        consumed: Consumed,
        around: &Around,
    ) {
        let host = format!("subscription-{number}");
        let done = Rc::new(Cell::new(false));
        let parts = 400 + 100 * number;
        let consumers = (0_u64..).zip(consumed.planned.consumers.clone());
        let consumers: Vec<_> = consumers
            .map(|(consumer, planned)| {
                let chance = scenario.chance(parts + 1 + consumer);
                consumer::run(
                    host.clone(),
                    (consumer, planned),
                    consumed.clone(),
                    around.clone(),
                    Rc::clone(&done),
                    chance,
                )
            })
            .collect();
        let keeping = keeper::run(host.clone(), consumed, around.clone(), scenario.chance(parts));
        let open = Rc::clone(&self.open);
        sim.client(host.as_str(), async move {
            let keeping = async {
                keeping.await;
                done.set(true);
            };
            Box::pin(future::join(keeping, future::join_all(consumers))).await;
            open.update(|open| open - 1);
            Ok(())
        });
    }

    /// Whether everything was delivered, as far as those can tell who wait for it.
    pub fn is_done(&self) -> bool {
        self.open.get() == 0
    }

    /// Every event that a consumer or a follower was given.
    pub fn seen(&self) -> Vec<Seen> {
        let mut all = Vec::new();
        for consumed in &self.consumed {
            all.extend(consumed.ledger.notes().iter().filter_map(|note| match note {
                Note::Delivered { delivery, .. } => Some(delivery.seen.clone()),
                _ => None,
            }));
        }
        for followed in &self.followed {
            all.extend(followed.ledger.notes().iter().filter_map(|note| match note {
                FollowerNote::Told(seen) => Some(seen.clone()),
                _ => None,
            }));
        }
        all
    }

    /// Shows the ledgers to whoever reads the log (`RUST_LOG=simulation=trace`).
    pub fn tell(&self) {
        for Consumed { planned, ledger, .. } in &self.consumed {
            for (place, note) in ledger.notes().iter().enumerate() {
                tracing::trace!(subscription = planned.name, place, ?note);
            }
        }
    }

    /// What was delivered, in numbers.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for consumed in &self.consumed {
            for note in consumed.ledger.notes().iter() {
                match note {
                    Note::Opened { .. } => counts.consumers += 1,
                    Note::Delivered { delivery, .. } => {
                        counts.delivered += 1;
                        counts.redelivered += usize::from(delivery.attempt > 1);
                        counts.replayed += usize::from(delivery.replayed);
                    }
                    Note::Reset { .. } => counts.resets += 1,
                    _ => {}
                }
            }
        }
        let told = |note: &&FollowerNote| matches!(note, FollowerNote::Told(_));
        for followed in &self.followed {
            counts.followed += followed.ledger.notes().iter().filter(told).count();
        }
        counts
    }

    /// What is still waited for.
    pub fn pending(&self) -> Vec<String> {
        let consumed = self.consumed.iter().map(|it| &it.stage);
        let stages = consumed.chain(self.followed.iter().map(|it| &it.stage));
        let stages = stages.map(|stage| stage.borrow().clone());
        stages.filter(|stage| !stage.is_empty()).collect()
    }
}

fn now() -> std::time::Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}
