//! How the members of a store are and whether they agree, as one of its nodes sees it: whichever answers, unless an
//! endpoint is named.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use super::call::{calls, timed, within};
use super::endpoints::Target;
use super::error::Error;
use super::{Client, health};
use crate::v1::{self, health_client::HealthClient};

calls! { health;
    /// How a node's probes find the other members.
    call health = health(HealthRequest) -> HealthResponse;
    /// Has a node probe the other members, or one, now. One attempt may take the whole deadline.
    call_long probe_now = probe_now(ProbeNowRequest) -> ProbeNowResponse;
    /// Has a node ask all members how they are, now. One attempt may take the whole deadline.
    call_long check_now = check_now(CheckNowRequest) -> CheckNowResponse;
    /// What a node found when it last asked all members.
    call_long consistency = consistency(ConsistencyRequest) -> ConsistencyResponse;
}

impl Client {
    /// Changes how the node at one endpoint probes and checks, until it is restarted; an empty request only asks.
    /// `endpoint` need not be one of the client's own. Not retried.
    pub async fn configure_health(
        &self,
        endpoint: &str,
        request: v1::ConfigureHealthRequest,
    ) -> Result<v1::HealthSettings, Error> {
        let channel = self.shared.endpoints.channel(endpoint);
        let channel =
            channel.map_err(|error| Error::InvalidRequest { message: error.to_string() })?;
        let timeout = self.options().attempt_timeout;
        let mut node = health(channel);
        let answer = node.configure_health(timed(request, timeout));
        let answer = within(endpoint, timeout, answer).await?.into_inner();
        answer.settings.ok_or_else(|| Error::Protocol {
            message: "the description of the settings is empty".to_owned(),
        })
    }

    /// How the members are, then a notice of each change. When the node goes away another one is asked, whose notices
    /// have numbers of their own: it begins with how the members are.
    pub fn watch_health(
        &self,
    ) -> BoxStream<'static, Result<v1::watch_health_response::Message, Error>> {
        let watching = watched(self.clone(), |mut node: HealthClient<Channel>| async move {
            node.watch_health(Request::new(v1::WatchHealthRequest {})).await
        });
        watching.filter_map(|item| async { item.map(|it| it.message).transpose() }).boxed()
    }

    /// What a node found when it last asked all members, then what it finds whenever that is something else.
    pub fn watch_status(&self) -> BoxStream<'static, Result<v1::ConsistencyReport, Error>> {
        let watching = watched(self.clone(), |mut node: HealthClient<Channel>| async move {
            node.watch_status(Request::new(v1::WatchStatusRequest {})).await
        });
        watching.filter_map(|item| async { item.map(|it| it.report).transpose() }).boxed()
    }
}

/// Messages of a call that has no end, opened again on whichever node answers. Ends with an error that a retry cannot
/// help; after any other it goes on when it is polled again.
fn watched<M, O, A>(client: Client, open: O) -> BoxStream<'static, Result<M, Error>>
where
    M: Send + 'static,
    O: Fn(HealthClient<Channel>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<Response<Streaming<M>>, Status>> + Send + 'static,
{
    let state = State { client, open, source: None, over: false };
    futures::stream::unfold(state, |mut state| async move {
        if state.over {
            return None;
        }
        let item = state.next_item().await;
        state.over = item.as_ref().is_err_and(|error| !error.retryable());
        Some((item, state))
    })
    .boxed()
}

struct State<M, O> {
    client: Client,
    open: O,
    source: Option<(Target, Streaming<M>)>,
    over: bool,
}

impl<M, O, A> State<M, O>
where
    O: Fn(HealthClient<Channel>) -> A,
    A: Future<Output = Result<Response<Streaming<M>>, Status>>,
{
    async fn next_item(&mut self) -> Result<M, Error> {
        loop {
            if self.source.is_none() {
                self.source = Some(self.open().await?);
            }
            let (target, messages) = self.source.as_mut().expect("it was just opened");
            let error = match messages.message().await {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => Error::ended(&target.address),
                Err(status) => Error::of_status(&target.address, &status),
            };
            if let Some((target, _)) = self.source.take() {
                self.client.broke_off(&target, error).await?;
            }
        }
    }

    /// Opens the call, retried within the client's deadline.
    async fn open(&self) -> Result<(Target, Streaming<M>), Error> {
        self.client
            .until_answered(|target, timeout| async move {
                // No deadline goes along: a watch has no end.
                let opening = (self.open)(health(target.channel.clone()));
                let messages = within(&target.address, timeout, opening).await?.into_inner();
                Ok((target, messages))
            })
            .await
    }
}
