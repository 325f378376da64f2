use reckon_api::v1::{ConsistencyResult, HealthState};

use super::*;
use crate::delivery::dispatch::Counters;
use crate::delivery::selector::SelectorKind;

fn status(reason: Reason) -> Status {
    reason.plain("for a test")
}

fn one_event() -> Vec<v1::StreamAppend> {
    let event = v1::NewEvent {
        data: vec![0; 10].into(),
        metadata: vec![0; 3].into(),
        ..Default::default()
    };
    vec![v1::StreamAppend { events: vec![event], ..Default::default() }]
}

fn view() -> RaftView {
    RaftView {
        term: 3,
        role: RaftRole::Leader,
        leader: Some(1),
        commit_index: 10,
        applied_index: 9,
        voters: 3,
        learners: 1,
    }
}

/// Touches every metric once.
fn touched() -> Metrics {
    let metrics = Metrics::new("orders");
    metrics.joined("5f1c", 1);
    metrics.append_begins(&one_event()).ends(&Ok(()));
    metrics.append_begins(&one_event()).ends::<()>(&Err(status(Reason::TooManyRequests)));
    let read = metrics.read_begins(ReadKind::All, ReadConsistency::Stale);
    read.events(7);
    read.ends(&Ok(()));
    metrics
        .read_begins(ReadKind::Stream, ReadConsistency::of(None))
        .ends::<()>(&Err(status(Reason::StreamNotFound)));
    metrics.raft(&view());
    metrics.fsynced(Duration::from_millis(2));
    metrics.log_bytes(64);
    metrics.overlay_bytes(32);
    metrics.restarted("recorder");
    let health = metrics.health();
    health.probed(true, 2_000);
    health.probed(false, 1_000_000);
    health.members(HealthState::Failed, 1);
    health.state_changed(HealthState::Failed);
    health.checked(ConsistencyResult::Healthy, Duration::from_millis(3));
    health.checked(ConsistencyResult::SplitBrain, Duration::from_millis(3));
    health.split_brain();
    let subscriptions = metrics.subscriptions();
    let now = Counters { delivered: 3, late: 1, ..Counters::default() };
    subscriptions.count(SelectorKind::Tags, &Counters::default(), &now);
    subscriptions.view(
        SelectorKind::Tags,
        SubscriptionsView { subscriptions: 2, stalled: 1, ..SubscriptionsView::default() },
    );
    subscriptions.failed(SelectorKind::All);
    drop(subscriptions.follower());
    metrics
}

fn every() -> impl Iterator<Item = &'static &'static Definition> {
    ALL.iter().chain(&health::ALL).chain(&subscriptions::ALL)
}

#[test]
fn events_of_subscriptions_count_by_type_and_by_what_became_of_them() {
    check(
        &touched(),
        &[
            "reckon_subscription_events_total{store=\"orders\",type=\"tags\",outcome=\"delivered\"} 3",
            "reckon_subscription_events_total{store=\"orders\",type=\"tags\",outcome=\"late\"} 1",
            "reckon_subscriptions{store=\"orders\",type=\"tags\"} 2",
            "reckon_subscriptions_stalled{store=\"orders\",type=\"tags\"} 1",
            "reckon_subscription_failures_total{store=\"orders\",type=\"all\"} 1",
            "reckon_followers{store=\"orders\"} 0",
        ],
    );
}

#[test]
fn members_count_by_state_and_a_check_has_one_result_at_a_time() {
    check(
        &touched(),
        &[
            "reckon_probe_duration_seconds_count{store=\"orders\",outcome=\"answered\"} 1",
            "reckon_probe_duration_seconds_count{store=\"orders\",outcome=\"failed\"} 1",
            "reckon_probed_members{store=\"orders\",state=\"failed\"} 1",
            "reckon_member_state_changes_total{store=\"orders\",state=\"failed\"} 1",
            "reckon_consistency{store=\"orders\",result=\"healthy\"} 0",
            "reckon_consistency{store=\"orders\",result=\"split_brain\"} 1",
            "reckon_consistency_check_duration_seconds_count{store=\"orders\"} 2",
            "reckon_split_brains_total{store=\"orders\"} 1",
        ],
    );
}

#[track_caller]
fn check(metrics: &Metrics, expect: &[&str]) {
    let text = metrics.encode();
    for line in expect {
        assert!(text.lines().any(|found| found == *line), "no line {line} in:\n{text}");
    }
}

