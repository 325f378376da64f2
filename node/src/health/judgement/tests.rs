//! Each rule by tables: what three members say of themselves, changed in one point, and what is judged of it.

use proptest::prelude::*;
use reckon_api::v1::check::Data;

use super::*;

const CLUSTER: &str = "orders";

fn member(node_id: u64) -> v1::Member {
    v1::Member {
        node_id,
        voter: true,
        name: format!("orders-{}", node_id - 1),
        volume_id: format!("volume-{node_id}"),
        peer_address: format!("orders-{}:7431", node_id - 1),
        ..v1::Member::default()
    }
}

fn membership(voters: &[u64]) -> v1::Membership {
    v1::Membership {
        log_term: 1,
        log_index: 5,
        members: voters.iter().map(|node_id| member(*node_id)).collect(),
        joint: false,
    }
}

fn seal(seal: u64, digest: &str) -> v1::Seal {
    v1::Seal { seal, position: seal * 100, digest: digest.to_owned() }
}

/// A member of a well store of three that member 1 leads in term 4.
fn status(node_id: u64) -> v1::StatusResponse {
    let role = if node_id == 1 { Role::Leader } else { Role::Follower };
    v1::StatusResponse {
        node_id,
        cluster_id: CLUSTER.to_owned(),
        epoch: 1,
        volume_id: format!("volume-{node_id}"),
        peer_address: format!("orders-{}:7431", node_id - 1),
        role: role.into(),
        term: 4,
        leader_id: 1,
        last_log_index: 90,
        committed_index: 90,
        applied_index: 90,
        membership: Some(membership(&[1, 2, 3])),
        seal: 2,
        sealed_position: 200,
        digest: "b".to_owned(),
        seals: vec![seal(1, "a"), seal(2, "b")],
        ready: true,
        activated: true,
        ..v1::StatusResponse::default()
    }
}

/// Three members as they are asked by member 1.
struct Store {
    asked: Vec<Asked>,
    membership: v1::Membership,
}

impl Store {
    fn well() -> Self {
        let ask = |node_id| Asked { member: member(node_id), answer: Ok(status(node_id)) };
        Self { asked: [1, 2, 3].map(ask).to_vec(), membership: membership(&[1, 2, 3]) }
    }

    /// The same with something else about one member.
    fn with(mut self, node_id: u64, change: impl FnOnce(&mut v1::StatusResponse)) -> Self {
        let asked = self.asked.iter_mut().find(|asked| asked.member.node_id == node_id);
        change(asked.expect("a member").answer.as_mut().expect("it answers"));
        self
    }

    fn without(mut self, node_id: u64) -> Self {
        let asked = self.asked.iter_mut().find(|asked| asked.member.node_id == node_id);
        asked.expect("a member").answer = Err("connection refused".to_owned());
        self
    }

    fn judge(&self) -> v1::ConsistencyReport {
        let observer = Observer { node_id: 1, cluster_id: CLUSTER.to_owned(), epoch: 1 };
        judge(&observer, &self.membership, &self.asked, &CHECKS, Asking::default())
    }
}

/// The result, and what the check says that is the worst of all; `said` must be part of it.
#[track_caller]
fn check(store: &Store, result: ConsistencyResult, kind: CheckKind, said: &str) {
    let report = store.judge();
    assert_eq!(report.result(), result, "{report:#?}");
    let check = report.checks.iter().find(|check| check.kind() == kind).expect("all checks");
    assert_eq!(check.status(), result, "{check:#?}");
    assert!(check.message.contains(said), "no `{said}` in: {}", check.message);
}

use CheckKind::{LeaderConsensus as Leader, LogConsistency as Log, MembershipConsensus as Members};
use ConsistencyResult::{Degraded, Healthy, NoQuorum, SplitBrain};

#[test]
fn a_store_whose_members_all_agree_is_healthy() {
    for (kind, said) in [
        (Members, "all 3 members answer and know the same members"),
        (Leader, "all members follow leader 1"),
        (Log, "no two members differ"),
        (CheckKind::Quorum, "3 of 3 voters answer; 1 of them may be lost"),
    ] {
        check(&Store::well(), Healthy, kind, said);
    }
}

