//! The dispatch against a model that says what must hold whatever happens: who holds which event, and why.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone)]
enum Step {
    Offer {
        key: Index,
    },
    Attach {
        demand: Option<u64>,
        window: usize,
    },
    Detach {
        consumer: Index,
    },
    Demand {
        consumer: Index,
        add: u64,
    },
    HandOut {
        most: usize,
    },
    /// Settles one of all deliveries there ever were.
    Settle {
        delivery: Index,
        how: How,
    },
    AckUpto {
        delivery: Index,
    },
    AckEverything {
        position: Index,
    },
    Wait {
        ms: u64,
    },
    /// Another leader goes on from what was written down.
    ChangeLeader,
    Report,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Ack,
    Skip,
    Retry(Option<u64>),
    Park,
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![
        8 => Just(How::Ack),
        1 => Just(How::Skip),
        3 => prop::option::of(0_u64..50).prop_map(How::Retry),
        1 => Just(How::Park),
    ];
    prop_oneof![
        10 => any::<Index>().prop_map(|key| Step::Offer { key }),
        2 => (prop::option::of(0_u64..6), 1_usize..4)
            .prop_map(|(demand, window)| Step::Attach { demand, window }),
        1 => any::<Index>().prop_map(|consumer| Step::Detach { consumer }),
        3 => (any::<Index>(), 1_u64..5).prop_map(|(consumer, add)| Step::Demand { consumer, add }),
        8 => (1_usize..8).prop_map(|most| Step::HandOut { most }),
        16 => (any::<Index>(), how).prop_map(|(delivery, how)| Step::Settle { delivery, how }),
        1 => any::<Index>().prop_map(|delivery| Step::AckUpto { delivery }),
        1 => any::<Index>().prop_map(|position| Step::AckEverything { position }),
        3 => (1_u64..80).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::ChangeLeader),
        1 => Just(Step::Report),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    (1_usize..4, 0_u32..3, 1_usize..8, any::<bool>()).prop_map(
        |(pool_size, max_retries, max_in_flight, hold_key)| Settings {
            pool_size,
            ack_timeout_ms: 60,
            max_retries,
            backoff_ms_min: 5,
            backoff_ms_max: 20,
            max_in_flight,
            buffer_size: 1_000,
            strategy: Overflow::Block,
            hold_key,
        },
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    Parked,
}

#[derive(Debug, Clone)]
struct Given {
    consumer: ConsumerId,
    id: u64,
    position: u64,
}

#[derive(Debug, Default)]
struct Model {
    keys: BTreeMap<u64, &'static str>,
    ended: BTreeMap<u64, End>,
    failures: BTreeMap<u64, u32>,
    /// Who holds an event, and under which id.
    held: BTreeMap<u64, (ConsumerId, u64)>,
    since: BTreeMap<&'static str, u64>,
    not_before: BTreeMap<u64, u64>,
    epochs: BTreeMap<&'static str, u64>,
    holding_keys: BTreeSet<&'static str>,
    consumers: BTreeMap<ConsumerId, (Option<u64>, usize)>,
    given: Vec<Given>,
    next_position: u64,
    next_consumer: u64,
    now: u64,
}

struct Tested {
    settings: Settings,
    dispatch: Dispatch<u64>,
    model: Model,
}

impl Tested {
    fn new(settings: Settings) -> Self {
        let dispatch = Dispatch::new(settings.clone(), 0);
        Self { settings, dispatch, model: Model::default() }
    }

    fn offer(&mut self, position: u64) {
        let key = self.model.keys[&position];
        let failures = self.model.failures.get(&position).copied().unwrap_or(0);
        let offered = Offered {
            position,
            key: key.into(),
            weight: 1,
            event: position,
            failures,
            replayed: false,
        };
        self.dispatch.offer(offered).unwrap();
        if self.model.holding_keys.contains(key) {
            self.model.ended.insert(position, End::Parked);
        }
    }

