//! One call of `Consume`, as the protocol has it: what comes, what is asked for, and what became of it.
//!
//! Knows nothing of handlers, of the order within keys, or of another call after this one.

use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use crate::client::call::within;
use crate::client::endpoints::Target;
use crate::client::{Client, Error, subscriptions};
use crate::v1::{self, consume_request, consume_response, demand};

/// One consumer of a subscription for as long as one call lasts. Whoever uses it keeps the order within keys: it opens
/// with a `key_window` of 1, or minds `Delivery.epoch`. [`Client::consumer`] does all of that.
///
/// Dropping it ends the call; what is not settled comes again.
#[derive(Debug)]
pub struct Consumption {
    client: Client,
    target: Target,
    opened: v1::ConsumerOpened,
    /// What is on its way to the server. Not bounded: there is no more to settle than was delivered, and that is
    /// bounded by what was asked for. None: nothing more will be sent.
    requests: Option<mpsc::UnboundedSender<v1::ConsumeRequest>>,
    answers: Streaming<v1::ConsumeResponse>,
}

/// What comes to a consumer.
#[derive(Debug, Clone, PartialEq)]
pub enum Consumed {
    /// Events, at least one.
    Deliveries(Vec<v1::Delivery>),
    /// All that the store has was delivered, here or to others, and settled or not.
    CaughtUp {
        /// The first position that has not been looked at.
        next_position: u64,
    },
    /// The consumer stands by, or is served now.
    Standby(bool),
}

impl Client {
    /// Opens one call of `Consume`; resolves when the server has said that it is open. What fails on the way is tried
    /// again, at other endpoints, within the client's deadline.
    pub async fn consume(&self, open: v1::OpenConsumer) -> Result<Consumption, Error> {
        self.until_answered(|target, timeout| {
            let open = open.clone();
            async move {
                let (requests, outgoing) = mpsc::unbounded_channel();
                let first = consume_request::Message::Open(open);
                // The receiver is at hand, so it takes the message.
                let _ = requests.send(v1::ConsumeRequest { message: Some(first) });
                let opening = async {
                    // No deadline goes along: consuming has no end.
                    let mut answers = subscriptions(target.channel.clone())
                        .consume(UnboundedReceiverStream::new(outgoing))
                        .await?
                        .into_inner();
                    let first = answers.message().await?;
                    Ok((first.and_then(|first| first.message), answers))
                };
                let (first, answers) = within(&target.address, timeout, opening).await?;
                let opened = match first {
                    Some(consume_response::Message::Opened(opened)) => opened,
                    Some(_) => {
                        return Err(Error::Protocol {
                            message: "a consumer was sent something before it was opened"
                                .to_owned(),
                        });
                    }
                    None => return Err(Error::ended(&target.address)),
                };
                let (client, requests) = (self.clone(), Some(requests));
                Ok(Consumption { client, target, opened, requests, answers })
            }
        })
        .await
    }
}

impl Consumption {
    /// What the server said when the call was opened: the subscription as it was, and whether the consumer stands by.
    pub fn opened(&self) -> &v1::ConsumerOpened {
        &self.opened
    }

    /// Asks for events. Does not wait; after [`Self::finish`] it does nothing.
    pub fn demand(&self, demand: demand::Kind) {
        self.send(consume_request::Message::Demand(v1::Demand { kind: Some(demand) }));
    }

    /// Says what became of deliveries. Does not wait; after [`Self::finish`] it does nothing.
    pub fn settle(&self, settle: v1::Settle) {
        self.send(consume_request::Message::Settle(settle));
    }

    /// Says that nothing more will be sent. The server takes what was sent before, and ends the call.
    pub fn finish(&mut self) {
        self.requests = None;
    }

    /// Waits for what comes next. Nothing is lost when the future is dropped. `None`: the call has ended, as
    /// [`Self::finish`] asked. After an error there is nothing more; another call goes to where the server said that the
    /// leader is, or to another endpoint.
    pub async fn next(&mut self) -> Result<Option<Consumed>, Error> {
        loop {
            let error = match self.answers.message().await {
                Ok(Some(answer)) => match answer.message {
                    Some(consume_response::Message::Deliveries(v1::Deliveries { deliveries }))
                        if !deliveries.is_empty() =>
                    {
                        return Ok(Some(Consumed::Deliveries(deliveries)));
                    }
                    Some(consume_response::Message::CaughtUp(v1::CaughtUp { next_position })) => {
                        return Ok(Some(Consumed::CaughtUp { next_position }));
                    }
                    Some(consume_response::Message::Role(v1::ConsumerRole { standby })) => {
                        return Ok(Some(Consumed::Standby(standby)));
                    }
                    Some(consume_response::Message::Opened(_)) => Error::Protocol {
                        message: "a consumer was opened a second time".to_owned(),
                    },
                    Some(consume_response::Message::Deliveries(_)) | None => continue,
                },
                Ok(None) if self.requests.is_none() => return Ok(None),
                Ok(None) => Error::ended(&self.target.address),
                Err(status) => Error::of_status(&self.target.address, &status),
            };
            self.client.shared.endpoints.move_on(&self.target, &error);
            return Err(error);
        }
    }

    fn send(&self, message: consume_request::Message) {
        if let Some(requests) = &self.requests {
            // A call that takes nothing has broken, and the next answer says so.
            let _ = requests.send(v1::ConsumeRequest { message: Some(message) });
        }
    }
}