#[test]
fn members_that_do_not_answer_cost_first_the_margin_and_then_the_quorum() {
    let one_less = Store::well().without(3);
    check(&one_less, Degraded, Members, "member 3 does not count: connection refused");
    check(&one_less, Degraded, CheckKind::Quorum, "2 of 3 voters answer; 0 of them may be lost");
    let alone = Store::well().without(2).without(3);
    check(&alone, NoQuorum, CheckKind::Quorum, "1 of 3 voters answer, and 2 must");
    let report = alone.judge();
    let Some(Data::Quorum(margin)) = &report.checks[3].data else { panic!("{report:#?}") };
    let told = (margin.total, margin.available, margin.required, margin.margin, margin.can_lose);
    assert_eq!(told, (3, 1, 2, -1, 0));
    let Some(Data::Membership(members)) = &report.checks[0].data else { panic!("{report:#?}") };
    assert_eq!((members.checked, members.responded, members.failed.len()), (3, 1, 2));
}

#[test]
fn the_quorum_is_one_of_voters() {
    for (voters, lost, available, can_lose, result) in [
        (1, 0, 1, 0, Healthy),
        (2, 0, 2, 0, Healthy),
        (2, 1, 1, 0, NoQuorum),
        (5, 0, 5, 2, Healthy),
        (5, 2, 3, 0, Degraded),
        (5, 3, 2, 0, NoQuorum),
    ] {
        let ids: Vec<u64> = (1..=voters).collect();
        let asked = ids.iter().map(|id| {
            let gone = *id > voters - lost;
            let answer = if gone { Err("gone".to_owned()) } else { Ok(status(*id)) };
            Asked { member: member(*id), answer }
        });
        let store = Store { asked: asked.collect(), membership: membership(&ids) };
        let quorum = &store.judge().checks[3];
        let Some(Data::Quorum(margin)) = &quorum.data else { panic!("{quorum:#?}") };
        assert_eq!(u64::from(margin.available), available);
        assert_eq!((margin.can_lose, quorum.status()), (can_lose, result), "{voters} less {lost}");
    }
    let mut learner = Store::well().without(3);
    learner.membership.members[2].voter = false;
    check(&learner, Degraded, Members, "member 3 does not count");
    let quorum = &learner.judge().checks[3];
    assert_eq!(quorum.status(), Healthy, "a learner is no part of a quorum");
}

#[test]
fn two_stores_under_one_name_are_split_brain() {
    check(
        &Store::well().with(2, |it| "billing".clone_into(&mut it.cluster_id)),
        SplitBrain,
        Members,
        "the address of member 2 belongs to the store billing, not to orders",
    );
    check(
        &Store::well().with(2, |it| it.epoch = 2),
        SplitBrain,
        Members,
        "the address of member 2 is in epoch 2 of the store, not in 1",
    );
    // An emptied volume is no other store.
    let empty = |it: &mut v1::StatusResponse| {
        it.cluster_id.clear();
        it.node_id = 0;
    };
    check(&Store::well().with(2, empty), Degraded, Members, "belongs to no store");
}

#[test]
fn a_node_id_that_two_nodes_speak_under_is_split_brain() {
    check(
        &Store::well().with(2, |it| "restored".clone_into(&mut it.volume_id)),
        SplitBrain,
        Members,
        "member 2 runs on volume restored, and was given its id for volume volume-2",
    );
    // Member 3's pod was given a copy of member 2's volume.
    let copied = |it: &mut v1::StatusResponse| {
        it.node_id = 2;
        "volume-2".clone_into(&mut it.volume_id);
    };
    check(&Store::well().with(3, copied), SplitBrain, Members, "node id 2 is used twice");
}

#[test]
fn a_member_whose_address_another_one_took_over_is_away() {
    // The pod of member 3 lost its volume and joined as member 4: the membership has both at one address.
    let mut store = Store::well();
    let reborn = v1::StatusResponse {
        node_id: 4,
        volume_id: "volume-4".to_owned(),
        membership: None,
        ..status(3)
    };
    store.asked[2].answer = Ok(reborn.clone());
    let new = v1::Member { voter: false, peer_address: "orders-2:7431".to_owned(), ..member(4) };
    store.asked.push(Asked { member: new, answer: Ok(reborn) });
    check(
        &store,
        Degraded,
        Members,
        "member 3 does not count: the node at its address is member 4",
    );
}

