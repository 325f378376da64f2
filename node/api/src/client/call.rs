//! One call: attempts, one after the other, until an answer, a refusal or the deadline.

use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::Client;
use super::backoff::Backoff;
use super::endpoints::Target;
use super::error::Error;
use crate::Reason;

/// No attempt is started with less time than this left: it could only fail.
const ATTEMPT_TIME_MIN: Duration = Duration::from_millis(1);

impl Client {
    /// Sends `message` until a server answers, one refuses for good, or the deadline passes. Only for
    /// what is safe to send twice.
    pub(super) async fn call<M, T, S, A>(&self, message: M, send: S) -> Result<T, Error>
    where
        M: Clone,
        S: Fn(Channel, Request<M>) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        self.until_answered(|target, timeout| {
            let answer = send(target.channel, timed(message.clone(), timeout));
            async move { within(&target.address, timeout, answer).await.map(Response::into_inner) }
        })
        .await
    }

    /// Like [`Client::call`], for what may take long because it looks at much: one attempt may use all the time
    /// there is.
    pub(super) async fn call_long<M, T, S, A>(&self, message: M, send: S) -> Result<T, Error>
    where
        M: Clone,
        S: Fn(Channel, Request<M>) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let attempt_timeout = self.shared.options.deadline;
        self.until_answered_each(attempt_timeout, |target, timeout| {
            let answer = send(target.channel, timed(message.clone(), timeout));
            async move { within(&target.address, timeout, answer).await.map(Response::into_inner) }
        })
        .await
    }

    /// Runs `attempt` at one endpoint after the other, each with the time it has.
    pub(super) async fn until_answered<T, F, A>(&self, attempt: F) -> Result<T, Error>
    where
        F: Fn(Target, Duration) -> A,
        A: Future<Output = Result<T, Error>>,
    {
        self.until_answered_each(self.shared.options.attempt_timeout, attempt).await
    }

    /// What follows when a call that has no end breaks off: its node is not the next one asked, and after a pause the call
    /// can be opened again, for a node that opens calls only to end them must not be asked without one. An error that a
    /// retry cannot help comes back.
    pub(super) async fn broke_off(&self, target: &Target, error: Error) -> Result<(), Error> {
        self.shared.endpoints.move_on(target, &error);
        if !error.retryable() {
            return Err(error);
        }
        tracing::debug!(%error, "a call that has no end broke off");
        tokio::time::sleep(self.shared.options.backoff_first).await;
        Ok(())
    }

    async fn until_answered_each<T, F, A>(
        &self,
        attempt_timeout: Duration,
        attempt: F,
    ) -> Result<T, Error>
    where
        F: Fn(Target, Duration) -> A,
        A: Future<Output = Result<T, Error>>,
    {
        let options = &self.shared.options;
        let endpoints = &self.shared.endpoints;
        let deadline = Instant::now() + options.deadline;
        let mut backoff = Backoff::new(options.backoff_first, options.backoff_max);
        let mut attempts: u32 = 0;
        // Endpoints that may still be asked before the next wait.
        let mut untried = endpoints.count();
        loop {
            let target = endpoints.current();
            let left = deadline.saturating_duration_since(Instant::now());
            attempts += 1;
            let error = match attempt(target.clone(), left.min(attempt_timeout)).await {
                Ok(answer) => return Ok(answer),
                Err(error) if !error.retryable() => return Err(error),
                Err(error) => error,
            };
            tracing::debug!(endpoint = target.address, %error, "an attempt failed");
            untried = untried.saturating_sub(1);

            // A busy node is asked to be left alone, and so is its store: no other endpoint will do better.
            let busy = matches!(&error, Error::Refused { code: Code::ResourceExhausted, .. });
            if !busy {
                endpoints.move_on(&target, &error);
            }
            let wait = if untried > 0 && !busy {
                Duration::ZERO
            } else {
                untried = endpoints.count();
                backoff.next().max(error.retry_after().unwrap_or_default())
            };
            if Instant::now() + wait + ATTEMPT_TIME_MIN >= deadline {
                return Err(Error::GaveUp {
                    deadline: options.deadline,
                    attempts,
                    last: Box::new(error),
                });
            }
            tokio::time::sleep(wait).await;
        }
    }
}

/// Methods of the client that are a request and an answer of one service, safe to send twice.
macro_rules! calls {
    ($service:ident; $($(#[doc = $doc:literal])+ $via:ident $method:ident = $rpc:ident($request:ident) -> $response:ident;)+) => {
        impl Client {
            $(
                $(#[doc = $doc])+
                pub async fn $method(
                    &self,
                    request: v1::$request,
                ) -> Result<v1::$response, Error> {
                    self.$via(request, |channel, request| async move {
                        $service(channel).$rpc(request).await
                    })
                    .await
                }
            )+
        }
    };
}
pub(super) use calls;

/// A request that carries the time it has, so that the server gives up too.
pub(super) fn timed<M>(message: M, timeout: Duration) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// Waits for an answer for `timeout` and no longer.
pub(super) async fn within<T>(
    endpoint: &str,
    timeout: Duration,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, Error> {
    let started = Instant::now();
    match tokio::time::timeout(timeout, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        // The transport counts the same time and may be quicker; it calls the end of it a cancellation.
        Ok(Err(status)) if status.code() == Code::Cancelled && started.elapsed() >= timeout => {
            Err(Error::TimedOut { endpoint: endpoint.to_owned(), timeout })
        }
        Ok(Err(status)) => Err(Error::of_status(endpoint, &status)),
        Err(_) => Err(Error::TimedOut { endpoint: endpoint.to_owned(), timeout }),
    }
}

/// Whether the connection, or the node at its other end, is better not used again at once.
pub(super) fn breaks_connection(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } | Error::TimedOut { .. } => true,
        Error::Refused { reason, .. } => {
            matches!(reason, Some(Reason::NoQuorum | Reason::NotReady | Reason::NotLeader))
        }
        _ => false,
    }
}
