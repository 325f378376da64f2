//! What is asked of subscriptions but their events: to be created, changed and removed, to be moved, and how they are.
//!
//! All of it is safe to send twice: a definition that is there already is answered as the first time, a checkpoint that
//! stands where it should is moved nowhere, and events that are parked no more are passed over.

use futures::stream::BoxStream;

use super::call::calls;
use super::error::Error;
use super::{Client, pages, subscriptions};
use crate::v1::{self, subscription_ref};

impl v1::SubscriptionRef {
    /// The subscription of this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { kind: Some(subscription_ref::Kind::Name(name.into())) }
    }

    /// The subscription of this key, a UUID.
    pub fn keyed(key: impl Into<String>) -> Self {
        Self { kind: Some(subscription_ref::Kind::Key(key.into())) }
    }
}

impl From<&str> for v1::SubscriptionRef {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}

impl From<String> for v1::SubscriptionRef {
    fn from(name: String) -> Self {
        Self::named(name)
    }
}

calls! { subscriptions;
    /// Registers a subscription. The same definition again changes nothing; another one under the same name is refused.
    call create_subscription = create(CreateSubscriptionRequest) -> CreateSubscriptionResponse;
    /// Changes a subscription's definition, as far as it does not decide which events there are.
    call update_subscription = update(UpdateSubscriptionRequest) -> UpdateSubscriptionResponse;
    /// Removes a subscription with its checkpoint and its list of parked events. When the first answer is lost the
    /// second one may be that there is no such subscription.
    call delete_subscription = delete(DeleteSubscriptionRequest) -> DeleteSubscriptionResponse;
    /// Whether there is such a subscription.
    call subscription_exists = exists(ExistsSubscriptionRequest) -> ExistsSubscriptionResponse;
    /// Moves the checkpoint, backward or forward.
    call reset_subscription = reset(ResetSubscriptionRequest) -> ResetSubscriptionResponse;
    /// Acknowledges everything up to an event; never goes backward.
    call ack_subscription = ack(AckRequest) -> AckResponse;
    /// Has parked events delivered again. When the first answer is lost, the second one counts only what was left.
    call replay_parked = replay_parked(ReplayParkedRequest) -> ReplayParkedResponse;
    /// Forgets parked events. When the first answer is lost, the second one counts only what was left.
    call discard_parked = discard_parked(DiscardParkedRequest) -> DiscardParkedResponse;
    /// How a subscription, or each of them, is doing. One attempt may take the whole deadline: events are counted.
    call_long subscription_health = health(SubscriptionHealthRequest) -> SubscriptionHealthResponse;
}

impl Client {
    /// A subscription as the store has it.
    pub async fn get_subscription(
        &self,
        request: v1::GetSubscriptionRequest,
    ) -> Result<v1::Subscription, Error> {
        let answer =
            self.call(request, |channel, request| async move {
                subscriptions(channel).get(request).await
            })
            .await?;
        answer.subscription.ok_or_else(|| Error::Protocol {
            message: "the description of a subscription is empty".to_owned(),
        })
    }

    /// Lists subscriptions in the byte order of their names, one page after the other. `page_token` of the request says
    /// where to begin; an error ends the list.
    pub fn list_subscriptions(
        &self,
        request: v1::ListSubscriptionsRequest,
    ) -> BoxStream<'static, Result<v1::Subscription, Error>> {
        let client = self.clone();
        pages::items("subscriptions", request.page_token.clone(), move |page_token| {
            let (client, request) = (client.clone(), request.clone());
            async move {
                let request = v1::ListSubscriptionsRequest { page_token, ..request };
                let page = client
                    .call(request, |channel, request| async move {
                        subscriptions(channel).list(request).await
                    })
                    .await?;
                Ok((page.subscriptions, page.next_page_token))
            }
        })
    }

    /// Lists parked events in the order in which they were parked, one page after the other. `page_token` of the
    /// request says where to begin; an error ends the list.
    pub fn list_parked(
        &self,
        request: v1::ListParkedRequest,
    ) -> BoxStream<'static, Result<v1::ParkedEvent, Error>> {
        let client = self.clone();
        pages::items("parked events", request.page_token.clone(), move |page_token| {
            let (client, request) = (client.clone(), request.clone());
            async move {
                let request = v1::ListParkedRequest { page_token, ..request };
                let page = client
                    .call(request, |channel, request| async move {
                        subscriptions(channel).list_parked(request).await
                    })
                    .await?;
                Ok((page.events, page.next_page_token))
            }
        })
    }
}
