//! Tables for the planner: what is wanted and seen, and what must come of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use reckon_crds::{Consistency, EventStoreStatus, OperationKind, ReclaimPolicy};

use super::*;

const UID: &str = "store-uid";
const NOW: i64 = 1_000_000;

/// A store of `replicas` that was accepted, with nothing made yet.
fn wanted(replicas: i32) -> Observed {
    Observed {
        now: Timestamp::from_second(NOW).unwrap(),
        desired: Desired {
            name: "orders".to_owned(),
            uid: UID.to_owned(),
            replicas,
            care: Care::Full,
            protected: false,
            deleting: false,
            finalizer: true,
            reclaim_policy: ReclaimPolicy::Retain,
            storage_bytes: 100,
        },
        status: EventStoreStatus::default(),
        set: None,
        pods: Vec::new(),
        claims: Vec::new(),
        membership: None,
        checked: None,
    }
}

fn name(ordinal: i32) -> String {
    format!("orders-{ordinal}")
}

fn empty_node(ordinal: i32) -> NodeView {
    NodeView { volume_id: format!("volume-{ordinal}"), ..NodeView::default() }
}

fn member_node(ordinal: i32, node_id: u64) -> NodeView {
    NodeView {
        node_id,
        cluster_id: UID.to_owned(),
        ready: true,
        activated: true,
        term: 3,
        voters_known: 3,
        client_address: format!("{}:7430", name(ordinal)),
        ..empty_node(ordinal)
    }
}

fn pod(ordinal: i32, node: Option<NodeView>) -> PodView {
    PodView {
        name: name(ordinal),
        uid: format!("pod-{ordinal}"),
        ordinal,
        ready: node.as_ref().is_some_and(|node| node.ready),
        deleting: false,
        revision: Some("new".to_owned()),
        role_label: None,
        trouble: None,
        node,
    }
}

fn claim(ordinal: i32) -> ClaimView {
    ClaimView {
        name: format!("data-orders-{ordinal}"),
        uid: format!("claim-{ordinal}"),
        ordinal,
        deleting: false,
        made_for: Some(UID.to_owned()),
        requested_bytes: 100,
    }
}

fn set(replicas: i32) -> SetView {
    SetView { replicas, update_revision: Some("new".to_owned()), deleting: false }
}

fn member(ordinal: i32, node_id: u64, voter: bool) -> Member {
    Member {
        node_id,
        voter,
        name: name(ordinal),
        volume_id: format!("volume-{ordinal}"),
        client_address: format!("{}:7430", name(ordinal)),
        lag_bytes: Some(0),
        last_ack_age_ms: Some(10),
    }
}

/// Pods and claims exist; no node has an identity.
fn created(replicas: i32) -> Observed {
    let mut observed = wanted(replicas);
    observed.set = Some(set(replicas));
    observed.pods = (0..replicas).map(|ordinal| pod(ordinal, Some(empty_node(ordinal)))).collect();
    observed.claims = (0..replicas).map(claim).collect();
    observed
}

/// A store of `voters` members with ids from 1, led by the first, of which `replicas` are wanted.
fn formed(replicas: i32, voters: i32) -> Observed {
    let mut observed = created(replicas.max(voters));
    observed.desired.replicas = replicas;
    observed.status.cluster_id = Some(UID.to_owned());
    let mut members = Vec::new();
    for ordinal in 0..voters {
        let node_id = u64::try_from(ordinal).unwrap() + 1;
        let pod = &mut observed.pods[usize::try_from(ordinal).unwrap()];
        let mut node = member_node(ordinal, node_id);
        node.leader = ordinal == 0;
        pod.node = Some(node);
        pod.ready = true;
        members.push(member(ordinal, node_id, true));
    }
    observed.membership = Some(Membership {
        seen: Seen { log_term: 3, log_index: 42 },
        leader_id: 1,
        joint: false,
        members,
    });
    for pod in &mut observed.pods {
        pod.role_label = Some(
            match pod.node.as_ref() {
                Some(node) if node.leader => "leader",
                Some(node) if node.node_id != 0 => "follower",
                _ => "none",
            }
            .to_owned(),
        );
    }
    observed
}

