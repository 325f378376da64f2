//! The scripted server's subscriptions: definitions by name, and followers of the store. Nobody consumes here:
//! a test that consumes has a server of its own.

use futures::StreamExt as _;
use tonic::{Request, Response, Status, Streaming};

use super::scripted::{Act, Answer, Scripted};
use crate::Reason;
use crate::v1::follow_response::Message;
use crate::v1::subscriptions_server::Subscriptions;
use crate::v1::{self, read_from, selector, subscription_ref};

/// What a page of a list holds.
const PAGE: usize = 2;

impl Scripted {
    /// Does as asked, unless something else is scripted.
    async fn acted<T>(
        &self,
        call: &str,
        answer: impl FnOnce() -> Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        match self.next_act(call.to_owned()) {
            None => answer().map(Response::new),
            Some(Act::LoseAnswer) => {
                answer()?;
                Err(Status::unavailable("the answer is lost"))
            }
            Some(Act::KeepSilent) => std::future::pending().await,
            Some(Act::Refuse(reason, values)) => Err(reason.status("refused", values)),
            Some(act) => panic!("a subscription cannot {act:?}"),
        }
    }

    /// The events that a follower is to see from a place on, and the store's end.
    fn chosen(&self, request: &v1::FollowRequest, from: u64) -> (Vec<v1::Event>, u64) {
        let store = self.store.lock().unwrap();
        let stream = stream_of(request);
        let events = store
            .events
            .iter()
            .filter(|event| match stream {
                Some(stream) => event.stream_id == stream && event.version >= from,
                None => event.position >= from,
            })
            .cloned()
            .collect();
        (events, store.events.len() as u64)
    }
}

fn stream_of(request: &v1::FollowRequest) -> Option<&str> {
    match request.selector.as_ref()?.kind.as_ref()? {
        selector::Kind::Stream(stream) => Some(stream),
        _ => None,
    }
}

fn name_of(reference: Option<v1::SubscriptionRef>) -> String {
    match reference.and_then(|reference| reference.kind) {
        Some(subscription_ref::Kind::Name(name)) => name,
        other => panic!("a subscription is named by its name here, not {other:?}"),
    }
}

/// One page of what comes behind the token, and the next token.
fn page<T>(items: Vec<(String, T)>, token: &str) -> (Vec<T>, String) {
    let mut rest = items.into_iter().filter(|(name, _)| name.as_str() > token).peekable();
    let mut page = Vec::new();
    let mut last = String::new();
    while page.len() < PAGE
        && let Some((name, item)) = rest.next()
    {
        last = name;
        page.push(item);
    }
    (page, rest.peek().map(|_| last).unwrap_or_default())
}

#[tonic::async_trait]
impl Subscriptions for Scripted {
    async fn create(
        &self,
        request: Request<v1::CreateSubscriptionRequest>,
    ) -> Result<Response<v1::CreateSubscriptionResponse>, Status> {
        let definition = request.into_inner().definition.unwrap();
        self.acted("create", || {
            let mut store = self.store.lock().unwrap();
            let name = definition.name.clone();
            let subscription =
                v1::Subscription { definition: Some(definition), ..Default::default() };
            let before = store.subscriptions.insert(name, subscription.clone());
            Ok(v1::CreateSubscriptionResponse {
                subscription: Some(subscription),
                created: before.is_none(),
            })
        })
        .await
    }

    async fn update(
        &self,
        _: Request<v1::UpdateSubscriptionRequest>,
    ) -> Result<Response<v1::UpdateSubscriptionResponse>, Status> {
        self.acted("update", || Ok(v1::UpdateSubscriptionResponse::default())).await
    }

    async fn get(
        &self,
        request: Request<v1::GetSubscriptionRequest>,
    ) -> Result<Response<v1::GetSubscriptionResponse>, Status> {
        let name = name_of(request.into_inner().subscription);
        self.acted("get", || {
            let store = self.store.lock().unwrap();
            let subscription = store.subscriptions.get(&name).cloned();
            let missing = || Reason::SubscriptionNotFound.plain("there is none of this name");
            let subscription = Some(subscription.ok_or_else(missing)?);
            Ok(v1::GetSubscriptionResponse { subscription })
        })
        .await
    }