#[test]
fn what_is_served_is_what_is_defined_and_each_has_its_store() {
    let text = touched().encode();
    let mut served: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    let mut defined: Vec<&str> =
        every().map(|definition| definition.name.trim_end_matches("_total")).collect();
    served.sort_unstable();
    defined.sort_unstable();
    assert_eq!(served, defined);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.contains("store=\"orders\""), "{line}");
    }
    for definition in every() {
        let value =
            text.lines().any(|line| !line.starts_with('#') && line.starts_with(definition.name));
        assert!(value, "{} has no value", definition.name);
    }
}

#[test]
fn acknowledged_appends_count_their_events_and_bytes_and_others_their_reason() {
    check(
        &touched(),
        &[
            "reckon_append_events_total{store=\"orders\"} 1",
            "reckon_append_bytes_total{store=\"orders\"} 13",
            "reckon_append_duration_seconds_count{store=\"orders\",outcome=\"ok\"} 1",
            "reckon_append_duration_seconds_count{store=\"orders\",outcome=\"failed\"} 1",
            "reckon_append_failures_total{store=\"orders\",reason=\"TOO_MANY_REQUESTS\"} 1",
            "reckon_refusals_total{store=\"orders\",reason=\"TOO_MANY_REQUESTS\"} 1",
            "reckon_appends_in_flight{store=\"orders\"} 0",
        ],
    );
}

#[test]
fn reads_count_by_kind_consistency_and_outcome() {
    check(
        &touched(),
        &[
            "reckon_read_events_total{store=\"orders\",kind=\"all\"} 7",
            "reckon_read_duration_seconds_count{store=\"orders\",kind=\"all\",consistency=\"stale\",outcome=\"ok\"} 1",
            "reckon_read_duration_seconds_count{store=\"orders\",kind=\"stream\",consistency=\"linearizable\",outcome=\"refused\"} 1",
            "reckon_read_failures_total{store=\"orders\",kind=\"stream\",reason=\"STREAM_NOT_FOUND\"} 1",
            "reckon_reads_in_flight{store=\"orders\",kind=\"all\"} 0",
        ],
    );
}

#[test]
fn a_request_whose_caller_left_is_in_flight_until_then_and_counts_as_cancelled() {
    let metrics = Metrics::new("orders");
    let append = metrics.append_begins(&one_event());
    let read = metrics.read_begins(ReadKind::All, ReadConsistency::Linearizable);
    check(
        &metrics,
        &[
            "reckon_appends_in_flight{store=\"orders\"} 1",
            "reckon_reads_in_flight{store=\"orders\",kind=\"all\"} 1",
        ],
    );
    drop((append, read));
    check(
        &metrics,
        &[
            "reckon_appends_in_flight{store=\"orders\"} 0",
            "reckon_reads_in_flight{store=\"orders\",kind=\"all\"} 0",
            "reckon_append_duration_seconds_count{store=\"orders\",outcome=\"cancelled\"} 1",
            "reckon_append_events_total{store=\"orders\"} 0",
        ],
    );
}

#[test]
fn a_leader_counts_when_it_is_another_one_not_when_it_was_away() {
    let metrics = Metrics::new("orders");
    for leader in [Some(1), Some(1), None, Some(1), None, Some(2)] {
        metrics.raft(&RaftView { leader, ..view() });
    }
    check(&metrics, &["reckon_raft_leader_changes_total{store=\"orders\"} 2"]);
}

#[test]
fn a_node_has_one_role_at_a_time() {
    let metrics = Metrics::new("orders");
    metrics.raft(&view());
    metrics.raft(&RaftView { role: RaftRole::Follower, ..view() });
    check(
        &metrics,
        &[
            "reckon_raft_role{store=\"orders\",role=\"leader\"} 0",
            "reckon_raft_role{store=\"orders\",role=\"follower\"} 1",
            "reckon_members{store=\"orders\",role=\"voter\"} 3",
        ],
    );
}

#[test]
fn an_error_of_somebody_else_adds_no_label_value_of_its_own() {
    let metrics = Metrics::new("orders");
    metrics.append_begins(&[]).ends::<()>(&Err(Status::internal("orders-17 is broken")));
    check(&metrics, &["reckon_append_failures_total{store=\"orders\",reason=\"OTHER\"} 1"]);
    assert!(!metrics.encode().contains("orders-17"));
}

#[test]
fn the_reference_is_up_to_date() {
    crate::generated::check("METRICS.md", &Metrics::reference());
}