    fn unfinished_of(&self, key: &str) -> Vec<u64> {
        let of_key = self.model.keys.iter().filter(|(_, of)| **of == key);
        of_key.map(|(&at, _)| at).filter(|at| !self.model.ended.contains_key(at)).collect()
    }

    fn end(&mut self, position: u64, end: End) {
        let key = self.model.keys[&position];
        self.model.held.remove(&position);
        self.model.not_before.remove(&position);
        self.model.ended.insert(position, end);
        self.model.since.insert(key, self.model.now);
        if end == End::Parked && self.settings.hold_key {
            self.model.holding_keys.insert(key);
            for behind in self.unfinished_of(key) {
                self.model.held.remove(&behind);
                self.model.not_before.remove(&behind);
                self.model.ended.insert(behind, End::Parked);
            }
        }
    }

    fn fail(&mut self, position: u64, after: Option<u64>) {
        let failures = self.model.failures.entry(position).or_default();
        *failures += 1;
        let failures = *failures;
        let key = self.model.keys[&position];
        let behind = self.unfinished_of(key).into_iter().filter(|&at| at >= position);
        for at in behind {
            self.model.held.remove(&at);
        }
        if failures > self.settings.max_retries {
            self.end(position, End::Parked);
        } else {
            let pause = after.unwrap_or_else(|| self.settings.backoff_ms(failures));
            self.model.not_before.insert(position, self.model.now + pause);
        }
    }

    fn hand_out(&mut self, most: usize) {
        for _ in 0..most {
            let Some(delivery) = self.dispatch.next(self.model.now) else { return };
            self.check_delivery(&delivery);
        }
    }

    fn check_delivery(&mut self, delivery: &Delivery<u64>) {
        let Delivery { consumer, id, position, epoch, .. } = *delivery;
        assert_eq!(delivery.event, position);
        let key = self.model.keys[&position];
        assert!(!self.model.ended.contains_key(&position), "delivered although it is done");
        assert!(!self.model.held.contains_key(&position), "delivered while somebody holds it");
        let not_before = self.model.not_before.get(&position).copied().unwrap_or(0);
        assert!(not_before <= self.model.now, "tried again too early");
        let (demand, window) = self.model.consumers.get_mut(&consumer).expect("a consumer");
        let window = *window;
        if let Some(wanted) = demand {
            assert!(*wanted > 0, "nobody asked for it");
            *wanted -= 1;
        }
        let served = self.model.consumers.keys().take(self.settings.pool_size);
        assert!(served.into_iter().any(|it| *it == consumer), "to one that stands by");
        let before: Vec<u64> =
            self.unfinished_of(key).into_iter().filter(|&at| at < position).collect();
        for at in &before {
            let holder = self.model.held.get(at).map(|(holder, _)| *holder);
            assert_eq!(holder, Some(consumer), "an earlier event of the key is elsewhere");
        }
        assert!(before.len() < window, "more of a key than the consumer takes");
        let known = self.model.epochs.entry(key).or_default();
        assert!(epoch >= *known, "the epoch of a key went back");
        let holds_of_key = before.iter().any(|at| self.model.held.contains_key(at));
        assert!(epoch == *known || !holds_of_key, "what its consumer may keep would be void");
        *known = epoch;
        if before.is_empty() {
            self.model.since.insert(key, self.model.now);
        }
        self.model.held.insert(position, (consumer, id));
        assert!(self.model.held.len() <= self.settings.max_in_flight);
        self.model.given.push(Given { consumer, id, position });
    }

    fn settle(&mut self, given: &Given, how: How) {
        let Given { consumer, id, position } = *given;
        let reason = "because".to_owned();
        let settlement = match how {
            How::Ack => Settlement::Ack,
            How::Skip => Settlement::Skip,
            How::Retry(after_ms) => Settlement::Retry { reason, after_ms },
            How::Park => Settlement::Park { reason },
        };
        let is_its = self.model.held.get(&position) == Some(&(consumer, id));
        let taken = self.dispatch.settle(consumer, id, settlement, self.model.now);
        assert_eq!(taken, is_its, "of a delivery that is (not) its own any more");
        if !is_its {
            return;
        }
        match how {
            How::Ack | How::Skip => self.end(position, End::Done),
            How::Park => self.end(position, End::Parked),
            How::Retry(after) => self.fail(position, after),
        }
    }

