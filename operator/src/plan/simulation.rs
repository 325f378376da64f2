//! A store in miniature: a `StatefulSet`, volumes and a Raft membership that obey the plans, may lose
//! anything at any moment, and complain when a plan breaks one of the promises.
//!
//! Crashes of the operator are plans of which only the first actions are carried out.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use reckon_crds::{EventStoreStatus, ReclaimPolicy};

use super::*;

const STORE_UID: &str = "uid-of-the-store";

/// What happens in the world besides the operator's doing.
#[derive(Debug, Clone)]
enum Happening {
    /// The operator looks, plans and does so many effects before it crashes.
    Reconcile(usize),
    PodUp(i32),
    PodDown(i32),
    LoseVolume(i32),
    Scale(i32),
    Hibernate(bool),
    ChangeTemplate,
    Wait,
}

#[derive(Debug, Clone)]
struct Volume {
    claim_uid: String,
    id: String,
    made_for: String,
    /// Cluster id and node id.
    identity: Option<(String, u64)>,
}

#[derive(Debug, Clone)]
struct Pod {
    uid: String,
    revision: u32,
    up: bool,
    label: Option<&'static str>,
}

#[derive(Debug, Clone, Default)]
struct Raft {
    cluster_id: String,
    members: BTreeMap<u64, (bool, String, String)>,
    leader: Option<u64>,
    next_id: u64,
    index: u64,
    activated: bool,
}

#[derive(Debug)]
struct World {
    clock: i64,
    serial: u32,
    replicas: i32,
    hibernate: bool,
    reclaim: ReclaimPolicy,
    finalizer: bool,
    status: EventStoreStatus,
    set: Option<i32>,
    revision: u32,
    pods: BTreeMap<i32, Pod>,
    volumes: BTreeMap<i32, Volume>,
    raft: Option<Raft>,
    initialised_after_latch: u32,
}

impl World {
    fn new(replicas: i32, reclaim: ReclaimPolicy) -> Self {
        Self {
            clock: 1_000_000,
            serial: 0,
            replicas,
            hibernate: false,
            reclaim,
            finalizer: false,
            status: EventStoreStatus::default(),
            set: None,
            revision: 1,
            pods: BTreeMap::new(),
            volumes: BTreeMap::new(),
            raft: None,
            initialised_after_latch: 0,
        }
    }

    fn unique(&mut self, what: &str) -> String {
        self.serial += 1;
        format!("{what}-{}", self.serial)
    }

    /// What the StatefulSet's controller does.
    fn run_set(&mut self) {
        let Some(replicas) = self.set else { return };
        self.pods.retain(|ordinal, _| *ordinal < replicas);
        for ordinal in 0..replicas {
            if !self.volumes.contains_key(&ordinal) {
                let (claim_uid, id) = (self.unique("claim"), self.unique("volume"));
                let made_for = STORE_UID.to_owned();
                let volume = Volume { claim_uid, id, made_for, identity: None };
                self.volumes.insert(ordinal, volume);
            }
            if !self.pods.contains_key(&ordinal) {
                let uid = self.unique("pod");
                let pod = Pod { uid, revision: self.revision, up: false, label: None };
                self.pods.insert(ordinal, pod);
            }
        }
        self.elect();
    }

    fn up(&self, node_id: u64) -> bool {
        let Some(raft) = &self.raft else { return false };
        self.volumes.iter().any(|(ordinal, volume)| {
            volume.identity.as_ref() == Some(&(raft.cluster_id.clone(), node_id))
                && self.pods.get(ordinal).is_some_and(|pod| pod.up)
        })
    }

    fn voters(&self) -> Vec<u64> {
        let members = self.raft.iter().flat_map(|raft| &raft.members);
        members.filter(|(_, (voter, _, _))| *voter).map(|(id, _)| *id).collect()
    }

    fn voters_up(&self) -> usize {
        self.voters().into_iter().filter(|id| self.up(*id)).count()
    }