/// The operation that the plan begins is taken as written down, as the next observation would show it.
fn locked(mut observed: Observed) -> Observed {
    let operation = plan(&observed).operation;
    assert!(operation.is_some(), "nothing to lock");
    observed.status.operation = operation;
    observed
}

/// Checks the names of the planned actions and the reason that is reported.
#[track_caller]
fn check(observed: &Observed, actions: &[&str], reason: &str) -> Plan {
    let plan = plan(observed);
    let names: Vec<&str> = plan.actions.iter().map(Action::name).collect();
    assert_eq!(names, actions, "{plan:#?}");
    assert_eq!(plan.verdict.reason, reason, "{plan:#?}");
    plan
}

fn members(observed: &mut Observed) -> &mut Vec<Member> {
    &mut observed.membership.as_mut().unwrap().members
}

fn down(observed: &mut Observed, ordinal: usize) {
    observed.pods[ordinal].node = None;
    observed.pods[ordinal].ready = false;
    members(observed)[ordinal].last_ack_age_ms = Some(60_000);
}

#[test]
fn the_finalizer_comes_before_everything() {
    let mut observed = wanted(3);
    observed.desired.finalizer = false;
    let plan = check(&observed, &["AddFinalizer"], reason::CREATING);
    assert_eq!(plan.shape, None);
}

#[test]
fn objects_are_made_while_nobody_answers_yet() {
    let plan = check(&wanted(3), &[], reason::WAITING_FOR_PODS);
    assert_eq!(plan.shape, Some(Shape { replicas: 3, available_min: 2 }));
}

#[test]
fn the_intent_is_written_before_anything_is_initialised() {
    let observed = created(3);
    let labels = ["Label", "Label", "Label"];
    let plan = check(&observed, &[&labels[..], &["RecordIntent"]].concat(), reason::INITIALISING);
    let Some(Action::RecordIntent(intent)) = plan.actions.last() else { panic!("{plan:?}") };
    assert_eq!(intent.cluster_id, UID);
    assert_eq!(intent.volume_id, "volume-0");
    assert_eq!(intent.volume_claim_uid, "claim-0");
}

/// A store whose intent is recorded.
fn intended() -> Observed {
    let mut observed = created(3);
    for pod in &mut observed.pods {
        pod.role_label = Some("none".to_owned());
    }
    let plan = plan(&observed);
    let Some(Action::RecordIntent(intent)) = plan.actions.first() else { panic!("{plan:?}") };
    observed.status.initialisation = Some(intent.clone());
    observed
}

#[test]
fn the_recorded_volume_is_initialised() {
    let plan = check(&intended(), &["Initialise"], reason::INITIALISING);
    let expect = Action::Initialise {
        pod: name(0),
        cluster_id: UID.to_owned(),
        volume_id: "volume-0".to_owned(),
    };
    assert_eq!(plan.actions, [expect]);
}

#[test]
fn a_silent_node_is_waited_for_not_replaced() {
    let mut observed = intended();
    observed.pods[0].node = None;
    check(&observed, &[], reason::WAITING_FOR_PODS);
}

#[test]
fn a_replaced_volume_may_start_again_before_the_latch() {
    let mut observed = intended();
    observed.claims[0].uid = "another-claim".to_owned();
    observed.pods[0].node = Some(NodeView { volume_id: "fresh".to_owned(), ..empty_node(0) });
    let plan = check(&observed, &["RecordIntent"], reason::INITIALISING);
    let Action::RecordIntent(intent) = &plan.actions[0] else { panic!("{plan:?}") };
    assert_eq!(intent.volume_id, "fresh");
}

#[test]
fn an_initialised_volume_is_latched_before_it_is_opened() {
    let mut observed = intended();
    observed.pods[0].node = Some(NodeView { activated: false, ..member_node(0, 1) });
    check(&observed, &["Latch"], reason::INITIALISING);
}

#[test]
fn a_latched_store_is_opened_by_its_leader() {
    let mut observed = formed(1, 1);
    observed.pods[0].node.as_mut().unwrap().activated = false;
    check(&observed, &["Activate"], reason::INITIALISING);
}

