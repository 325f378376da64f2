//! `reckon.v1.Subscriptions`: subscriptions, their consumers, and followers. This file says who serves what; each duty has
//! a file of its own.

mod follow;
mod waking;

use reckon_api::v1;
use tonic::{Request, Response, Status, Streaming};

use super::admission::Admission;
use super::answer::Pages;
use crate::delivery::interests::Interests;
use crate::limits;
use crate::service::in_flight::InFlight;

/// The subscriptions service of one node.
#[derive(Debug, Clone)]
pub struct SubscriptionsService {
    admission: Admission,
    interests: Interests,
    followers: InFlight,
}

impl SubscriptionsService {
    /// Starts what wakes those who wait for events, on the current runtime.
    pub fn new(admission: Admission) -> Self {
        Self {
            interests: waking::start(&admission.node),
            followers: InFlight::new("followers_max", limits::FOLLOWERS_MAX),
            admission,
        }
    }
}

#[tonic::async_trait]
impl v1::subscriptions_server::Subscriptions for SubscriptionsService {
    async fn create(
        &self,
        _request: Request<v1::CreateSubscriptionRequest>,
    ) -> Result<Response<v1::CreateSubscriptionResponse>, Status> {
        Err(Status::unimplemented("create"))
    }

    async fn update(
        &self,
        _request: Request<v1::UpdateSubscriptionRequest>,
    ) -> Result<Response<v1::UpdateSubscriptionResponse>, Status> {
        Err(Status::unimplemented("update"))
    }

    async fn get(
        &self,
        _request: Request<v1::GetSubscriptionRequest>,
    ) -> Result<Response<v1::GetSubscriptionResponse>, Status> {
        Err(Status::unimplemented("get"))
    }

    async fn list(
        &self,
        _request: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        Err(Status::unimplemented("list"))
    }

    async fn delete(
        &self,
        _request: Request<v1::DeleteSubscriptionRequest>,
    ) -> Result<Response<v1::DeleteSubscriptionResponse>, Status> {
        Err(Status::unimplemented("delete"))
    }

    async fn exists(
        &self,
        _request: Request<v1::ExistsSubscriptionRequest>,
    ) -> Result<Response<v1::ExistsSubscriptionResponse>, Status> {
        Err(Status::unimplemented("exists"))
    }

    async fn reset(
        &self,
        _request: Request<v1::ResetSubscriptionRequest>,
    ) -> Result<Response<v1::ResetSubscriptionResponse>, Status> {
        Err(Status::unimplemented("reset"))
    }

    async fn ack(
        &self,
        _request: Request<v1::AckRequest>,
    ) -> Result<Response<v1::AckResponse>, Status> {
        Err(Status::unimplemented("ack"))
    }

    async fn list_parked(
        &self,
        _request: Request<v1::ListParkedRequest>,
    ) -> Result<Response<v1::ListParkedResponse>, Status> {
        Err(Status::unimplemented("list_parked"))
    }

    async fn replay_parked(
        &self,
        _request: Request<v1::ReplayParkedRequest>,
    ) -> Result<Response<v1::ReplayParkedResponse>, Status> {
        Err(Status::unimplemented("replay_parked"))
    }

    async fn discard_parked(
        &self,
        _request: Request<v1::DiscardParkedRequest>,
    ) -> Result<Response<v1::DiscardParkedResponse>, Status> {
        Err(Status::unimplemented("discard_parked"))
    }

    async fn health(
        &self,
        _request: Request<v1::SubscriptionHealthRequest>,
    ) -> Result<Response<v1::SubscriptionHealthResponse>, Status> {
        Err(Status::unimplemented("health"))
    }

    type ConsumeStream = Pages<v1::ConsumeResponse>;

    async fn consume(
        &self,
        _request: Request<Streaming<v1::ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        Err(Status::unimplemented("consume"))
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
