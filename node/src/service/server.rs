//! The two gRPC servers of a node, over whatever brings connections: for peers and for clients.

use std::io;

use futures::Stream;
use reckon_api::v1;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic_health::pb::health_server as grpc_health;

use super::admission::{self, Admission};
use super::cluster::ClusterService;
use super::forward::Forwarder;
use super::health::HealthService;
use super::peer::PeerService;
use super::streams::StreamsService;
use super::subscriptions::SubscriptionsService;
use crate::health::Health;
use crate::limits;
use crate::metrics::Metrics;
use crate::node::Node;

/// Serves peers until it is told to stop and the last of them is answered.
pub async fn peers<C>(
    incoming: impl Stream<Item = io::Result<C>>,
    node: Node,
    stop: CancellationToken,
) -> anyhow::Result<()>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let service = v1::peer_server::PeerServer::new(PeerService::new(node))
        .max_decoding_message_size(limits::PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::PEER_MESSAGE_BYTES_MAX);
    Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(limits::PEER_KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(limits::PEER_KEEP_ALIVE_TIMEOUT))
        .initial_stream_window_size(limits::PEER_WINDOW_BYTES)
        .initial_connection_window_size(limits::PEER_WINDOW_BYTES)
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await?;
    Ok(())
}

/// Serves clients until it is told to stop and the last of them is answered.
pub async fn clients<C>(
    incoming: impl Stream<Item = io::Result<C>>,
    node: Node,
    metrics: Metrics,
    options: admission::Options,
    health: grpc_health::HealthServer<impl grpc_health::Health>,
    stop: CancellationToken,
) -> anyhow::Result<()>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let forwarder = Forwarder::new(node.environment().dial.clone());
    let cluster = ClusterService::new(node.clone(), forwarder.clone());
    let looking = HealthService::new(Health::start(&node, &metrics, options.health), node.clone());
    let admission = Admission::new(node, forwarder, metrics, &options);
    let streams = StreamsService::new(admission.clone());
    let subscriptions = SubscriptionsService::new(admission, options.subscription_health_interval);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // What is on this port; the descriptors also know the peers' service.
        .with_service_name("grpc.health.v1.Health")
        .with_service_name("grpc.reflection.v1.ServerReflection")
        .with_service_name("reckon.v1.Cluster")
        .with_service_name("reckon.v1.Health")
        .with_service_name("reckon.v1.Streams")
        .with_service_name("reckon.v1.Subscriptions")
        .build_v1()?;
    Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(limits::CLIENT_KEEP_ALIVE_INTERVAL))
        .max_concurrent_streams(Some(limits::CONNECTION_STREAMS_MAX))
        .add_service(health)
        .add_service(reflection)
        .add_service(v1::cluster_server::ClusterServer::new(cluster))
        .add_service(v1::health_server::HealthServer::new(looking))
        .add_service(
            v1::streams_server::StreamsServer::new(streams)
                .max_decoding_message_size(limits::CLIENT_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(limits::CLIENT_MESSAGE_BYTES_MAX),
        )
        .add_service(
            v1::subscriptions_server::SubscriptionsServer::new(subscriptions)
                .max_decoding_message_size(limits::CLIENT_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(limits::CLIENT_MESSAGE_BYTES_MAX),
        )
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await?;
    Ok(())
}
