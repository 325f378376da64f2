//! The endpoints of a client, one channel each, and which of them to ask next.
//!
//! Besides the endpoints that were given there may be one that was learnt: the leader that a server named.
//! It is a hint and no more, since a client outside the cluster may not reach it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use super::call::breaks_connection;
use super::error::Error;
use super::options::{Options, OptionsError};
use crate::connect::{Connector, Resolver};

/// A named leader that could not be reached is not tried again for this long.
const HINT_REST: Duration = Duration::from_secs(30);

/// At most this many unreachable leaders are remembered; a store has seven members at most.
const HINTS_RESTING_MAX: usize = 16;

/// All endpoints of one client.
#[derive(Debug)]
pub(super) struct Endpoints {
    channels: Channels,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    given: Vec<Slot>,
    leader: Option<Slot>,
    /// Which one is asked next: an index into `given`.
    current: usize,
    resting: HashMap<String, Instant>,
    /// A leader that was heard of and is being tried.
    trying: Option<String>,
    /// Counts channels, so that only the first of many failures replaces one.
    made: u64,
}

#[derive(Debug, Clone)]
struct Slot {
    address: String,
    channel: Channel,
    made: u64,
}

impl State {
    /// This leader is of no use for a while.
    fn rest(&mut self, leader: &str) {
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        if self.resting.len() < HINTS_RESTING_MAX {
            self.resting.insert(leader.to_owned(), now + HINT_REST);
        }
    }
}

/// What an attempt is made with.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) address: String,
    pub(super) channel: Channel,
    made: u64,
}

impl Endpoints {
    pub(super) fn new(options: &Options) -> Result<Self, OptionsError> {
        if options.endpoints.is_empty() {
            return Err(OptionsError::NoEndpoint);
        }
        let channels = Channels {
            connect_timeout: options.connect_timeout,
            keepalive_interval: options.keepalive_interval,
            resolver: Resolver::system(),
        };
        let given = options
            .endpoints
            .iter()
            .map(|address| {
                Ok(Slot { address: address.clone(), channel: channels.channel(address)?, made: 0 })
            })
            .collect::<Result<Vec<_>, OptionsError>>()?;
        let state = State {
            given,
            leader: None,
            current: 0,
            resting: HashMap::new(),
            trying: None,
            made: 0,
        };
        Ok(Self { channels, state: Mutex::new(state) })
    }

    /// How many endpoints were given.
    pub(super) fn count(&self) -> usize {
        self.state().given.len()
    }

    /// What to ask now: the leader if one was learnt, else the endpoint that answered last.
    pub(super) fn current(&self) -> Target {
        let state = self.state();
        let slot = state.leader.as_ref().unwrap_or(&state.given[state.current]);
        Target { address: slot.address.clone(), channel: slot.channel.clone(), made: slot.made }
    }

    /// A channel to this endpoint, shared if it is one of the client's.
    pub(super) fn channel(&self, address: &str) -> Result<Channel, OptionsError> {
        let shared = self
            .state()
            .given
            .iter()
            .find(|slot| slot.address == address)
            .map(|slot| slot.channel.clone());
        shared.map_or_else(|| self.channels.channel(address), Ok)
    }

    /// Chooses whom to ask next after an attempt, or a call that had been opened, failed with this: the leader if the
    /// server named one, else another endpoint.
    pub(super) fn move_on(&self, target: &Target, error: &Error) {
        let learnt = error
            .leader_hint()
            .is_some_and(|leader| leader != target.address && self.learnt(leader));
        if !learnt {
            self.failed(target, breaks_connection(error));
        }
    }

    /// Moves on after an attempt failed. `broken` says that the connection, or whoever is at its other
    /// end, is of no use: the next attempt at this endpoint connects anew, which behind a Kubernetes
    /// Service may well reach another node.
    fn failed(&self, target: &Target, broken: bool) {
        let mut state = self.state();
        if state
            .leader
            .as_ref()
            .is_some_and(|leader| leader.made == target.made && leader.address == target.address)
        {
            state.leader = None;
            if broken {
                state.rest(&target.address);
            }
            return;
        }
        let current = state.current;
        if state.leader.is_some()
            || state.given[current].address != target.address
            || state.given[current].made != target.made
        {
            // Another call has already moved on from here.
            return;
        }
        if broken && let Ok(channel) = self.channels.channel(&target.address) {
            state.made += 1;
            state.given[current].made = state.made;
            state.given[current].channel = channel;
        }
        state.current = (current + 1) % state.given.len();
    }

    /// Takes up a server's word on where the leader is. False: the hint is of no use, move on.
    fn learnt(&self, leader: &str) -> bool {
        let mut state = self.state();
        if let Some(index) = state.given.iter().position(|slot| slot.address == leader) {
            state.current = index;
            state.leader = None;
            return true;
        }
        if state.resting.get(leader).is_some_and(|until| *until > Instant::now()) {
            return false;
        }
        let Ok(channel) = self.channels.channel(leader) else { return false };
        state.made += 1;
        state.leader = Some(Slot { address: leader.to_owned(), channel, made: state.made });
        true
    }

    /// A server does what is asked, but says that the leader, which is elsewhere, could do it quicker. A channel to try it
    /// with, unless that is being done, was of no use lately, or is what is asked already; [`Self::tried`] has to be
    /// told.
    pub(super) fn try_leader(&self, leader: &str) -> Option<Channel> {
        let mut state = self.state();
        let asked = state.leader.as_ref().unwrap_or(&state.given[state.current]);
        let rests = state.resting.get(leader).is_some_and(|until| *until > Instant::now());
        if asked.address == leader || rests || state.trying.is_some() {
            return None;
        }
        let given = state.given.iter().find(|slot| slot.address == leader);
        let channel = match given {
            Some(slot) => slot.channel.clone(),
            None => self.channels.channel(leader).ok()?,
        };
        state.trying = Some(leader.to_owned());
        Some(channel)
    }

    /// What came of trying a leader: `None`, it cannot be reached from here.
    pub(super) fn tried(&self, leader: &str, channel: Option<Channel>) {
        let mut state = self.state();
        state.trying = None;
        let Some(channel) = channel else {
            state.rest(leader);
            return;
        };
        if let Some(index) = state.given.iter().position(|slot| slot.address == leader) {
            state.current = index;
            state.leader = None;
            return;
        }
        state.made += 1;
        let made = state.made;
        state.leader = Some(Slot { address: leader.to_owned(), channel, made });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic half-way, so a poisoned state is a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How channels are made.
#[derive(Debug)]
struct Channels {
    connect_timeout: Duration,
    keepalive_interval: Duration,
    resolver: Resolver,
}

impl Channels {
    /// A channel that connects when it is first used.
    fn channel(&self, address: &str) -> Result<Channel, OptionsError> {
        let invalid = || OptionsError::InvalidEndpoint { endpoint: address.to_owned() };
        let uri: http::Uri = format!("http://{address}").parse().map_err(|_| invalid())?;
        let names_both =
            uri.host().is_some_and(|host| !host.is_empty()) && uri.port_u16().is_some();
        let names_more = uri.path() != "/"
            || uri.query().is_some()
            || address.contains('@')
            || address.ends_with('/');
        if !names_both || names_more {
            return Err(invalid());
        }
        let endpoint = Endpoint::from(uri)
            .http2_keep_alive_interval(self.keepalive_interval)
            .keep_alive_timeout(self.keepalive_interval)
            .keep_alive_while_idle(true);
        let connector = Connector::new(self.resolver.clone(), self.connect_timeout);
        Ok(endpoint.connect_with_connector_lazy(connector))
    }
}
