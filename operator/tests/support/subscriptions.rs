//! The `Subscriptions` service of the nodes in [`super::nodes`], as far as an operator sees it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use reckon_api::Reason;
use reckon_api::v1::subscription_ref::Kind;
use reckon_api::v1::subscriptions_server::Subscriptions;
use reckon_api::v1::*;
use reckon_operator::subscription::definition::{difference, filled};
use tokio_stream::Pending;
use tonic::{Request, Response, Status, Streaming};

/// The subscriptions of a store, shared by its nodes.
#[derive(Clone, Default)]
pub struct FakeSubscriptions {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    silent: bool,
    refuses: bool,
    keeps_pools_of_one: bool,
    subscriptions: BTreeMap<String, Subscription>,
    health: BTreeMap<String, SubscriptionHealth>,
    /// The names of the calls that change something, as they came.
    changes: Vec<&'static str>,
}

impl FakeSubscriptions {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with the lock")
    }

    /// Whether calls are answered.
    pub fn set_silent(&self, silent: bool) {
        self.lock().silent = silent;
    }

    /// Whether definitions are refused for what they say.
    pub fn set_refuses(&self, refuses: bool) {
        self.lock().refuses = refuses;
    }

    /// From now on every pool is of one consumer, whatever definitions say.
    pub fn keep_pools_of_one(&self) {
        self.lock().keeps_pools_of_one = true;
    }

    /// Puts a subscription there behind the operator's back; whatever the name stood for is gone.
    pub fn put(&self, definition: SubscriptionDefinition) {
        self.lock().put(definition);
    }

    /// Takes a subscription away behind the operator's back.
    pub fn forget(&self, name: &str) {
        self.lock().subscriptions.remove(name);
    }

    pub fn definition(&self, name: &str) -> Option<SubscriptionDefinition> {
        self.lock().subscriptions.get(name).and_then(|one| one.definition.clone())
    }

    /// Says how a subscription is doing.
    pub fn set_health(&self, health: SubscriptionHealth) {
        self.lock().health.insert(health.name.clone(), health);
    }

    /// The changes that were asked for, in order.
    pub fn changes(&self) -> Vec<&'static str> {
        self.lock().changes.clone()
    }

    fn answering(&self) -> Result<MutexGuard<'_, State>, Status> {
        let state = self.lock();
        if state.silent {
            return Err(Reason::NoQuorum.plain("No leader is known."));
        }
        Ok(state)
    }

    fn changing(&self, change: &'static str) -> Result<MutexGuard<'_, State>, Status> {
        let mut state = self.answering()?;
        state.changes.push(change);
        if state.refuses && change != "Delete" {
            return Err(Reason::InvalidExpression.plain("keyExpression is no expression."));
        }
        Ok(state)
    }
}

impl State {
    fn put(&mut self, mut definition: SubscriptionDefinition) -> Subscription {
        if self.keeps_pools_of_one {
            definition.pool_size = 1;
        }
        let name = definition.name.clone();
        let subscription = Subscription {
            key: format!("key-of-{name}"),
            definition: Some(filled(definition)),
            checkpoint: Some(SubscriptionCheckpoint { next_position: 7, ..Default::default() }),
            ..Subscription::default()
        };
        self.subscriptions.insert(name, subscription.clone());
        subscription
    }

    fn find(&self, subscription: Option<SubscriptionRef>) -> Result<&Subscription, Status> {
        let Some(Kind::Name(name)) = subscription.and_then(|one| one.kind) else {
            panic!("the operator asks by name")
        };
        let gone = || Reason::SubscriptionNotFound.plain("There is no such subscription.");
        self.subscriptions.get(&name).ok_or_else(gone)
    }
}

#[tonic::async_trait]
impl Subscriptions for FakeSubscriptions {
    async fn create(
        &self,
        request: Request<CreateSubscriptionRequest>,
    ) -> Result<Response<CreateSubscriptionResponse>, Status> {
        let definition = request.into_inner().definition.expect("a definition");
        let mut state = self.changing("Create")?;
        if let Some(existing) = state.subscriptions.get(&definition.name) {
            let stored = existing.definition.clone().unwrap_or_default();
            if !difference(&definition, &stored).is_none() {
                return Err(Reason::SubscriptionExists.plain("Another one has this name."));
            }
            let subscription = Some(existing.clone());
            return Ok(Response::new(CreateSubscriptionResponse { subscription, created: false }));
        }
        let subscription = Some(state.put(definition));
        Ok(Response::new(CreateSubscriptionResponse { subscription, created: true }))
    }

