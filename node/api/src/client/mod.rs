//! A client of a store: it takes many endpoints, follows the leader, and retries what is safe to retry.
//!
//! Every call has one deadline and as many attempts as fit into it. An attempt is short, so that a dead
//! node cannot eat the whole deadline, and a failed one moves on to the next endpoint. Reads are safe to
//! retry; appends are made safe by giving every event its id before the first attempt, since a server
//! answers an append with known ids by its first result. Changes of membership are never retried: for
//! those there is the raw [`Client::admin`].
//!
//! Must not know who its caller is: no printing, no exit codes, no configuration from the environment.

mod append;
mod appender;
mod backoff;
mod call;
mod consumer;
mod endpoints;
mod error;
mod follow;
mod health;
mod options;
mod pages;
mod read;
mod streams;
mod subscriptions;
mod watch;

pub use append::Expect;
pub use appender::Appender;
pub use consumer::{
    Consumed, Consumer, ConsumerOptions, Consumption, IntoSettlement, Progress, Settlement,
};
pub use error::{Error, Outcome};
pub use follow::{Followed, Following};
pub use options::{Options, OptionsError};
pub use read::{ReadAllEvents, ReadEvents};
pub use watch::{Watched, Watching};

use std::sync::Arc;

use endpoints::{Endpoints, Target};
use tonic::Response;
use tonic::transport::Channel;

use crate::v1;
use crate::v1::cluster_client::ClusterClient;
use crate::v1::health_client::HealthClient;
use crate::v1::streams_client::StreamsClient;
use crate::v1::subscriptions_client::SubscriptionsClient;

/// The largest message the client takes: an append's 8 MiB of events with their envelopes, twice over.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A client of one store. Cheap to clone; clones share their connections and what they learnt about the
/// leader. Connects when it is first asked something. To be made and used inside a tokio runtime.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    endpoints: Endpoints,
}

impl Client {
    /// A client by these options. Nothing is connected yet: an endpoint that does not answer is found out
    /// by the first call.
    pub fn new(options: Options) -> Result<Self, OptionsError> {
        let endpoints = Endpoints::new(&options)?;
        Ok(Self { shared: Arc::new(Shared { options, endpoints }) })
    }

    /// The options the client was made with.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// What one endpoint says of itself and its store; asked once, within one attempt's time. `endpoint`
    /// need not be one of the client's own.
    pub async fn status(&self, endpoint: &str) -> Result<v1::StatusResponse, Error> {
        let mut admin = self.admin(endpoint)?;
        let timeout = self.shared.options.attempt_timeout;
        let answer = admin.status(call::timed(v1::StatusRequest {}, timeout));
        call::within(endpoint, timeout, answer).await.map(Response::into_inner)
    }

    /// What every endpoint of the client says of itself, in the order they were given.
    pub async fn statuses(&self) -> Vec<(String, Result<v1::StatusResponse, Error>)> {
        let asked = self
            .shared
            .options
            .endpoints
            .iter()
            .map(|endpoint| async move { (endpoint.clone(), self.status(endpoint).await) });
        futures::future::join_all(asked).await
    }

    /// The committed membership as the leader sees it.
    pub async fn members(&self) -> Result<v1::MembersResponse, Error> {
        self.call(v1::MembersRequest {}, |channel, request| async move {
            cluster(channel).members(request).await
        })
        .await
    }

    /// Seals now what is in memory only, on every member; with `wait`, until the files of the node that was asked
    /// are durable. Sealing twice harms nothing. One attempt may take the whole deadline.
    pub async fn checkpoint(&self, wait: bool) -> Result<v1::CheckpointResponse, Error> {
        self.call_long(v1::CheckpointRequest { wait }, |channel, request| async move {
            cluster(channel).checkpoint(request).await
        })
        .await
    }

    /// A server answered, and said that the leader could have done so quicker. Whether another endpoint than that server is
    /// asked from now on; if not yet, the leader is tried meanwhile, since from here it may be out of reach.
    fn heard_of_leader(&self, server: &Target, leader: &str) -> bool {
        let endpoints = &self.shared.endpoints;
        if let Some(channel) = endpoints.try_leader(leader) {
            let (client, leader) = (self.clone(), leader.to_owned());
            tokio::spawn(async move {
                let timeout = client.options().attempt_timeout;
                let mut admin = cluster(channel.clone());
                let asked = admin.status(call::timed(v1::StatusRequest {}, timeout));
                let failed = call::within(&leader, timeout, asked).await.err();
                // Whoever refuses is there.
                let reached = !failed.is_some_and(|error| call::breaks_connection(&error));
                client.shared.endpoints.tried(&leader, reached.then_some(channel));
            });
        }
        endpoints.current().address != server.address
    }

    /// The generated client of the service `Cluster` at one endpoint, which need not be one of the client's
    /// own. Nothing is retried, no deadline is set.
    pub fn admin(&self, endpoint: &str) -> Result<ClusterClient<Channel>, Error> {
        let channel = self
            .shared
            .endpoints
            .channel(endpoint)
            .map_err(|error| Error::InvalidRequest { message: error.to_string() })?;
        Ok(cluster(channel))
    }
}

fn cluster(channel: Channel) -> ClusterClient<Channel> {
    ClusterClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

fn health(channel: Channel) -> HealthClient<Channel> {
    HealthClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

fn streams(channel: Channel) -> StreamsClient<Channel> {
    StreamsClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

fn subscriptions(channel: Channel) -> SubscriptionsClient<Channel> {
    SubscriptionsClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

#[cfg(test)]
mod tests;
