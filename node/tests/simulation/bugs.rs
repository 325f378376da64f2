//! Known bugs, put back one at a time: a simulation that does not catch them proves nothing.
//!
//! Two of them the harness can play by itself, with a disk and a volume that do not keep what they promise. The others are
//! in the node's code behind the feature `planted-bugs`, which nothing but this test is ever built with.
//!
//! | bug | what is wrong | caught by |
//! |---|---|---|
//! | `ack-before-fsync` | the log's disk says that a sync is done, and does it later | `one-event-per-position`, `gapless-versions`, `appends-are-atomic`, `linearizable`; in a debug build also openraft's assertions (`no-panic`) |
//! | `vote-behind-log` | a vote is answered at once, and written behind the entries that follow it | `serves-again`, `nodes-live`; in a debug build also `no-panic` |
//! | `purge-mark-lost` | the log forgets up to where it was purged | `nodes-live`, `serves-again` |
//! | `read-without-read-index` | a leader reads without proof that it still leads | `real-time-order`, `linearizable` |
//! | `source-skips` | a source goes on behind events that it did not hand out | `nothing-is-skipped`, `keys-are-in-order`, `followers-miss-nothing` |
//! | `in-flight-is-done` | a subscription's checkpoint counts what consumers hold as done | `nothing-is-skipped`, `keys-are-in-order`, `what-is-done-stays-done` |
//! | `pending-forgotten` | a new leader does not deliver what was pending before the checkpoint | `nothing-is-skipped`, `keys-are-in-order` |
//! | `wake-forgotten` | some new events wake nobody | `all-is-delivered` |
//! | `retry-overtaken` | an event that is tried again comes behind the others of its key | `keys-are-in-order` |
//! | `refresh-lost` | what is decided after its caller has gone is not told to those who deliver | `all-is-delivered` |
//! | `node-id-reused` | an emptied volume comes back under its old node id | `serves-again`, `linearizable`, `real-time-order`; in a debug build also `no-panic`, `nodes-live` |

use std::str::FromStr;

use anyhow::bail;

use crate::faults::Fault;

/// A bug that is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    AckBeforeFsync,
    VoteBehindLog,
    PurgeMarkLost,
    ReadWithoutReadIndex,
    NodeIdReused,
    SourceSkips,
    InFlightIsDone,
    PendingForgotten,
    WakeForgotten,
    RetryOvertaken,
    RefreshLost,
}

impl Bug {
    const ALL: [Self; 11] = [
        Self::AckBeforeFsync,
        Self::VoteBehindLog,
        Self::PurgeMarkLost,
        Self::ReadWithoutReadIndex,
        Self::NodeIdReused,
        Self::SourceSkips,
        Self::InFlightIsDone,
        Self::PendingForgotten,
        Self::WakeForgotten,
        Self::RetryOvertaken,
        Self::RefreshLost,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeFsync => "ack-before-fsync",
            Self::VoteBehindLog => "vote-behind-log",
            Self::PurgeMarkLost => "purge-mark-lost",
            Self::ReadWithoutReadIndex => "read-without-read-index",
            Self::NodeIdReused => "node-id-reused",
            Self::SourceSkips => "source-skips",
            Self::InFlightIsDone => "in-flight-is-done",
            Self::PendingForgotten => "pending-forgotten",
            Self::WakeForgotten => "wake-forgotten",
            Self::RetryOvertaken => "retry-overtaken",
            Self::RefreshLost => "refresh-lost",
        }
    }

    /// The fault that it takes, where no other would show it soon.
    pub const fn brought_out_by(self) -> Option<Fault> {
        match self {
            Self::VoteBehindLog => Some(Fault::ForgottenVote),
            Self::NodeIdReused => Some(Fault::VolumeLoss),
            // Somebody else has to lead, soon and often.
            Self::InFlightIsDone | Self::PendingForgotten => Some(Fault::Crash),
            Self::AckBeforeFsync
            | Self::PurgeMarkLost
            | Self::ReadWithoutReadIndex
            | Self::SourceSkips
            | Self::WakeForgotten
            | Self::RetryOvertaken
            | Self::RefreshLost => None,
        }
    }

    /// Puts it back in this process, where that is the node's affair; false when the node was built without its bugs.
    pub fn plant(self) -> bool {
        #[cfg(feature = "planted-bugs")]
        {
            use reckon_node::planted::{self, Planted};
            let planted = match self {
                Self::AckBeforeFsync | Self::NodeIdReused => return true,
                Self::VoteBehindLog => Planted::VoteBehindLog,
                Self::PurgeMarkLost => Planted::PurgeMarkLost,
                Self::ReadWithoutReadIndex => Planted::ReadWithoutReadIndex,
                Self::SourceSkips => Planted::SourceSkips,
                Self::InFlightIsDone => Planted::InFlightIsDone,
                Self::PendingForgotten => Planted::PendingForgotten,
                Self::WakeForgotten => Planted::WakeForgotten,
                Self::RetryOvertaken => Planted::RetryOvertaken,
                Self::RefreshLost => Planted::RefreshLost,
            };
            planted::plant(planted);
            true
        }
        #[cfg(not(feature = "planted-bugs"))]
        matches!(self, Self::AckBeforeFsync | Self::NodeIdReused)
    }
}

impl FromStr for Bug {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let Some(bug) = Self::ALL.into_iter().find(|bug| bug.name() == name) else {
            let names: Vec<_> = Self::ALL.iter().map(|bug| bug.name()).collect();
            bail!("there is no bug {name}; there are {}", names.join(", "));
        };
        Ok(bug)
    }
}
