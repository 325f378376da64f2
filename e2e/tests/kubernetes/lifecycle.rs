//! What is asked for wrongly, what is deleted, and what happens to stores when their operator comes and goes.

use std::sync::Arc;

use anyhow::{Result, ensure};
use kube::ResourceExt;
use reckon_e2e::{
    kubernetes::OPERATOR_NAMESPACE,
    wait::until,
    workload::{Ledger, steady, verify},
};

use crate::{
    failures::appends,
    suite::{SOON, Stage, manifest},
};

/// Everything an operator makes for a store, and what Kubernetes makes of that.
const KINDS: &str =
    "statefulsets,pods,services,endpointslices,configmaps,serviceaccounts,poddisruptionbudgets";

pub async fn invalid_specifications_are_refused_with_a_reason(stage: Arc<Stage>) -> Result<()> {
    let refused = |manifest: &str, words: &str| {
        let outcome = stage.kubernetes.apply(&stage.namespace, manifest);
        let complaint = match outcome {
            Ok(_) => anyhow::bail!("accepted, though {words:?} should be said:\n{manifest}"),
            Err(error) => format!("{error:#}"),
        };
        ensure!(complaint.contains(words), "{words:?} is not in: {complaint}");
        Ok(())
    };
    refused(&manifest("orders", 2, ""), "replicas must be 1, 3, 5 or 7")?;
    refused(&manifest("orders", 9, ""), "replicas")?;
    refused(&manifest("orders", 3, "  colour: red\n"), "unknown field")?;
    refused(&manifest("9orders", 3, ""), "must start with a letter")?;
    refused(&manifest("orders", 3, "").replace("1Gi", "0Gi"), "greater than zero")?;
    // What may be said first, but not changed later.
    stage.kubernetes.apply(&stage.namespace, &manifest("orders", 1, ""))?;
    refused(&manifest("orders", 1, "").replace("1Gi", "512Mi"), "never shrink")?;
    refused(&manifest("orders", 1, "    storageClassName: other\n"), "immutable")?;
    Ok(())
}

pub async fn a_deleted_store_leaves_only_what_its_policy_keeps(stage: Arc<Stage>) -> Result<()> {
    for (name, policy) in [("kept", "Retain"), ("dropped", "Delete")] {
        let more = format!("    reclaimPolicy: {policy}\n");
        stage.kubernetes.apply(&stage.namespace, &manifest(name, 1, &more))?;
    }
    for name in ["kept", "dropped"] {
        stage.wait_ready(name).await?;
    }
    stage.kubectl(&["delete", "evs", "kept", "dropped", "--timeout=120s"]).await?;
    until("an empty namespace", SOON, || async {
        let left =
            stage.kubectl(&["get", KINDS, "--selector=reckon.dev/store", "--output=name"]).await?;
        ensure!(left.trim().is_empty(), "left: {left}");
        Ok(Some(()))
    })
    .await?;
    let claims = || stage.kubectl(&["get", "pvc", "--output=name"]);
    until("the dropped store's volume to go", SOON, || async {
        Ok((!claims().await?.contains("dropped")).then_some(()))
    })
    .await?;
    let kept = claims().await?;
    ensure!(kept.lines().count() == 1 && kept.contains("kept"), "left: {kept}");
    Ok(())
}

pub async fn upgrading_and_uninstalling_leave_stores_running(stage: Arc<Stage>) -> Result<()> {
    let kubernetes = &stage.kubernetes;
    let namespace = format!("--namespace={OPERATOR_NAMESPACE}");
    stage.ready_store("orders", 3).await?;
    let (client, _endpoint) = stage.client("orders").await?;
    let ledger = Arc::new(Ledger::default());
    let writers = steady(&client, &ledger, "writer", 2);
    appends(&ledger, 100).await?;
    let before = pods(&stage).await?;

    let chart = reckon_e2e::images::workspace().join("charts/reckon").display().to_string();
    kubernetes
        .helm(&[
            "upgrade",
            "reckon",
            &chart,
            &namespace,
            "--set=log.format=json",
            "--wait",
            "--timeout=120s",
        ])
        .await?;
    stage.wait_ready("orders").await?;
    appends(&ledger, 100).await?;
    ensure!(pods(&stage).await? == before, "an upgrade of the operator touched pods");

    for release in ["reckon", "reckon-crds"] {
        kubernetes.helm(&["uninstall", release, &namespace, "--wait", "--timeout=120s"]).await?;
    }
    let stores = stage.kubectl(&["get", "evs", "--output=name"]).await?;
    ensure!(stores.contains("orders"), "the definitions must outlive their chart");
    appends(&ledger, 100).await?;
    ensure!(pods(&stage).await? == before, "uninstalling the operator touched pods");

    // Back again, for the tests that follow: the store is adopted as it stands.
    kubernetes.install(stage.progress).await?;
    stage.wait_ready("orders").await?;
    ensure!(pods(&stage).await? == before, "installing the operator again touched pods");
    writers.finish().await?;
    verify(&client, &ledger).await?;
    Ok(())
}

/// The store's pods by UID, with how often their containers were restarted.
async fn pods(stage: &Stage) -> Result<Vec<(Option<String>, i32)>> {
    let pods = stage.kubernetes.pods(&stage.namespace, "orders").await?;
    Ok(pods
        .iter()
        .map(|pod| {
            let statuses = pod.status.as_ref().and_then(|it| it.container_statuses.as_ref());
            let restarts = statuses.into_iter().flatten().map(|it| it.restart_count).sum();
            (pod.uid(), restarts)
        })
        .collect())
}
