//! A subscription in miniature: a resource, a store and a deployment that obey the plans, may change or vanish at any
//! moment, and complain when a plan breaks one of the promises.
//!
//! Crashes of the operator are plans of which only the first effects happen.

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use reckon_api::v1;
use reckon_crds::SubscriptionStatus;

use super::*;
use crate::subscription::definition::filled;

/// What happens in the world besides the operator's doing.
#[derive(Debug, Clone)]
enum Happening {
    /// The operator looks, plans and does so many effects before it crashes.
    Reconcile(usize),
    /// The user changes the resource.
    Wish(Wish),
    /// Somebody changes the store behind the operator's back.
    Store(Drift),
    Delete,
    DeploymentReady,
    DeploymentVanishes,
    SecretComes,
    SecretGoes,
    RivalComes,
    RivalGoes,
}

#[derive(Debug, Clone)]
enum Wish {
    PoolSize(u32),
    Policy(DeletionPolicy),
    Sink(Option<u32>),
}

#[derive(Debug, Clone)]
enum Drift {
    Serve,
    Silence,
    Delete,
    Vanish,
    ReturnEmpty,
    Change(u32),
    Forget,
    /// Another subscription under the same name.
    Replace,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum StoreState {
    Serving,
    Silent,
    Deleting,
    Gone,
}

#[allow(clippy::struct_excessive_bools, reason = "each changes on its own")]
#[derive(Debug, Clone)]
struct World {
    pool_size: u32,
    policy: DeletionPolicy,
    sink: Option<u32>,
    secret: bool,
    rival: bool,
    deleting: bool,
    finalizer: bool,
    /// The resource is still there.
    present: bool,
    key: Option<String>,
    store: StoreState,
    stored: Option<v1::SubscriptionDefinition>,
    /// How many pods the deployment is to have, and whether they are up.
    deployment: Option<(u32, bool)>,
}

fn definition(pool_size: u32, key_expression: &str, sink: bool) -> v1::SubscriptionDefinition {
    filled(v1::SubscriptionDefinition {
        name: "billing".to_owned(),
        selector: Some(v1::Selector { kind: Some(v1::selector::Kind::All(true)) }),
        key_expression: key_expression.to_owned(),
        pool_size,
        sink: sink.then(|| v1::Sink { url: "http://a".to_owned(), ..v1::Sink::default() }),
        ..v1::SubscriptionDefinition::default()
    })
}

impl World {
    fn new() -> Self {
        Self {
            pool_size: 1,
            policy: DeletionPolicy::Delete,
            sink: None,
            secret: true,
            rival: false,
            deleting: false,
            finalizer: false,
            present: true,
            key: None,
            store: StoreState::Serving,
            stored: None,
            deployment: None,
        }
    }

    fn wanted(&self) -> v1::SubscriptionDefinition {
        definition(self.pool_size, "", self.sink.is_some())
    }

    /// Whether what the store has is another subscription than ours.
    fn foreign(&self) -> bool {
        self.stored.as_ref().is_some_and(|stored| !stored.key_expression.is_empty())
    }

    fn observe(&self) -> Observed {
        let missing = if self.secret { Vec::new() } else { vec!["Secret billing".to_owned()] };
        Observed {
            now: Timestamp::UNIX_EPOCH,
            desired: Desired {
                store: "orders".to_owned(),
                name: "billing".to_owned(),
                definition: Ok(self.wanted()),
                sink: self.sink.map(|replicas| SinkNeeds { replicas, missing }),
                deleting: self.deleting,
                finalizer: self.finalizer,
                policy: self.policy,
            },
            status: SubscriptionStatus { key: self.key.clone(), ..SubscriptionStatus::default() },
            store: match (self.store, &self.stored) {
                (StoreState::Gone, _) => StoreView::Missing,
                (StoreState::Deleting, _) => StoreView::Deleting,
                (StoreState::Silent, _) => StoreView::Silent("asleep".to_owned()),
                (StoreState::Serving, None) => StoreView::Without,
                (StoreState::Serving, Some(stored)) => StoreView::With(Box::new(Registration {
                    subscription: v1::Subscription {
                        definition: Some(stored.clone()),
                        ..v1::Subscription::default()
                    },
                    health: None,
                })),
            },
            rival: self.rival.then(|| "elder".to_owned()),
            sink: self.deployment.map(|(replicas, up)| SinkView {
                ours: true,
                replicas,
                available: if up { replicas } else { 0 },
                rolled_out: true,
                ..SinkView::default()
            }),
        }
    }