#[test]
fn kept_volumes_are_asked_before_anything_is_decided() {
    let mut observed = created(3);
    for pod in &mut observed.pods {
        pod.role_label = Some("none".to_owned());
    }
    observed.claims[2].made_for = Some("earlier".to_owned());
    observed.pods[2].node = None;
    check(&observed, &[], reason::ADOPTING);
    // What a claim beyond the wanted ones holds is looked at too.
    let mut observed = created(1);
    observed.claims.push(ClaimView { made_for: None, ..claim(4) });
    let plan = plan(&observed);
    assert_eq!(plan.shape.unwrap().replicas, 5);
    assert_eq!(plan.verdict.reason, reason::ADOPTING);
}

#[test]
fn volumes_of_one_earlier_store_are_adopted() {
    let mut observed = created(3);
    for ordinal in 0..3 {
        let place = usize::try_from(ordinal).unwrap();
        let node_id = u64::try_from(ordinal).unwrap() + 1;
        observed.claims[place].made_for = Some("earlier".to_owned());
        let node = NodeView { cluster_id: "earlier".to_owned(), ..member_node(ordinal, node_id) };
        observed.pods[place].node = Some(node);
    }
    let latched = |observed: &Observed| {
        let latch = Action::Latch { cluster_id: "earlier".to_owned() };
        plan(observed).actions.contains(&latch)
    };
    assert!(latched(&observed));
    // A majority of its voters is enough, one alone is not.
    observed.pods[2].node = None;
    assert!(latched(&observed));
    observed.pods[1].node = None;
    assert!(!latched(&observed));
}

#[test]
fn volumes_of_several_stores_stop_everything() {
    let mut observed = created(3);
    observed.pods[0].node = Some(member_node(0, 1));
    let foreign = NodeView { cluster_id: "other".to_owned(), ..member_node(1, 1) };
    observed.pods[1].node = Some(foreign);
    for pod in &mut observed.pods {
        pod.role_label = Some("none".to_owned());
    }
    let plan = check(&observed, &[], reason::SEVERAL_STORES);
    assert_eq!(plan.verdict.outcome, Outcome::Stalled);
    // The same after the latch.
    let mut observed = formed(3, 3);
    observed.pods[2].node.as_mut().unwrap().cluster_id = "other".to_owned();
    let plan = super::plan(&observed);
    assert_eq!(plan.verdict.reason, reason::SEVERAL_STORES);
    assert!(plan.actions.iter().all(|action| matches!(action, Action::Label { .. })));
}

#[test]
fn a_settled_store_needs_nothing() {
    for replicas in [1, 3, 5, 7] {
        let plan = check(&formed(replicas, replicas), &[], reason::READY);
        assert_eq!(plan.verdict.outcome, Outcome::Settled);
        assert_eq!(plan.verdict.quorum, Some(true));
        assert_eq!(plan.operation, None);
    }
}

#[test]
fn scaling_up_begins_with_its_lock() {
    let plan = check(&formed(3, 1), &["LockOperation"], reason::SCALING_UP);
    let operation = plan.operation.unwrap();
    assert_eq!((operation.kind, operation.target), (OperationKind::ScaleUp, 3));
}

#[test]
fn empty_nodes_join_then_learn_one_at_a_time_then_vote() {
    let mut observed = locked(formed(3, 1));
    check(&observed, &["Join", "Join"], reason::SCALING_UP);

    for ordinal in 1..3 {
        let place = usize::try_from(ordinal).unwrap();
        observed.pods[place].node = Some(member_node(ordinal, place as u64 + 1));
    }
    let plan = plan(&observed);
    let steps: Vec<&Action> =
        plan.actions.iter().filter(|action| !matches!(action, Action::Label { .. })).collect();
    assert!(matches!(steps[..], [Action::AddLearner { node_id: 2, .. }]), "{steps:?}");

    // The first learner waits for the second, so that there are never two voters for long.
    members(&mut observed).push(member(1, 2, false));
    observed.pods[1].role_label = Some("learner".to_owned());
    check(&observed, &["AddLearner"], reason::SCALING_UP);
    members(&mut observed).push(member(2, 3, false));
    observed.pods[2].role_label = Some("learner".to_owned());
    check(&observed, &["Promote"], reason::SCALING_UP);
    members(&mut observed)[1].voter = true;
    observed.pods[1].role_label = Some("follower".to_owned());
    check(&observed, &["Promote"], reason::SCALING_UP);
}

