//! How the operator speaks to a store's `Subscriptions` service: over the connections to its nodes, each call with a
//! deadline.

use std::time::Duration;

use reckon_api::v1::subscription_ref::Kind;
use reckon_api::v1::subscriptions_client::SubscriptionsClient;
use reckon_api::{Reason, v1};
use tonic::Status;
use tonic::transport::Channel;

use crate::nodes::{Address, Nodes, within};

/// How long a look may take, over a node that forwards.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a change may take: it is committed by a majority when it returns.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(8);

/// The subscriptions of the store that a node belongs to.
#[derive(Debug)]
pub struct Service<'a> {
    nodes: &'a Nodes,
    address: &'a Address,
}

impl<'a> Service<'a> {
    /// Over this node; any node takes every call.
    pub fn new(nodes: &'a Nodes, address: &'a Address) -> Self {
        Self { nodes, address }
    }

    fn client(&self) -> SubscriptionsClient<Channel> {
        SubscriptionsClient::new(self.nodes.channel(self.address))
    }

    /// The subscription of this name, if there is one.
    pub async fn get(&self, name: &str) -> Result<Option<v1::Subscription>, Status> {
        let mut client = self.client();
        let request = v1::GetSubscriptionRequest { subscription: Some(by_name(name)) };
        let answer =
            within(LOOK_TIMEOUT, |request| async move { client.get(request).await }, request).await;
        match answer {
            Ok(answer) => match answer.subscription {
                Some(subscription) => Ok(Some(subscription)),
                None => Err(Status::internal("the answer has no subscription in it")),
            },
            Err(status) if gone(&status) => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// How the subscription of this name is doing.
    pub async fn health(&self, name: &str) -> Result<Option<v1::SubscriptionHealth>, Status> {
        let mut client = self.client();
        let request = v1::SubscriptionHealthRequest { subscription: Some(by_name(name)) };
        let answer =
            within(LOOK_TIMEOUT, |request| async move { client.health(request).await }, request)
                .await?;
        Ok(answer.subscriptions.into_iter().find(|health| health.name == name))
    }

    /// Registers a subscription; what the store has then. If the same is there already, nothing changes.
    pub async fn create(
        &self,
        definition: v1::SubscriptionDefinition,
    ) -> Result<Option<v1::Subscription>, Status> {
        let mut client = self.client();
        let request = v1::CreateSubscriptionRequest { definition: Some(definition) };
        within(CHANGE_TIMEOUT, |request| async move { client.create(request).await }, request)
            .await
            .map(|answer| answer.subscription)
    }

    /// Changes the definition of a subscription; what the store has then.
    pub async fn update(
        &self,
        definition: v1::SubscriptionDefinition,
    ) -> Result<Option<v1::Subscription>, Status> {
        let mut client = self.client();
        let request = v1::UpdateSubscriptionRequest { definition: Some(definition) };
        within(CHANGE_TIMEOUT, |request| async move { client.update(request).await }, request)
            .await
            .map(|answer| answer.subscription)
    }

    /// Removes a subscription. That it is gone already is no failure.
    pub async fn delete(&self, name: &str) -> Result<(), Status> {
        let mut client = self.client();
        let request = v1::DeleteSubscriptionRequest {
            subscription: Some(by_name(name)),
            r#type: String::new(),
        };
        let answer =
            within(CHANGE_TIMEOUT, |request| async move { client.delete(request).await }, request)
                .await;
        match answer {
            Err(status) if !gone(&status) => Err(status),
            _ => Ok(()),
        }
    }
}

fn by_name(name: &str) -> v1::SubscriptionRef {
    v1::SubscriptionRef { kind: Some(Kind::Name(name.to_owned())) }
}

fn gone(status: &Status) -> bool {
    Reason::of(status) == Some(Reason::SubscriptionNotFound)
}
