//! What an emitter does with what it is told.

use std::sync::Arc;

use reckon_api::v1;
use tokio::sync::mpsc;

use super::{
    Attached, ConsumerId, Definition, Emitter, EmitterError, End, Loaded, NewConsumer, Order,
    Outlet, Reporting, Running, Source, Start,
};
use crate::delivery::dispatch::{Demand, Settlement};
use crate::engine::SubscriptionState;

impl Emitter {
    pub(super) async fn obey(&mut self, order: Order) -> Result<(), End> {
        match order {
            Order::Attach { consumer, answer } => {
                let attached = self.attach(consumer);
                let id = attached.id;
                if answer.send(attached).is_err() {
                    self.detach(id);
                }
            }
            Order::Detach(id) => drop(self.detach(id)),
            Order::Leave(id) => {
                let outlet = self.detach(id);
                self.leaving.extend(outlet);
            }
            Order::Demand(id, demand) => self.dispatch.demand(id, |now| change(now, &demand)),
            Order::Settle(id, settle) => self.settle(id, settle),
            Order::AckUpto { position, answer } => {
                let read_to = self.dispatch.read_to();
                self.dispatch.ack_everything_upto(position, self.now_ms());
                if read_to <= position {
                    let start = Start::Position(position + 1);
                    self.source = Source::new(Arc::clone(&self.definition.selector), start);
                }
                self.acked.push(answer);
            }
            Order::Refresh => self.refresh().await?,
            Order::Health(answer) => drop(answer.send(self.running())),
        }
        Ok(())
    }

    fn attach(&mut self, consumer: NewConsumer) -> Attached {
        self.last_consumer += 1;
        let id = ConsumerId(self.last_consumer);
        self.dispatch.attach(id, consumer.demand, consumer.key_window);
        let (messages, receiver) = mpsc::unbounded_channel();
        let standby = !self.dispatch.is_served(id);
        let outlet = Outlet { name: consumer.name, messages, standby, told_caught_up: false };
        self.outlets.insert(id, outlet);
        Attached { id, standby, messages: receiver }
    }

    fn detach(&mut self, id: ConsumerId) -> Option<Outlet> {
        self.dispatch.detach(id);
        let outlet = self.outlets.remove(&id);
        self.tell_roles();
        outlet
    }

    fn settle(&mut self, id: ConsumerId, settle: v1::Settle) {
        let now_ms = self.now_ms();
        let v1::Settle { ack, ack_upto, retry, park, skip } = settle;
        for delivery in ack {
            self.dispatch.settle(id, delivery, Settlement::Ack, now_ms);
        }
        for delivery in skip {
            self.dispatch.settle(id, delivery, Settlement::Skip, now_ms);
        }
        for v1::Retry { id: delivery, reason, after_ms } in retry {
            let after_ms = after_ms.map(|after| after.min(crate::limits::RETRY_BACKOFF_MS_MAX));
            self.dispatch.settle(id, delivery, Settlement::Retry { reason, after_ms }, now_ms);
        }
        for v1::Park { id: delivery, reason } in park {
            self.dispatch.settle(id, delivery, Settlement::Park { reason }, now_ms);
        }
        if ack_upto > 0 {
            self.dispatch.ack_upto(id, ack_upto, now_ms);
        }
    }

    /// Looks at what the store has of the subscription now.
    async fn refresh(&mut self) -> Result<(), End> {
        let state = self.around.reader.subscription(&self.target.name);
        let Some(state) = state.filter(|state| state.id == self.target.id) else {
            return Err(End::Deleted);
        };
        let failed = |error: EmitterError| End::Failed(error);
        if state.revision != self.revision {
            self.definition = self.compiled(&state).await.map_err(failed)?;
            self.revision = state.revision;
            self.dispatch.set_settings(self.definition.settings());
            self.tell_roles();
        }
        if state.generation == self.generation {
            self.take_replays_in(&state).await.map_err(failed)?;
        } else {
            self.restart(&state).await.map_err(failed)?;
        }
        self.dispatch.set_held(super::held_keys(&state));
        Ok(())
    }

    async fn compiled(&self, state: &Arc<SubscriptionState>) -> Result<Definition, EmitterError> {
        let state = Arc::clone(state);
        Ok(self.around.offload.run(move || Definition::of(&state)).await?)
    }

    /// Begins anew where the store says; consumers stay.
    async fn restart(&mut self, state: &Arc<SubscriptionState>) -> Result<(), EmitterError> {
        let (definition, reader) = (self.compiled(state).await?, self.around.reader.clone());
        let known = Arc::clone(state);
        let loading = move || Loaded::new(definition, &known, &reader);
        let Loaded { definition, dispatch, source } = self.around.offload.run(loading).await?;
        self.generation = state.generation;
        self.dispatch.restart_as(dispatch);
        self.definition = definition;
        self.source = source;
        self.reporting = Reporting::new(self.dispatch.progress());
        (self.caught_up, self.live) = (false, false);
        Ok(())
    }

    /// Takes events in that were parked and are to be delivered again. One whose last replay has ended, but is not
    /// written down yet, is looked at again once it is: it may have been parked and asked for anew.
    pub(super) async fn take_replays_in(
        &mut self,
        state: &Arc<SubscriptionState>,
    ) -> Result<(), EmitterError> {
        let known = |at: u64| self.dispatch.has_replay(at) || self.reporting.is_writing(at);
        let new: Vec<u64> = state.replaying.iter().copied().filter(|&at| !known(at)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let reader = self.around.reader.clone();
        let reading = move || {
            let events = new.into_iter().map(|at| Ok((at, Source::event_at(&reader, at)?)));
            events.collect::<Result<Vec<_>, crate::engine::ReadError>>()
        };
        for (position, event) in self.around.offload.run(reading).await? {
            match event {
                Some(event) => super::offer(&mut self.dispatch, &self.definition, event, 0, true),
                None => self.dispatch.replay_is_done(position),
            }
        }
        Ok(())
    }

    fn running(&self) -> Running {
        let served = self.dispatch.consumers().filter(|(_, served)| *served).count();
        let counters = *self.dispatch.counters();
        let now_ms = self.now_ms();
        let mut consumers: Vec<_> =
            self.outlets.iter().map(|(id, outlet)| (*id, outlet.name.clone())).collect();
        consumers.sort_unstable();
        Running {
            consumers: consumers.into_iter().map(|(_, name)| name).collect(),
            served: served as u32,
            standby: (self.outlets.len() - served) as u32,
            caught_up: self.live && self.caught_up,
            buffered: self.dispatch.buffered() as u64,
            wanted: self.dispatch.wanted(),
            in_flight: self.dispatch.in_flight() as u64,
            settled_ms_ago: counters.settled_at_ms.map(|at| now_ms.saturating_sub(at)),
            running_ms: now_ms,
            counters,
            progress: self.dispatch.progress(),
        }
    }
}

/// What a consumer's word about its demand makes of it. It pulls from then on.
fn change(now: &mut Demand, demand: &v1::Demand) {
    use v1::demand::Kind;
    match (&demand.kind, *now) {
        (Some(Kind::Add(events)), Demand::Events(_)) => now.add(*events),
        (Some(Kind::Add(events) | Kind::Set(events)), _) => *now = Demand::Events(*events),
        (Some(Kind::Unlimited(true)), _) => *now = Demand::Unlimited,
        (Some(Kind::Unlimited(false)), _) => *now = Demand::Events(0),
        (None, _) => {}
    }
}
