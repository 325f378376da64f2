//! The order within keys, by examples and under random schedules.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn delivery(key: &str, id: u64, epoch: u64) -> v1::Delivery {
    v1::Delivery { id, epoch, key: key.to_owned(), ..v1::Delivery::default() }
}

/// Everything that may run now, by id.
fn take_all(order: &mut KeyOrder) -> Vec<Ticket> {
    std::iter::from_fn(|| order.take().map(|(ticket, _)| ticket)).collect()
}

fn ids(tickets: &[Ticket]) -> Vec<u64> {
    tickets.iter().map(|ticket| ticket.id).collect()
}

#[test]
fn one_event_of_a_key_runs_at_a_time_and_keys_run_side_by_side() {
    let mut order = KeyOrder::new(10);
    for (id, key) in [(1, "a"), (2, "a"), (3, "b")] {
        order.push(delivery(key, id, 0));
    }
    let running = take_all(&mut order);
    assert_eq!(ids(&running), [1, 3]);
    assert!(order.finish(running[0], false));
    assert_eq!(ids(&take_all(&mut order)), [2]);
    assert_eq!(order.held(), 2);
}

#[test]
fn without_a_key_events_are_in_order_by_their_stream() {
    let mut order = KeyOrder::new(10);
    for (id, stream) in [(1, "a"), (2, "a"), (3, "b")] {
        let event = v1::Event { stream_id: stream.to_owned(), ..v1::Event::default() };
        order.push(v1::Delivery { event: Some(event), ..delivery("", id, 0) });
    }
    assert_eq!(ids(&take_all(&mut order)), [1, 3]);
}

#[test]
fn what_waits_is_void_when_a_higher_epoch_comes() {
    let mut order = KeyOrder::new(10);
    for id in 1..=3 {
        order.push(delivery("a", id, 4));
    }
    order.push(delivery("a", 4, 5));
    assert_eq!((order.held(), ids(&take_all(&mut order))), (1, vec![4]));
}

#[test]
fn a_retry_voids_what_waits_and_what_is_on_its_way() {
    let mut order = KeyOrder::new(10);
    order.push(delivery("a", 1, 4));
    order.push(delivery("a", 2, 4));
    let running = take_all(&mut order);
    assert!(order.finish(running[0], true));
    assert_eq!(order.held(), 0);
    order.push(delivery("a", 3, 4));
    assert!(take_all(&mut order).is_empty());
    order.push(delivery("a", 4, 5));
    order.push(delivery("a", 5, 5));
    assert_eq!(ids(&take_all(&mut order)), [4]);
    assert_eq!(order.held(), 2);
}

#[test]
fn an_event_that_was_taken_away_while_it_ran_holds_its_key_and_is_not_settled() {
    let mut order = KeyOrder::new(10);
    order.push(delivery("a", 1, 0));
    let running = take_all(&mut order);
    order.push(delivery("a", 2, 1));
    order.push(delivery("a", 3, 1));
    assert!(take_all(&mut order).is_empty());
    // Even a retry: it is for an event that comes again anyway, and voids nothing.
    assert!(!order.finish(running[0], true));
    let running = take_all(&mut order);
    assert_eq!(ids(&running), [2]);
    assert!(order.finish(running[0], false));
    assert_eq!(ids(&take_all(&mut order)), [3]);
}

#[test]
fn after_a_break_a_key_waits_for_what_still_runs() {
    let mut order = KeyOrder::new(10);
    for (id, key) in [(1, "a"), (2, "a"), (3, "b")] {
        order.push(delivery(key, id, 7));
    }
    let running = take_all(&mut order);
    order.disconnected();
    assert_eq!(order.held(), 0);
    // The next leader may count epochs from the beginning, as it does ids.
    order.push(delivery("a", 1, 0));
    order.push(delivery("c", 2, 0));
    assert_eq!(ids(&take_all(&mut order)), [2]);
    assert!(!order.finish(running[0], true));
    assert_eq!(ids(&take_all(&mut order)), [1]);
    assert!(!order.finish(running[1], false));
}