#[test]
fn a_learner_that_lags_does_not_vote_yet() {
    let mut observed = locked(formed(3, 1));
    for ordinal in 1..3 {
        let place = usize::try_from(ordinal).unwrap();
        observed.pods[place].node = Some(member_node(ordinal, place as u64 + 1));
        observed.pods[place].role_label = Some("learner".to_owned());
        members(&mut observed).push(member(ordinal, place as u64 + 1, false));
    }
    for lag_bytes in [None, Some((1 << 20) + 1)] {
        members(&mut observed)[2].lag_bytes = lag_bytes;
        check(&observed, &[], reason::SCALING_UP);
    }
}

#[test]
fn the_target_of_a_half_done_operation_stays() {
    let mut observed = locked(formed(3, 1));
    observed.pods[1].node = Some(member_node(1, 2));
    observed.pods[1].role_label = Some("learner".to_owned());
    members(&mut observed).push(member(1, 2, false));
    observed.desired.replicas = 1;
    assert_eq!(plan(&observed).operation.unwrap().target, 3);
    // Beyond its deadline it can be given up.
    observed.now = Timestamp::from_second(NOW + 3_600).unwrap();
    assert_eq!(plan(&observed).operation.unwrap().target, 1);
}

#[test]
fn an_operation_beyond_its_deadline_is_reported_as_stalled_and_goes_on() {
    let mut observed = locked(formed(3, 1));
    let operation = observed.status.operation.as_mut().unwrap();
    operation.deadline = Time(Timestamp::from_second(NOW - 1).unwrap());
    let plan = check(&observed, &["Join", "Join"], reason::DEADLINE_EXCEEDED);
    assert_eq!(plan.verdict.outcome, Outcome::Stalled);
}

#[test]
fn scaling_down_removes_the_highest_member_before_its_pod() {
    let mut observed = locked(formed(3, 5));
    let plan = check(&observed, &["Remove"], reason::SCALING_DOWN);
    assert!(matches!(&plan.actions[0], Action::Remove { node_id: 5, .. }), "{plan:?}");
    assert_eq!(plan.shape.unwrap(), Shape { replicas: 5, available_min: 3 });
    members(&mut observed).pop();
    let plan = super::plan(&observed);
    assert_eq!(plan.shape.unwrap().replicas, 4);
}

#[test]
fn a_store_is_not_settled_while_pods_of_former_members_stand() {
    let mut observed = formed(3, 3);
    observed.set = Some(set(5));
    let plan = check(&observed, &[], reason::SCALING_DOWN);
    assert_eq!(plan.shape.unwrap().replicas, 4);
    observed.set = Some(set(3));
    let mut outsider = pod(3, None);
    outsider.ready = true;
    observed.pods.push(outsider);
    check(&observed, &[], reason::SCALING_DOWN);
}

#[test]
fn a_leader_that_is_to_go_hands_over_first() {
    let mut observed = locked(formed(3, 5));
    observed.membership.as_mut().unwrap().leader_id = 5;
    for (place, pod) in observed.pods.iter_mut().enumerate() {
        pod.node.as_mut().unwrap().leader = place == 4;
        pod.role_label = Some(if place == 4 { "leader" } else { "follower" }.to_owned());
    }
    members(&mut observed)[0].lag_bytes = Some(7);
    let plan = check(&observed, &["TransferLeader"], reason::SCALING_DOWN);
    assert!(matches!(&plan.actions[0], Action::TransferLeader { to_node_id: 2, .. }), "{plan:?}");
}

#[test]
fn nothing_is_removed_that_would_cost_the_quorum() {
    let mut observed = locked(formed(1, 3));
    down(&mut observed, 0);
    down(&mut observed, 1);
    observed.membership.as_mut().unwrap().leader_id = 2;
    let plan = check(&observed, &[], reason::SCALE_REFUSED);
    assert_eq!(plan.verdict.outcome, Outcome::Working);
}