    fn wait(&mut self, ms: u64) {
        self.model.now += ms;
        self.dispatch.tick(self.model.now);
        let timeout = self.settings.ack_timeout_ms;
        for key in KEYS {
            let first =
                self.unfinished_of(key).into_iter().find(|at| self.model.held.contains_key(at));
            let Some(first) = first else { continue };
            if self.model.since[key] + timeout <= self.model.now {
                self.fail(first, None);
            }
        }
    }

    fn change_leader(&mut self) {
        let progress = self.dispatch.report().progress;
        self.dispatch = Dispatch::new(self.settings.clone(), progress.next_position);
        self.dispatch.set_held(self.model.holding_keys.iter().map(|&key| (key.into(), 1)));
        self.model.held.clear();
        self.model.not_before.clear();
        self.model.consumers.clear();
        self.model.given.clear();
        self.model.epochs.clear();
        for pending in &progress.pending {
            let known = self.model.failures.get(&pending.position).copied().unwrap_or(0);
            assert_eq!(pending.failures, known);
            self.offer(pending.position);
        }
        let rest: Vec<u64> =
            self.model.keys.range(progress.next_position..).map(|(&at, _)| at).collect();
        for position in rest {
            self.offer(position);
        }
        self.dispatch.set_read_to(self.model.next_position);
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Offer { key } => {
                // Positions in between are of events that nobody asked for.
                let position = self.model.next_position + 1;
                self.model.keys.insert(position, KEYS[key.index(KEYS.len())]);
                self.offer(position);
                self.model.next_position = position + 1;
                self.dispatch.set_read_to(position + 1);
            }
            Step::Attach { demand, window } => {
                self.model.next_consumer += 1;
                let id = ConsumerId(self.model.next_consumer);
                self.model.consumers.insert(id, (demand, window));
                let demand = demand.map_or(Demand::Unlimited, Demand::Events);
                self.dispatch.attach(id, demand, window);
            }
            Step::Detach { consumer } => {
                let Some(id) = self.any_consumer(consumer) else { return };
                self.model.consumers.remove(&id);
                self.model.held.retain(|_, (holder, _)| *holder != id);
                self.dispatch.detach(id);
            }
            Step::Demand { consumer, add } => {
                let Some(id) = self.any_consumer(consumer) else { return };
                if let Some((Some(wanted), _)) = self.model.consumers.get_mut(&id) {
                    *wanted += add;
                }
                self.dispatch.demand(id, |demand| demand.add(add));
            }
            Step::HandOut { most } => self.hand_out(most),
            Step::Settle { delivery, how } => {
                if self.model.given.is_empty() {
                    return;
                }
                let given = self.model.given[delivery.index(self.model.given.len())].clone();
                self.settle(&given, how);
            }
            Step::AckUpto { delivery } => {
                if self.model.given.is_empty() {
                    return;
                }
                let given = self.model.given[delivery.index(self.model.given.len())].clone();
                let held = self.model.held.clone().into_iter();
                let upto = held.filter(|(_, (of, id))| *of == given.consumer && *id <= given.id);
                self.dispatch.ack_upto(given.consumer, given.id, self.model.now);
                for (position, _) in upto {
                    self.end(position, End::Done);
                }
            }
            Step::AckEverything { position } => {
                let Some(&last) = self.model.keys.keys().last() else { return };
                let upto = position.index(last as usize + 1) as u64;
                self.dispatch.ack_everything_upto(upto, self.model.now);
                let all: Vec<u64> = self.model.keys.range(..=upto).map(|(&at, _)| at).collect();
                for at in all {
                    if !self.model.ended.contains_key(&at) {
                        self.end(at, End::Done);
                    }
                }
            }
            Step::Wait { ms } => self.wait(ms),
            Step::ChangeLeader => self.change_leader(),
            Step::Report => drop(self.dispatch.report()),
        }
        self.check();
    }