    /// One reconcile, of which `budget` effects happen. Whether it changed anything.
    fn reconcile(&mut self, budget: usize) -> bool {
        if !self.present {
            return false;
        }
        let observed = self.observe();
        let plan = plan(&observed);
        self.check(&observed, &plan);
        let mut left = budget;
        let mut changed = false;
        for action in &plan.actions {
            if left == 0 {
                return changed;
            }
            left -= 1;
            changed = true;
            self.carry_out(action);
        }
        if plan.keep_sink && left > 0 {
            let replicas = self.sink.expect("no sink is kept that nobody wants");
            assert!(self.secret, "pods are started without their secrets");
            assert!(self.stored.is_some(), "the sink of nothing");
            if self.deployment.is_none_or(|(existing, _)| existing != replicas) {
                self.deployment = Some((replicas, false));
                changed = true;
            }
        }
        if plan.verdict.registered.outcome == Outcome::Settled {
            self.key = Some("key".to_owned());
        }
        changed
    }

    /// What must hold of every plan, whatever was seen.
    fn check(&self, observed: &Observed, plan: &Plan) {
        let names: Vec<&str> = plan.actions.iter().map(Action::name).collect();
        let forgets = names.contains(&"Deregister");
        assert!(!forgets || self.deleting, "forgotten without a deletion");
        assert!(!forgets || self.policy == DeletionPolicy::Delete, "forgotten despite Retain");
        assert!(!forgets || !self.foreign(), "another's subscription is forgotten");
        assert!(!forgets || !self.rival, "the elder's subscription is forgotten");
        let writes = names.iter().any(|name| ["Register", "Update"].contains(name));
        assert!(!writes || !self.deleting, "written for a resource that goes");
        assert!(!writes || !self.rival, "two resources write the same subscription");
        assert!(!(self.deleting && names.contains(&"AddFinalizer")), "held while it goes");
        if self.deleting && self.finalizer {
            let blocked = !names.contains(&"RemoveFinalizer");
            let may_block = self.store == StoreState::Silent
                && self.policy == DeletionPolicy::Delete
                && !self.rival;
            assert!(!blocked || may_block, "stuck: {observed:#?}");
            assert!(plan.verdict.registered.outcome == Outcome::Working);
        }
        let asks = forgets || writes;
        assert!(!asks || self.store == StoreState::Serving, "asks a store that does not answer");
    }

    fn carry_out(&mut self, action: &Action) {
        match action {
            Action::AddFinalizer => self.finalizer = true,
            Action::Register { .. } => {
                assert!(self.finalizer, "registered before it could be forgotten again");
                assert_eq!(self.stored, None);
                self.stored = Some(self.wanted());
            }
            Action::Update { .. } => {
                assert!(!self.foreign(), "another's subscription is changed");
                self.stored = Some(self.wanted());
            }
            Action::DeleteSink => self.deployment = None,
            Action::Deregister => self.stored = None,
            Action::RemoveFinalizer => {
                self.finalizer = false;
                self.present = false;
                // By the garbage collector.
                self.deployment = None;
            }
        }
    }

