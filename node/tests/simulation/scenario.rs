//! What a seed stands for: the size of the store, how it comes to be, what clients do, and which faults are likely.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::bugs::Bug;
use crate::delivery::plan::Plan;
use crate::workload::Mix;

/// One run before it begins. The same seed draws the same one.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    /// Nodes that found the store.
    pub founders: usize,
    /// Nodes that are put up later.
    pub spares: usize,
    /// Whether the nodes found the store by themselves; otherwise the operator does.
    pub expect: bool,
    pub clients: usize,
    /// Simulated time under faults.
    pub duration: Duration,
    /// The mean time between two faults.
    pub fault_every: Duration,
    /// The longest latency of an undisturbed network.
    pub latency_max: Duration,
    /// How long pieces of disk work take on an undisturbed machine, from and to, microseconds.
    pub disk_us: (u64, u64),
    /// How far the machines' clocks are apart at most, microseconds.
    pub clock_offset_us_max: i64,
    pub mix: Mix,
    /// Subscriptions and followers.
    pub deliveries: Plan,
    /// A known bug that is put back.
    pub bug: Option<Bug>,
}

impl Scenario {
    /// Draws a scenario; `duration` replaces what would be drawn.
    pub fn draw(seed: u64, duration: Option<Duration>, bug: Option<Bug>) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let founders = if chance.random_ratio(3, 4) { 3 } else { 5 };
        let drawn = Duration::from_secs(chance.random_range(10..=16));
        let streams = chance.random_range(3..=6);
        Self {
            seed,
            bug,
            founders,
            spares: usize::from(chance.random_ratio(1, 2)),
            expect: chance.random(),
            clients: chance.random_range(3..=5),
            duration: duration.unwrap_or(drawn),
            fault_every: Duration::from_millis(chance.random_range(800..=3_000)),
            latency_max: Duration::from_millis(chance.random_range(3..=15)),
            disk_us: match chance.random_range(0..6) {
                0 => (20_000, 250_000),
                1 | 2 => (2_000, 40_000),
                _ => (100, 4_000),
            },
            clock_offset_us_max: if chance.random() { 0 } else { 2_000_000 },
            mix: Mix {
                streams,
                pause_ms_max: chance.random_range(50..=200),
                conditions: chance.random(),
                removals: chance.random(),
            },
            deliveries: Plan::draw(&mut chance, streams),
        }
    }

    /// A source of chance of its own for a part of the run, so that parts do not disturb each other.
    pub fn chance(&self, part: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.rotate_left(17) ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}