    fn any_consumer(&self, index: Index) -> Option<ConsumerId> {
        let ids: Vec<_> = self.model.consumers.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[index.index(ids.len())])
    }

    fn check(&self) {
        let progress = self.dispatch.progress();
        for position in self.model.keys.keys() {
            let done = self.model.ended.contains_key(position);
            assert_eq!(progress.is_done(*position), done, "position {position} in {progress:?}");
        }
        assert_eq!(self.dispatch.in_flight(), self.model.held.len());
        assert_eq!(self.dispatch.weight(), self.dispatch.in_flight() + self.dispatch.buffered());
        let unfinished = self.model.keys.len() - self.model.ended.len();
        assert_eq!(self.dispatch.buffered(), unfinished - self.model.held.len());
    }

    /// One that does its work ends it all.
    fn finish(&mut self) {
        let others: Vec<_> = self.model.consumers.keys().copied().collect();
        for id in others {
            self.model.consumers.remove(&id);
            self.model.held.retain(|_, (holder, _)| *holder != id);
            self.dispatch.detach(id);
        }
        self.run(&Step::Attach { demand: None, window: 2 });
        for _ in 0..10_000 {
            let from = self.model.given.len();
            self.hand_out(usize::MAX);
            if self.model.given.len() == from {
                if self.model.keys.len() == self.model.ended.len() {
                    break;
                }
                let due = self.dispatch.next_tick_ms().expect("something is waited for");
                self.wait(due.saturating_sub(self.model.now).max(1));
            }
            for given in self.model.given.split_off(from) {
                self.settle(&given, How::Ack);
            }
        }
        self.check();
        let progress = self.dispatch.progress();
        assert_eq!(progress.next_position, self.model.next_position);
        assert_eq!(progress.pending, []);
        assert_eq!(self.dispatch.lanes.len(), 0, "keys without events are kept");
        assert_eq!((self.dispatch.ready.len(), self.dispatch.waiting.len()), (0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn every_event_ends_once_in_the_order_of_its_key_whatever_consumers_do(
        settings in settings(),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut tested = Tested::new(settings);
        for step in steps {
            tested.run(&step);
        }
        tested.finish();
    }
}

fn offered(position: u64, key: &str) -> Offered<u64> {
    Offered { position, key: key.into(), weight: 1, event: position, failures: 0, replayed: false }
}

fn with_strategy(strategy: Overflow) -> Dispatch<u64> {
    let settings = Settings {
        pool_size: 1,
        ack_timeout_ms: 1_000,
        max_retries: 3,
        backoff_ms_min: 10,
        backoff_ms_max: 50,
        max_in_flight: 2,
        buffer_size: 3,
        strategy,
        hold_key: false,
    };
    Dispatch::new(settings, 0)
}

/// Two in flight, three waiting: the buffer is full.
fn full(strategy: Overflow) -> Dispatch<u64> {
    let mut dispatch = with_strategy(strategy);
    dispatch.attach(ConsumerId(1), Demand::Unlimited, 10);
    for position in 0..2 {
        dispatch.offer(offered(position, "a")).unwrap();
        dispatch.next(0).unwrap();
    }
    for position in 2..5 {
        dispatch.offer(offered(position, "a")).unwrap();
    }
    assert_eq!((dispatch.in_flight(), dispatch.buffered(), dispatch.room()), (2, 3, 0));
    dispatch
}

fn deliver_all(dispatch: &mut Dispatch<u64>) -> Vec<u64> {
    let mut delivered = Vec::new();
    dispatch.ack_upto(ConsumerId(1), u64::MAX, 0);
    while let Some(delivery) = dispatch.next(0) {
        delivered.push(delivery.position);
        dispatch.ack_upto(ConsumerId(1), u64::MAX, 0);
    }
    delivered
}

#[test]
fn the_oldest_events_that_were_not_delivered_are_dropped_and_told_as_a_range() {
    let mut dispatch = full(Overflow::DropOldest);
    for position in 5..7 {
        dispatch.offer(offered(position, "a")).unwrap();
    }
    let dropped = Dropped { first_position: 2, last_position: 3, events: 2 };
    assert_eq!(dispatch.report().dropped, [dropped]);
    assert_eq!(deliver_all(&mut dispatch), [4, 5, 6]);
    assert_eq!(dispatch.counters().dropped, 2);
}

#[test]
fn the_newest_events_are_dropped_when_that_is_asked() {
    let mut dispatch = full(Overflow::DropNewest);
    for position in 5..7 {
        dispatch.offer(offered(position, "a")).unwrap();
    }
    let dropped = Dropped { first_position: 5, last_position: 6, events: 2 };
    assert_eq!(dispatch.report().dropped, [dropped]);
    assert_eq!(deliver_all(&mut dispatch), [2, 3, 4]);
    assert_eq!(dispatch.progress(), crate::engine::Progress::upto(7));
}

#[test]
fn a_full_buffer_is_an_error_when_that_is_asked_and_nothing_moves() {
    let mut dispatch = full(Overflow::Error);
    let before = dispatch.progress();
    assert_eq!(dispatch.offer(offered(5, "a")), Err(BufferFull));
    assert_eq!(dispatch.progress(), before);
}

#[test]
fn replayed_events_go_before_what_was_not_sent_and_are_told_when_they_are_done() {
    let mut dispatch = with_strategy(Overflow::Block);
    dispatch.attach(ConsumerId(1), Demand::Unlimited, 1);
    for position in 10..13 {
        dispatch.offer(offered(position, "a")).unwrap();
    }
    assert_eq!(dispatch.next(0).unwrap().position, 10);
    for position in [7, 3] {
        dispatch.offer(Offered { replayed: true, ..offered(position, "a") }).unwrap();
    }
    let mut delivered = Vec::new();
    dispatch.ack_upto(ConsumerId(1), u64::MAX, 0);
    while let Some(delivery) = dispatch.next(0) {
        delivered.push((delivery.position, delivery.replayed));
        dispatch.ack_upto(ConsumerId(1), u64::MAX, 0);
    }
    assert_eq!(delivered, [(3, true), (7, true), (11, false), (12, false)]);
    assert_eq!(dispatch.report().replayed, [3, 7].into());
}

#[test]
fn a_replayed_event_ahead_of_what_was_read_leaves_the_checkpoint_where_it_is() {
    let mut dispatch = with_strategy(Overflow::Block);
    dispatch.attach(ConsumerId(1), Demand::Unlimited, 1);
    let before = dispatch.progress();
    dispatch.offer(Offered { replayed: true, ..offered(7, "a") }).unwrap();
    assert_eq!(dispatch.next(0).unwrap().position, 7);
    dispatch.ack_upto(ConsumerId(1), u64::MAX, 0);
    assert_eq!(dispatch.progress(), before);
    assert_eq!(dispatch.report().replayed, [7].into());
}

#[test]
fn consumers_that_stand_by_are_served_when_others_go() {
    let mut dispatch = with_strategy(Overflow::Block);
    dispatch.attach(ConsumerId(1), Demand::Unlimited, 1);
    dispatch.attach(ConsumerId(2), Demand::Unlimited, 1);
    dispatch.offer(offered(0, "a")).unwrap();
    assert_eq!(dispatch.next(0).unwrap().consumer, ConsumerId(1));
    dispatch.detach(ConsumerId(1));
    assert!(dispatch.is_served(ConsumerId(2)));
    let again = dispatch.next(0).unwrap();
    assert_eq!((again.consumer, again.attempt), (ConsumerId(2), 2));
}