#[test]
fn a_claim_goes_only_after_its_member_and_its_pod_and_only_by_policy() {
    let mut observed = formed(3, 3);
    observed.claims.extend([claim(3), claim(4)]);
    check(&observed, &[], reason::READY);
    observed.desired.reclaim_policy = ReclaimPolicy::Delete;
    check(&observed, &["DeleteClaim", "DeleteClaim"], reason::READY);
    observed.pods.push(pod(3, None));
    let names = |observed: &Observed| -> Vec<String> {
        let actions = plan(observed).actions;
        let claims = actions.into_iter().filter_map(|action| match action {
            Action::DeleteClaim { claim, .. } => Some(claim),
            _ => None,
        });
        claims.collect()
    };
    assert_eq!(names(&observed), ["data-orders-4"]);
    let mut orphan = member(4, 9, false);
    orphan.last_ack_age_ms = Some(60_000);
    members(&mut observed).push(orphan);
    assert!(names(&observed).is_empty());
}

#[test]
fn a_member_without_its_volume_is_replaced_under_another_id() {
    let mut observed = formed(3, 3);
    observed.pods[2].node = Some(NodeView { volume_id: "fresh".to_owned(), ..empty_node(2) });
    observed.pods[2].role_label = Some("none".to_owned());
    observed.pods[2].ready = false;
    members(&mut observed)[2].last_ack_age_ms = Some(60_000);
    let mut observed = locked(observed);
    let operation = observed.status.operation.clone().unwrap();
    assert_eq!((operation.kind, operation.node_id), (OperationKind::ReplaceMember, Some(3)));
    check(&observed, &["Join"], reason::REPLACING_MEMBER);

    let fresh = NodeView { volume_id: "fresh".to_owned(), ..member_node(2, 4) };
    observed.pods[2].node = Some(fresh);
    check(&observed, &["AddLearner"], reason::REPLACING_MEMBER);

    // The dead one goes when its successor has caught up, not before; then the successor votes.
    let mut learner = Member { volume_id: "fresh".to_owned(), ..member(2, 4, false) };
    learner.lag_bytes = Some(u64::MAX);
    members(&mut observed).push(learner);
    observed.pods[2].role_label = Some("learner".to_owned());
    check(&observed, &[], reason::SCALING_UP);
    members(&mut observed)[3].lag_bytes = Some(0);
    let plan = check(&observed, &["Remove"], reason::REPLACING_MEMBER);
    assert!(matches!(&plan.actions[0], Action::Remove { node_id: 3, .. }));
    members(&mut observed).remove(2);
    let observed = locked(observed);
    check(&observed, &["Promote"], reason::SCALING_UP);
}

#[test]
fn a_member_that_is_only_down_is_waited_for() {
    let mut observed = formed(3, 3);
    down(&mut observed, 2);
    let plan = check(&observed, &[], reason::MEMBERS_UNREADY);
    assert_eq!(plan.verdict.outcome, Outcome::Working);
    assert_eq!(plan.verdict.quorum, Some(true));
}

#[test]
fn without_a_leader_nothing_is_changed() {
    let mut observed = formed(3, 3);
    observed.membership = None;
    observed.desired.replicas = 5;
    for pod in &mut observed.pods {
        pod.node.as_mut().unwrap().leader = false;
        pod.role_label = Some("follower".to_owned());
    }
    let plan = check(&observed, &[], reason::NO_QUORUM);
    assert_eq!(plan.verdict.quorum, Some(false));
    assert_eq!(plan.shape.unwrap().replicas, 3);
}

#[test]
fn members_that_contradict_each_other_are_left_as_they_are() {
    let mut observed = formed(5, 3);
    observed.pods[1].revision = Some("old".to_owned());
    let checked =
        |result| Some(Checked { result, message: "member 2 has other contents".to_owned() });
    observed.checked = checked(Consistency::Degraded);
    check(&observed, &["LockOperation"], reason::SCALING_UP);
    observed.checked = checked(Consistency::SplitBrain);
    let plan = check(&observed, &[], reason::SPLIT_BRAIN);
    assert_eq!(plan.verdict.outcome, Outcome::Stalled);
    assert!(plan.verdict.message.contains("member 2 has other contents"), "{plan:#?}");
    let replicas = observed.set.as_ref().map(|set| set.replicas);
    assert_eq!(plan.shape.map(|shape| shape.replicas), replicas, "no pod goes either");
}