    fn has_quorum(&self) -> bool {
        let voters = self.voters();
        !voters.is_empty() && self.voters_up() >= quorum(voters.len())
    }

    fn elect(&mut self) {
        let able = self.has_quorum();
        let heir = self.voters().into_iter().find(|id| self.up(*id));
        let stays = self.raft.as_ref().and_then(|raft| raft.leader).is_some_and(|id| self.up(id));
        if let Some(raft) = &mut self.raft {
            raft.leader = match (able, stays) {
                (true, true) => raft.leader,
                (true, false) => heir,
                (false, _) => None,
            };
        }
    }

    fn observe(&self) -> Observed {
        let leader = self.raft.as_ref().and_then(|raft| raft.leader);
        let node = |ordinal: &i32, pod: &Pod| {
            let volume = self.volumes.get(ordinal).filter(|_| pod.up)?;
            let mut node = NodeView { volume_id: volume.id.clone(), ..NodeView::default() };
            if let (Some((cluster_id, node_id)), Some(raft)) = (&volume.identity, &self.raft) {
                node.cluster_id.clone_from(cluster_id);
                node.node_id = *node_id;
                node.leader = leader == Some(*node_id) && raft.cluster_id == *cluster_id;
                node.activated = raft.activated;
                node.ready = true;
                node.voters_known = self.voters().len();
                node.client_address = format!("store-{ordinal}:7430");
            }
            Some(node)
        };
        let pods = self
            .pods
            .iter()
            .map(|(ordinal, pod)| {
                let node = node(ordinal, pod);
                PodView {
                    name: format!("store-{ordinal}"),
                    uid: pod.uid.clone(),
                    ordinal: *ordinal,
                    ready: node.as_ref().is_some_and(|node| node.ready),
                    deleting: false,
                    revision: Some(pod.revision.to_string()),
                    role_label: pod.label.map(str::to_owned),
                    trouble: None,
                    node,
                }
            })
            .collect();
        let claims = self
            .volumes
            .iter()
            .map(|(ordinal, volume)| ClaimView {
                name: format!("data-store-{ordinal}"),
                uid: volume.claim_uid.clone(),
                ordinal: *ordinal,
                deleting: false,
                made_for: Some(volume.made_for.clone()),
                requested_bytes: 1,
            })
            .collect();
        let latched = self.status.cluster_id.is_some();
        let membership = self.raft.as_ref().filter(|_| latched).and_then(|raft| {
            let members = raft.members.iter().map(|(id, (voter, name, volume_id))| Member {
                node_id: *id,
                voter: *voter,
                name: name.clone(),
                volume_id: volume_id.clone(),
                client_address: format!("{name}:7430"),
                lag_bytes: Some(0),
                last_ack_age_ms: Some(if self.up(*id) { 0 } else { 60_000 }),
            });
            Some(Membership {
                seen: Seen { log_term: 1, log_index: raft.index },
                leader_id: raft.leader?,
                joint: false,
                members: members.collect(),
            })
        });
        Observed {
            now: Timestamp::from_second(self.clock).unwrap(),
            desired: Desired {
                name: "store".to_owned(),
                uid: STORE_UID.to_owned(),
                replicas: self.replicas,
                care: if self.hibernate { Care::Hibernation } else { Care::Full },
                protected: false,
                deleting: false,
                finalizer: self.finalizer,
                reclaim_policy: self.reclaim,
                storage_bytes: 1,
            },
            status: self.status.clone(),
            set: self.set.map(|replicas| SetView {
                replicas,
                update_revision: Some(self.revision.to_string()),
                deleting: false,
            }),
            pods,
            claims,
            membership,
            checked: None,
        }
    }

    /// One reconcile, of which `budget` effects happen.
    fn reconcile(&mut self, budget: usize) -> Plan {
        self.clock += 1;
        let observed = self.observe();
        let plan = plan(&observed);
        let mut left = budget;
        if let Some(shape) = plan.shape.filter(|_| left > 0) {
            left -= 1;
            self.apply(shape);
        }
        for action in plan.actions.iter().take(left) {
            if !self.carry_out(action) {
                return plan;
            }
            left -= 1;
        }
        if left > 0 {
            self.status.operation.clone_from(&plan.operation);
            self.status.members = crate::report::members(&observed);
        }
        plan
    }

