//! A server on loopback that keeps a small store and fails by script.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::{Stream, StreamExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::Reason;
use crate::v1::streams_server::{Streams, StreamsServer};
use crate::v1::subscriptions_server::SubscriptionsServer;
use crate::v1::{self, read_all_response, read_from, read_response};

/// What the server does with the next request, whatever it is. With nothing left to do it answers.
#[derive(Debug, Clone)]
pub enum Act {
    /// Does as asked and keeps the answer to itself.
    LoseAnswer,
    /// Never answers, and does nothing.
    KeepSilent,
    /// Refuses.
    Refuse(Reason, Vec<(&'static str, String)>),
    /// Does as asked, and says that the leader is elsewhere.
    NameLeader(String),
    /// Breaks a read off after so many events.
    BreakOffAfter(usize),
}

/// The events of the store, shared by all servers of a test as if they were replicas.
#[derive(Debug, Default)]
pub struct Store {
    pub events: Vec<v1::Event>,
    pub subscriptions: BTreeMap<String, v1::Subscription>,
    /// Told of every append.
    pub changed: watch::Sender<()>,
    answers: BTreeMap<String, v1::AppendResponse>,
}

#[derive(Debug, Clone)]
pub struct Scripted {
    pub address: SocketAddr,
    pub store: Arc<Mutex<Store>>,
    acts: Arc<Mutex<VecDeque<Act>>>,
    /// One line per request, in the order of arrival.
    calls: Arc<Mutex<Vec<String>>>,
    /// Whoever follows live breaks off when this changes.
    pub breaks: Arc<watch::Sender<()>>,
}

impl Scripted {
    pub async fn start(store: Arc<Mutex<Store>>, acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            store,
            acts: Arc::new(Mutex::new(acts.into_iter().collect())),
            calls: Arc::default(),
            breaks: Arc::default(),
        };
        let service = StreamsServer::new(server.clone());
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .add_service(SubscriptionsServer::new(server.clone()))
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        server
    }

    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    /// Breaks off every call that is live.
    pub fn break_off(&self) {
        self.breaks.send_replace(());
    }

    pub fn script(&self, acts: impl IntoIterator<Item = Act>) {
        self.acts.lock().unwrap().extend(acts);
    }

    pub fn next_act(&self, call: String) -> Option<Act> {
        self.calls.lock().unwrap().push(call);
        self.acts.lock().unwrap().pop_front()
    }

    fn append_to_store(&self, request: v1::AppendRequest) -> Result<v1::AppendResponse, Status> {
        let mut store = self.store.lock().unwrap();
        let ids: Vec<_> = request
            .appends
            .iter()
            .flat_map(|append| &append.events)
            .map(|event| event.event_id().to_owned())
            .collect();
        if !ids.iter().all(|id| uuid::Uuid::parse_str(id).is_ok()) {
            // Not a panic: the client would take that for a broken connection, and try again.
            return Err(Reason::InvalidArgument.plain("an event came without an id"));
        }
        if let Some(answer) = store.answers.get(&ids[0]) {
            return Ok(answer.clone());
        }
        let mut answer =
            v1::AppendResponse { first_position: store.events.len() as u64, ..Default::default() };
        for append in request.appends {
            let count =
                store.events.iter().filter(|event| event.stream_id == append.stream_id).count();
            if let Some(v1::Expectation { kind: Some(v1::expectation::Kind::Version(expected)) }) =
                append.expectation
                && expected >= -1
                && expected != i64::try_from(count).unwrap() - 1
            {
                return Err(Reason::WrongExpectedVersion
                    .status("another version", [("actual", (count as i128 - 1).to_string())]));
            }
            for (offset, event) in append.events.into_iter().enumerate() {
                let position = store.events.len() as u64;
                store.events.push(v1::Event {
                    event_id: event.event_id().to_owned(),
                    stream_id: append.stream_id.clone(),
                    version: (count + offset) as u64,
                    position,
                    event_type: event.event_type,
                    ..Default::default()
                });
                answer.last_position = position;
            }
        }
        for id in ids {
            store.answers.insert(id, answer.clone());
        }
        store.changed.send_replace(());
        Ok(answer)
    }

    /// The events a read asks for, by what its requests have in common.
    fn select(
        &self,
        place: impl Fn(&v1::Event) -> u64,
        stream: Option<&str>,
        direction: v1::Direction,
        from: Option<v1::ReadFrom>,
        limit: u64,
    ) -> Vec<v1::Event> {
        let store = self.store.lock().unwrap();
        let mut events: Vec<_> = store
            .events
            .iter()
            .filter(|event| stream.is_none_or(|stream| event.stream_id == stream))
            .cloned()
            .collect();
        let at = match from.and_then(|from| from.kind) {
            Some(read_from::Kind::At(at)) => Some(at),
            _ => None,
        };
        if direction == v1::Direction::Backward {
            events.reverse();
            events.retain(|event| at.is_none_or(|at| place(event) <= at));
        } else {
            events.retain(|event| at.is_none_or(|at| place(event) >= at));
        }
        if limit > 0 {
            events.truncate(usize::try_from(limit).unwrap());
        }
        events
    }
}

pub type Answer<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A header, then one message per event, and perhaps a broken end.
fn answer<T: Send + 'static>(
    act: Option<Act>,
    header: T,
    events: Vec<v1::Event>,
    wrap: impl Fn(v1::EventBatch) -> T + Send + 'static,
) -> Result<Response<Answer<T>>, Status> {
    let mut messages = vec![Ok(header)];
    let broken_after = match act {
        None => None,
        Some(Act::BreakOffAfter(count)) => Some(count),
        Some(Act::Refuse(reason, values)) => return Err(reason.status("refused", values)),
        Some(act) => panic!("a read cannot {act:?}"),
    };
    for event in events.into_iter().take(broken_after.unwrap_or(usize::MAX)) {
        messages.push(Ok(wrap(v1::EventBatch { events: vec![event] })));
    }
    if broken_after.is_some() {
        messages.push(Err(Status::unavailable("the connection broke")));
    }
    Ok(Response::new(Box::pin(futures::stream::iter(messages))))
}

