//! The calls that a broker answers.

use std::pin::Pin;
use std::sync::PoisonError;

use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Broker;
use crate::v1::subscriptions_server::Subscriptions;
use crate::v1::{self, consume_request, consume_response};

/// Deliveries in one message.
const BATCH_MAX: usize = 256;

type Answer<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Broker {
    fn refused(&self) -> Result<(), Status> {
        let refusal = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        refusal.map_or(Ok(()), |(reason, values)| Err(reason.status("refused", values)))
    }

    fn subscription(&self) -> v1::Subscription {
        let definition = Some(self.stock().definition.clone());
        v1::Subscription { definition, ..v1::Subscription::default() }
    }

    /// Serves a call until the consumer ends it, or another one is served.
    async fn serve(
        self,
        call: u64,
        mut requests: Streaming<v1::ConsumeRequest>,
        answers: mpsc::UnboundedSender<Result<v1::ConsumeResponse, Status>>,
    ) {
        use consume_response::Message;
        let answer = |message| {
            let _ = answers.send(Ok(v1::ConsumeResponse { message: Some(message) }));
        };
        let mut changes = self.shared.changed.subscribe();
        loop {
            loop {
                changes.borrow_and_update();
                let mut stock = self.stock();
                if stock.call != call {
                    let _ = answers.send(Err(Status::unavailable("the connection broke")));
                    return;
                }
                let deliveries = stock.deliver(BATCH_MAX);
                let caught_up = stock.caught_up();
                drop(stock);
                if !deliveries.is_empty() {
                    answer(Message::Deliveries(v1::Deliveries { deliveries }));
                    self.tell();
                }
                match caught_up {
                    Some(next_position) => {
                        answer(Message::CaughtUp(v1::CaughtUp { next_position }));
                    }
                    None if changes.has_changed().unwrap_or(false) => {}
                    None => break,
                }
            }
            tokio::select! {
                request = requests.next() => {
                    let Some(Ok(request)) = request else {
                        let mut stock = self.stock();
                        if stock.call == call {
                            stock.finished += u64::from(request.is_none());
                            stock.close();
                        }
                        drop(stock);
                        self.tell();
                        return;
                    };
                    let mut stock = self.stock();
                    if stock.call == call {
                        match request.message {
                            Some(consume_request::Message::Demand(demand)) => stock.ask(demand.kind),
                            Some(consume_request::Message::Settle(settle)) => stock.settle(settle),
                            Some(consume_request::Message::Open(_)) | None => {}
                        }
                    }
                    drop(stock);
                    self.tell();
                }
                _ = changes.changed() => {}
            }
        }
    }
}

fn unimplemented<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("this server is for consumers"))
}

#[tonic::async_trait]
impl Subscriptions for Broker {
    type ConsumeStream = Answer<v1::ConsumeResponse>;

    async fn consume(
        &self,
        requests: Request<Streaming<v1::ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        self.refused()?;
        let mut requests = requests.into_inner();
        let first = requests.next().await.transpose()?.and_then(|first| first.message);
        let Some(consume_request::Message::Open(open)) = first else {
            return Err(Status::invalid_argument("a consumer opens first"));
        };
        let call = self.stock().open(&open);
        self.tell();
        let (answers, outgoing) = mpsc::unbounded_channel();
        let subscription = Some(self.subscription());
        let opened = v1::ConsumerOpened { subscription, standby: false };
        let message = Some(consume_response::Message::Opened(opened));
        let _ = answers.send(Ok(v1::ConsumeResponse { message }));
        tokio::spawn(self.clone().serve(call, requests, answers));
        Ok(Response::new(UnboundedReceiverStream::new(outgoing).boxed()))
    }

    async fn get(
        &self,
        _: Request<v1::GetSubscriptionRequest>,
    ) -> Result<Response<v1::GetSubscriptionResponse>, Status> {
        self.refused()?;
        let subscription = Some(self.subscription());
        Ok(Response::new(v1::GetSubscriptionResponse { subscription }))
    }

    async fn create(
        &self,
        _: Request<v1::CreateSubscriptionRequest>,
    ) -> Result<Response<v1::CreateSubscriptionResponse>, Status> {
        unimplemented()
    }

    async fn update(
        &self,
        _: Request<v1::UpdateSubscriptionRequest>,
    ) -> Result<Response<v1::UpdateSubscriptionResponse>, Status> {
        unimplemented()
    }

    async fn list(
        &self,
        _: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        unimplemented()
    }

    async fn delete(
        &self,
        _: Request<v1::DeleteSubscriptionRequest>,
    ) -> Result<Response<v1::DeleteSubscriptionResponse>, Status> {
        unimplemented()
    }

    async fn exists(
        &self,
        _: Request<v1::ExistsSubscriptionRequest>,
    ) -> Result<Response<v1::ExistsSubscriptionResponse>, Status> {
        unimplemented()
    }

    async fn reset(
        &self,
        _: Request<v1::ResetSubscriptionRequest>,
    ) -> Result<Response<v1::ResetSubscriptionResponse>, Status> {
        unimplemented()
    }

    async fn ack(&self, _: Request<v1::AckRequest>) -> Result<Response<v1::AckResponse>, Status> {
        unimplemented()
    }

    type FollowStream = Answer<v1::FollowResponse>;

    async fn follow(
        &self,
        _: Request<v1::FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        unimplemented()
    }

    async fn list_parked(
        &self,
        _: Request<v1::ListParkedRequest>,
    ) -> Result<Response<v1::ListParkedResponse>, Status> {
        unimplemented()
    }

    async fn replay_parked(
        &self,
        _: Request<v1::ReplayParkedRequest>,
    ) -> Result<Response<v1::ReplayParkedResponse>, Status> {
        unimplemented()
    }

    async fn discard_parked(
        &self,
        _: Request<v1::DiscardParkedRequest>,
    ) -> Result<Response<v1::DiscardParkedResponse>, Status> {
        unimplemented()
    }

    async fn health(
        &self,
        _: Request<v1::SubscriptionHealthRequest>,
    ) -> Result<Response<v1::SubscriptionHealthResponse>, Status> {
        unimplemented()
    }
}