    fn apply(&mut self, shape: Shape) {
        for ordinal in shape.replicas..self.set.unwrap_or(0) {
            let member = self.member_at(ordinal);
            let hibernates = self.hibernate && shape.replicas == 0;
            assert!(
                member.is_none() || hibernates,
                "the pod of member {member:?} would be scaled away"
            );
        }
        self.set = Some(shape.replicas);
        self.run_set();
    }

    fn member_at(&self, ordinal: i32) -> Option<u64> {
        let raft = self.raft.as_ref()?;
        let (cluster_id, id) = self.volumes.get(&ordinal)?.identity.clone()?;
        (cluster_id == raft.cluster_id && raft.members.contains_key(&id)).then_some(id)
    }

    fn ordinal(name: &str) -> i32 {
        ordinal("store", name).expect("a pod of the store")
    }

    /// Whether the receiver accepted.
    fn carry_out(&mut self, action: &Action) -> bool {
        match action {
            Action::AddFinalizer => self.finalizer = true,
            Action::RecordIntent(intent) => self.status.initialisation = Some(intent.clone()),
            Action::Latch { cluster_id } => {
                assert!(self.status.cluster_id.is_none(), "latched twice");
                self.status.cluster_id = Some(cluster_id.clone());
            }
            Action::LockOperation(operation) => self.status.operation = Some(operation.clone()),
            Action::Initialise { pod, cluster_id, volume_id } => {
                return self.initialise(pod, cluster_id, volume_id);
            }
            Action::Activate { cluster_id, .. } => {
                assert_eq!(self.status.cluster_id.as_ref(), Some(cluster_id), "opened too early");
                self.raft.as_mut().expect("opened before it existed").activated = true;
            }
            Action::Join { pod, cluster_id, volume_id, .. } => {
                if !self.has_quorum() {
                    return false;
                }
                let raft = self.raft.as_mut().expect("a quorum of something");
                assert_eq!(raft.cluster_id, *cluster_id);
                let volume = self.volumes.get_mut(&Self::ordinal(pod)).expect("a volume to join");
                assert_eq!(volume.identity, None, "a volume cannot join twice");
                if volume.id != *volume_id {
                    return false;
                }
                raft.next_id += 1;
                volume.identity = Some((cluster_id.clone(), raft.next_id));
            }
            Action::AddLearner { pod, node_id, volume_id, seen } => {
                let member = (false, pod.clone(), volume_id.clone());
                return self.change(*seen, |members| {
                    assert!(members.insert(*node_id, member).is_none(), "added twice");
                });
            }
            Action::Promote { node_id, seen, .. } => {
                assert!(self.up(*node_id), "member {node_id} votes although it is down");
                return self.change(*seen, |members| {
                    members.get_mut(node_id).expect("promoted before it was added").0 = true;
                });
            }
            Action::Remove { node_id, seen, .. } => {
                let leader = self.raft.as_ref().and_then(|raft| raft.leader);
                assert_ne!(leader, Some(*node_id), "the leader is removed");
                return self.change(*seen, |members| {
                    members.remove(node_id).expect("removed before it was added");
                });
            }
            Action::TransferLeader { to_node_id, .. } => {
                assert!(self.voters().contains(to_node_id) && self.up(*to_node_id));
                self.raft.as_mut().expect("a leader").leader = Some(*to_node_id);
            }
            Action::Label { pod, uid, role } => {
                let pod = self.pods.get_mut(&Self::ordinal(pod)).filter(|pod| pod.uid == *uid);
                let Some(pod) = pod else { return false };
                pod.label = Some(role.label());
                let leaders = self.pods.values().filter(|pod| pod.label == Some("leader"));
                assert!(leaders.count() <= 1, "two pods are labelled as the leader");
            }
            Action::RestartPod { pod, uid } => return self.restart(pod, uid),
            Action::DeleteClaim { claim, uid } => {
                let ordinal: i32 = claim.strip_prefix("data-store-").unwrap().parse().unwrap();
                assert!(!self.pods.contains_key(&ordinal), "a mounted volume is deleted");
                assert_eq!(self.member_at(ordinal), None, "a member's volume is deleted");
                assert_eq!(self.volumes[&ordinal].claim_uid, *uid);
                self.volumes.remove(&ordinal);
            }
            Action::GrowClaim { .. }
            | Action::DeleteSet
            | Action::DeleteOwned
            | Action::RemoveFinalizer => panic!("nobody asked for {action:?}"),
        }
        true
    }

