//! `Health`: how subscriptions are doing.

use std::sync::Arc;

use reckon_api::v1;
use tonic::Status;

use super::SubscriptionsService;
use super::definitions::find;
use super::on_leader::Leading;
use crate::engine::SubscriptionState;

impl SubscriptionsService {
    pub(super) async fn health_here(
        &self,
        leading: Leading,
        request: v1::SubscriptionHealthRequest,
    ) -> Result<v1::SubscriptionHealthResponse, Status> {
        let reader = leading.member.reader();
        let asked: Vec<(String, Arc<SubscriptionState>)> = if request.subscription.is_some() {
            let found = find(&reader, request.subscription.as_ref())?;
            vec![(found.name, found.state)]
        } else {
            let all = reader.subscriptions();
            all.iter().map(|(name, state)| (name.to_owned(), Arc::clone(state))).collect()
        };
        let emitters = self.emitters(&leading.member);
        let mut subscriptions = Vec::new();
        for (name, state) in asked {
            let now_us = (self.admission.node.environment().clock)();
            let health = emitters.health(&name, &state, now_us).await?;
            subscriptions.push(health);
        }
        Ok(v1::SubscriptionHealthResponse { subscriptions })
    }
}
