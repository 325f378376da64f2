//! How a store stands, in the words its conditions use.

/// The reasons of the conditions, and of the events that go with them.
pub mod reason {
    /// Everything is as wanted.
    pub const READY: &str = "AllMembersReady";
    /// The objects are being made.
    pub const CREATING: &str = "Creating";
    /// The first member is being made.
    pub const INITIALISING: &str = "Initialising";
    /// Volumes of an earlier store of this name are being taken over.
    pub const ADOPTING: &str = "AdoptingVolumes";
    /// Pods have not come up yet.
    pub const WAITING_FOR_PODS: &str = "WaitingForPods";
    /// Voters are being added.
    pub const SCALING_UP: &str = "ScalingUp";
    /// Voters are being removed.
    pub const SCALING_DOWN: &str = "ScalingDown";
    /// A step of scaling would cost the quorum, so it waits.
    pub const SCALE_REFUSED: &str = "ScaleRefused";
    /// A member that lost its volume is being replaced.
    pub const REPLACING_MEMBER: &str = "ReplacingMember";
    /// Pods are being replaced by newer ones.
    pub const ROLLING_UPDATE: &str = "RollingUpdate";
    /// A pod of the newest template does not come up, so no other is given it.
    pub const ROLLOUT_PAUSED: &str = "RolloutPaused";
    /// Some members are not up.
    pub const MEMBERS_UNREADY: &str = "MembersUnready";
    /// There is no leader.
    pub const NO_QUORUM: &str = "NoQuorum";
    /// The volumes of the store are gone.
    pub const VOLUMES_LOST: &str = "VolumesLost";
    /// Volumes of different stores are mounted.
    pub const SEVERAL_STORES: &str = "SeveralClusterIDs";
    /// Members contradict each other, and nobody may touch them before a person has looked.
    pub const SPLIT_BRAIN: &str = "SplitBrain";
    /// The user asked for no pods.
    pub const HIBERNATED: &str = "Hibernated";
    /// The pods of a store that is to have none are going.
    pub const HIBERNATING: &str = "Hibernating";
    /// Somebody deleted a store that its specification protects.
    pub const DELETION_PROTECTED: &str = "DeletionProtected";
    /// The user asked for no changes.
    pub const PAUSED: &str = "Paused";
    /// The store is being deleted.
    pub const DELETING: &str = "Deleting";
    /// An operation takes longer than it should.
    pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
}

/// How a store stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// One of [`reason`].
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
    /// Whether a majority has a leader; `None` before the store exists or when nobody looked.
    pub quorum: Option<bool>,
}

/// Which way a store is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As wanted.
    Settled,
    /// On its way.
    Working,
    /// It cannot go on without a person.
    Stalled,
    /// Left alone by request.
    Paused,
}

impl Verdict {
    pub(super) fn settled(message: impl Into<String>) -> Self {
        Self::as_wanted(reason::READY, message)
    }

    pub(super) fn as_wanted(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Outcome::Settled, reason, message)
    }

    pub(super) fn working(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Outcome::Working, reason, message)
    }

    pub(super) fn stalled(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Outcome::Stalled, reason, message)
    }

    pub(super) fn paused() -> Self {
        Self::new(Outcome::Paused, reason::PAUSED, "spec.paused is set: nothing is changed.")
    }

    pub(super) fn with_quorum(mut self, quorum: bool) -> Self {
        self.quorum = Some(quorum);
        self
    }

    /// The same, when the objects were only just changed: what was seen was their state before.
    #[must_use]
    pub fn of_changed_objects(self) -> Self {
        match self.outcome {
            Outcome::Settled => Self {
                quorum: self.quorum,
                ..Self::working(reason::ROLLING_UPDATE, "The objects were changed.")
            },
            _ => self,
        }
    }

    fn new(outcome: Outcome, reason: &'static str, message: impl Into<String>) -> Self {
        Self { outcome, reason, message: message.into(), quorum: None }
    }
}
