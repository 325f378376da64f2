//! A store that is well: ready, and served by each of its pods.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use reckon_api::{
    Client,
    client::{Expect, Options},
    v1::{NewEvent, ReadRequest},
};
use reckon_e2e::{kubernetes::OPERATOR_NAMESPACE, progress::Size};
use tonic::transport::Endpoint;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::suite::{NotHere, Stage};

/// What reflection must list.
const SERVICES: [&str; 6] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "reckon.v1.Cluster",
    "reckon.v1.Health",
    "reckon.v1.Streams",
    "reckon.v1.Subscriptions",
];

pub async fn a_store_is_ready_when_it_says_so_and_every_pod_serves(
    stage: Arc<Stage>,
) -> Result<()> {
    stage.apply_store("orders", 3)?;
    // From the first second: `kubectl wait` fails at once when there is no status to wait on.
    stage
        .kubectl(&["wait", "--for=condition=Ready", "eventstore/orders", "--timeout=180s"])
        .await?;
    stage.wait_ready("orders").await?;
    let table = stage.kubectl(&["get", "evs"]).await?;
    stage.progress.say(format_args!("kubectl get evs\n{table}"));
    ensure!(
        table.contains("3/3") && table.contains("orders-"),
        "it should tell at a glance: {table}"
    );

    let pods = stage.kubernetes.pods(&stage.namespace, "orders").await?;
    ensure!(pods.len() == 3, "there are {} pods", pods.len());
    let mut clients = Vec::new();
    for pod in &pods {
        let endpoint = stage.kubernetes.pod_endpoint(pod).await?;
        clients.push((Client::new(Options::new([endpoint.address()]))?, endpoint));
    }
    for (number, (client, _)) in clients.iter().enumerate() {
        let event = NewEvent {
            event_type: "Placed".into(),
            data: format!("{{\"through\": {number}}}").into_bytes().into(),
            data_content_type: "application/json".into(),
            ..NewEvent::default()
        };
        let expected = match number {
            0 => Expect::NoStream,
            number => Expect::Version(number as u64 - 1),
        };
        client.append_to("order-1", expected, vec![event]).await?;
    }
    let mut seen = Vec::new();
    for (client, endpoint) in &clients {
        let request = ReadRequest { stream_id: "order-1".into(), ..ReadRequest::default() };
        let events: Vec<_> = client.read(request).await?.try_collect().await?;
        ensure!(events.len() == 3, "{} shows {} events", endpoint.address(), events.len());
        seen.push(events);
        let listed = services(endpoint.address()).await?;
        for service in SERVICES {
            ensure!(listed.iter().any(|it| it == service), "{service} is not in {listed:?}");
        }
        ensure!(listed.len() == SERVICES.len(), "{listed:?} are not all on this port");
    }
    ensure!(seen.iter().all(|events| *events == seen[0]), "pods differ");
    Ok(())
}

pub async fn an_idle_node_and_operator_are_small(stage: Arc<Stage>) -> Result<()> {
    let cluster = stage.kubernetes.own().ok_or(NotHere("memory is read from our own nodes"))?;
    stage.ready_store("idle", 3).await?;
    let mut pods = stage.kubernetes.pods(&stage.namespace, "idle").await?;
    let operators: Api<Pod> = Api::namespaced(stage.kubernetes.client(), OPERATOR_NAMESPACE);
    pods.extend(operators.list(&ListParams::default()).await?.items);
    for pod in &pods {
        let uid = pod.uid().context("a pod without a UID")?;
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        let container = statuses
            .and_then(|statuses| statuses.first()?.container_id.as_deref()?.split("//").nth(1))
            .context("a container without an id")?;
        let used = cluster
            .node(node.context("a pod without a node")?)?
            .container_memory(&uid, container)?;
        stage.progress.say(format_args!("idle memory of {}: {}", pod.name_any(), Size(used)));
        let limit = if pod.name_any().starts_with("idle-") { 50 } else { 40 };
        ensure!(used < limit << 20, "{} uses {}", pod.name_any(), Size(used));
    }
    Ok(())
}

/// The services that a server lists by reflection.
async fn services(address: &str) -> Result<Vec<String>> {
    let mut client = ServerReflectionClient::new(
        Endpoint::from_shared(format!("http://{address}"))?.connect().await?,
    );
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        client.server_reflection_info(futures::stream::iter([request])).await?.into_inner();
    let answer = answers.next().await.context("no answer")??;
    match answer.message_response {
        Some(MessageResponse::ListServicesResponse(list)) => {
            Ok(list.service.into_iter().map(|service| service.name).collect())
        }
        other => anyhow::bail!("reflection answered {other:?}"),
    }
}
