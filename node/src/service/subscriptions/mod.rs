//! `reckon.v1.Subscriptions`: subscriptions, their consumers, and followers. This file says who serves what; each duty has
//! a file of its own.

mod ack;
mod consume;
mod definitions;
mod follow;
mod health;
mod on_leader;
mod parked;
mod waking;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reckon_api::v1;
use tonic::{Request, Response, Status, Streaming};

use super::admission::Admission;
use super::answer::Pages;
use super::in_flight::InFlight;
use crate::delivery::emitters::Emitters;
use crate::delivery::interests::Interests;
use crate::delivery::monitor;
use crate::limits;
use crate::raft::Member;
use crate::supervise::supervise;

/// The subscriptions service of one node.
#[derive(Debug, Clone)]
pub struct SubscriptionsService {
    admission: Admission,
    interests: Interests,
    followers: InFlight,
    consumers: InFlight,
    emitters: Arc<OnceLock<Emitters>>,
}

impl SubscriptionsService {
    /// Starts what wakes those who wait for events, and what looks after subscriptions, on the current runtime.
    pub fn new(admission: Admission, health_interval: Duration) -> Self {
        let service = Self {
            interests: waking::start(&admission.node, admission.metrics.clone()),
            followers: InFlight::new("followers_max", limits::FOLLOWERS_MAX),
            consumers: InFlight::new("node_consumers_max", limits::NODE_CONSUMERS_MAX),
            emitters: Arc::default(),
            admission,
        };
        tokio::spawn(service.clone().begin(health_interval));
        service
    }

    /// The emitters of the one member that this node ever runs.
    fn emitters(&self, member: &Arc<Member>) -> &Emitters {
        self.emitters.get_or_init(|| {
            let node = self.admission.node.clone();
            let metrics = self.admission.metrics.clone();
            Emitters::start(node, Arc::clone(member), self.interests.clone(), metrics)
        })
    }

    /// Also where nobody asks for anything, somebody has to look after subscriptions.
    async fn begin(self, health_interval: Duration) {
        let mut member = self.admission.node.watch_member();
        if let Ok(member) = member.wait_for(Option::is_some).await
            && let Some(member) = member.as_ref()
        {
            let emitters = self.emitters(member).clone();
            let metrics = self.admission.metrics.subscriptions().clone();
            let clock = Arc::clone(&self.admission.node.environment().clock);
            tokio::spawn(supervise("monitor", self.admission.metrics.clone(), move || {
                monitor::run(emitters.clone(), metrics.clone(), Arc::clone(&clock), health_interval)
            }));
        }
    }
}

#[tonic::async_trait]
impl v1::subscriptions_server::Subscriptions for SubscriptionsService {
    async fn create(
        &self,
        request: Request<v1::CreateSubscriptionRequest>,
    ) -> Result<Response<v1::CreateSubscriptionResponse>, Status> {
        self.on_leader(
            request,
            |leading, request| self.create_here(leading, request),
            |mut leader, request| async move { leader.create(request).await },
        )
        .await
    }

    async fn update(
        &self,
        request: Request<v1::UpdateSubscriptionRequest>,
    ) -> Result<Response<v1::UpdateSubscriptionResponse>, Status> {
        self.on_leader(
            request,
            |leading, request| self.update_here(leading, request),
            |mut leader, request| async move { leader.update(request).await },
        )
        .await
    }

    async fn get(
        &self,
        request: Request<v1::GetSubscriptionRequest>,
    ) -> Result<Response<v1::GetSubscriptionResponse>, Status> {
        self.on_leader(
            request,
            |leading, request| self.get_here(leading, request),
            |mut leader, request| async move { leader.get(request).await },
        )
        .await
    }

    async fn list(
        &self,
        request: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        self.on_leader(
            request,
            |leading, request| self.list_here(leading, request),
            |mut leader, request| async move { leader.list(request).await },
        )
        .await
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteSubscriptionRequest>,
    ) -> Result<Response<v1::DeleteSubscriptionResponse>, Status> {
        self.on_leader(
            request,
            |leading, request| self.delete_here(leading, request),
            |mut leader, request| async move { leader.delete(request).await },
        )
        .await
    }

    async fn exists(
        &self,
        request: Request<v1::ExistsSubscriptionRequest>,
    ) -> Result<Response<v1::ExistsSubscriptionResponse>, Status> {
        self.on_leader(
            request,
            |leading, request| self.exists_here(leading, request),
            |mut leader, request| async move { leader.exists(request).await },
        )
        .await
    }

    async fn reset(
        &self,
        request: Request<v1::ResetSubscriptionRequest>,
    ) -> Result<Response<v1::ResetSubscriptionResponse>, Status> {
        self.on_leader(
            request,
            |leading, request| self.reset_here(leading, request),
            |mut leader, request| async move { leader.reset(request).await },
        )
        .await
    }

    async fn ack(
        &self,
        request: Request<v1::AckRequest>,
    ) -> Result<Response<v1::AckResponse>, Status> {
        self.on_leader(
            request,
            |leading, request| self.ack_here(leading, request),
            |mut leader, request| async move { leader.ack(request).await },
        )
        .await
    }

    async fn list_parked(
        &self,
        request: Request<v1::ListParkedRequest>,
    ) -> Result<Response<v1::ListParkedResponse>, Status> {
        self.on_leader(
            request,
            |leading, request| self.list_parked_here(leading, request),
            |mut leader, request| async move { leader.list_parked(request).await },
        )
        .await
    }

    async fn replay_parked(
        &self,
        request: Request<v1::ReplayParkedRequest>,
    ) -> Result<Response<v1::ReplayParkedResponse>, Status> {
        self.on_leader(
            request,
            |leading, request| self.replay_parked_here(leading, request),
            |mut leader, request| async move { leader.replay_parked(request).await },
        )
        .await
    }

    async fn discard_parked(
        &self,
        request: Request<v1::DiscardParkedRequest>,
    ) -> Result<Response<v1::DiscardParkedResponse>, Status> {
        self.on_leader(
            request,
            |leading, request| self.discard_parked_here(leading, request),
            |mut leader, request| async move { leader.discard_parked(request).await },
        )
        .await
    }

    async fn health(
        &self,
        request: Request<v1::SubscriptionHealthRequest>,
    ) -> Result<Response<v1::SubscriptionHealthResponse>, Status> {
        self.on_leader(
            request,
            |leading, request| self.health_here(leading, request),
            |mut leader, request| async move { leader.health(request).await },
        )
        .await
    }

    type ConsumeStream = Pages<v1::ConsumeResponse>;

    async fn consume(
        &self,
        request: Request<Streaming<v1::ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        self.consume_events(request).await.map(Response::new)
    }

    type FollowStream = Pages<v1::FollowResponse>;

    async fn follow(
        &self,
        request: Request<v1::FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let deadline = self.admission.deadline(&request);
        self.follow_events(request.into_inner(), deadline).await.map(Response::new)
    }
}
