//! `Consume`: one consumer, for as long as the call lasts. At the leader it is handed to the subscription's emitter; any
//! other node passes on what is said, both ways.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use reckon_api::{Reason, v1};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use v1::consume_request::Message as Said;
use v1::consume_response::Message as Told;

use super::SubscriptionsService;
use super::definitions::find;
use super::on_leader::client;
use crate::delivery::dispatch::{ConsumerId, Delivery, Demand};
use crate::delivery::emitter::{Attached, EmitterHandle, NewConsumer, Order, Sent};
use crate::engine::RecordedEvent;
use crate::limits;
use crate::raft::Member;
use crate::service::answer::Pages;
use crate::service::forward::{self, Decider, Unsent, deadline_exceeded};
use crate::service::{admission, wire};

impl SubscriptionsService {
    pub(super) async fn consume_events(
        &self,
        request: Request<Streaming<v1::ConsumeRequest>>,
    ) -> Result<Pages<v1::ConsumeResponse>, Status> {
        let arrival = self.admission.arrival(&request);
        let slot = self.consumers.enter()?;
        let mut requests = request.into_inner();
        let open = opening(&mut requests, arrival.deadline).await?;
        let member = self.admission.open_store()?;
        let give_up = arrival.deadline.min(Instant::now() + limits::LEADER_WAIT);
        loop {
            let forwarder = &self.admission.forwarder;
            let decider =
                forwarder.decider_of(&member, arrival.forwarded, arrival.deadline).await?;
            let refused = match decider {
                Decider::Here => match self.attach(&member, &open, arrival.deadline).await {
                    Ok((emitter, attached, opened)) => {
                        return Ok(serve(slot, requests, emitter, attached, opened));
                    }
                    Err(status) if Reason::of(&status) == Some(Reason::NotLeader) => status,
                    Err(status) => return Err(status),
                },
                Decider::Leader(leader) => {
                    // The leader is asked whether it takes the consumer before anything that follows is passed on.
                    let (rest, following) = oneshot::channel();
                    let first = v1::ConsumeRequest { message: Some(Said::Open(open.clone())) };
                    let said = stream::once(async { first }).chain(passed_on(following));
                    let asking = async {
                        let mut asked = Request::new(said);
                        forward::mark(&mut asked);
                        client(leader.channel.clone()).consume(asked).await
                    };
                    let asked = tokio::time::timeout_at(arrival.deadline, asking).await;
                    match forwarder
                        .answered(&leader, asked.map_err(|_elapsed| deadline_exceeded())?)
                    {
                        Ok(answer) => {
                            let _ = rest.send(requests);
                            return Ok(pass_back(slot, answer.map_err(|status| foreign(&status))?));
                        }
                        Err(Unsent(status)) => status,
                    }
                }
            };
            if Instant::now() + admission::RETRY_PAUSE >= give_up {
                return Err(refused);
            }
            tokio::time::sleep(admission::RETRY_PAUSE).await;
        }
    }

    async fn attach(
        &self,
        member: &Arc<Member>,
        open: &v1::OpenConsumer,
        deadline: Instant,
    ) -> Result<(EmitterHandle, Attached, v1::ConsumerOpened), Status> {
        let leading = self.leading(member, deadline).await?;
        let emitters = self.emitters(member);
        loop {
            let found = find(&leading.member.reader(), open.subscription.as_ref())?;
            let emitter = emitters.get(&found.name, leading.term).await?;
            let (answer, attached) = oneshot::channel();
            let consumer = NewConsumer {
                name: open.consumer.clone(),
                demand: if open.pull { Demand::Events(0) } else { Demand::Unlimited },
                key_window: open.key_window as usize,
            };
            let told = emitter.tell(Order::Attach { consumer, answer }).await;
            let Ok(attached) = (match told {
                Ok(()) => attached.await.map_err(drop),
                Err(_ended) => Err(()),
            }) else {
                // It has just ended for want of consumers, or with the leadership.
                if Instant::now() >= deadline || !member.leads() {
                    return Err(Reason::NotLeader.plain("the leadership moved; try again"));
                }
                tokio::task::yield_now().await;
                continue;
            };
            let subscription = Some(wire::subscription(&found.state, Vec::new())?);
            let opened = v1::ConsumerOpened { subscription, standby: attached.standby };
            return Ok((emitter, attached, opened));
        }
    }
}

/// The first message, which says which subscription.
async fn opening(
    requests: &mut Streaming<v1::ConsumeRequest>,
    deadline: Instant,
) -> Result<v1::OpenConsumer, Status> {
    let first = tokio::time::timeout_at(deadline, requests.message());
    match first.await.map_err(|_elapsed| deadline_exceeded())?? {
        Some(v1::ConsumeRequest { message: Some(Said::Open(open)) }) => {
            wire::check_consumer(&open)?;
            Ok(open)
        }
        _ => Err(Reason::InvalidArgument.status(
            "the first message has to open the consumer",
            [("field", "open"), ("value", "")],
        )),
    }
}

