//! The life of a store after its formation: members come and go one at a time.
//!
//! Who is a member is what Raft's committed membership says, never what pods there are; how many are wanted
//! is what the specification says, never what was seen. Members go before their pods, and pods before their
//! volumes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;
use reckon_crds::{Consistency, Operation, OperationKind, ReclaimPolicy};

use super::formation::several;
use super::verdict::{Outcome, Verdict, reason};
use super::{Action, Member, Membership, Observed, Plan, PodView, Shape, quorum, restart};

/// How long an operation may take before the store is reported as stalled. It goes on nevertheless.
pub const OPERATION_DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// The most bytes of log that a learner may lack to become a voter; the nodes refuse above it too.
pub const PROMOTE_LAG_BYTES_MAX: u64 = 1 << 20;

/// A member that the leader has not heard of for longer does not count as taking part.
pub const ACK_AGE_MS_MAX: u64 = 3_000;

/// Plans for a store whose cluster id is latched: here nothing is ever initialised.
pub fn plan(observed: &Observed, cluster_id: &str) -> Plan {
    let foreign: Vec<&str> =
        observed.cluster_ids().into_iter().filter(|id| *id != cluster_id).collect();
    if !foreign.is_empty() {
        let ids: Vec<&str> = std::iter::once(cluster_id).chain(foreign).collect();
        return standing_still(observed, several(&ids));
    }
    let Some(membership) = &observed.membership else {
        return without_quorum(observed);
    };
    if let Some(checked) =
        observed.checked.as_ref().filter(|it| it.result == Consistency::SplitBrain)
    {
        let verdict = Verdict::stalled(
            reason::SPLIT_BRAIN,
            format!(
                "There are two histories: {}. No member and no pod is changed before a person has looked.",
                checked.message
            ),
        );
        return standing_still(observed, verdict.with_quorum(true));
    }
    let store = Store { observed, cluster_id, membership, target: target(observed, membership) };
    let mut plan = store.plan();
    if plan.operation.as_ref().is_some_and(|operation| operation.deadline.0 < observed.now)
        && plan.verdict.outcome == Outcome::Working
    {
        plan.verdict.outcome = Outcome::Stalled;
        plan.verdict.message = format!("Takes longer than it should: {}", plan.verdict.message);
        plan.verdict.reason = reason::DEADLINE_EXCEEDED;
    }
    plan
}

/// How many voters an eviction must leave: the quorum of the larger of what is wanted and what is there. A
/// store of one voter cannot be kept up by refusing; its volume goes with it.
pub fn available_min(target: i32, voters: usize) -> i32 {
    let size = usize::try_from(target).unwrap_or(0).max(voters);
    if size <= 1 { 0 } else { i32::try_from(quorum(size)).unwrap_or(i32::MAX) }
}

/// The number of voters to work towards: that of the operation in flight while it is half done, otherwise
/// what the specification says. An operation that took too long can be given another target.
fn target(observed: &Observed, membership: &Membership) -> i32 {
    let between =
        membership.voters().count().is_multiple_of(2) || membership.learners().next().is_some();
    match &observed.status.operation {
        Some(operation)
            if matches!(operation.kind, OperationKind::ScaleUp | OperationKind::ScaleDown)
                && between
                && observed.now <= operation.deadline.0 =>
        {
            operation.target
        }
        _ => observed.desired.replicas,
    }
}

/// A plan that changes no member and no pod, but for a store that wakes: its members come back, wherever they were.
fn standing_still(observed: &Observed, verdict: Verdict) -> Plan {
    let awake = observed.set.as_ref().map(|set| set.replicas).filter(|replicas| *replicas > 0);
    let replicas = awake.unwrap_or_else(|| {
        // Whoever became a member after the status was written founded the store, or did so within its operation.
        let target = observed.status.operation.as_ref().map(|operation| operation.target);
        let members = observed.status.members.iter();
        let ordinals = members.filter_map(|member| observed.ordinal(&member.name));
        let founder = observed.status.initialisation.as_ref();
        let founder = founder.filter(|_| observed.status.members.is_empty());
        let founder = founder.and_then(|intent| observed.ordinal(&intent.pod));
        let needed = ordinals.chain(founder).map(|ordinal| ordinal + 1).chain(target);
        needed.fold(observed.desired.replicas, i32::max)
    });
    Plan {
        shape: Some(Shape { replicas, available_min: available_min(replicas, 0) }),
        actions: Vec::new(),
        operation: observed.status.operation.clone(),
        verdict,
    }
}