#[test]
fn pods_of_an_old_template_are_replaced_followers_first() {
    let mut observed = formed(3, 3);
    for pod in &mut observed.pods {
        pod.revision = Some("old".to_owned());
    }
    check(&observed, &["LockOperation"], reason::ROLLING_UPDATE);
    let observed = locked(observed);
    let plan = check(&observed, &["RestartPod"], reason::ROLLING_UPDATE);
    assert!(matches!(&plan.actions[0], Action::RestartPod { pod, .. } if *pod == name(2)));
}

#[test]
fn the_leader_hands_over_before_it_is_replaced() {
    let mut observed = formed(3, 3);
    observed.pods[0].revision = Some("old".to_owned());
    check(&locked(observed), &["TransferLeader"], reason::ROLLING_UPDATE);
    // A store of one has nobody to hand over to.
    let mut observed = formed(1, 1);
    observed.pods[0].revision = Some("old".to_owned());
    check(&locked(observed), &["RestartPod"], reason::ROLLING_UPDATE);
}

#[test]
fn no_pod_is_replaced_while_another_does_not_take_part() {
    let mut observed = formed(3, 3);
    observed.pods[1].revision = Some("old".to_owned());
    down(&mut observed, 2);
    check(&observed, &[], reason::ROLLING_UPDATE);
}

#[test]
fn a_template_that_does_not_come_up_ends_with_its_first_pod_and_says_why() {
    let mut observed = formed(3, 3);
    for ordinal in [0, 1] {
        observed.pods[ordinal].revision = Some("old".to_owned());
    }
    down(&mut observed, 2);
    check(&observed, &[], reason::ROLLING_UPDATE);
    observed.pods[2].trouble = Some("ImagePullBackOff: no such image".to_owned());
    let plan = check(&observed, &[], reason::ROLLOUT_PAUSED);
    assert_eq!(plan.verdict.outcome, Outcome::Stalled);
    assert!(plan.verdict.message.contains("orders-2: ImagePullBackOff"), "{plan:#?}");
    // Another template mends it, whatever the broken pod does.
    observed.set.as_mut().unwrap().update_revision = Some("newer".to_owned());
    check(&observed, &["RestartPod"], reason::ROLLOUT_PAUSED);
}

#[test]
fn a_member_that_cannot_be_scheduled_says_why() {
    let mut observed = formed(3, 3);
    down(&mut observed, 1);
    observed.pods[1].trouble = Some("Unschedulable: no room".to_owned());
    let plan = check(&observed, &[], reason::MEMBERS_UNREADY);
    assert!(plan.verdict.message.ends_with("orders-1: Unschedulable: no room."), "{plan:#?}");
}

#[test]
fn a_broken_pod_of_an_old_template_does_not_stand_in_the_way() {
    let mut observed = formed(3, 3);
    down(&mut observed, 2);
    observed.pods[2].revision = Some("broken".to_owned());
    check(&observed, &["RestartPod"], reason::ROLLING_UPDATE);
    // Also without a leader.
    observed.membership = None;
    for pod in &mut observed.pods {
        pod.role_label = None;
        if let Some(node) = &mut pod.node {
            node.leader = false;
        }
    }
    check(&observed, &["RestartPod"], reason::NO_QUORUM);
}

#[test]
fn the_leader_label_follows_the_highest_term() {
    let mut observed = formed(3, 3);
    let second = observed.pods[1].node.as_mut().unwrap();
    second.leader = true;
    second.term = 4;
    observed.membership.as_mut().unwrap().leader_id = 2;
    let plan = plan(&observed);
    let labels: Vec<(&str, Role)> = plan
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Label { pod, role, .. } => Some((pod.as_str(), *role)),
            _ => None,
        })
        .collect();
    // Taken away first, given second.
    assert_eq!(labels, [("orders-0", Role::Follower), ("orders-1", Role::Leader)]);
}