#[test]
fn a_store_that_is_not_open_or_not_ready_everywhere_is_not_healthy_yet() {
    let closed = Store::well().with(2, |it| it.activated = false);
    check(&closed, Degraded, Members, "not open to clients yet: member 2");
    let replaying = |it: &mut v1::StatusResponse| it.ready = false;
    let starting = Store::well().with(2, replaying).with(3, replaying);
    check(&starting, Degraded, Members, "not ready yet: members 2, 3");
}

#[test]
fn memberships_that_lag_are_degraded_and_two_at_one_place_are_split_brain() {
    let newer = |it: &mut v1::StatusResponse| {
        it.membership = Some(v1::Membership { log_index: 50, ..membership(&[1, 2, 3]) });
    };
    let said = "the membership at log index 50 has not reached members 1, 3 yet";
    check(&Store::well().with(2, newer), Degraded, Members, said);
    let other = |it: &mut v1::StatusResponse| it.membership = Some(membership(&[2, 3]));
    let said = "different memberships stand at log index 5: one of ";
    check(&Store::well().with(2, other), SplitBrain, Members, said);
    let other_term = |it: &mut v1::StatusResponse| {
        it.membership = Some(v1::Membership { log_term: 2, ..membership(&[1, 2, 3]) });
    };
    check(&Store::well().with(2, other_term), SplitBrain, Members, said);
    // The first membership of a store stands at index 0, as does none at all.
    let mut young = Store::well().with(3, |it| it.membership = None);
    for asked in &mut young.asked[..2] {
        let first = v1::Membership { log_term: 0, log_index: 0, ..membership(&[1, 2]) };
        asked.answer.as_mut().unwrap().membership = Some(first);
    }
    assert_eq!(young.judge().checks[0].status(), Degraded);
}

#[test]
fn a_node_that_was_removed_says_so() {
    let mut store = Store::well();
    for asked in &mut store.asked {
        asked.answer.as_mut().unwrap().membership = Some(membership(&[2, 3]));
    }
    check(&store, Degraded, Members, "node 1 is no member of the store");
}

#[test]
fn two_leaders_are_split_brain_in_one_term_and_a_passing_thing_in_two() {
    let leads = |it: &mut v1::StatusResponse| {
        it.role = Role::Leader.into();
        it.leader_id = it.node_id;
    };
    check(
        &Store::well().with(2, leads),
        SplitBrain,
        Leader,
        "term 4 has more than one leader: 1, 2",
    );
    check(
        &Store::well().with(2, |it| it.leader_id = 3),
        SplitBrain,
        Leader,
        "term 4 has more than one leader: 1, 3",
    );
    let deposes = |it: &mut v1::StatusResponse| {
        leads(it);
        it.term = 5;
    };
    check(
        &Store::well().with(2, deposes),
        Degraded,
        Leader,
        "leader 2 is not followed by members 1, 3 yet",
    );
}

#[test]
fn without_a_leader_a_store_is_degraded() {
    let mut store = Store::well();
    for asked in &mut store.asked {
        let status = asked.answer.as_mut().unwrap();
        status.role = Role::Candidate.into();
        status.leader_id = 0;
    }
    check(&store, Degraded, Leader, "no member knows a leader of term 4");
    let mut cut = Store::well().without(3);
    for asked in &mut cut.asked[..2] {
        let status = asked.answer.as_mut().unwrap();
        (status.role, status.leader_id) = (Role::Follower.into(), 3);
    }
    check(&cut, Degraded, Leader, "the leader, member 3, does not answer here");
    check(
        &Store::well().with(3, |it| it.leader_id = 0),
        Degraded,
        Leader,
        "leader 1 is not followed by member 3 yet",
    );
}

#[test]
fn a_voter_far_behind_or_with_damage_is_degraded_and_a_learner_may_be_behind() {
    let behind = |voter: bool| {
        move |it: &mut v1::StatusResponse| {
            let members = &mut it.membership.as_mut().unwrap().members;
            members[2].voter = voter;
            members[2].lag_bytes = Some(limits::CONSISTENCY_LAG_BYTES_MAX + 1);
        }
    };
    let voter = Store::well().with(1, behind(true));
    check(&voter, Degraded, Log, "member 3 lacks more than 16 MiB of the log");
    let learner = Store::well().with(1, behind(false)).judge();
    assert_eq!(learner.checks[2].status(), Healthy);
    let damaged = |it: &mut v1::StatusResponse| it.fenced_files = vec!["runs/0-1".to_owned()];
    check(
        &Store::well().with(2, damaged),
        Degraded,
        Log,
        "member 2 fetches damaged files again: 1",
    );
}