    async fn list(
        &self,
        request: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        let token = request.into_inner().page_token;
        self.acted("list subscriptions", || {
            let all = self.store.lock().unwrap().subscriptions.clone().into_iter().collect();
            let (subscriptions, next_page_token) = page(all, &token);
            Ok(v1::ListSubscriptionsResponse { subscriptions, next_page_token })
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteSubscriptionRequest>,
    ) -> Result<Response<v1::DeleteSubscriptionResponse>, Status> {
        let name = name_of(request.into_inner().subscription);
        self.acted("delete", || {
            self.store.lock().unwrap().subscriptions.remove(&name);
            Ok(v1::DeleteSubscriptionResponse {})
        })
        .await
    }

    async fn exists(
        &self,
        request: Request<v1::ExistsSubscriptionRequest>,
    ) -> Result<Response<v1::ExistsSubscriptionResponse>, Status> {
        let name = name_of(request.into_inner().subscription);
        self.acted("exists", || {
            let exists = self.store.lock().unwrap().subscriptions.contains_key(&name);
            Ok(v1::ExistsSubscriptionResponse { exists })
        })
        .await
    }

    async fn reset(
        &self,
        _: Request<v1::ResetSubscriptionRequest>,
    ) -> Result<Response<v1::ResetSubscriptionResponse>, Status> {
        self.acted("reset", || Ok(v1::ResetSubscriptionResponse::default())).await
    }

    async fn ack(&self, _: Request<v1::AckRequest>) -> Result<Response<v1::AckResponse>, Status> {
        self.acted("ack", || Ok(v1::AckResponse::default())).await
    }

    type ConsumeStream = Answer<v1::ConsumeResponse>;

    async fn consume(
        &self,
        _: Request<Streaming<v1::ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        Err(Status::unimplemented("no test calls this"))
    }

    type FollowStream = Answer<v1::FollowResponse>;

    /// One message per event; ends broken when that is scripted, else goes on with what is appended.
    async fn follow(
        &self,
        request: Request<v1::FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let request = request.into_inner();
        let asked = request.from.and_then(|from| from.kind);
        let act = self.next_act(format!("follow from {asked:?}"));
        let broken_after = match act {
            None => None,
            Some(Act::BreakOffAfter(count)) => Some(count),
            Some(Act::Refuse(reason, values)) => return Err(reason.status("refused", values)),
            Some(act) => panic!("following cannot {act:?}"),
        };
        let (_, end) = self.chosen(&request, 0);
        let from = match asked {
            None => 0,
            Some(read_from::Kind::At(place)) => place,
            Some(read_from::Kind::End(_)) if stream_of(&request).is_none() => end,
            Some(other) => panic!("no test begins at {other:?}"),
        };
        let wrap = |message| Ok(v1::FollowResponse { message: Some(message) });
        let by_version = stream_of(&request).is_some();
        let header = v1::FollowHeader { from_position: if by_version { 0 } else { from } };
        let header = futures::stream::iter([wrap(Message::Header(header))]);
        if let Some(count) = broken_after {
            let events = self.chosen(&request, from).0.into_iter().take(count);
            let events: Vec<_> = events
                .map(|event| wrap(Message::Events(v1::EventBatch { events: vec![event] })))
                .chain([Err(Status::unavailable("the connection broke"))])
                .collect();
            return Ok(Response::new(header.chain(futures::stream::iter(events)).boxed()));
        }
        let changes = self.store.lock().unwrap().changed.subscribe();
        let mut breaks = self.breaks.subscribe();
        let broken = async move {
            // A server that is gone breaks nothing: its calls end by themselves.
            if breaks.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let state = (self.clone(), request, changes, from, false);
        let live = futures::stream::unfold(state, move |state| async move {
            let (server, request, mut changes, mut next, mut caught_up) = state;
            loop {
                changes.borrow_and_update();
                let (events, end) = server.chosen(&request, next);
                let message = match events.last() {
                    Some(last) => {
                        next = if by_version { last.version } else { last.position } + 1;
                        caught_up = false;
                        Message::Events(v1::EventBatch { events })
                    }
                    None if !caught_up => {
                        caught_up = true;
                        Message::CaughtUp(v1::CaughtUp { next_position: end })
                    }
                    None => {
                        changes.changed().await.ok()?;
                        continue;
                    }
                };
                return Some((wrap(message), (server, request, changes, next, caught_up)));
            }
        });
        let broken_off = futures::stream::iter([Err(Status::unavailable("the connection broke"))]);
        Ok(Response::new(header.chain(live.take_until(broken)).chain(broken_off).boxed()))
    }

    async fn list_parked(
        &self,
        request: Request<v1::ListParkedRequest>,
    ) -> Result<Response<v1::ListParkedResponse>, Status> {
        let token = request.into_inner().page_token;
        self.acted("list parked", || {
            let store = self.store.lock().unwrap();
            let all = store.events.iter().map(|event| {
                let parked = v1::ParkedEvent { position: event.position, ..Default::default() };
                (format!("{:08}", event.position + 1), parked)
            });
            let (events, next_page_token) = page(all.collect(), &token);
            let parked = store.events.len() as u64;
            Ok(v1::ListParkedResponse { events, next_page_token, parked })
        })
        .await
    }

    async fn replay_parked(
        &self,
        _: Request<v1::ReplayParkedRequest>,
    ) -> Result<Response<v1::ReplayParkedResponse>, Status> {
        self.acted("replay", || Ok(v1::ReplayParkedResponse::default())).await
    }

    async fn discard_parked(
        &self,
        _: Request<v1::DiscardParkedRequest>,
    ) -> Result<Response<v1::DiscardParkedResponse>, Status> {
        self.acted("discard", || Ok(v1::DiscardParkedResponse::default())).await
    }

    async fn health(
        &self,
        _: Request<v1::SubscriptionHealthRequest>,
    ) -> Result<Response<v1::SubscriptionHealthResponse>, Status> {
        self.acted("health", || Ok(v1::SubscriptionHealthResponse::default())).await
    }
}
