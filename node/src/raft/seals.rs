//! The last seals of this member, with the digests of its contents there, so that it can be compared with replicas that
//! are a few seals ahead or behind. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::limits;
use crate::storage::Checkpoint;

/// What was sealed, up to a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// The number of the seal.
    pub seal: u64,
    /// Every position below it is sealed.
    pub position: u64,
    /// Of everything that was sealed so far.
    pub digest: [u8; 32],
}

/// The last ones, at most [`limits::SEALS_REMEMBERED`]. Cheap to clone; clones are the same list.
#[derive(Debug, Clone, Default)]
pub struct Seals(Arc<Mutex<VecDeque<Seal>>>);

impl Seals {
    /// This member sealed, or had sealed before it was started. What does not go further is known already.
    pub fn sealed(&self, checkpoint: &Checkpoint) {
        let mut seals = self.0.lock();
        if seals.back().is_some_and(|last| last.seal >= checkpoint.seal) {
            return;
        }
        if seals.len() == limits::SEALS_REMEMBERED {
            seals.pop_front();
        }
        seals.push_back(Seal {
            seal: checkpoint.seal,
            position: checkpoint.end_position,
            digest: checkpoint.digest,
        });
    }

    /// Another member's checkpoint took the place of this member's state: what it had sealed itself counts no more.
    pub fn replaced(&self, checkpoint: &Checkpoint) {
        self.0.lock().clear();
        self.sealed(checkpoint);
    }

    /// The last seals, oldest first.
    pub fn last(&self) -> Vec<Seal> {
        self.0.lock().iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::storage::LogPosition;

    fn checkpoint(seal: u64) -> Checkpoint {
        Checkpoint {
            seal,
            end_position: seal * 10,
            applied: LogPosition::default(),
            membership: Bytes::new(),
            state: Bytes::new(),
            local_state: Bytes::new(),
            digest: [seal as u8; 32],
            records: Vec::new(),
            runs: Vec::new(),
        }
    }

    fn numbers(seals: &Seals) -> Vec<u64> {
        seals.last().iter().map(|seal| seal.seal).collect()
    }

    #[test]
    fn the_last_seals_are_remembered_once_and_in_order() {
        let seals = Seals::default();
        for seal in [1, 2, 2, 1, 3] {
            seals.sealed(&checkpoint(seal));
        }
        assert_eq!(numbers(&seals), [1, 2, 3]);
        for seal in 4..=limits::SEALS_REMEMBERED as u64 + 2 {
            seals.sealed(&checkpoint(seal));
        }
        let last = seals.last();
        assert_eq!(last.len(), limits::SEALS_REMEMBERED);
        assert_eq!((last[0].seal, last[0].position), (3, 30));
    }

    #[test]
    fn what_was_sealed_before_a_checkpoint_of_another_member_counts_no_more() {
        let seals = Seals::default();
        seals.sealed(&checkpoint(1));
        seals.replaced(&checkpoint(7));
        assert_eq!(numbers(&seals), [7]);
        seals.sealed(&checkpoint(2));
        assert_eq!(numbers(&seals), [7], "a seal that was under way meanwhile is not the next one");
    }
}
