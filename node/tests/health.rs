//! How members see each other when some of them are gone, in three real processes on loopback.

mod processes;

use futures::StreamExt as _;
use processes::{NodeProcess, Store, append, eventually};
use reckon_api::Reason;
use reckon_api::client::{Client, Options};
use reckon_api::v1::health_client::HealthClient;
use reckon_api::v1::watch_health_response::Message;
use reckon_api::v1::{self, CheckKind, ConsistencyResult, HealthState, ProbeType, check::Data};
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use uuid::Uuid;

/// As quick as they may be, so that a test waits for nothing else.
const QUICK: [&str; 4] = [
    "health.probe_interval_ms=200",
    "health.probe_timeout_ms=500",
    "health.probe_failures=2",
    "health.consistency_interval_ms=1000",
];

async fn quick_store() -> (Store, usize) {
    let mut store = Store::prepare(3, 3, &QUICK);
    store.nodes.iter_mut().for_each(NodeProcess::start);
    let leader = store.ready().await;
    (store, leader)
}

fn health(node: &NodeProcess) -> HealthClient<Channel> {
    HealthClient::new(node.channel())
}

async fn check(node: &NodeProcess, checks: &[CheckKind]) -> Result<v1::ConsistencyReport, Status> {
    let checks = checks.iter().map(|kind| i32::from(*kind)).collect();
    let answer = health(node).check_now(v1::CheckNowRequest { checks }).await?.into_inner();
    answer.report.ok_or_else(|| Status::internal("no report"))
}

async fn becomes(node: &NodeProcess, result: ConsistencyResult) -> v1::ConsistencyReport {
    eventually(result.as_str_name(), || async {
        let report = check(node, &[]).await.ok()?;
        (report.result() == result).then_some(report)
    })
    .await
}