#[test]
fn a_key_is_forgotten_once_nothing_of_it_can_come_that_is_void() {
    const WINDOW: usize = 5;
    let mut order = KeyOrder::new(WINDOW);
    order.push(delivery("a", 1, 0));
    let running = take_all(&mut order);
    assert!(order.finish(running[0], true));
    for id in 2..2 + WINDOW as u64 {
        order.push(delivery("b", id, 0));
        let running = take_all(&mut order);
        assert!(order.finish(running[0], false));
        assert!(order.by_key.contains_key("a"));
    }
    order.push(delivery("b", 100, 0));
    let running = take_all(&mut order);
    assert!(order.finish(running[0], false));
    assert!(order.by_key.is_empty(), "{:?}", order.by_key);
    assert_eq!(order.free.len(), order.lanes.len());
}

/// What happens next in a random schedule; numbers choose among what is there.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The server sends the next event of a key.
    Send(usize),
    Arrive,
    Run,
    End(usize, bool),
    ServerHears,
    /// The server takes a key's events away from the consumer.
    TakeBack(usize),
    Break,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..KEYS).prop_map(Step::Send),
        6 => Just(Step::Arrive),
        5 => Just(Step::Run),
        5 => (any::<usize>(), prop::bool::weighted(0.3)).prop_map(|(n, retry)| Step::End(n, retry)),
        4 => Just(Step::ServerHears),
        1 => (0..KEYS).prop_map(Step::TakeBack),
        1 => Just(Step::Break),
    ]
}

const KEYS: usize = 3;
const EVENTS: u64 = 8;
const KEY_WINDOW: usize = 3;
const WINDOW: usize = 5;

/// A key at the server: events below `done` are done.
#[derive(Debug, Default)]
struct ServerKey {
    done: u64,
    epoch: u64,
    /// Ids of the events from `done` on that are delivered, with whether each is acknowledged.
    delivered: VecDeque<(u64, bool)>,
}

#[derive(Debug)]
enum ToServer {
    Result { id: u64, retry: bool },
    Demand(usize),
}

/// What the consumer has seen of a key.
#[derive(Debug, Default)]
struct Seen {
    /// Events below this one were run to a good end.
    acknowledged: u64,
    /// On the present call: the highest epoch that came, and the one below which all is void.
    epoch: u64,
    void_below: u64,
}