    fn happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Reconcile(budget) => {
                self.reconcile(*budget);
            }
            Happening::Wish(Wish::PoolSize(size)) => self.pool_size = *size,
            Happening::Wish(Wish::Policy(policy)) => self.policy = *policy,
            Happening::Wish(Wish::Sink(replicas)) => self.sink = *replicas,
            Happening::Store(drift) => self.drift(drift),
            Happening::Delete => {
                self.deleting = true;
                if !self.finalizer {
                    self.present = false;
                    self.deployment = None;
                }
            }
            Happening::DeploymentReady => {
                self.deployment = self.deployment.map(|(replicas, _)| (replicas, true));
            }
            Happening::DeploymentVanishes => self.deployment = None,
            Happening::SecretComes => self.secret = true,
            Happening::SecretGoes => self.secret = false,
            Happening::RivalComes => self.rival = true,
            Happening::RivalGoes => self.rival = false,
        }
    }

    fn drift(&mut self, drift: &Drift) {
        match drift {
            Drift::Serve if self.store == StoreState::Silent => self.store = StoreState::Serving,
            Drift::Silence if self.store == StoreState::Serving => self.store = StoreState::Silent,
            Drift::Delete if self.store != StoreState::Gone => self.store = StoreState::Deleting,
            Drift::Vanish if self.store == StoreState::Deleting => {
                self.store = StoreState::Gone;
                self.stored = None;
            }
            Drift::ReturnEmpty if self.store == StoreState::Gone => self.store = StoreState::Silent,
            Drift::Change(size) => {
                if let Some(stored) = &mut self.stored {
                    stored.pool_size = *size;
                }
            }
            Drift::Forget => self.stored = None,
            Drift::Replace if self.stored.is_some() => {
                self.stored = Some(definition(1, "event.id", false));
            }
            _ => {}
        }
    }

    /// Lets everything come up and the operator work until nothing is left to do.
    fn heal(&mut self) {
        (self.secret, self.rival) = (true, false);
        if self.store != StoreState::Serving {
            if [StoreState::Deleting, StoreState::Gone].contains(&self.store) {
                self.stored = None;
            }
            self.store = StoreState::Serving;
        }
        for _ in 0..20 {
            self.happen(&Happening::DeploymentReady);
            if !self.reconcile(usize::MAX) {
                return;
            }
        }
        panic!("it never comes to rest: {self:#?}");
    }

    /// What must hold once everything has come to rest.
    fn check_settled(&self) {
        if !self.present {
            assert_eq!(self.deployment, None);
            return;
        }
        assert!(!self.deleting, "a deletion is stuck");
        let plan = plan(&self.observe());
        if self.foreign() {
            assert_eq!(plan.verdict.summary().reason, reason::CONFLICT);
            return;
        }
        assert_eq!(plan.verdict.summary().outcome, Outcome::Settled, "{plan:#?}");
        assert_eq!(self.stored, Some(self.wanted()));
        assert_eq!(self.deployment.map(|(replicas, _)| replicas), self.sink);
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    let wish = prop_oneof![
        (1..4_u32).prop_map(Wish::PoolSize),
        prop_oneof![Just(DeletionPolicy::Delete), Just(DeletionPolicy::Retain)]
            .prop_map(Wish::Policy),
        proptest::option::of(0..3_u32).prop_map(Wish::Sink),
    ];
    let drift = prop_oneof![
        4 => Just(Drift::Serve),
        2 => Just(Drift::Silence),
        1 => Just(Drift::Delete),
        1 => Just(Drift::Vanish),
        2 => Just(Drift::ReturnEmpty),
        2 => (1..4_u32).prop_map(Drift::Change),
        1 => Just(Drift::Forget),
        1 => Just(Drift::Replace),
    ];
    prop_oneof![
        8 => (0..4_usize).prop_map(Happening::Reconcile),
        6 => Just(Happening::Reconcile(usize::MAX)),
        4 => wish.prop_map(Happening::Wish),
        5 => drift.prop_map(Happening::Store),
        1 => Just(Happening::Delete),
        3 => Just(Happening::DeploymentReady),
        1 => Just(Happening::DeploymentVanishes),
        1 => Just(Happening::SecretComes),
        1 => Just(Happening::SecretGoes),
        1 => Just(Happening::RivalComes),
        2 => Just(Happening::RivalGoes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, and wherever the operator crashes: what is to be kept is kept, what is another's is left alone,
    /// no deletion waits for a store that will not answer; and in the end the store has what is wanted.
    #[test]
    fn every_promise_holds_whenever_the_operator_crashes(
        happenings in proptest::collection::vec(happening(), 0..100),
    ) {
        let mut world = World::new();
        for happening in &happenings {
            world.happen(happening);
        }
        world.heal();
        world.check_settled();
    }
}

#[test]
fn a_retained_subscription_outlives_its_resource_and_is_adopted_by_the_next() {
    let mut world = World { policy: DeletionPolicy::Retain, ..World::new() };
    world.heal();
    world.happen(&Happening::Delete);
    world.heal();
    assert!(!world.present);
    let kept = world.stored.clone().expect("what is retained");
    let mut next = World { stored: Some(kept.clone()), ..World::new() };
    next.heal();
    next.check_settled();
    assert_eq!(next.stored, Some(kept));
}
