//! How a subscription stands, in the words its conditions use.

/// The reasons of the conditions, and of the events that go with them.
pub mod reason {
    /// Everything is as wanted.
    pub const REGISTERED: &str = "Registered";
    /// The store is being told.
    pub const REGISTERING: &str = "Registering";
    /// The store is being told of a change.
    pub const UPDATING: &str = "Updating";
    /// The store has another subscription under this name.
    pub const CONFLICT: &str = "Conflict";
    /// Another resource means the same subscription, and was there first.
    pub const NAME_TAKEN: &str = "NameTaken";
    /// The specification makes no subscription.
    pub const INVALID: &str = "Invalid";
    /// There is no such store.
    pub const STORE_NOT_FOUND: &str = "StoreNotFound";
    /// The store is being deleted.
    pub const STORE_DELETING: &str = "StoreDeleting";
    /// No node of the store answered.
    pub const STORE_UNREADY: &str = "StoreUnready";
    /// The pods of the sink deliver.
    pub const SINK_READY: &str = "SinkReady";
    /// The pods of the sink are coming up.
    pub const SINK_STARTING: &str = "SinkStarting";
    /// No pods are wanted.
    pub const SINK_SCALED_TO_ZERO: &str = "ScaledToZero";
    /// The pods of the sink do not come up.
    pub const SINK_STUCK: &str = "SinkStuck";
    /// A deployment of this name belongs to somebody else.
    pub const SINK_NAME_TAKEN: &str = "SinkNameTaken";
    /// A secret that the sink needs is not there.
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    /// The sink waits for the store to have the subscription.
    pub const NOT_REGISTERED: &str = "NotRegistered";
    /// The store does not take what it is told.
    pub const REFUSED: &str = "Refused";
    /// Something else did not succeed.
    pub const RECONCILE_FAILED: &str = "ReconcileFailed";
    /// The resource is being deleted.
    pub const DELETING: &str = "Deleting";
}

/// How a subscription stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the store has it as wanted.
    pub registered: Standing,
    /// Whether the sink's pods are as wanted; `None` without a sink.
    pub sink: Option<Standing>,
}

/// How one part stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub outcome: Outcome,
    /// One of [`reason`].
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// Which way a part is going, the better ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// As wanted.
    Settled,
    /// Nobody could be asked.
    Unknown,
    /// On its way, or waiting for something that may come.
    Working,
    /// It cannot go on without a person.
    Stalled,
}

impl Standing {
    pub(super) fn new(outcome: Outcome, reason: &'static str, message: impl Into<String>) -> Self {
        Self { outcome, reason, message: message.into() }
    }

    pub(super) fn settled(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Outcome::Settled, reason, message)
    }

    pub(super) fn working(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Outcome::Working, reason, message)
    }

    pub(super) fn stalled(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Outcome::Stalled, reason, message)
    }
}

impl Verdict {
    /// The part that decides how the whole stands: the registration, for which the sink waits, unless it is the sink that
    /// needs a person, or is all that is left to do.
    pub fn summary(&self) -> &Standing {
        match &self.sink {
            Some(sink)
                if sink.outcome > self.registered.outcome
                    && (sink.outcome == Outcome::Stalled
                        || self.registered.outcome == Outcome::Settled) =>
            {
                sink
            }
            _ => &self.registered,
        }
    }

    /// The same, when the deployment was only just changed: what was seen was its state before.
    #[must_use]
    pub fn of_changed_deployment(mut self) -> Self {
        if self.sink.as_ref().is_some_and(|sink| sink.outcome == Outcome::Settled) {
            let message = "The deployment of the sink was changed.";
            self.sink = Some(Standing::working(reason::SINK_STARTING, message));
        }
        self
    }
}