/// A server that keeps the rules, what is on its way either way, and a consumer.
#[derive(Debug)]
struct World {
    keys: Vec<ServerKey>,
    demand: usize,
    last_id: u64,
    to_consumer: VecDeque<v1::Delivery>,
    to_server: VecDeque<ToServer>,
    order: KeyOrder,
    /// Ticket, key, event, epoch, and whether the call has broken since.
    running: Vec<(Ticket, usize, u64, u64, bool)>,
    asked: usize,
    seen: Vec<Seen>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            keys: (0..KEYS).map(|_| ServerKey::default()).collect(),
            demand: 0,
            last_id: 0,
            to_consumer: VecDeque::new(),
            to_server: VecDeque::new(),
            order: KeyOrder::new(WINDOW),
            running: Vec::new(),
            asked: 0,
            seen: (0..KEYS).map(|_| Seen::default()).collect(),
        };
        world.ask();
        world
    }

    fn ask(&mut self) {
        let free = WINDOW - self.order.held() - self.asked;
        self.asked += free;
        self.to_server.push_back(ToServer::Demand(free));
    }

    fn send(&mut self, key: usize) {
        let state = &mut self.keys[key];
        let event = state.done + state.delivered.len() as u64;
        if self.demand == 0 || state.delivered.len() == KEY_WINDOW || event == EVENTS {
            return;
        }
        self.demand -= 1;
        self.last_id += 1;
        state.delivered.push_back((self.last_id, false));
        let delivered = v1::Event { version: event, ..v1::Event::default() };
        let delivery = delivery(&key.to_string(), self.last_id, state.epoch);
        self.to_consumer.push_back(v1::Delivery { event: Some(delivered), ..delivery });
    }

    fn arrive(&mut self) {
        let Some(delivery) = self.to_consumer.pop_front() else { return };
        let seen = &mut self.seen[delivery.key.parse::<usize>().unwrap()];
        seen.epoch = seen.epoch.max(delivery.epoch);
        self.asked -= 1;
        self.order.push(delivery);
        self.ask();
    }

    fn run(&mut self) {
        let Some((ticket, delivery)) = self.order.take() else { return };
        let key = delivery.key.parse::<usize>().unwrap();
        let event = delivery.event.unwrap().version;
        let seen = &self.seen[key];
        assert!(self.running.iter().all(|running| running.1 != key), "two of one key run at once");
        assert!(event <= seen.acknowledged, "an event runs before the one before it was settled");
        assert_eq!(delivery.epoch, seen.epoch, "a void event runs");
        assert!(delivery.epoch >= seen.void_below, "an event runs that a retry has made void");
        self.running.push((ticket, key, event, delivery.epoch, false));
    }

    fn end(&mut self, which: usize, retry: bool) {
        if self.running.is_empty() {
            return;
        }
        let (ticket, key, event, epoch, broken) =
            self.running.swap_remove(which % self.running.len());
        let seen = &mut self.seen[key];
        let valid = !broken && epoch == seen.epoch;
        if retry && valid {
            seen.void_below = epoch + 1;
        }
        if !retry {
            seen.acknowledged = seen.acknowledged.max(event + 1);
        }
        assert_eq!(self.order.finish(ticket, retry), valid);
        if valid {
            self.to_server.push_back(ToServer::Result { id: ticket.id, retry });
        }
        self.ask();
    }

    fn server_hears(&mut self) {
        match self.to_server.pop_front() {
            Some(ToServer::Demand(more)) => self.demand += more,
            Some(ToServer::Result { id, retry }) => {
                for key in &mut self.keys {
                    let place = key.delivered.iter().position(|(delivered, _)| *delivered == id);
                    let Some(place) = place else { continue };
                    if retry {
                        key.delivered.truncate(place);
                        key.epoch += 1;
                    } else {
                        key.delivered[place].1 = true;
                    }
                    while key.delivered.front().is_some_and(|(_, acknowledged)| *acknowledged) {
                        key.delivered.pop_front();
                        key.done += 1;
                    }
                }
            }
            None => {}
        }
    }

    fn take_back(&mut self, key: usize) {
        let key = &mut self.keys[key];
        if !key.delivered.is_empty() {
            key.delivered.clear();
            key.epoch += 1;
        }
    }

    fn break_off(&mut self) {
        self.to_consumer.clear();
        self.to_server.clear();
        (self.demand, self.asked, self.last_id) = (0, 0, 0);
        for (key, seen) in self.keys.iter_mut().zip(&mut self.seen) {
            key.delivered.clear();
            // Another leader knows of no epochs.
            key.epoch = 0;
            (seen.epoch, seen.void_below) = (0, 0);
        }
        for running in &mut self.running {
            running.4 = true;
        }
        self.order.disconnected();
        self.ask();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send(key) => self.send(key),
            Step::Arrive => self.arrive(),
            Step::Run => self.run(),
            Step::End(which, retry) => self.end(which, retry),
            Step::ServerHears => self.server_hears(),
            Step::TakeBack(key) => self.take_back(key),
            Step::Break => self.break_off(),
        }
        assert!(self.order.held() + self.asked <= WINDOW);
    }

    /// All goes well from here on.
    fn settle_down(&mut self) {
        for _ in 0..1000 {
            for key in 0..KEYS {
                self.send(key);
            }
            self.arrive();
            self.run();
            self.end(0, false);
            self.server_hears();
            self.server_hears();
        }
    }
}

proptest! {
    #[test]
    fn within_a_key_nothing_runs_out_of_order_and_nothing_void_runs(
        steps in prop::collection::vec(step(), 0..400),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.settle_down();
        for key in &world.keys {
            prop_assert_eq!(key.done, EVENTS, "an event was never run: {:?}", world);
        }
    }
}
