//! `reckon.v1.Health`: how the members are and whether they agree, as this node sees it.

use std::sync::Arc;

use reckon_api::{Reason, v1};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use v1::CheckKind;
use v1::watch_health_response::Message;

use super::admission;
use super::answer::{Answer, Pages, Unread};
use super::cluster::not_initialised;
use super::deadline;
use super::forward::{MEMBERSHIP_TIMEOUT, deadline_exceeded};
use super::in_flight::InFlight;
use crate::health::Health;
use crate::health::checker::Report;
use crate::health::judgement::{self, CHECKS};
use crate::health::settings::{SettingsError, probe_type};
use crate::limits;
use crate::node::Node;
use crate::raft::Member;

/// The health service of one node.
#[derive(Debug, Clone)]
pub struct HealthService {
    health: Health,
    node: Node,
    requests: InFlight,
    watches: InFlight,
}

impl HealthService {
    pub fn new(health: Health, node: Node) -> Self {
        let requests = InFlight::new("health_requests_max", limits::HEALTH_REQUESTS_MAX);
        let watches = InFlight::new("health_watches_max", limits::HEALTH_WATCHES_MAX);
        Self { health, node, requests, watches }
    }

    fn member(&self) -> Result<Arc<Member>, Status> {
        self.node.member().ok_or_else(not_initialised)
    }

    /// Has all members asked, unless that takes longer than the caller waits.
    async fn checked(
        &self,
        member: &Member,
        wanted: &[CheckKind],
        deadline: Instant,
    ) -> Result<Report, Status> {
        let _slot = self.requests.enter()?;
        let checking = self.health.checker.check(member, wanted);
        tokio::time::timeout_at(deadline, checking).await.map_err(|_elapsed| deadline_exceeded())
    }
}

#[tonic::async_trait]
impl v1::health_server::Health for HealthService {
    async fn health(
        &self,
        _request: Request<v1::HealthRequest>,
    ) -> Result<Response<v1::HealthResponse>, Status> {
        let member = self.member()?;
        Ok(Response::new(self.health.prober.view(&member)))
    }

    async fn probe_now(
        &self,
        request: Request<v1::ProbeNowRequest>,
    ) -> Result<Response<v1::ProbeNowResponse>, Status> {
        let deadline = deadline::of(request.metadata(), MEMBERSHIP_TIMEOUT);
        let v1::ProbeNowRequest { r#type, node_id } = request.into_inner();
        let kind = probe_type(r#type).map_err(|error| settings_refused(&error))?;
        let member = self.member()?;
        let _slot = self.requests.enter()?;
        let node_id = (node_id != 0).then_some(node_id);
        let probing = self.health.prober.probe_now(&member, kind, node_id);
        let probed = tokio::time::timeout_at(deadline, probing).await;
        let results = probed.map_err(|_elapsed| deadline_exceeded())?.map_err(|unknown| {
            let values = [("node_id", unknown.0.to_string())];
            Reason::UnknownMember.status(unknown.to_string(), values)
        })?;
        Ok(Response::new(v1::ProbeNowResponse { results }))
    }

    type WatchHealthStream = Pages<v1::WatchHealthResponse>;

    async fn watch_health(
        &self,
        _request: Request<v1::WatchHealthRequest>,
    ) -> Result<Response<Self::WatchHealthStream>, Status> {
        let slot = self.watches.enter()?;
        let member = self.member()?;
        let (answer, pages) = Answer::new(limits::HEALTH_NOTICES_MAX);
        let watch = Watch { _slot: slot, node: self.node.clone(), member };
        let health = self.health.clone();
        tokio::spawn(async move {
            let end = watch.notices(&health, &answer).await;
            close(answer, end);
        });
        Ok(Response::new(pages))
    }

    async fn configure_health(
        &self,
        request: Request<v1::ConfigureHealthRequest>,
    ) -> Result<Response<v1::ConfigureHealthResponse>, Status> {
        let configured = self.health.configure(&request.into_inner());
        let settings = configured.map_err(|error| settings_refused(&error))?.to_message();
        Ok(Response::new(v1::ConfigureHealthResponse { settings: Some(settings) }))
    }

    async fn check_now(
        &self,
        request: Request<v1::CheckNowRequest>,
    ) -> Result<Response<v1::CheckNowResponse>, Status> {
        let deadline = deadline::of(request.metadata(), MEMBERSHIP_TIMEOUT);
        let wanted = wanted(&request.into_inner().checks)?;
        let member = self.member()?;
        let report = self.checked(&member, &wanted, deadline).await?;
        let report = Some(Arc::unwrap_or_clone(report));
        Ok(Response::new(v1::CheckNowResponse { report }))
    }

    async fn consistency(
        &self,
        request: Request<v1::ConsistencyRequest>,
    ) -> Result<Response<v1::ConsistencyResponse>, Status> {
        let deadline = deadline::of(request.metadata(), MEMBERSHIP_TIMEOUT);
        let member = self.member()?;
        let last = self.health.checker.reports().borrow().clone();
        let report = match last {
            Some(report) => report,
            None => self.checked(&member, &CHECKS, deadline).await?,
        };
        let report = Some(Arc::unwrap_or_clone(report));
        Ok(Response::new(v1::ConsistencyResponse { report }))
    }

    type WatchStatusStream = Pages<v1::WatchStatusResponse>;

    async fn watch_status(
        &self,
        _request: Request<v1::WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        let slot = self.watches.enter()?;
        let member = self.member()?;
        let (answer, pages) = Answer::new(1);
        let watch = Watch { _slot: slot, node: self.node.clone(), member };
        let health = self.health.clone();
        tokio::spawn(async move {
            let end = watch.reports(&health, &answer).await;
            close(answer, end);
        });
        Ok(Response::new(pages))
    }
}

/// A watch under way.
struct Watch {
    _slot: OwnedSemaphorePermit,
    node: Node,
    member: Arc<Member>,
}

/// Why a watch ends.
enum End {
    Unread(Unread),
    Stopping,
}

fn close<T: Send + 'static>(answer: Answer<T>, end: End) {
    match end {
        End::Unread(unread) => answer.fail_unread(unread),
        End::Stopping => answer.fail(admission::stopping()),
    }
}

impl Watch {
    async fn notices(self, health: &Health, answer: &Answer<v1::WatchHealthResponse>) -> End {
        let mut wake = health.prober.noticed();
        let (mut told, mut current) = (0, true);
        loop {
            wake.borrow_and_update();
            let mut messages = Vec::new();
            match health.prober.notices_behind(told) {
                Some(notices) if !current => {
                    told = notices.last().map_or(told, |last| last.number);
                    messages.extend(notices.into_iter().map(Message::Notice));
                }
                _ => {
                    let (view, number) = health.prober.view_and_number(&self.member);
                    told = number;
                    current = false;
                    messages.push(Message::Current(view));
                }
            }
            for message in messages {
                let message = v1::WatchHealthResponse { message: Some(message) };
                if let Err(unread) = answer.send(message).await {
                    return End::Unread(unread);
                }
            }
            if let Err(end) = self.changed(answer, &mut wake).await {
                return end;
            }
        }
    }