#[test]
fn how_far_members_are_is_told() {
    let store = Store::well().with(3, |it| {
        it.committed_index = 80;
        it.applied_index = 70;
        it.term = 3;
    });
    let report = store.judge();
    let Some(Data::Log(log)) = &report.checks[2].data else { panic!("{report:#?}") };
    assert_eq!((log.term_min, log.term_max), (3, 4));
    assert_eq!((log.committed_index_min, log.committed_index_max), (80, 90));
    let lags: Vec<_> = log.reports.iter().map(|it| (it.node_id, it.lag_entries)).collect();
    assert_eq!(lags, [(1, 0), (2, 0), (3, 20)]);
    assert_eq!(log.seal_compared, 2);
}

/// Digests by seals, a letter each, from the first seal on; `.` is a seal that the member does not know.
fn sealed(digests: &str) -> impl FnOnce(&mut v1::StatusResponse) {
    let seals: Vec<v1::Seal> = digests
        .chars()
        .enumerate()
        .filter(|(_, digest)| *digest != '.')
        .map(|(index, digest)| seal(index as u64 + 1, &digest.to_string()))
        .collect();
    move |it| {
        let last = seals.last().cloned().unwrap_or_default();
        (it.seal, it.sealed_position, it.digest) = (last.seal, last.position, last.digest);
        it.seals = seals;
    }
}

/// Who differs, first at which seal, from and below which position, and whether it stands against a majority.
type Differing = (u64, u64, u64, u64, bool);

#[track_caller]
fn digests(of: [&str; 3], compared: u64, expect: &[Differing]) {
    let [one, two, three] = of.map(sealed);
    let store = Store::well().with(1, one).with(2, two).with(3, three);
    let report = store.judge();
    let Some(Data::Log(log)) = &report.checks[2].data else { panic!("{report:#?}") };
    let found: Vec<Differing> = log
        .divergences
        .iter()
        .map(|it| (it.node_id, it.seal, it.from_position, it.to_position, it.minority))
        .collect();
    assert_eq!(found, expect, "{of:?}");
    assert_eq!(log.seal_compared, compared, "{of:?}");
    let result = if expect.is_empty() { Healthy } else { SplitBrain };
    assert_eq!(report.result(), result, "{of:?}");
}

#[test]
fn replicas_are_compared_where_they_have_sealed_the_same() {
    digests(["abc", "abc", "abc"], 3, &[]);
    digests(["abcd", "abc", "ab"], 3, &[]);
    digests(["...d", "abc.", ".bcd"], 4, &[]);
    digests(["...d", "..c", ".b"], 0, &[]);
    digests(["", "", ""], 0, &[]);
}

#[test]
fn a_replica_that_differs_is_named_with_where_it_begins_to() {
    digests(["abcd", "abxy", "abcd"], 2, &[(2, 3, 200, 300, true)]);
    digests(["xyz", "abc", "abc"], 0, &[(1, 1, 0, 100, true)]);
    // What was not remembered may be where the difference is.
    digests(["..cd", "abcd", "..xy"], 0, &[(3, 3, 0, 300, true)]);
    // The third one says who of the others is right, although it does not reach back to where they parted.
    digests(["abcd", "abxy", "...d"], 2, &[(2, 3, 200, 300, true)]);
}

#[test]
fn without_a_majority_all_that_differ_are_named() {
    digests(["ab", "ax", ""], 1, &[(1, 2, 100, 200, false), (2, 2, 100, 200, false)]);
    digests(
        ["ab", "ax", "ay"],
        1,
        &[(1, 2, 100, 200, false), (2, 2, 100, 200, false), (3, 2, 100, 200, false)],
    );
}

#[test]
fn a_divergence_is_told_in_a_sentence_that_names_it() {
    let store = Store::well().with(2, sealed("ax"));
    check(
        &store,
        SplitBrain,
        Log,
        "member 2 has other contents from position 100 on and below 200 (seal 2) than the majority, members 1, 3",
    );
}

/// Where a member of a store that keeps all its promises may be: term, whether it knows the term's leader, how many
/// changes of the membership it has heard of, the seals that it remembers, whether it answers.
type Place = (u64, bool, u64, (u64, u64), bool);