    fn initialise(&mut self, pod: &str, cluster_id: &str, volume_id: &str) -> bool {
        if self.status.cluster_id.is_some() {
            self.initialised_after_latch += 1;
        }
        let ordinal = Self::ordinal(pod);
        let up = self.pods.get(&ordinal).is_some_and(|pod| pod.up);
        let volume = self.volumes.get_mut(&ordinal).expect("a volume to initialise");
        if !up || volume.id != volume_id {
            return false;
        }
        match &volume.identity {
            Some((known, 1)) => return known == cluster_id,
            Some(_) => return false,
            None => volume.identity = Some((cluster_id.to_owned(), 1)),
        }
        let lost = self.raft.take();
        assert!(
            !lost.is_some_and(|raft| raft.activated),
            "a store that took events is formed anew"
        );
        let member = (true, pod.to_owned(), volume_id.to_owned());
        self.raft = Some(Raft {
            cluster_id: cluster_id.to_owned(),
            members: BTreeMap::from([(1, member)]),
            leader: Some(1),
            next_id: 1,
            index: 1,
            activated: false,
        });
        true
    }

    /// A change of members, as compare-and-set, which must leave a quorum.
    fn change(
        &mut self,
        seen: Seen,
        change: impl FnOnce(&mut BTreeMap<u64, (bool, String, String)>),
    ) -> bool {
        if !self.has_quorum() {
            return false;
        }
        let raft = self.raft.as_mut().expect("a quorum of something");
        if raft.index != seen.log_index {
            return false;
        }
        change(&mut raft.members);
        raft.index += 1;
        assert!(self.has_quorum(), "a change of members cost the quorum");
        self.elect();
        true
    }

    fn restart(&mut self, pod: &str, uid: &str) -> bool {
        let ordinal = Self::ordinal(pod);
        if self.pods.get(&ordinal).is_none_or(|pod| pod.uid != uid) {
            return false;
        }
        let before = self.has_quorum();
        self.pods.remove(&ordinal);
        self.elect();
        let kept = self.has_quorum() || self.voters().len() <= 1;
        assert!(kept || !before, "restarting {pod} cost the quorum");
        self.run_set();
        true
    }

