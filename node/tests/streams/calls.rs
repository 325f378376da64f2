//! The calls, each of which writes down what it was answered.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use reckon_api::v1::streams_client::StreamsClient;
use reckon_api::{Reason, v1};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::processes::NodeProcess;

/// What calls were answered: their method, and the reason of a refusal (none: the good case).
static SEEN: Mutex<BTreeSet<(&'static str, Option<&'static str>)>> = Mutex::new(BTreeSet::new());

/// Everything that was answered so far.
pub fn seen() -> BTreeSet<(&'static str, Option<&'static str>)> {
    SEEN.lock().unwrap().clone()
}

/// Writes an answer down and hands it on. A refusal without a reason of ours fails the test.
fn noted<T>(method: &'static str, answer: Result<T, Status>) -> Result<T, Status> {
    let reason = answer.as_ref().err().map(|status| {
        let reason = Reason::of(status);
        reason.unwrap_or_else(|| panic!("{method} is refused without a reason: {status:?}"))
    });
    SEEN.lock().unwrap().insert((method, reason.map(Reason::as_str)));
    answer
}

/// What a request says besides its message.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    timeout: Option<Duration>,
    forwarded: bool,
}

/// A node to ask.
#[derive(Debug, Clone)]
pub struct Calls {
    client: StreamsClient<Channel>,
    address: String,
    said: Said,
}

/// Calls with one answer.
macro_rules! unary {
    ($($name:literal $method:ident($request:ident) -> $response:ident;)+) => {
        impl Calls {
            $(pub async fn $method(
                &self,
                request: v1::$request,
            ) -> Result<v1::$response, Status> {
                let answer = self.client.clone().$method(self.request(request)).await;
                noted($name, answer.map(tonic::Response::into_inner))
            })+
        }
    };
}

unary! {
    "Append" append(AppendRequest) -> AppendResponse;
    "Count" count(CountRequest) -> CountResponse;
    "Any" any(AnyRequest) -> AnyResponse;
    "CheckExpression" check_expression(CheckExpressionRequest) -> CheckExpressionResponse;
    "GetStream" get_stream(GetStreamRequest) -> GetStreamResponse;
    "ListStreams" list_streams(ListStreamsRequest) -> ListStreamsResponse;
    "VersionAt" version_at(VersionAtRequest) -> VersionAtResponse;
    "HasEvents" has_events(HasEventsRequest) -> HasEventsResponse;
    "GetEvent" get_event(GetEventRequest) -> GetEventResponse;
    "Delete" delete(DeleteRequest) -> DeleteResponse;
    "Tombstone" tombstone(TombstoneRequest) -> TombstoneResponse;
    "Truncate" truncate(TruncateRequest) -> TruncateResponse;
}

impl Calls {
    pub fn of(node: &NodeProcess) -> Self {
        Self::to(&format!("127.0.0.1:{}", node.client))
    }

    /// Must be called inside the runtime.
    pub fn to(address: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let client = StreamsClient::new(endpoint.connect_lazy())
            .max_decoding_message_size(16 << 20)
            .max_encoding_message_size(64 << 20);
        Self { client, address: address.to_owned(), said: Said::default() }
    }

    /// `host:port` of the node.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The same, with a deadline for every request.
    pub fn within(&self, timeout: Duration) -> Self {
        Self { said: Said { timeout: Some(timeout), ..self.said }, ..self.clone() }
    }

    /// The same, as if another member had sent every request on.
    pub fn forwarded(&self) -> Self {
        Self { said: Said { forwarded: true, ..self.said }, ..self.clone() }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(timeout) = self.said.timeout {
            request.set_timeout(timeout);
        }
        if self.said.forwarded {
            request.metadata_mut().insert("reckon-forwarded-by", "member".parse().unwrap());
        }
        request
    }

    /// Sends appends over one stream; each gets an answer.
    pub async fn append_batch(
        &self,
        requests: Vec<v1::AppendBatchRequest>,
    ) -> Vec<Result<v1::AppendResponse, Status>> {
        let mut batch = self.open_batch(stream::iter(requests)).await;
        let mut answers = Vec::new();
        while let Some(answer) = batch.next().await {
            answers.push(answer);
        }
        answers
    }

