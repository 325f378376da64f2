//! A server that tells how its store is, for tests of what asks.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt as _};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::v1::health_server::{Health, HealthServer};
use crate::v1::{self, ConsistencyResult};
use crate::{Reason, v1::watch_health_response};

/// What it says of its store when it is asked, or that it refuses to.
pub type Said = Result<ConsistencyResult, Reason>;

/// A server of the service `Health`. Each question is given the next of its answers, and the last one for ever; a watch
/// ends after one.
#[derive(Debug, Clone)]
pub struct Checkup {
    /// Where it listens.
    pub address: SocketAddr,
    answers: Arc<Mutex<VecDeque<Said>>>,
}

type Answer<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Checkup {
    /// Starts a server with these answers.
    pub async fn start(answers: impl IntoIterator<Item = Said>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it listens");
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        let checkup = Self { address, answers };
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(checkup.service())
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        checkup
    }

    /// The service, for a server that has others too.
    pub fn service(&self) -> HealthServer<Self> {
        HealthServer::new(self.clone())
    }

    /// Says this from now on.
    pub fn says(&self, said: Said) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) = VecDeque::from([said]);
    }

    /// How many answers are left, the one that stays included.
    pub fn left(&self) -> usize {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn next(&self) -> Result<Option<v1::ConsistencyReport>, Status> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let said = if answers.len() > 1 { answers.pop_front() } else { answers.front().copied() };
        match said.unwrap_or(Err(Reason::NotReady)) {
            Ok(result) => {
                let message = format!("it is {}", result.as_str_name());
                let check = v1::Check { status: result.into(), message, ..v1::Check::default() };
                let report = v1::ConsistencyReport {
                    result: result.into(),
                    checks: vec![check],
                    ..v1::ConsistencyReport::default()
                };
                Ok(Some(report))
            }
            Err(reason) => Err(reason.plain("refused")),
        }
    }
}

fn once<T: Send + 'static>(message: T) -> Response<Answer<T>> {
    Response::new(futures::stream::iter([Ok(message)]).boxed())
}

#[tonic::async_trait]
impl Health for Checkup {
    async fn health(
        &self,
        _: Request<v1::HealthRequest>,
    ) -> Result<Response<v1::HealthResponse>, Status> {
        Ok(Response::new(v1::HealthResponse::default()))
    }

    async fn probe_now(
        &self,
        _: Request<v1::ProbeNowRequest>,
    ) -> Result<Response<v1::ProbeNowResponse>, Status> {
        Ok(Response::new(v1::ProbeNowResponse::default()))
    }

    type WatchHealthStream = Answer<v1::WatchHealthResponse>;

    async fn watch_health(
        &self,
        _: Request<v1::WatchHealthRequest>,
    ) -> Result<Response<Self::WatchHealthStream>, Status> {
        let current = watch_health_response::Message::Current(v1::HealthResponse::default());
        Ok(once(v1::WatchHealthResponse { message: Some(current) }))
    }

    async fn configure_health(
        &self,
        _: Request<v1::ConfigureHealthRequest>,
    ) -> Result<Response<v1::ConfigureHealthResponse>, Status> {
        Ok(Response::new(v1::ConfigureHealthResponse::default()))
    }

    async fn check_now(
        &self,
        _: Request<v1::CheckNowRequest>,
    ) -> Result<Response<v1::CheckNowResponse>, Status> {
        Ok(Response::new(v1::CheckNowResponse { report: self.next()? }))
    }

    async fn consistency(
        &self,
        _: Request<v1::ConsistencyRequest>,
    ) -> Result<Response<v1::ConsistencyResponse>, Status> {
        Ok(Response::new(v1::ConsistencyResponse { report: self.next()? }))
    }

    type WatchStatusStream = Answer<v1::WatchStatusResponse>;

    async fn watch_status(
        &self,
        _: Request<v1::WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        Ok(once(v1::WatchStatusResponse { report: self.next()? }))
    }
}
