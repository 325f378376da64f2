//! A store whose leader dies, is cut off, or loses power.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use reckon_api::{Client, client::Options, v1::MembersResponse};
use reckon_e2e::{
    wait::until,
    workload::{Ledger, steady, verify},
};

use crate::suite::{READY_LIMIT, SOON, Stage};

/// How many acknowledged appends make a store that is at work.
const APPENDS: u64 = 200;

/// What the leader that was cut off is given to answer: it must refuse well before.
const REFUSAL_TIMEOUT: &str = "--timeout=10s";

pub async fn a_leader_killed_three_times_loses_nothing(stage: Arc<Stage>) -> Result<()> {
    stage.ready_store("orders", 3).await?;
    let (client, _endpoint) = stage.client("orders").await?;
    let ledger = Arc::new(Ledger::default());
    let writers = steady(&client, &ledger, "writer", 4);
    appends(&ledger, APPENDS).await?;
    for _ in 0..3 {
        let before = client.members().await?;
        let leader = leader(&before)?.name.clone();
        let killed = Instant::now();
        stage.kubernetes.kill_pod(&stage.namespace, &leader).await?;
        new_term(&client, before.term).await?;
        appends(&ledger, APPENDS).await?;
        let silence = ledger.longest_silence(killed, Instant::now());
        stage.progress.say(format_args!(
            "{leader} killed: {:.2} s without an acknowledged append",
            silence.as_secs_f64()
        ));
        stage.wait_ready("orders").await?;
        until("three members at work", READY_LIMIT, || async {
            let pods = stage.kubernetes.pods(&stage.namespace, "orders").await?;
            Ok((pods.iter().filter(|pod| reckon_e2e::kubernetes::pod_is_ready(pod)).count() == 3)
                .then_some(()))
        })
        .await?;
    }
    writers.finish().await?;
    let verified = verify(&client, &ledger).await?;
    ensure!(verified.read_back >= ledger.counts().acknowledged, "{verified:?}");
    Ok(())
}

pub async fn a_leader_cut_off_refuses_while_the_majority_goes_on(stage: Arc<Stage>) -> Result<()> {
    let cluster = stage.own_cluster()?;
    stage.ready_store_apart("orders", 3).await?;
    let (client, _endpoint) = stage.client("orders").await?;
    let before = client.members().await?;
    let cut_off = leader(&before)?.name.clone();
    let pods = stage.kubernetes.pods(&stage.namespace, "orders").await?;
    let mut others = Vec::new();
    let mut old = None;
    for pod in &pods {
        let address = stage.kubernetes.pod_endpoint(pod).await?.address().to_owned();
        if pod.name_any() == cut_off {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
            old = Some((address, node.context("the leader's pod has no node")?));
        } else {
            others.push(address);
        }
    }
    let (old_address, node) = old.context("the leader has no pod")?;
    let node = cluster.node(&node)?;

    let majority = Client::new(Options::new(others))?;
    let ledger = Arc::new(Ledger::default());
    let writers = steady(&majority, &ledger, "writer", 2);
    appends(&ledger, APPENDS).await?;
    node.cut()?;
    new_term(&majority, before.term).await?;
    appends(&ledger, APPENDS).await?;

    // From inside the cut-off node, where its pod can still be reached. What it takes must never be committed.
    let reckon = stage.programs.as_ref().context("built for our own cluster")?.path("reckon")?;
    let mut refused = node.command(reckon);
    refused.args(["--endpoint", &old_address, REFUSAL_TIMEOUT]);
    refused.args(["append", "lost", "--type", "Lost", "--data", "{}"]);
    let output = refused.output().await?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    stage.progress.say(format_args!("the old leader says: {}", complaint.trim()));
    ensure!(!output.status.success(), "the old leader acknowledged what no majority has");

    appends(&ledger, APPENDS).await?;
    node.heal()?;
    cluster.wait_node(node.name(), true, SOON).await?;
    stage.wait_ready("orders").await?;
    writers.finish().await?;
    // By the healed node, linearizably; and nobody wrote to `lost`.
    let healed = Client::new(Options::new([old_address]))?;
    let patient = || async { Ok(Some(verify(&healed, &ledger).await?)) };
    until("the whole store at the healed node", SOON, patient).await?;
    Ok(())
}

pub async fn a_node_that_crashes_comes_back_with_its_data(stage: Arc<Stage>) -> Result<()> {
    let cluster = stage.own_cluster()?;
    stage.ready_store_apart("orders", 3).await?;
    let (client, _endpoint) = stage.client("orders").await?;
    let before = client.members().await?;
    let leader = leader(&before)?.name.clone();
    let pods = stage.kubernetes.pods(&stage.namespace, "orders").await?;
    let pod = pods.iter().find(|pod| pod.name_any() == leader).context("the leader has no pod")?;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let node = cluster.node(node.context("the leader's pod has no node")?)?;

    let ledger = Arc::new(Ledger::default());
    let writers = steady(&client, &ledger, "writer", 2);
    appends(&ledger, APPENDS).await?;
    node.crash()?;
    new_term(&client, before.term).await?;
    appends(&ledger, APPENDS).await?;
    node.start()?;
    cluster.wait_node(node.name(), true, SOON).await?;
    let after = || async {
        let members = client.members().await?;
        let listed = members.membership.map(|it| it.members).unwrap_or_default();
        let back = listed.iter().find(|member| member.name == leader);
        let known = before.membership.as_ref().map(|it| it.members.as_slice()).unwrap_or_default();
        let same = known.iter().find(|member| member.name == leader).map(|member| member.node_id);
        let back = back.context("it is no member any more")?;
        ensure!(Some(back.node_id) == same, "it came back as another member");
        let near = back.last_ack_age_ms.is_some_and(|age| age < 2_000);
        Ok(near.then_some(()))
    };
    until("the crashed node's member", READY_LIMIT, after).await?;
    writers.finish().await?;
    stage.wait_ready("orders").await?;
    verify(&client, &ledger).await?;
    Ok(())
}

/// Waits for this many more acknowledged appends.
pub async fn appends(ledger: &Ledger, more: u64) -> Result<()> {
    let goal = ledger.counts().acknowledged + more;
    until("acknowledged appends", SOON + Duration::from_secs(30), || async {
        Ok((ledger.counts().acknowledged >= goal).then_some(()))
    })
    .await
}

/// Waits for a leader of a later term.
pub async fn new_term(client: &Client, before: u64) -> Result<()> {
    until("new leader", SOON, || async {
        Ok((client.members().await?.term > before).then_some(()))
    })
    .await
}

/// The member that leads.
pub fn leader(members: &MembersResponse) -> Result<&reckon_api::v1::Member> {
    let listed = members.membership.as_ref().map(|it| it.members.as_slice()).unwrap_or_default();
    listed
        .iter()
        .find(|member| member.node_id == members.leader_id)
        .context("the store has no leader")
}