/// Serves a consumer that was taken in.
fn serve(
    slot: OwnedSemaphorePermit,
    requests: Streaming<v1::ConsumeRequest>,
    emitter: EmitterHandle,
    attached: Attached,
    opened: v1::ConsumerOpened,
) -> Pages<v1::ConsumeResponse> {
    let Attached { id, messages, .. } = attached;
    let (fail, failed) = oneshot::channel();
    tokio::spawn(listen(requests, emitter, id, fail));
    let opened = stream::once(async { Ok(wrap(Told::Opened(opened))) });
    let sent = UnboundedReceiverStream::new(messages).map(|sent| match sent {
        Sent::Deliveries(deliveries) => {
            let deliveries = deliveries.iter().map(delivery).collect();
            Ok(wrap(Told::Deliveries(v1::Deliveries { deliveries })))
        }
        Sent::CaughtUp(next_position) => Ok(wrap(Told::CaughtUp(v1::CaughtUp { next_position }))),
        Sent::Role { standby } => Ok(wrap(Told::Role(v1::ConsumerRole { standby }))),
        Sent::End(status) => Err(status),
    });
    // What is wrong with a request ends the call with the reason, also when nothing else is sent.
    let failed = stream::once(failed).filter_map(|failed| async { failed.ok().map(Err) });
    let answers = opened.chain(until_failed(sent, failed));
    holding(slot, answers)
}

/// The answers; the slot is held for as long as there may be more.
fn holding(
    slot: OwnedSemaphorePermit,
    answers: impl Stream<Item = Result<v1::ConsumeResponse, Status>> + Send + 'static,
) -> Pages<v1::ConsumeResponse> {
    answers
        .map(move |answer| {
            let _held = &slot;
            answer
        })
        .boxed()
}

/// What is sent, until that ends or something failed.
fn until_failed(
    sent: impl Stream<Item = Result<v1::ConsumeResponse, Status>> + Send + 'static,
    failed: impl Stream<Item = Result<v1::ConsumeResponse, Status>> + Send + 'static,
) -> impl Stream<Item = Result<v1::ConsumeResponse, Status>> + Send {
    let end = sent.map(Some).chain(stream::once(async { None }));
    let merged = stream::select(end, failed.map(Some));
    let mut ended = false;
    merged
        .take_while(move |next| {
            let goes_on = !ended && next.is_some();
            ended |= next.as_ref().is_some_and(Result::is_err);
            async move { goes_on }
        })
        .filter_map(|next| async { next })
}

/// Hands on what the consumer says, until it says no more.
async fn listen(
    mut requests: Streaming<v1::ConsumeRequest>,
    emitter: EmitterHandle,
    id: ConsumerId,
    fail: oneshot::Sender<Status>,
) {
    let last = loop {
        let order = match requests.message().await {
            Ok(None) => break Order::Leave(id),
            Err(_gone) => break Order::Detach(id),
            Ok(Some(request)) => match request.message {
                Some(Said::Demand(demand)) => Order::Demand(id, demand),
                Some(Said::Settle(settle)) => Order::Settle(id, settle),
                Some(Said::Open(_)) => {
                    let _ = fail.send(Reason::InvalidArgument.status(
                        "the consumer is open already",
                        [("field", "open"), ("value", "")],
                    ));
                    break Order::Detach(id);
                }
                None => continue,
            },
        };
        if emitter.tell(order).await.is_err() {
            return;
        }
    };
    let _ = emitter.tell(last).await;
}

fn delivery(delivery: &Delivery<RecordedEvent>) -> v1::Delivery {
    let is_stream = *delivery.key == *delivery.event.stream_id();
    v1::Delivery {
        event: Some(wire::event(&delivery.event)),
        id: delivery.id,
        attempt: delivery.attempt,
        replayed: delivery.replayed,
        key: if is_stream { String::new() } else { delivery.key.to_string() },
        epoch: delivery.epoch,
    }
}

/// What follows the first message, once the leader has taken the consumer.
fn passed_on(
    following: oneshot::Receiver<Streaming<v1::ConsumeRequest>>,
) -> impl Stream<Item = v1::ConsumeRequest> + Send {
    let requests = stream::once(following).filter_map(|requests| async { requests.ok() });
    // A consumer that breaks off ends this stream, and with it the call.
    requests.flat_map(|requests| {
        requests
            .take_while(|request| std::future::ready(request.is_ok()))
            .filter_map(|request| async { request.ok() })
    })
}

/// What the leader answers.
fn pass_back(
    slot: OwnedSemaphorePermit,
    answer: Response<Streaming<v1::ConsumeResponse>>,
) -> Pages<v1::ConsumeResponse> {
    let answers = answer.into_inner().map(|answer| answer.map_err(|status| foreign(&status)));
    holding(slot, answers)
}

/// A refusal of the leader as it came, without what is only of its transport. One in nobody's words is a connection that
/// broke.
fn foreign(status: &Status) -> Status {
    if Reason::of(status).is_none() {
        return Reason::NotLeader
            .plain(format!("the connection to the leader broke: {}", status.message()));
    }
    let details = bytes::Bytes::copy_from_slice(status.details());
    Status::with_details(status.code(), status.message(), details)
}

fn wrap(message: Told) -> v1::ConsumeResponse {
    v1::ConsumeResponse { message: Some(message) }
}