    async fn reports(self, health: &Health, answer: &Answer<v1::WatchStatusResponse>) -> End {
        let mut reports = health.checker.reports();
        let mut told: Option<Report> = None;
        loop {
            let last = reports.borrow_and_update().clone();
            let news =
                |last: &Report| told.as_ref().is_none_or(|told| judgement::differs(told, last));
            if let Some(last) = last.filter(news) {
                let report = Some(last.as_ref().clone());
                if let Err(unread) = answer.send(v1::WatchStatusResponse { report }).await {
                    return End::Unread(unread);
                }
                told = Some(last);
            }
            if let Err(end) = self.changed(answer, &mut reports).await {
                return end;
            }
        }
    }

    async fn changed<T: Send + 'static, V>(
        &self,
        answer: &Answer<T>,
        what: &mut tokio::sync::watch::Receiver<V>,
    ) -> Result<(), End> {
        tokio::select! {
            biased;
            () = answer.unheard() => Err(End::Unread(Unread)),
            () = self.node.drained() => Err(End::Stopping),
            changed = what.changed() => changed.map_err(|_closed| End::Stopping),
        }
    }
}

/// The checks that a request names, each once and in the order of reports; all of them where it names none.
fn wanted(named: &[i32]) -> Result<Vec<CheckKind>, Status> {
    for number in named {
        if !CHECKS.iter().any(|kind| i32::from(*kind) == *number) {
            let message = format!("there is no check {number}");
            let values = [("field", "checks".to_owned()), ("value", number.to_string())];
            return Err(Reason::InvalidArgument.status(message, values));
        }
    }
    let is_named = |kind: &CheckKind| named.is_empty() || named.contains(&i32::from(*kind));
    Ok(CHECKS.into_iter().filter(is_named).collect())
}

fn settings_refused(error: &SettingsError) -> Status {
    let message = error.to_string();
    match error {
        SettingsError::OutOfRange { field, value, minimum, maximum } => Reason::LimitExceeded
            .status(
                message,
                [
                    ("limit", (*field).to_owned()),
                    ("value", value.to_string()),
                    ("minimum", minimum.to_string()),
                    ("maximum", maximum.to_string()),
                ],
            ),
        SettingsError::UnknownType(number) => Reason::InvalidArgument
            .status(message, [("field", "type".to_owned()), ("value", number.to_string())]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_made_once_each_and_in_order_whatever_was_named() {
        assert_eq!(wanted(&[]).unwrap(), CHECKS);
        let (quorum, leader) = (CheckKind::Quorum, CheckKind::LeaderConsensus);
        let named = [quorum.into(), leader.into(), quorum.into()];
        assert_eq!(wanted(&named).unwrap(), [leader, quorum]);
        assert_eq!(wanted(&[leader.into()]).unwrap(), [leader]);
        for unknown in [0, 9] {
            let refused = wanted(&[quorum.into(), unknown]).unwrap_err();
            assert_eq!(Reason::of(&refused), Some(Reason::InvalidArgument));
        }
    }

    #[test]
    fn a_setting_beyond_its_limit_is_refused_with_all_that_is_wrong() {
        use tonic_types::StatusExt as _;
        let error = SettingsError::OutOfRange {
            field: "probe_interval_ms",
            value: 1,
            minimum: 200,
            maximum: 3_600_000,
        };
        let refused = settings_refused(&error);
        assert_eq!(Reason::of(&refused), Some(Reason::LimitExceeded));
        let details = refused.get_error_details();
        let values = &details.error_info().unwrap().metadata;
        for (name, value) in [("limit", "probe_interval_ms"), ("value", "1"), ("minimum", "200")] {
            assert_eq!(values[name], value);
        }
    }
}