/// Without a leader nothing is known of the members. All that can help is to let pods start that cannot, and
/// to report.
fn without_quorum(observed: &Observed) -> Plan {
    let emptied = !observed.pods.is_empty()
        && observed.pods.iter().all(|pod| pod.node.as_ref().is_some_and(|node| node.node_id == 0));
    let verdict = if emptied {
        Verdict::stalled(
            reason::VOLUMES_LOST,
            "Every volume is empty although the store existed. Bring its volumes back, or delete this \
             EventStore and make a new one.",
        )
    } else {
        Verdict::working(
            reason::NO_QUORUM,
            "No leader: too few voters are up, or they are electing one.",
        )
    };
    let mut plan = standing_still(observed, verdict.with_quorum(false));
    plan.actions = restart::broken_pods(observed);
    plan
}

/// A store with a leader.
pub(super) struct Store<'a> {
    pub observed: &'a Observed,
    pub cluster_id: &'a str,
    pub membership: &'a Membership,
    pub target: i32,
}

/// What the next step of a change of members is.
enum Step {
    Act(Vec<Action>),
    Wait(Verdict),
}

impl Store<'_> {
    fn plan(&self) -> Plan {
        let mut actions = self.activation();
        let operation = self.operation();
        let (operation, verdict) = match operation {
            Some(operation) if self.observed.status.operation.as_ref() != Some(&operation) => {
                actions.push(Action::LockOperation(operation.clone()));
                let verdict = self.progress(&operation);
                (Some(operation), verdict)
            }
            Some(operation) => {
                let verdict = match self.membership_step() {
                    Step::Act(step) => {
                        actions.extend(step);
                        self.progress(&operation)
                    }
                    Step::Wait(verdict) => verdict,
                };
                (Some(operation), verdict)
            }
            None => restart::plan(self, &mut actions),
        };
        if !actions.iter().any(|action| matches!(action, Action::RestartPod { .. })) {
            actions.extend(restart::broken_pods(self.observed));
        }
        actions.extend(self.unused_claims());
        Plan {
            shape: Some(Shape {
                replicas: self.replicas(),
                available_min: available_min(self.target, self.membership.voters().count()),
            }),
            actions,
            operation,
            verdict: verdict.with_quorum(true),
        }
    }

    /// Opens the store, if the leader says it is still closed.
    fn activation(&self) -> Vec<Action> {
        self.observed
            .leader()
            .filter(|pod| pod.node.as_ref().is_some_and(|node| !node.activated))
            .map(|pod| Action::Activate {
                pod: pod.name.clone(),
                cluster_id: self.cluster_id.to_owned(),
            })
            .into_iter()
            .collect()
    }

    /// Pods that must exist: those that are wanted and those that are members, whatever is wanted. The
    /// number shrinks by one at a time.
    fn replicas(&self) -> i32 {
        let members = self.membership.members.iter().filter_map(|member| self.ordinal(member));
        let needed = members.map(|ordinal| ordinal + 1).fold(self.target, i32::max);
        let current = self.observed.set.as_ref().map_or(needed, |set| set.replicas);
        needed.max(current - 1)
    }

    /// The operation that the members need, as the one in flight if it is the same.
    fn operation(&self) -> Option<Operation> {
        let dead = self.dead();
        let (kind, node_id) = if let Some(member) = dead.first() {
            (OperationKind::ReplaceMember, Some(member.node_id))
        } else if !self.missing().is_empty() {
            (OperationKind::ScaleUp, None)
        } else if !self.surplus().is_empty() {
            (OperationKind::ScaleDown, None)
        } else {
            return None;
        };
        let pod = dead.first().map(|member| member.name.clone());
        if let Some(current) = &self.observed.status.operation
            && (current.kind, current.node_id, current.target) == (kind, node_id, self.target)
        {
            return Some(current.clone());
        }
        Some(self.begin(kind, node_id, pod, None))
    }

    /// An operation that begins now.
    pub(super) fn begin(
        &self,
        kind: OperationKind,
        node_id: Option<u64>,
        pod: Option<String>,
        pod_uid: Option<String>,
    ) -> Operation {
        // Kubernetes keeps whole seconds; a finer time would differ from what is read back.
        let now = self.observed.now.as_second();
        let started_at =
            k8s_openapi::jiff::Timestamp::from_second(now).unwrap_or(self.observed.now);
        let deadline = started_at.checked_add(OPERATION_DEADLINE).unwrap_or(started_at);
        Operation {
            kind,
            target: self.target,
            node_id,
            pod,
            pod_uid,
            started_at: Time(started_at),
            deadline: Time(deadline),
        }
    }

    fn progress(&self, operation: &Operation) -> Verdict {
        let voters = self.membership.voters().count();
        let target = operation.target;
        match operation.kind {
            OperationKind::ScaleUp => Verdict::working(
                reason::SCALING_UP,
                format!(
                    "{voters} of {target} voters; {} learning.",
                    self.membership.learners().count()
                ),
            ),
            OperationKind::ScaleDown => Verdict::working(
                reason::SCALING_DOWN,
                format!("{voters} voters on the way to {target}."),
            ),
            OperationKind::ReplaceMember => Verdict::working(
                reason::REPLACING_MEMBER,
                format!(
                    "Member {} lost its volume; pod {} joins anew.",
                    operation.node_id.unwrap_or_default(),
                    operation.pod.as_deref().unwrap_or_default()
                ),
            ),
            OperationKind::RestartPod => Verdict::working(
                reason::ROLLING_UPDATE,
                format!("Pod {} is being replaced.", operation.pod.as_deref().unwrap_or_default()),
            ),
        }
    }

    /// The next change of members. The order matters: first what restores safety, then what adds to it, then
    /// what takes away.
    fn membership_step(&self) -> Step {
        if self.membership.joint {
            return Step::Wait(Verdict::working(
                reason::SCALING_UP,
                "A change of members in two steps is under way.",
            ));
        }
        if let Some(step) = self.remove_dead() {
            return step;
        }
        let joins = self.joins();
        if !joins.is_empty() {
            return Step::Act(joins);
        }
        if let Some(action) = self.learner().or_else(|| self.promotion()) {
            return Step::Act(vec![action]);
        }
        self.remove_surplus().unwrap_or_else(|| Step::Wait(self.waiting()))
    }

    /// A dead member goes once its replacement has caught up, so that it can take the vote at once. A dead
    /// learner, or a dead member that is not wanted any more, goes at once.
    fn remove_dead(&self) -> Option<Step> {
        let dead = self.dead();
        let member = dead.iter().find(|member| {
            let unwanted = self.ordinal(member).is_none_or(|ordinal| ordinal >= self.target);
            !member.voter || unwanted || self.caught_up().any(|learner| learner.name == member.name)
        })?;
        if member.node_id == self.membership.leader_id {
            return None;
        }
        Some(self.removal(member))
    }

    /// Empty volumes of wanted pods join; each always as a new member.
    fn joins(&self) -> Vec<Action> {
        let members: Vec<String> = self
            .membership
            .members
            .iter()
            .filter(|member| self.pod(member).is_some())
            .map(|member| member.client_address.clone())
            .collect();
        self.wanted_pods()
            .filter_map(|pod| {
                let node = pod.node.as_ref().filter(|node| node.node_id == 0)?;
                Some(Action::Join {
                    pod: pod.name.clone(),
                    cluster_id: self.cluster_id.to_owned(),
                    volume_id: node.volume_id.clone(),
                    members: members.clone(),
                })
            })
            .collect()
    }

    /// The next joined node that is to learn.
    fn learner(&self) -> Option<Action> {
        self.wanted_pods().find_map(|pod| {
            let node = pod.node.as_ref().filter(|node| node.node_id != 0)?;
            let outsider = self.membership.member(node.node_id).is_none();
            outsider.then(|| Action::AddLearner {
                pod: pod.name.clone(),
                node_id: node.node_id,
                volume_id: node.volume_id.clone(),
                seen: self.membership.seen,
            })
        })
    }

    /// The next learner that is to vote. From an odd number of voters the next two must be ready to come, so
    /// that a pod without a place never leaves the store with an even number, which is harder to keep up.
    fn promotion(&self) -> Option<Action> {
        let ready: Vec<&Member> =
            self.caught_up().filter(|learner| !self.seat_taken(learner)).collect();
        let voters = self.membership.voters().count();
        let wanted = usize::try_from(self.target).unwrap_or(0);
        let pair = voters.is_multiple_of(2)
            || ready.len() >= 2
            || voters + 1 == wanted
            || self.surplus().iter().any(|member| member.voter);
        let learner = ready.first().filter(|_| pair)?;
        Some(Action::Promote {
            name: learner.name.clone(),
            node_id: learner.node_id,
            seen: self.membership.seen,
        })
    }

    /// Members of the highest ordinals go, but only as many as are too many.
    fn remove_surplus(&self) -> Option<Step> {
        let surplus = self.surplus();
        let wanted = usize::try_from(self.target).unwrap_or(0);
        let enough = self.membership.voters().count() > wanted;
        let member = surplus.into_iter().find(|member| enough || !member.voter)?;
        if member.node_id != self.membership.leader_id {
            return Some(self.removal(member));
        }
        let heir = self
            .heir(|candidate| self.ordinal(candidate).is_some_and(|ordinal| ordinal < self.target));
        Some(match heir {
            Some(heir) => Step::Act(vec![Action::TransferLeader {
                name: heir.name.clone(),
                to_node_id: heir.node_id,
            }]),
            None => Step::Wait(Verdict::working(
                reason::SCALE_REFUSED,
                format!("Member {} leads and no other voter is fit to take over.", member.node_id),
            )),
        })
    }

    /// Removes a member, unless the others could not decide anything then.
    fn removal(&self, member: &Member) -> Step {
        if member.voter && !self.quorum_without(member) {
            return Step::Wait(Verdict::working(
                reason::SCALE_REFUSED,
                format!(
                    "Removing member {} would cost the quorum: too few of the others are up.",
                    member.node_id
                ),
            ));
        }
        Step::Act(vec![Action::Remove {
            name: member.name.clone(),
            node_id: member.node_id,
            seen: self.membership.seen,
        }])
    }

    /// Whether the other voters that take part are a quorum among themselves.
    fn quorum_without(&self, member: &Member) -> bool {
        let others: Vec<&Member> =
            self.membership.voters().filter(|other| other.node_id != member.node_id).collect();
        let healthy = others.iter().filter(|other| self.takes_part(other)).count();
        !others.is_empty() && healthy >= quorum(others.len())
    }

    /// Whether the voters that would be left with this pod gone still are a quorum of all.
    pub(super) fn quorum_despite(&self, pod: &PodView) -> bool {
        let voters: Vec<&Member> = self.membership.voters().collect();
        let left = voters
            .iter()
            .filter(|voter| self.takes_part(voter) && self.pod(voter) != Some(pod))
            .count();
        left >= quorum(voters.len())
    }

    /// The voter that is fittest to lead among those that fit.
    pub(super) fn heir(&self, fits: impl Fn(&Member) -> bool) -> Option<&Member> {
        self.membership
            .voters()
            .filter(|voter| voter.node_id != self.membership.leader_id && fits(voter))
            .filter(|voter| self.takes_part(voter))
            .min_by_key(|voter| (voter.lag_bytes.unwrap_or(u64::MAX), voter.node_id))
    }

    /// Whether a member is up: its pod's node speaks for it, and the leader hears it.
    pub(super) fn takes_part(&self, member: &Member) -> bool {
        let speaks = self
            .pod(member)
            .is_some_and(|pod| !pod.deleting && pod.node.as_ref().is_some_and(|node| node.ready));
        let heard = member.node_id == self.membership.leader_id
            || member.last_ack_age_ms.is_none_or(|age_ms| age_ms <= ACK_AGE_MS_MAX);
        speaks && heard
    }

    /// Whether all members are up.
    pub(super) fn all_take_part(&self) -> bool {
        self.membership.members.iter().all(|member| self.takes_part(member))
    }

    /// The pod whose live node is this member.
    pub(super) fn pod(&self, member: &Member) -> Option<&PodView> {
        self.observed.pod_of(member.node_id)
    }

    /// Members whose pod lives on another volume than theirs: they can never come back.
    fn dead(&self) -> Vec<&Member> {
        let dead = |member: &&Member| {
            let replaced = self.observed.pod(&member.name).is_some_and(|pod| {
                !pod.deleting
                    && pod.node.as_ref().is_some_and(|node| {
                        node.volume_id != member.volume_id && node.node_id != member.node_id
                    })
            });
            replaced && !member.volume_id.is_empty() && self.pod(member).is_none()
        };
        self.membership.members.iter().filter(dead).collect()
    }

    /// Learners that are up and lack next to nothing.
    fn caught_up(&self) -> impl Iterator<Item = &Member> {
        self.membership.learners().filter(|learner| {
            self.ordinal(learner).is_some_and(|ordinal| ordinal < self.target)
                && learner.lag_bytes.is_some_and(|lag_bytes| lag_bytes <= PROMOTE_LAG_BYTES_MAX)
                && learner.last_ack_age_ms.is_none_or(|age_ms| age_ms <= ACK_AGE_MS_MAX)
                && self.pod(learner).is_some_and(|pod| !pod.deleting)
        })
    }

    /// Whether a voter of the same pod is still there; it must go first.
    fn seat_taken(&self, learner: &Member) -> bool {
        self.membership.voters().any(|voter| voter.name == learner.name)
    }

    /// Wanted ordinals without a living voter.
    fn missing(&self) -> Vec<i32> {
        let dead = self.dead();
        let mut seats: BTreeMap<i32, bool> =
            (0..self.target).map(|ordinal| (ordinal, false)).collect();
        for voter in self.membership.voters().filter(|voter| !dead.contains(voter)) {
            if let Some(seat) = self.ordinal(voter).and_then(|ordinal| seats.get_mut(&ordinal)) {
                *seat = true;
            }
        }
        seats.into_iter().filter(|(_, taken)| !taken).map(|(ordinal, _)| ordinal).collect()
    }

    /// Members beyond the wanted ordinals, the highest first.
    fn surplus(&self) -> Vec<&Member> {
        let mut surplus: Vec<(i32, &Member)> = self
            .membership
            .members
            .iter()
            .filter_map(|member| Some((self.ordinal(member)?, member)))
            .filter(|(ordinal, _)| *ordinal >= self.target)
            .collect();
        surplus.sort_by_key(|(ordinal, member)| (-ordinal, member.node_id));
        surplus.into_iter().map(|(_, member)| member).collect()
    }

    /// Where a member lives: the ordinal of the pod that speaks for it, else of the one it joined from.
    fn ordinal(&self, member: &Member) -> Option<i32> {
        self.pod(member).map(|pod| pod.ordinal).or_else(|| self.observed.ordinal(&member.name))
    }

    fn wanted_pods(&self) -> impl Iterator<Item = &PodView> {
        self.observed.pods.iter().filter(|pod| pod.ordinal < self.target && !pod.deleting)
    }

    fn waiting(&self) -> Verdict {
        let absent: Vec<String> = self
            .missing()
            .into_iter()
            .map(|ordinal| format!("{}-{ordinal}", self.observed.desired.name))
            .filter(|name| self.observed.pod(name).is_none_or(|pod| pod.node.is_none()))
            .collect();
        if absent.is_empty() {
            Verdict::working(reason::SCALING_UP, "Waiting for the learners to catch up.")
        } else {
            Verdict::working(
                reason::WAITING_FOR_PODS,
                format!("Waiting for {} to come up.", absent.join(", ")),
            )
        }
    }

    /// Claims of pods that left for good.
    fn unused_claims(&self) -> Vec<Action> {
        let Some(set) = &self.observed.set else {
            return Vec::new();
        };
        if self.observed.desired.reclaim_policy != ReclaimPolicy::Delete {
            return Vec::new();
        }
        let bound = set.replicas.max(self.replicas());
        self.observed
            .claims
            .iter()
            .filter(|claim| claim.ordinal >= bound && !claim.deleting)
            .filter(|claim| self.observed.pods.iter().all(|pod| pod.ordinal != claim.ordinal))
            .filter(|claim| {
                let mut members = self.membership.members.iter();
                members.all(|member| self.ordinal(member) != Some(claim.ordinal))
            })
            .map(|claim| Action::DeleteClaim { claim: claim.name.clone(), uid: claim.uid.clone() })
            .collect()
    }
}
