//! Two replicas of the operator and one lease.

// Each test binary uses a part of what they share.
#[allow(dead_code)]
#[path = "support/api_server.rs"]
mod api_server;

use std::time::Duration;

use api_server::ApiServer;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use reckon_operator::lease::{Candidate, Leadership};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longer than any of this takes.
const DEADLINE: Duration = Duration::from_mins(1);

/// Starts a replica; it stops when the sender is used.
fn replica(
    server: &ApiServer,
    identity: &str,
) -> (Leadership, oneshot::Sender<()>, JoinHandle<()>) {
    let leases: Api<Lease> = Api::namespaced(server.client(), "reckon");
    let (candidate, leadership) = Candidate::new(leases, "operator".into(), identity.into());
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(candidate.run(async {
        let _ = stopped.await;
    }));
    (leadership, stop, task)
}

#[tokio::test]
async fn one_replica_leads_and_hands_over_when_it_stops() {
    let server = ApiServer::default();
    let (mut first, stop_first, first_task) = replica(&server, "first");
    tokio::time::timeout(DEADLINE, first.gained()).await.expect("the first leads");

    let (mut second, stop_second, second_task) = replica(&server, "second");
    let lease = "/apis/coordination.k8s.io/v1/namespaces/reckon/leases/operator";
    assert_eq!(server.get(lease).unwrap()["spec"]["holderIdentity"], "first");
    assert!(!second.holds());

    stop_first.send(()).unwrap();
    tokio::time::timeout(DEADLINE, first.lost()).await.expect("the first leads no more");
    first_task.await.unwrap();
    tokio::time::timeout(DEADLINE, second.gained()).await.expect("the second leads");
    assert!(!first.holds());
    assert_eq!(server.get(lease).unwrap()["spec"]["holderIdentity"], "second");

    stop_second.send(()).unwrap();
    second_task.await.unwrap();
}

#[tokio::test]
async fn a_lease_that_another_holds_is_left_to_it() {
    let server = ApiServer::default();
    let (mut first, _stop_first, _) = replica(&server, "first");
    tokio::time::timeout(DEADLINE, first.gained()).await.expect("the first leads");
    let (second, stop_second, second_task) = replica(&server, "second");
    // Stopping waits for the round that is under way, so at least one has passed.
    stop_second.send(()).unwrap();
    second_task.await.unwrap();
    assert!(!second.holds());
    assert!(first.holds());
}