#[test]
fn a_silent_leader_keeps_its_label_until_another_leads() {
    let mut observed = formed(3, 3);
    down(&mut observed, 0);
    observed.membership = None;
    check(&observed, &[], reason::NO_QUORUM);
    observed.pods[2].node.as_mut().unwrap().leader = true;
    let plan = plan(&observed);
    assert_eq!(plan.actions.len(), 2, "{plan:?}");
}

#[test]
fn volumes_grow_when_the_specification_does() {
    let mut observed = formed(3, 3);
    observed.desired.storage_bytes = 200;
    observed.claims[1].requested_bytes = 200;
    check(&observed, &["GrowClaim", "GrowClaim"], reason::READY);
}

#[test]
fn a_paused_store_is_left_alone() {
    let mut observed = formed(5, 1);
    observed.desired.care = Care::Paused;
    let plan = check(&observed, &[], reason::PAUSED);
    assert_eq!(plan.shape, None);
}

#[test]
fn a_store_that_hibernates_has_no_pods_and_keeps_everything_else() {
    let mut observed = locked(formed(5, 3));
    observed.desired.care = Care::Hibernation;
    let plan = check(&observed, &[], reason::HIBERNATING);
    assert_eq!(plan.shape, Some(Shape { replicas: 0, available_min: 0 }));
    assert_eq!(plan.operation, observed.status.operation, "what was locked stays locked");
    observed.set = Some(set(0));
    observed.pods.clear();
    observed.membership = None;
    let plan = check(&observed, &[], reason::HIBERNATED);
    assert_eq!((plan.verdict.outcome, plan.verdict.quorum), (Outcome::Settled, Some(false)));
}

#[test]
fn a_store_that_wakes_has_the_pods_of_all_its_members() {
    for (desired, members, target, replicas) in
        [(3, 3, None, 3), (1, 3, None, 3), (5, 3, None, 5), (1, 1, Some(3), 3)]
    {
        let mut observed = formed(desired, members);
        observed.status.members = crate::report::members(&observed);
        if let Some(target) = target {
            let mut operation = plan(&formed(target, members)).operation.unwrap();
            operation.target = target;
            observed.status.operation = Some(operation);
        }
        observed.set = Some(set(0));
        observed.pods.clear();
        observed.membership = None;
        let plan = check(&observed, &[], reason::NO_QUORUM);
        assert_eq!(plan.shape.unwrap().replicas, replicas, "{desired} {members} {target:?}");
    }
}

#[test]
fn a_protected_store_is_kept_although_it_was_deleted() {
    let mut observed = formed(3, 3);
    observed.desired.deleting = true;
    observed.desired.protected = true;
    let plan = check(&observed, &[], reason::DELETION_PROTECTED);
    assert_eq!(plan.verdict.outcome, Outcome::Stalled);
    assert_eq!(plan.shape.unwrap().replicas, 3, "its objects are kept as they are");
    observed.desired.protected = false;
    check(&observed, &["DeleteSet"], reason::DELETING);
}

#[test]
fn deletion_goes_from_the_pods_to_the_name() {
    let mut observed = formed(3, 3);
    observed.desired.deleting = true;
    observed.desired.care = Care::Paused;
    check(&observed, &["DeleteSet"], reason::DELETING);
    observed.set = None;
    check(&observed, &[], reason::DELETING);
    observed.pods.clear();
    check(&observed, &["DeleteOwned", "RemoveFinalizer"], reason::DELETING);
    observed.desired.reclaim_policy = ReclaimPolicy::Delete;
    check(&observed, &["DeleteClaim"; 3], reason::DELETING);
    observed.claims.clear();
    check(&observed, &["DeleteOwned", "RemoveFinalizer"], reason::DELETING);
}

#[test]
fn the_disruption_budget_keeps_the_quorum_of_the_larger_size() {
    for (target, voters, available_min) in
        [(1, 1, 0), (1, 0, 0), (3, 1, 2), (3, 3, 2), (5, 3, 3), (3, 5, 3), (7, 7, 4)]
    {
        assert_eq!(membership::available_min(target, voters), available_min, "{target} {voters}");
    }
}