    /// Opens a stream of appends.
    pub async fn open_batch(
        &self,
        requests: impl futures::Stream<Item = v1::AppendBatchRequest> + Send + 'static,
    ) -> Batch {
        let answers = self.client.clone().append_batch(self.request(requests)).await;
        Batch(answers.expect("a stream of appends is opened by every node").into_inner())
    }

    /// Reads a stream to the end of the answer.
    pub async fn read(
        &self,
        request: v1::ReadRequest,
    ) -> Result<(v1::ReadHeader, Vec<v1::Event>), Status> {
        use v1::read_response::Message;
        let reading = async {
            let answer = self.client.clone().read(self.request(request)).await?;
            collect(answer.into_inner(), |response: v1::ReadResponse| match response.message {
                Some(Message::Header(header)) => Part::Header(header),
                Some(Message::Events(batch)) => Part::Events(batch.events),
                None => Part::Nothing,
            })
            .await
        };
        noted("Read", reading.await)
    }

    /// Reads the store to the end of the answer.
    pub async fn read_all(
        &self,
        request: v1::ReadAllRequest,
    ) -> Result<(v1::ReadAllHeader, Vec<v1::Event>), Status> {
        use v1::read_all_response::Message;
        let reading = async {
            let answer = self.client.clone().read_all(self.request(request)).await?;
            collect(answer.into_inner(), |response: v1::ReadAllResponse| match response.message {
                Some(Message::Header(header)) => Part::Header(header),
                Some(Message::Events(batch)) => Part::Events(batch.events),
                None => Part::Nothing,
            })
            .await
        };
        noted("ReadAll", reading.await)
    }

    /// Opens a watch; gives the position it begins at.
    pub async fn watch(&self, request: v1::WatchRequest) -> Result<(u64, Watch), Status> {
        use v1::watch_response::Message;
        let opening = async {
            let answer = self.client.clone().watch(self.request(request)).await?;
            let mut messages = answer.into_inner();
            let first = messages.message().await?.expect("a watch does not end by itself");
            let Some(Message::Header(header)) = first.message else {
                panic!("a watch opens with its header, not with {first:?}")
            };
            Ok((header.from_position, Watch(messages)))
        };
        noted("Watch", opening.await)
    }
}

/// An open stream of appends.
pub struct Batch(Streaming<v1::AppendBatchResponse>);

impl Batch {
    /// The next answer; `None`: the stream has ended well.
    pub async fn next(&mut self) -> Option<Result<v1::AppendResponse, Status>> {
        use v1::append_batch_response::Outcome;
        let answer = match self.0.next().await? {
            Err(status) => Err(status),
            Ok(answer) => match answer.outcome.expect("an answer says something") {
                Outcome::Appended(appended) => Ok(appended),
                Outcome::Failed(failure) => Err(Status::from(failure)),
            },
        };
        Some(noted("AppendBatch", answer))
    }
}

/// An open watch.
pub struct Watch(Streaming<v1::WatchResponse>);

impl Watch {
    /// The next notice, or the position that the watch has caught up with.
    pub async fn next(&mut self) -> Result<Result<v1::Notice, u64>, Status> {
        use v1::watch_response::Message;
        let response = noted("Watch", self.0.message().await)?;
        match response.expect("a watch does not end by itself").message {
            Some(Message::Notice(notice)) => Ok(Ok(notice)),
            Some(Message::CaughtUp(caught_up)) => Ok(Err(caught_up.next_position)),
            other => panic!("not of a watch under way: {other:?}"),
        }
    }
}

enum Part<H> {
    Header(H),
    Events(Vec<v1::Event>),
    Nothing,
}

async fn collect<M, H>(
    mut messages: Streaming<M>,
    part: impl Fn(M) -> Part<H>,
) -> Result<(H, Vec<v1::Event>), Status> {
    let mut header = None;
    let mut events = Vec::new();
    while let Some(message) = messages.message().await? {
        match part(message) {
            Part::Header(first) => {
                assert!(header.is_none() && events.is_empty(), "the header comes first, and once");
                header = Some(first);
            }
            Part::Events(batch) => events.extend(batch),
            Part::Nothing => panic!("a message says nothing"),
        }
    }
    Ok((header.expect("an answer opens with its header"), events))
}