/// The next notice that says that a member came into a state.
async fn notice(
    watching: &mut Streaming<v1::WatchHealthResponse>,
    node_id: u64,
    to: HealthState,
) -> v1::HealthNotice {
    let until = async {
        loop {
            let message = watching.message().await.expect("a watch").expect("it has no end");
            if let Some(Message::Notice(notice)) = message.message
                && notice.node_id == node_id
                && notice.to() == to
            {
                return notice;
            }
        }
    };
    tokio::time::timeout(processes::DEADLINE, until).await.expect("a notice")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_killed_is_suspect_then_failed_and_recovers_when_it_is_back() {
    let (mut store, leader) = quick_store().await;
    let victim = (leader + 1) % 3;
    let victim_id = store.nodes[victim].status().await.expect("a status").node_id;
    becomes(&store.nodes[leader], ConsistencyResult::Healthy).await;

    let mut watching = health(&store.nodes[leader])
        .watch_health(v1::WatchHealthRequest {})
        .await
        .expect("a watch")
        .into_inner();
    let first = watching.message().await.expect("a watch").expect("how members are");
    let Some(Message::Current(current)) = first.message else { panic!("{first:?}") };
    assert_eq!(current.members.len(), 2, "all others");

    store.nodes[victim].kill();
    let suspect = notice(&mut watching, victim_id, HealthState::Suspect).await;
    let failed = notice(&mut watching, victim_id, HealthState::Failed).await;
    assert!(failed.number > suspect.number);
    assert_eq!(failed.from(), HealthState::Suspect);
    assert!(!failed.error.is_empty());
    let report = becomes(&store.nodes[leader], ConsistencyResult::Degraded).await;
    let Some(Data::Quorum(quorum)) = &report.checks[3].data else { panic!("{report:#?}") };
    assert_eq!((quorum.total, quorum.available, quorum.can_lose), (3, 2, 0));
    let Some(Data::Membership(members)) = &report.checks[0].data else { panic!("{report:#?}") };
    assert_eq!(members.failed[0].node_id, victim_id);

    store.nodes[victim].start();
    let recovered = notice(&mut watching, victim_id, HealthState::Healthy).await;
    assert_eq!((recovered.from(), recovered.error.as_str()), (HealthState::Failed, ""));
    becomes(&store.nodes[leader], ConsistencyResult::Healthy).await;

    let view = eventually("all members are well", || async {
        let answer = health(&store.nodes[leader]).health(v1::HealthRequest {}).await;
        let view = answer.ok()?.into_inner();
        let well = view.members.iter().all(|member| member.state() == HealthState::Healthy);
        well.then_some(view)
    })
    .await;
    assert!(view.notices.contains(&recovered), "what changed is remembered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_member_of_three_sees_no_quorum_and_those_who_watch_are_told() {
    let (mut store, leader) = quick_store().await;
    let left = (leader + 1) % 3;
    // A client that knows another node first, which goes away.
    let endpoints = [leader, left].map(|index| format!("127.0.0.1:{}", store.nodes[index].client));
    let client = Client::new(Options::new(endpoints)).expect("a client");
    becomes(&store.nodes[left], ConsistencyResult::Healthy).await;
    let mut watching = client.watch_status();
    let mut told = Vec::new();
    let mut until = async |result: ConsistencyResult| {
        let reports = async {
            while told.last() != Some(&result) {
                match watching.next().await.expect("it has no end") {
                    Ok(report) => told.push(report.result()),
                    Err(error) => assert!(error.retryable(), "{error}"),
                }
            }
        };
        tokio::time::timeout(processes::DEADLINE, reports).await.expect("a report");
    };
    until(ConsistencyResult::Healthy).await;

    for index in (0..3).filter(|index| *index != left) {
        store.nodes[index].kill();
    }
    until(ConsistencyResult::NoQuorum).await;
    let report = becomes(&store.nodes[left], ConsistencyResult::NoQuorum).await;
    let Some(Data::Quorum(quorum)) = &report.checks[3].data else { panic!("{report:#?}") };
    assert_eq!((quorum.available, quorum.required, quorum.margin), (1, 2, -1));

    for index in (0..3).filter(|index| *index != left) {
        store.nodes[index].start();
    }
    until(ConsistencyResult::Healthy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_a_node_probes_can_be_changed_while_it_runs_and_a_bad_value_changes_nothing() {
    let (mut store, leader) = quick_store().await;
    let node = &store.nodes[leader];
    let endpoint = format!("127.0.0.1:{}", node.client);
    let client = Client::new(Options::new([endpoint.clone()])).expect("a client");
    let ask = || client.configure_health(&endpoint, v1::ConfigureHealthRequest::default());
    let before = ask().await.expect("settings");
    assert_eq!((before.probe_interval_ms, before.probe_failures), (200, 2));

    let bad = v1::ConfigureHealthRequest {
        probe_failures: Some(1),
        probe_interval_ms: Some(1),
        ..Default::default()
    };
    let refused = client.configure_health(&endpoint, bad).await.expect_err("a bad value");
    assert_eq!(refused.reason(), Some(Reason::LimitExceeded));
    assert_eq!(refused.value("limit"), Some("probe_interval_ms"));
    assert_eq!(refused.value("minimum"), Some("200"));
    assert_eq!(ask().await.expect("settings"), before);

    // With a single failure a member is failed at once, and never suspect.
    let mut change = v1::ConfigureHealthRequest { probe_failures: Some(1), ..Default::default() };
    change.set_probe_type(ProbeType::Ping);
    let changed = client.configure_health(&endpoint, change).await.expect("settings");
    assert_eq!((changed.probe_failures, changed.probe_type()), (1, ProbeType::Ping));
    let victim = (leader + 1) % 3;
    let victim_id = store.nodes[victim].status().await.expect("a status").node_id;
    eventually("the first probes are answered", || async {
        let view = client.health(v1::HealthRequest {}).await.ok()?;
        view.members.iter().all(|it| it.state() == HealthState::Healthy).then_some(())
    })
    .await;
    let mut watching = health(&store.nodes[leader])
        .watch_health(v1::WatchHealthRequest {})
        .await
        .expect("a watch")
        .into_inner();
    store.nodes[victim].kill();
    let failed = notice(&mut watching, victim_id, HealthState::Failed).await;
    assert_eq!(failed.from(), HealthState::Healthy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_probe_and_check_can_be_asked_for_singly() {
    let (store, leader) = quick_store().await;
    let node = &store.nodes[leader];
    // Something to read for the probe that reads.
    let request = append("orders", &Uuid::now_v7().to_string(), "{}");
    node.streams().append(request).await.expect("an append");
    let other = store.nodes[(leader + 1) % 3].status().await.expect("a status").node_id;
    for kind in [ProbeType::Ping, ProbeType::Rpc, ProbeType::Store] {
        // A busy machine may be slower than the quick timeout.
        eventually("the probe is answered", || async {
            let request = v1::ProbeNowRequest { r#type: kind.into(), node_id: other };
            let answer = health(node).probe_now(request).await.expect("probes").into_inner();
            let [probed] = answer.results.as_slice() else { panic!("{answer:?}") };
            assert_eq!((probed.node_id, probed.r#type()), (other, kind));
            probed.answered.then_some(())
        })
        .await;
    }
    let all = v1::ProbeNowRequest::default();
    let results = health(node).probe_now(all).await.expect("probes").into_inner().results;
    assert_eq!(results.iter().filter(|probed| probed.r#type() == ProbeType::Rpc).count(), 2);

    let own = node.status().await.expect("a status").node_id;
    for nobody in [own, 77] {
        let request = v1::ProbeNowRequest { r#type: 0, node_id: nobody };
        let refused = health(node).probe_now(request).await.expect_err("no other member");
        assert_eq!(Reason::of(&refused), Some(Reason::UnknownMember));
    }

    for kind in [
        CheckKind::MembershipConsensus,
        CheckKind::LeaderConsensus,
        CheckKind::LogConsistency,
        CheckKind::Quorum,
    ] {
        let report = check(node, &[kind]).await.expect("a report");
        assert_eq!(report.checks.len(), 1);
        assert_eq!(report.checks[0].kind(), kind);
    }
    let request = v1::CheckNowRequest { checks: vec![99] };
    let refused = health(node).check_now(request).await.expect_err("no such check");
    assert_eq!(Reason::of(&refused), Some(Reason::InvalidArgument));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stands_still_takes_connections_and_answers_no_calls() {
    let (store, leader) = quick_store().await;
    let victim = (leader + 1) % 3;
    let victim_id = store.nodes[victim].status().await.expect("a status").node_id;
    let node = &store.nodes[leader];
    store.nodes[victim].pause();
    let probed = async |kind: ProbeType| {
        let request = v1::ProbeNowRequest { r#type: kind.into(), node_id: victim_id };
        let answer = health(node).probe_now(request).await.expect("probes").into_inner();
        answer.results[0].answered
    };
    eventually("the kernel takes the connection", || async {
        probed(ProbeType::Ping).await.then_some(())
    })
    .await;
    assert!(!probed(ProbeType::Rpc).await);
    assert!(!probed(ProbeType::Store).await);
    store.nodes[victim].resume();
    eventually("it answers again", || async { probed(ProbeType::Store).await.then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_compared_at_the_seals_they_have_in_common() {
    let (store, leader) = quick_store().await;
    let node = &store.nodes[leader];
    for _ in 0..3 {
        let request = append("orders", &Uuid::now_v7().to_string(), "{}");
        node.streams().append(request).await.expect("an append");
        let sealed = node.cluster().checkpoint(v1::CheckpointRequest { wait: true }).await;
        sealed.expect("a checkpoint");
    }
    let last = node.status().await.expect("a status");
    assert_eq!(last.seals.len(), 3, "{:?}", last.seals);
    assert_eq!(last.seals.last().map(|it| (it.seal, &it.digest)), Some((last.seal, &last.digest)));
    let compared = eventually("all have sealed", || async {
        let report = check(node, &[CheckKind::LogConsistency]).await.ok()?;
        let Some(Data::Log(log)) = report.checks[0].data.clone() else { return None };
        (log.seal_compared == last.seal).then_some(log)
    })
    .await;
    assert_eq!(compared.divergences, []);
    assert_eq!(compared.reports.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_store_says_so_and_can_be_configured() {
    let mut store = Store::prepare(1, 1, &["formation.mode=operator", "formation.expect=0"]);
    store.nodes[0].start();
    let node = &store.nodes[0];
    eventually("it answers", || async { node.status().await.ok() }).await;
    let refused = check(node, &[]).await.expect_err("no store");
    assert_eq!(Reason::of(&refused), Some(Reason::NotInitialised));
    let refused = health(node).health(v1::HealthRequest {}).await.expect_err("no store");
    assert_eq!(Reason::of(&refused), Some(Reason::NotInitialised));
    let request = v1::ConfigureHealthRequest { probe_failures: Some(7), ..Default::default() };
    let settings = health(node).configure_health(request).await.expect("settings").into_inner();
    assert_eq!(
        settings.settings.map(|it| (it.probe_failures, it.probe_interval_ms)),
        Some((7, 2000))
    );
}
