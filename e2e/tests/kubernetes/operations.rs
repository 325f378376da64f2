//! What a person asks of a store by its specification: to sleep, to be kept, to run another image.

use std::sync::Arc;

use anyhow::{Result, ensure};
use reckon_e2e::{
    kubernetes::condition,
    wait::until,
    workload::{Ledger, steady, verify},
};

use crate::{
    failures::appends,
    suite::{READY_LIMIT, SOON, Stage, manifest},
};

pub async fn a_store_that_hibernated_wakes_with_all_its_events(stage: Arc<Stage>) -> Result<()> {
    stage.ready_store("orders", 3).await?;
    let (client, endpoint) = stage.client("orders").await?;
    let ledger = Arc::new(Ledger::default());
    let writers = steady(&client, &ledger, "writer", 2);
    appends(&ledger, 100).await?;
    writers.finish().await?;
    drop((client, endpoint));
    let claims = || stage.kubectl(&["get", "pvc", "--output=name"]);
    let (identity, volumes) = (cluster_id(&stage).await?, claims().await?);

    patch(&stage, r#"{"spec":{"hibernate":true}}"#).await?;
    until("no pods", SOON, || async {
        let pods = stage.kubernetes.pods(&stage.namespace, "orders").await?;
        let store = stage.kubernetes.store(&stage.namespace, "orders").await?;
        Ok((pods.is_empty() && reason(&store) == Some("Hibernated")).then_some(()))
    })
    .await?;
    ensure!(claims().await? == volumes, "the volumes are kept");

    patch(&stage, r#"{"spec":{"hibernate":false}}"#).await?;
    until("the store to wake", READY_LIMIT, || async {
        let store = stage.kubernetes.store(&stage.namespace, "orders").await?;
        Ok((reason(&store) == Some("AllMembersReady")).then_some(()))
    })
    .await?;
    ensure!(cluster_id(&stage).await? == identity, "it is the store that it was");
    let (client, _endpoint) = stage.client("orders").await?;
    verify(&client, &ledger).await?;
    Ok(())
}

pub async fn a_protected_store_cannot_be_deleted(stage: Arc<Stage>) -> Result<()> {
    let protected = manifest("orders", 1, "  deletionProtection: true\n");
    stage.kubernetes.apply(&stage.namespace, &protected)?;
    stage.wait_ready("orders").await?;
    // The API server takes a moment to follow a policy that was only just installed.
    until("the deletion to be refused", SOON, || async {
        let refused = stage.kubectl(&["delete", "evs", "orders", "--dry-run=server"]).await;
        Ok(refused.is_err_and(|error| format!("{error:#}").contains("is protected")).then_some(()))
    })
    .await?;
    let refused = stage.kubectl(&["delete", "evs", "orders", "--timeout=10s"]).await;
    ensure!(refused.is_err(), "a protected store was deleted");
    stage.wait_ready("orders").await?;
    patch(&stage, r#"{"spec":{"deletionProtection":false}}"#).await?;
    stage.kubectl(&["delete", "evs", "orders", "--timeout=120s"]).await?;
    Ok(())
}

pub async fn an_image_that_does_not_start_stops_after_one_pod(stage: Arc<Stage>) -> Result<()> {
    stage.ready_store("orders", 3).await?;
    let (client, _endpoint) = stage.client("orders").await?;
    let ledger = Arc::new(Ledger::default());
    let writers = steady(&client, &ledger, "writer", 2);
    patch(&stage, r#"{"spec":{"image":"reckon.invalid/node:none"}}"#).await?;
    until("the rollout to pause", READY_LIMIT, || async {
        let store = stage.kubernetes.store(&stage.namespace, "orders").await?;
        Ok((reason(&store) == Some("RolloutPaused")).then_some(()))
    })
    .await?;
    let store = stage.kubernetes.store(&stage.namespace, "orders").await?;
    ensure!(condition(&store, "Stalled") == Some("True"), "a person is needed");
    appends(&ledger, 100).await?;
    let broken = stage
        .kubernetes
        .pods(&stage.namespace, "orders")
        .await?
        .into_iter()
        .filter(|pod| {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            containers
                .into_iter()
                .any(|one| one.image.as_deref() == Some("reckon.invalid/node:none"))
        })
        .count();
    ensure!(broken == 1, "{broken} pods were given the image");

    patch(&stage, r#"{"spec":{"image":null}}"#).await?;
    until("the store to be as it was", READY_LIMIT, || async {
        let store = stage.kubernetes.store(&stage.namespace, "orders").await?;
        Ok((reason(&store) == Some("AllMembersReady")).then_some(()))
    })
    .await?;
    writers.finish().await?;
    verify(&client, &ledger).await?;
    Ok(())
}

async fn patch(stage: &Stage, change: &str) -> Result<()> {
    stage.kubectl(&["patch", "evs", "orders", "--type=merge", "--patch", change]).await?;
    Ok(())
}

/// The reason of `Ready`, if it speaks of the latest specification.
fn reason(store: &serde_json::Value) -> Option<&str> {
    let conditions = store["status"]["conditions"].as_array()?;
    let ready = conditions.iter().find(|one| one["type"] == "Ready")?;
    (ready["observedGeneration"] == store["metadata"]["generation"])
        .then(|| ready["reason"].as_str())
        .flatten()
}

/// The identity that was latched.
async fn cluster_id(stage: &Stage) -> Result<serde_json::Value> {
    let store = stage.kubernetes.store(&stage.namespace, "orders").await?;
    Ok(store["status"]["clusterID"].clone())
}
