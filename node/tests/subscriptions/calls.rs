//! The calls.

use reckon_api::v1;
use reckon_api::v1::streams_client::StreamsClient;
use reckon_api::v1::subscriptions_client::SubscriptionsClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use crate::processes::NodeProcess;

/// A node to ask.
#[derive(Debug, Clone)]
pub struct Calls {
    pub streams: StreamsClient<Channel>,
    pub subscriptions: SubscriptionsClient<Channel>,
}

impl Calls {
    pub fn of(node: &NodeProcess) -> Self {
        Self::to(&format!("127.0.0.1:{}", node.client))
    }

    /// Must be called inside the runtime.
    pub fn to(address: &str) -> Self {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let bytes_max = 16 << 20;
        Self {
            streams: StreamsClient::new(channel.clone()).max_decoding_message_size(bytes_max),
            subscriptions: SubscriptionsClient::new(channel).max_decoding_message_size(bytes_max),
        }
    }

    /// Appends what has to be taken.
    pub async fn append(&self, request: v1::AppendRequest) -> v1::AppendResponse {
        self.streams.clone().append(request).await.unwrap().into_inner()
    }

    /// Follows; gives the position it begins at.
    pub async fn follow(&self, request: v1::FollowRequest) -> Result<(u64, Followed), Status> {
        use v1::follow_response::Message;
        let mut messages = self.subscriptions.clone().follow(request).await?.into_inner();
        let first = messages.message().await?.expect("a follower's answer does not end by itself");
        let Some(Message::Header(header)) = first.message else {
            panic!("it opens with its header, not with {first:?}")
        };
        Ok((header.from_position, Followed(messages)))
    }
}

/// What a follower is told.
#[derive(Debug)]
pub enum Told {
    Events(Vec<v1::Event>),
    /// It has everything below this position.
    CaughtUp(u64),
}

/// An open answer.
#[derive(Debug)]
pub struct Followed(Streaming<v1::FollowResponse>);

impl Followed {
    pub async fn next(&mut self) -> Result<Told, Status> {
        use v1::follow_response::Message;
        let message = self.0.message().await?.expect("it does not end by itself").message;
        Ok(match message {
            Some(Message::Events(batch)) => {
                assert!(!batch.events.is_empty(), "a message says something");
                Told::Events(batch.events)
            }
            Some(Message::CaughtUp(caught_up)) => Told::CaughtUp(caught_up.next_position),
            other => panic!("not of an answer under way: {other:?}"),
        })
    }

    /// Everything up to the next time that it has caught up.
    pub async fn until_caught_up(&mut self) -> Vec<v1::Event> {
        let mut events = Vec::new();
        while let Told::Events(more) = self.next().await.unwrap() {
            events.extend(more);
        }
        events
    }

    /// At least so many events, whether it has caught up in between or not.
    pub async fn events(&mut self, count: usize) -> Vec<v1::Event> {
        let mut events = Vec::new();
        while events.len() < count {
            if let Told::Events(more) = self.next().await.unwrap() {
                events.extend(more);
            }
        }
        events
    }

    /// The next event and no other.
    pub async fn event(&mut self) -> v1::Event {
        let mut events = self.events(1).await;
        assert_eq!(events.len(), 1, "one event was expected: {events:?}");
        events.remove(0)
    }
}

/// What to follow: a selector, and where to begin.
pub fn following(kind: v1::selector::Kind, from: Option<v1::read_from::Kind>) -> v1::FollowRequest {
    v1::FollowRequest {
        selector: Some(v1::Selector { kind: Some(kind) }),
        from: from.map(|kind| v1::ReadFrom { kind: Some(kind) }),
        ..v1::FollowRequest::default()
    }
}

/// One stream from its beginning.
pub fn stream(stream_id: &str) -> v1::FollowRequest {
    following(v1::selector::Kind::Stream(stream_id.to_owned()), None)
}