    async fn update(
        &self,
        request: Request<UpdateSubscriptionRequest>,
    ) -> Result<Response<UpdateSubscriptionResponse>, Status> {
        let definition = request.into_inner().definition.expect("a definition");
        let mut state = self.changing("Update")?;
        let name = SubscriptionRef { kind: Some(Kind::Name(definition.name.clone())) };
        let stored = state.find(Some(name))?.definition.clone().unwrap_or_default();
        if !difference(&definition, &stored).fixed.is_empty() {
            return Err(Reason::InvalidArgument.plain("This cannot change."));
        }
        let subscription = Some(state.put(definition));
        Ok(Response::new(UpdateSubscriptionResponse { subscription, changed: true }))
    }

    async fn get(
        &self,
        request: Request<GetSubscriptionRequest>,
    ) -> Result<Response<GetSubscriptionResponse>, Status> {
        let state = self.answering()?;
        let subscription = Some(state.find(request.into_inner().subscription)?.clone());
        Ok(Response::new(GetSubscriptionResponse { subscription }))
    }

    async fn delete(
        &self,
        request: Request<DeleteSubscriptionRequest>,
    ) -> Result<Response<DeleteSubscriptionResponse>, Status> {
        let mut state = self.changing("Delete")?;
        let found = state.find(request.into_inner().subscription)?.definition.clone();
        state.subscriptions.remove(&found.expect("a definition").name);
        Ok(Response::new(DeleteSubscriptionResponse {}))
    }

    async fn health(
        &self,
        request: Request<SubscriptionHealthRequest>,
    ) -> Result<Response<SubscriptionHealthResponse>, Status> {
        let state = self.answering()?;
        let definition = state.find(request.into_inner().subscription)?.definition.clone();
        let name = definition.expect("a definition").name;
        let idle = SubscriptionHealth {
            name: name.clone(),
            mode: SubscriptionMode::Idle.into(),
            ..SubscriptionHealth::default()
        };
        let health = state.health.get(&name).cloned().unwrap_or(idle);
        Ok(Response::new(SubscriptionHealthResponse { subscriptions: vec![health] }))
    }

    async fn list(
        &self,
        _: Request<ListSubscriptionsRequest>,
    ) -> Result<Response<ListSubscriptionsResponse>, Status> {
        Err(nobody_asks())
    }

    async fn exists(
        &self,
        _: Request<ExistsSubscriptionRequest>,
    ) -> Result<Response<ExistsSubscriptionResponse>, Status> {
        Err(nobody_asks())
    }

    async fn reset(
        &self,
        _: Request<ResetSubscriptionRequest>,
    ) -> Result<Response<ResetSubscriptionResponse>, Status> {
        Err(nobody_asks())
    }

    async fn ack(&self, _: Request<AckRequest>) -> Result<Response<AckResponse>, Status> {
        Err(nobody_asks())
    }

    type ConsumeStream = Pending<Result<ConsumeResponse, Status>>;

    async fn consume(
        &self,
        _: Request<Streaming<ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        Err(nobody_asks())
    }

    type FollowStream = Pending<Result<FollowResponse, Status>>;

    async fn follow(
        &self,
        _: Request<FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        Err(nobody_asks())
    }

    async fn list_parked(
        &self,
        _: Request<ListParkedRequest>,
    ) -> Result<Response<ListParkedResponse>, Status> {
        Err(nobody_asks())
    }

    async fn replay_parked(
        &self,
        _: Request<ReplayParkedRequest>,
    ) -> Result<Response<ReplayParkedResponse>, Status> {
        Err(nobody_asks())
    }

    async fn discard_parked(
        &self,
        _: Request<DiscardParkedRequest>,
    ) -> Result<Response<DiscardParkedResponse>, Status> {
        Err(nobody_asks())
    }
}

fn nobody_asks() -> Status {
    Status::unimplemented("the operator does not ask this")
}