fn at((term, follows, heard, (first, seals), answers): Place, node_id: u64) -> Asked {
    let leader = term % 5 + 1;
    let leads = follows && leader == node_id;
    let seals: Vec<v1::Seal> =
        (first..first + seals).map(|number| seal(number, &format!("digest {number}"))).collect();
    let last = seals.last().cloned().unwrap_or_default();
    let voters: Vec<u64> = (1..=heard).collect();
    let status = v1::StatusResponse {
        term,
        role: if leads { Role::Leader.into() } else { Role::Follower.into() },
        leader_id: if follows { leader } else { 0 },
        membership: Some(v1::Membership {
            log_term: heard,
            log_index: heard.saturating_sub(1) * 10,
            ..membership(&voters)
        }),
        seal: last.seal,
        sealed_position: last.position,
        digest: last.digest,
        seals,
        ..status(node_id)
    };
    let answer = if answers { Ok(status) } else { Err("timeout".to_owned()) };
    Asked { member: member(node_id), answer }
}

proptest! {
    #[test]
    fn what_merely_lags_or_is_away_is_never_split_brain(
        places in proptest::collection::vec(
            (1_u64..8, any::<bool>(), 0_u64..6, (1_u64..20, 0_u64..16), any::<bool>()),
            5,
        ),
    ) {
        let asked: Vec<Asked> = places.into_iter().zip(1..).map(|(it, id)| at(it, id)).collect();
        let store = Store { asked, membership: membership(&[1, 2, 3, 4, 5]) };
        let report = store.judge();
        prop_assert_ne!(report.result(), SplitBrain, "{:#?}", report);
        let enough = store.asked.iter().filter(|asked| asked.answer.is_ok()).count() >= 3;
        prop_assert_eq!(report.checks[3].status() == NoQuorum, !enough);
    }

    #[test]
    fn one_replica_of_five_that_differs_is_named_wherever_the_others_are(
        firsts in proptest::collection::vec(1_u64..8, 5),
        from in 1_u64..12,
        odd in 1_u64..6,
    ) {
        let asked: Vec<Asked> = firsts
            .into_iter()
            .zip(1..)
            .map(|(first, id)| {
                let mut asked = at((1, false, 5, (first, 12), true), id);
                let status = asked.answer.as_mut().expect("it answers");
                for seal in status.seals.iter_mut().filter(|it| id == odd && it.seal >= from) {
                    seal.digest.push_str(" of another history");
                }
                status.digest = status.seals.last().expect("twelve").digest.clone();
                asked
            })
            .collect();
        let report = Store { asked, membership: membership(&[1, 2, 3, 4, 5]) }.judge();
        let Some(Data::Log(log)) = &report.checks[2].data else { panic!("{report:#?}") };
        let named: Vec<u64> = log.divergences.iter().map(|it| it.node_id).collect();
        prop_assert_eq!(named, [odd]);
        // All remember seal 8 to 12, so that there is a majority, and the difference is not before it began.
        let found = &log.divergences[0];
        prop_assert!(found.minority && found.seal >= from, "{:#?}", found);
        prop_assert!(found.from_position < found.to_position);
        prop_assert!(found.from_position <= from * 100);
    }
}

#[test]
fn only_the_checks_that_are_wanted_are_made_and_count() {
    let store = Store::well().without(2).without(3);
    let observer = Observer { node_id: 1, cluster_id: CLUSTER.to_owned(), epoch: 1 };
    let wanted = [CheckKind::LogConsistency];
    let when = Asking { at_us: 7, duration_us: 3 };
    let report = judge(&observer, &store.membership, &store.asked, &wanted, when);
    assert_eq!(report.checks.len(), 1);
    assert_eq!(report.result(), Healthy);
    assert_eq!((report.node_id, report.checks[0].at_us, report.checks[0].duration_us), (1, 7, 3));
}

#[test]
fn numbers_that_go_up_are_no_news_and_results_and_sentences_are() {
    let before = Store::well().judge();
    let later = Store::well().with(1, |it| it.committed_index = 100).judge();
    assert_ne!(before, later);
    assert!(!differs(&before, &later));
    assert!(differs(&before, &Store::well().without(3).judge()));
    assert!(differs(&Store::well().without(2).judge(), &Store::well().without(3).judge()));
}
