//! The emitters of this node: one for each subscription at work, while this node leads.

use std::collections::HashMap;
use std::sync::Arc;

use openraft::async_runtime::watch::WatchReceiver as _;
use reckon_api::{Reason, v1};
use tokio::sync::{Mutex, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::emitter::{Emitter, EmitterError, EmitterHandle, Order, Surroundings};
use super::health::{self, HealthError};
use super::interests::Interests;
use super::recorder::Recorder;
use crate::engine::{SubscriptionState, Subscriptions};
use crate::metrics::Metrics;
use crate::node::Node;
use crate::raft::Member;
use crate::service::wire;
use crate::supervise::supervise;

/// Cheap to clone; clones are the same.
#[derive(Debug, Clone)]
pub struct Emitters(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    member: Arc<Member>,
    interests: Interests,
    recorder: Recorder,
    metrics: Metrics,
    leading: Mutex<Leading>,
}

/// What runs in one term.
#[derive(Debug, Default)]
struct Leading {
    term: u64,
    stop: CancellationToken,
    active: HashMap<String, EmitterHandle>,
}

impl Emitters {
    /// Starts looking after the emitters of a member, on the current runtime.
    pub fn start(node: Node, member: Arc<Member>, interests: Interests, metrics: Metrics) -> Self {
        let recorder = Recorder::start(member.proposer().clone(), metrics.clone());
        let leading = Mutex::default();
        let emitters = Self(Arc::new(Shared { member, interests, recorder, metrics, leading }));
        let looking_after = emitters.clone();
        tokio::spawn(supervise("emitters", emitters.0.metrics.clone(), move || {
            end_with_the_leadership(node.clone(), looking_after.clone())
        }));
        emitters
    }

    /// The emitter of a subscription, started if it does not run. In this term the node has to have shown that it leads,
    /// and that it has applied what was committed then: after another leader there may be more.
    pub async fn get(&self, name: &str, term: u64) -> Result<EmitterHandle, Status> {
        let mut leading = self.0.leading.lock().await;
        if self.0.member.leads_in() != Some(term) {
            return Err(moved());
        }
        if leading.term != term {
            leading.stop.cancel();
            *leading = Leading { term, ..Leading::default() };
        }
        if let Some(handle) = leading.active.get(name).filter(|handle| !handle.has_ended()) {
            return Ok(handle.clone());
        }
        let member = &self.0.member;
        let state = member.reader().subscription(name);
        let state = state.ok_or_else(|| wire::subscription_not_found(name))?;
        let around = Surroundings {
            reader: member.reader(),
            offload: member.offload().clone(),
            interests: self.0.interests.clone(),
            recorder: self.0.recorder.clone(),
            metrics: self.0.metrics.subscriptions().clone(),
            term,
            stop: leading.stop.clone(),
        };
        let started = Emitter::start(around, name, &state).await.map_err(|error| match error {
            EmitterError::Read(error) => wire::read_failed(error),
            EmitterError::Definition(error) => Reason::Internal.plain(error.to_string()),
        })?;
        leading.active.retain(|_, handle| !handle.has_ended());
        leading.active.insert(name.to_owned(), started.clone());
        Ok(started)
    }

    /// The emitter of a subscription, if it runs.
    pub async fn running(&self, name: &str) -> Option<EmitterHandle> {
        let leading = self.0.leading.lock().await;
        leading.active.get(name).filter(|handle| !handle.has_ended()).cloned()
    }

    /// Tells the emitter of a subscription, if it runs, that the store has something new of it.
    pub async fn refresh(&self, name: &str) {
        if let Some(handle) = self.running(name).await {
            // One that has ended looks at the store when it starts again.
            let _ = handle.tell(Order::Refresh).await;
        }
    }

    /// How a subscription is doing now.
    pub async fn health(
        &self,
        name: &str,
        state: &Arc<SubscriptionState>,
        now_us: u64,
    ) -> Result<v1::SubscriptionHealth, Status> {
        let running = match self.running(name).await {
            None => None,
            Some(handle) => {
                let (answer, running) = oneshot::channel();
                // One that has just ended says nothing.
                let _ = handle.tell(Order::Health(answer)).await;
                running.await.ok()
            }
        };
        let (reader, looked_at) = (self.0.member.reader(), Arc::clone(state));
        let looking =
            move || health::lag(&reader, &looked_at, running.as_ref()).map(|lag| (lag, running));
        let looked = self.0.member.offload().run(looking).await;
        let (lag, running) = looked.map_err(|error| match error {
            HealthError::Read(error) => wire::read_failed(error),
            HealthError::Definition(error) => Reason::Internal.plain(error.to_string()),
        })?;
        let definition = wire::decode_definition(&state.definition)?;
        let key = wire::subscription_key(name);
        Ok(health::health(&definition, key, state, running, lag, now_us))
    }

    /// Whether this node leads.
    pub fn leads(&self) -> bool {
        self.0.member.leads()
    }

    /// Every subscription that there is.
    pub fn registered(&self) -> Subscriptions {
        self.0.member.reader().subscriptions()
    }

    async fn end_all(&self, term: Option<u64>) {
        let mut leading = self.0.leading.lock().await;
        if term != Some(leading.term) {
            leading.stop.cancel();
            *leading = Leading { term: term.unwrap_or_default(), ..Leading::default() };
        }
    }
}

/// Ends what runs when this node does not lead any more, or leads again: somebody else may have led in between.
async fn end_with_the_leadership(node: Node, emitters: Emitters) {
    let mut metrics = emitters.0.member.raft().server_metrics();
    let drained = node.drained();
    tokio::pin!(drained);
    loop {
        let term = emitters.0.member.leads_in();
        emitters.end_all(term).await;
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { break },
            () = &mut drained => break,
        }
    }
    emitters.end_all(None).await;
    emitters.0.leading.lock().await.stop.cancel();
}

fn moved() -> Status {
    Reason::NotLeader.plain("the leadership moved; try again")
}
