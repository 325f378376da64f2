//! Which replica of the operator works: the holder of a `coordination.k8s.io` Lease.
//!
//! The lease only saves work; safety comes from compare-and-set. Wall clocks are not trusted: another's lease
//! is taken over when it has not changed for its duration on *our* monotonic clock, and our own counts from
//! before the request that last renewed it. Whoever acts asks [`Leadership::holds`] each time.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

/// How long others leave a lease alone that is not renewed.
const LEASE_DURATION: Duration = Duration::from_secs(15);

/// How long after its last renewal the holder still acts. What is left of the duration is for requests that
/// are under way, and for clocks that run at different speeds.
const HOLD_DURATION: Duration = Duration::from_secs(10);

/// How often the lease is renewed, and looked at by those who wait.
const RENEW_PERIOD: Duration = Duration::from_secs(3);

/// How long one request to the API server may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// Whether this replica holds the lease.
#[derive(Debug, Clone)]
pub struct Leadership {
    held_until: watch::Receiver<Option<Instant>>,
}

impl Leadership {
    /// Leadership that never ends, for tests and for an operator that is alone.
    pub fn forever() -> Self {
        let (sender, held_until) = watch::channel(None);
        // A duration that no process lives.
        let far = Instant::now() + Duration::from_hours(24 * 365 * 10);
        sender.send_replace(Some(far));
        Self { held_until }
    }

    /// Whether the lease is surely still ours at this moment.
    pub fn holds(&self) -> bool {
        self.held_until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Completes when the lease is ours.
    pub async fn gained(&mut self) {
        while !self.holds() {
            if self.held_until.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Completes when the lease is no longer surely ours.
    pub async fn lost(&mut self) {
        loop {
            let Some(until) = *self.held_until.borrow_and_update() else { return };
            tokio::select! {
                () = tokio::time::sleep_until(until) => if !self.holds() { return },
                changed = self.held_until.changed() => if changed.is_err() {
                    tokio::time::sleep_until(until).await;
                    return;
                },
            }
        }
    }
}

/// Takes part in the election for one lease.
#[derive(Debug)]
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    held_until: watch::Sender<Option<Instant>>,
    /// The lease of another as it was seen to change last, and when that was.
    rival: Option<(String, Instant)>,
}

impl Candidate {
    /// Makes a candidate for the lease of this name.
    pub fn new(leases: Api<Lease>, name: String, identity: String) -> (Self, Leadership) {
        let (sender, held_until) = watch::channel(None);
        let candidate = Self { leases, name, identity, held_until: sender, rival: None };
        (candidate, Leadership { held_until })
    }

    /// Competes until `stop` completes, then gives the lease back, so that another need not wait.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            let round = self.round();
            match tokio::time::timeout(REQUEST_TIMEOUT, round).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "the lease could not be renewed"),
                Err(_) => warn!("the API server did not answer about the lease"),
            }
            tokio::select! {
                () = tokio::time::sleep(RENEW_PERIOD) => {}
                () = &mut stop => break,
            }
        }
        if self.held_until.send_replace(None).is_some() {
            let _ = tokio::time::timeout(REQUEST_TIMEOUT, self.release()).await;
        }
    }

    /// Renews the lease, takes it over or leaves it to its holder.
    async fn round(&mut self) -> Result<(), kube::Error> {
        let begun = Instant::now();
        let Some(lease) = self.leases.get_opt(&self.name).await? else {
            let lease = self.claim(None);
            return self.settle(self.leases.create(&PostParams::default(), &lease).await, begun);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if holder != self.identity && !holder.is_empty() {
            let version = lease.metadata.resource_version.clone().unwrap_or_default();
            let duration = spec
                .lease_duration_seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map_or(LEASE_DURATION, Duration::from_secs);
            let since = match &self.rival {
                Some((seen, since)) if *seen == version => *since,
                _ => begun,
            };
            self.rival = Some((version, since));
            if begun.duration_since(since) < duration {
                self.held_until.send_replace(None);
                return Ok(());
            }
            info!(holder, "the lease was not renewed in time: taking it over");
        }
        let claim = self.claim(Some(lease));
        let replaced = self.leases.replace(&self.name, &PostParams::default(), &claim).await;
        self.settle(replaced, begun)
    }

    /// Notes the outcome of a write. The resource version in it made sure that nobody wrote in between.
    fn settle(
        &mut self,
        outcome: Result<Lease, kube::Error>,
        begun: Instant,
    ) -> Result<(), kube::Error> {
        match outcome {
            Ok(_) => {
                self.rival = None;
                self.held_until.send_replace(Some(begun + HOLD_DURATION));
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.held_until.send_replace(None);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The lease as ours.
    fn claim(&self, before: Option<Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let mut lease = before.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            ..Lease::default()
        });
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(LEASE_DURATION.as_secs()).ok();
        spec.renew_time = Some(now);
        lease
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let mut lease = self.leases.get(&self.name).await?;
        let spec: &mut LeaseSpec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            self.leases.replace(&self.name, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }
}