#[tonic::async_trait]
impl Streams for Scripted {
    type ReadStream = Answer<v1::ReadResponse>;
    type ReadAllStream = Answer<v1::ReadAllResponse>;

    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        assert!(
            request.metadata().contains_key("grpc-timeout"),
            "an attempt says how long it waits"
        );
        match self.next_act("append".to_owned()) {
            None => self.append_to_store(request.into_inner()).map(Response::new),
            Some(Act::LoseAnswer) => {
                self.append_to_store(request.into_inner())?;
                Err(Status::unavailable("the answer is lost"))
            }
            Some(Act::KeepSilent) => std::future::pending().await,
            Some(Act::Refuse(reason, values)) => Err(reason.status("refused", values)),
            Some(act) => panic!("an append cannot {act:?}"),
        }
    }

    async fn read(
        &self,
        request: Request<v1::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let act = self.next_act(format!(
            "read from {:?} limit {}",
            request.from.and_then(|from| from.kind),
            request.limit
        ));
        let all = self.select(
            |event| event.version,
            Some(&request.stream_id),
            v1::Direction::Forward,
            None,
            0,
        );
        let header = v1::ReadHeader {
            first_version: if all.is_empty() { -1 } else { 0 },
            last_version: i64::try_from(all.len()).unwrap() - 1,
            next_position: self.store.lock().unwrap().events.len() as u64,
        };
        let events = self.select(
            |event| event.version,
            Some(&request.stream_id),
            request.direction(),
            request.from,
            request.limit,
        );
        let header = v1::ReadResponse { message: Some(read_response::Message::Header(header)) };
        answer(act, header, events, |batch| v1::ReadResponse {
            message: Some(read_response::Message::Events(batch)),
        })
    }

    async fn read_all(
        &self,
        request: Request<v1::ReadAllRequest>,
    ) -> Result<Response<Self::ReadAllStream>, Status> {
        let request = request.into_inner();
        let act = self.next_act(format!(
            "read_all from {:?} consistency {:?}",
            request.from.and_then(|from| from.kind),
            request.consistency.and_then(|consistency| consistency.kind)
        ));
        let header =
            v1::ReadAllHeader { next_position: self.store.lock().unwrap().events.len() as u64 };
        let events = self.select(
            |event| event.position,
            None,
            request.direction(),
            request.from,
            request.limit,
        );
        let header =
            v1::ReadAllResponse { message: Some(read_all_response::Message::Header(header)) };
        answer(act, header, events, |batch| v1::ReadAllResponse {
            message: Some(read_all_response::Message::Events(batch)),
        })
    }

    async fn get_stream(
        &self,
        request: Request<v1::GetStreamRequest>,
    ) -> Result<Response<v1::GetStreamResponse>, Status> {
        let stream_id = request.into_inner().stream_id;
        let store = self.store.lock().unwrap();
        let count = store.events.iter().filter(|event| event.stream_id == stream_id).count();
        let last_version = i64::try_from(count).unwrap() - 1;
        let stream = v1::StreamInfo { stream_id, last_version, ..Default::default() };
        Ok(Response::new(v1::GetStreamResponse { stream: Some(stream) }))
    }

    /// Pages of two; the token is the last name of the page before.
    async fn list_streams(
        &self,
        request: Request<v1::ListStreamsRequest>,
    ) -> Result<Response<v1::ListStreamsResponse>, Status> {
        const PAGE: usize = 2;
        let request = request.into_inner();
        self.next_act("list".to_owned());
        let names: std::collections::BTreeSet<_> =
            self.store.lock().unwrap().events.iter().map(|event| event.stream_id.clone()).collect();
        let mut rest = names.into_iter().filter(|name| *name > request.page_token);
        let page: Vec<_> = rest
            .by_ref()
            .take(PAGE)
            .map(|stream_id| v1::StreamInfo { stream_id, exists: true, ..Default::default() })
            .collect();
        let next_page_token = if rest.next().is_some() {
            page.last().unwrap().stream_id.clone()
        } else {
            String::new()
        };
        Ok(Response::new(v1::ListStreamsResponse { streams: page, next_page_token }))
    }

    type AppendBatchStream = Answer<v1::AppendBatchResponse>;

    /// Acts upon each append as `append` does; a lost answer takes the stream with it.
    async fn append_batch(
        &self,
        requests: Request<tonic::Streaming<v1::AppendBatchRequest>>,
    ) -> Result<Response<Self::AppendBatchStream>, Status> {
        use v1::append_batch_response::Outcome;
        let server = self.clone();
        let answers = requests.into_inner().then(move |request| {
            let server = server.clone();
            async move {
                let request = request?;
                assert!(request.timeout_ms > 0, "an attempt says how long it waits");
                let append = request.append.unwrap();
                let mut leader = String::new();
                let answer = match server.next_act("append in a batch".to_owned()) {
                    None => server.append_to_store(append),
                    Some(Act::LoseAnswer) => {
                        server.append_to_store(append)?;
                        return Err(Status::unavailable("the answer is lost"));
                    }
                    Some(Act::KeepSilent) => std::future::pending().await,
                    Some(Act::Refuse(reason, values)) => Err(reason.status("refused", values)),
                    Some(Act::NameLeader(named)) => {
                        leader = named;
                        server.append_to_store(append)
                    }
                    Some(act) => panic!("an append cannot {act:?}"),
                };
                let outcome = match answer {
                    Ok(appended) => Outcome::Appended(appended),
                    Err(refused) => Outcome::Failed(v1::Failure::from(&refused)),
                };
                Ok(v1::AppendBatchResponse { outcome: Some(outcome), leader })
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn count(
        &self,
        _: Request<v1::CountRequest>,
    ) -> Result<Response<v1::CountResponse>, Status> {
        Err(Status::unimplemented("no test calls this"))
    }

    async fn any(&self, _: Request<v1::AnyRequest>) -> Result<Response<v1::AnyResponse>, Status> {
        Err(Status::unimplemented("no test calls this"))
    }

    async fn check_expression(
        &self,
        _: Request<v1::CheckExpressionRequest>,
    ) -> Result<Response<v1::CheckExpressionResponse>, Status> {
        Err(Status::unimplemented("no test calls this"))
    }

    async fn version_at(
        &self,
        _: Request<v1::VersionAtRequest>,
    ) -> Result<Response<v1::VersionAtResponse>, Status> {
        Err(Status::unimplemented("no test calls this"))
    }

    async fn has_events(
        &self,
        _: Request<v1::HasEventsRequest>,
    ) -> Result<Response<v1::HasEventsResponse>, Status> {
        Err(Status::unimplemented("no test calls this"))
    }

    async fn get_event(
        &self,
        _: Request<v1::GetEventRequest>,
    ) -> Result<Response<v1::GetEventResponse>, Status> {
        Err(Status::unimplemented("no test calls this"))
    }

    async fn delete(
        &self,
        _: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        Err(Status::unimplemented("no test calls this"))
    }

    async fn tombstone(
        &self,
        _: Request<v1::TombstoneRequest>,
    ) -> Result<Response<v1::TombstoneResponse>, Status> {
        Err(Status::unimplemented("no test calls this"))
    }

    async fn truncate(
        &self,
        _: Request<v1::TruncateRequest>,
    ) -> Result<Response<v1::TruncateResponse>, Status> {
        Err(Status::unimplemented("no test calls this"))
    }

    type WatchStream = Answer<v1::WatchResponse>;

    /// Takes every event for a notice; ends broken when that is scripted, else stays open.
    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        use v1::watch_response::Message;
        let asked = request.into_inner().from_position;
        let act = self.next_act(format!("watch from {asked:?}"));
        let end = self.store.lock().unwrap().events.len() as u64;
        let from = asked.unwrap_or(end);
        let broken_after = match act {
            None => None,
            Some(Act::BreakOffAfter(count)) => Some(count),
            Some(Act::Refuse(reason, values)) => return Err(reason.status("refused", values)),
            Some(act) => panic!("a watch cannot {act:?}"),
        };
        let wrap = |message| v1::WatchResponse { message: Some(message) };
        let header = v1::WatchHeader { from_position: from };
        let mut messages = vec![Ok(wrap(Message::Header(header)))];
        let positions = (from..end).take(broken_after.unwrap_or(usize::MAX));
        messages.extend(positions.map(|position| {
            let notice = v1::Notice { position, ..v1::Notice::default() };
            Ok(wrap(Message::Notice(notice)))
        }));
        if broken_after.is_some() {
            messages.push(Err(Status::unavailable("the connection broke")));
            return Ok(Response::new(Box::pin(futures::stream::iter(messages))));
        }
        messages.push(Ok(wrap(Message::CaughtUp(v1::CaughtUp { next_position: end }))));
        let open = futures::stream::iter(messages).chain(futures::stream::pending());
        Ok(Response::new(Box::pin(open)))
    }
}