    fn happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Reconcile(budget) => {
                self.reconcile(*budget);
            }
            Happening::PodUp(ordinal) => {
                self.pods.entry(*ordinal).and_modify(|pod| pod.up = true);
            }
            Happening::PodDown(ordinal) => {
                // It comes back under another UID.
                self.pods.remove(ordinal);
                self.run_set();
            }
            Happening::LoseVolume(ordinal) => self.lose_volume(*ordinal),
            Happening::Scale(replicas) => self.replicas = *replicas,
            Happening::Hibernate(hibernate) => self.hibernate = *hibernate,
            Happening::ChangeTemplate => self.revision += 1,
            Happening::Wait => self.clock += 1_000,
        }
        self.elect();
    }

    /// A volume and its pod vanish, unless that would be the end of a store that was formed.
    fn lose_volume(&mut self, ordinal: i32) {
        let formed = self.status.cluster_id.is_some();
        let lost = self.volumes.get(&ordinal).and_then(|volume| volume.identity.clone());
        let voters = self.voters();
        let left = voters
            .iter()
            .filter(|id| {
                self.volumes.values().any(|volume| {
                    volume.identity != lost
                        && volume.identity.as_ref().is_some_and(|identity| identity.1 == **id)
                })
            })
            .count();
        if formed && left < quorum(voters.len()) {
            return;
        }
        self.volumes.remove(&ordinal);
        self.pods.remove(&ordinal);
        self.run_set();
    }

    /// Lets everything come up and the operator work until the store is as wanted.
    fn heal(&mut self) -> Plan {
        let mut last = None;
        for _ in 0..400 {
            for pod in self.pods.values_mut() {
                pod.up = true;
            }
            self.elect();
            let plan = self.reconcile(usize::MAX);
            if plan.verdict.outcome == Outcome::Settled && plan.actions.is_empty() {
                return plan;
            }
            last = Some(plan);
        }
        panic!("the store never settles: {last:#?}\n{self:#?}");
    }

    /// What must hold once the store has settled.
    fn check_settled(&self) {
        let wanted = usize::try_from(self.replicas).unwrap();
        assert_eq!(self.voters().len(), wanted);
        assert_eq!(self.raft.as_ref().unwrap().members.len(), wanted);
        assert_eq!(self.set, Some(self.replicas));
        assert!(self.raft.as_ref().unwrap().activated);
        assert!(self.pods.values().all(|pod| pod.revision == self.revision));
        assert_eq!(self.initialised_after_latch, 0);
        assert_eq!(self.pods.values().filter(|pod| pod.label == Some("leader")).count(), 1);
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    let ordinal = 0..7_i32;
    prop_oneof![
        10 => (0..5_usize).prop_map(Happening::Reconcile),
        6 => Just(Happening::Reconcile(usize::MAX)),
        10 => ordinal.clone().prop_map(Happening::PodUp),
        2 => ordinal.clone().prop_map(Happening::PodDown),
        1 => ordinal.prop_map(Happening::LoseVolume),
        1 => prop_oneof![Just(1), Just(3), Just(5), Just(7)].prop_map(Happening::Scale),
        1 => any::<bool>().prop_map(Happening::Hibernate),
        1 => Just(Happening::ChangeTemplate),
        1 => Just(Happening::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, and wherever the operator crashes: it never initialises twice, never takes the
    /// quorum away, never removes the pod or the volume of a member; and in the end the store is as wanted.
    #[test]
    fn every_promise_holds_whenever_the_operator_crashes(
        replicas in prop_oneof![Just(1), Just(3), Just(5)],
        delete in any::<bool>(),
        happenings in proptest::collection::vec(happening(), 0..150),
    ) {
        let reclaim = if delete { ReclaimPolicy::Delete } else { ReclaimPolicy::Retain };
        let mut world = World::new(replicas, reclaim);
        for happening in &happenings {
            world.happen(happening);
        }
        world.hibernate = false;
        world.heal();
        world.check_settled();
    }
}

/// Runs a store of `replicas` until it has settled.
fn settled(replicas: i32) -> World {
    let mut world = World::new(replicas, ReclaimPolicy::Delete);
    world.heal();
    world.check_settled();
    world
}

#[test]
fn a_crash_after_every_single_action_of_a_formation_is_harmless() {
    for crash_after in 1..4 {
        let mut world = World::new(5, ReclaimPolicy::Retain);
        for _ in 0..400 {
            for pod in world.pods.values_mut() {
                pod.up = true;
            }
            world.elect();
            world.reconcile(crash_after);
        }
        world.heal();
        world.check_settled();
    }
}

#[test]
fn a_latched_store_is_never_initialised_again() {
    let mut world = settled(3);
    // Everything is lost, which nobody survives; but nobody may pretend that nothing happened either.
    world.volumes.clear();
    world.pods.clear();
    world.run_set();
    for _ in 0..20 {
        for pod in world.pods.values_mut() {
            pod.up = true;
        }
        world.elect();
        let plan = world.reconcile(usize::MAX);
        assert_eq!(plan.verdict.reason, reason::VOLUMES_LOST);
        assert_eq!(plan.verdict.outcome, Outcome::Stalled);
    }
    assert_eq!(world.initialised_after_latch, 0);
    assert!(world.volumes.values().all(|volume| volume.identity.is_none()));
}

#[test]
fn a_store_that_shrinks_during_its_formation_still_forms() {
    let mut world = World::new(5, ReclaimPolicy::Retain);
    world.reconcile(1);
    world.reconcile(1);
    world.happen(&Happening::PodUp(1));
    world.reconcile(3);
    assert_eq!(world.status.initialisation.as_ref().unwrap().pod, "store-1");
    world.happen(&Happening::Scale(1));
    world.heal();
    world.check_settled();
}

#[test]
fn a_store_grows_from_one_to_three_to_five_and_shrinks_again() {
    let mut world = settled(1);
    for replicas in [3, 5, 7, 5, 3, 1, 3] {
        world.happen(&Happening::Scale(replicas));
        world.heal();
        world.check_settled();
        // Claims of those that left are gone, as the policy says.
        assert_eq!(world.volumes.len(), usize::try_from(replicas).unwrap());
    }
}

#[test]
fn a_store_that_hibernated_wakes_with_all_its_members_whatever_is_wanted_by_then() {
    for (before, after) in [(1, 1), (3, 3), (5, 3), (1, 5)] {
        let mut world = settled(before);
        let members = world.voters();
        world.happen(&Happening::Hibernate(true));
        let plan = world.heal();
        assert_eq!((plan.verdict.reason, world.pods.len()), (reason::HIBERNATED, 0));
        assert_eq!(world.voters(), members, "sleeping changes no membership");
        world.happen(&Happening::Scale(after));
        world.happen(&Happening::Hibernate(false));
        world.heal();
        world.check_settled();
        assert_eq!(world.status.cluster_id.as_deref(), Some(STORE_UID));
    }
}

#[test]
fn a_member_that_lost_its_volume_comes_back_under_another_id() {
    let mut world = settled(3);
    for ordinal in [2, 1, 0] {
        let before = world.member_at(ordinal).unwrap();
        world.happen(&Happening::LoseVolume(ordinal));
        world.heal();
        world.check_settled();
        let after = world.member_at(ordinal).unwrap();
        assert!(after > before, "id {before} was used again");
    }
}

#[test]
fn a_new_template_reaches_every_pod_and_the_leader_last() {
    let mut world = settled(3);
    world.happen(&Happening::ChangeTemplate);
    let leader = world.raft.as_ref().unwrap().leader.unwrap();
    let leader = (0..3).find(|ordinal| world.member_at(*ordinal) == Some(leader)).unwrap();
    let mut order = Vec::new();
    for _ in 0..60 {
        let before: Vec<u32> = world.pods.values().map(|pod| pod.revision).collect();
        world.reconcile(usize::MAX);
        let after: Vec<u32> = world.pods.values().map(|pod| pod.revision).collect();
        order.extend((0..3).filter(|ordinal| before[*ordinal] != after[*ordinal]));
        for pod in world.pods.values_mut() {
            pod.up = true;
        }
        world.elect();
    }
    assert_eq!(order.len(), 3, "each pod once");
    assert_eq!(order.last().copied(), usize::try_from(leader).ok());
}

#[test]
fn volumes_of_an_earlier_store_are_adopted_without_initialising() {
    let mut world = settled(5);
    // The store is deleted with its volumes kept, and made again with another size under another UID.
    world.status = EventStoreStatus::default();
    world.set = None;
    world.pods.clear();
    for volume in world.volumes.values_mut() {
        volume.made_for = "uid-of-an-earlier-store".to_owned();
    }
    world.elect();
    world.replicas = 3;
    world.heal();
    world.check_settled();
    assert_eq!(world.status.cluster_id.as_deref(), Some(STORE_UID));
    assert_eq!(world.status.initialisation, None);
}
