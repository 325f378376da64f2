//! The faults there are, and how often each is drawn.

use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::bugs::Bug;

/// One way to disturb a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Crash,
    PowerLoss,
    Restart,
    Isolation,
    OneWayPartition,
    Pause,
    MessageLoss,
    MessageDelay,
    SlowDisk,
    FullDisk,
    Transfer,
    Checkpoint,
    NewMember,
    VolumeLoss,
    Damage,
    DiskError,
    ForgottenVote,
}

impl Fault {
    /// Every fault and its weight.
    const ALL: [(Self, u32); 17] = [
        (Self::Crash, 18),
        (Self::PowerLoss, 6),
        (Self::Restart, 7),
        (Self::Isolation, 14),
        (Self::OneWayPartition, 14),
        (Self::Pause, 8),
        (Self::MessageLoss, 8),
        (Self::MessageDelay, 6),
        (Self::SlowDisk, 8),
        (Self::FullDisk, 4),
        (Self::Transfer, 3),
        (Self::Checkpoint, 4),
        (Self::NewMember, 3),
        (Self::VolumeLoss, 3),
        (Self::Damage, 5),
        (Self::DiskError, 4),
        (Self::ForgottenVote, 4),
    ];

    /// The next fault. When a bug is looked for, every other one is what brings it out.
    pub fn draw(chance: &mut StdRng, bug: Option<Bug>) -> Self {
        if let Some(fault) = bug.and_then(Bug::brought_out_by)
            && chance.random()
        {
            return fault;
        }
        let weights: u32 = Self::ALL.iter().map(|(_, weight)| weight).sum();
        let mut drawn = chance.random_range(0..weights);
        for (fault, weight) in Self::ALL {
            if drawn < weight {
                return fault;
            }
            drawn -= weight;
        }
        unreachable!("a number below the sum of the weights falls into one of them")
    }

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash with loss of unsynced writes",
            Self::PowerLoss => "loss of power on all machines",
            Self::Restart => "stop and restart",
            Self::Isolation => "isolation from all other nodes",
            Self::OneWayPartition => "one-way partition",
            Self::Pause => "pause",
            Self::MessageLoss => "loss of messages",
            Self::MessageDelay => "delay of messages",
            Self::SlowDisk => "slow disk",
            Self::FullDisk => "full disk",
            Self::Transfer => "transfer of leadership",
            Self::Checkpoint => "checkpoint",
            Self::NewMember => "new member on an empty volume",
            Self::VolumeLoss => "loss of a volume",
            Self::Damage => "damage to a sealed file",
            Self::DiskError => "error of a disk",
            Self::ForgottenVote => "voters that lose their power once they have voted",
        }
    }
}
