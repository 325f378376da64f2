//! Which checkpoints are under way to other members: the log behind them must stay until they have arrived, or the
//! member would need another one at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// The checkpoints that this member is sending. Cheap to clone; clones share the list.
#[derive(Debug, Clone, Default)]
pub struct SnapshotSends {
    sends: Arc<Mutex<Sends>>,
}

#[derive(Debug, Default)]
struct Sends {
    next: u64,
    /// The last log index that each checkpoint has, by the number of its sending.
    indexes: BTreeMap<u64, u64>,
}

impl SnapshotSends {
    /// Notes a sending for as long as the guard lives. `index` is the last log index that the checkpoint has.
    pub fn begin(&self, index: u64) -> Sending {
        let mut sends = self.sends.lock();
        let number = sends.next;
        sends.next += 1;
        sends.indexes.insert(number, index);
        Sending { sends: Arc::clone(&self.sends), number }
    }

    /// The least last index of all that are under way; the greatest number when there is none.
    pub fn oldest_index(&self) -> u64 {
        self.sends.lock().indexes.values().copied().min().unwrap_or(u64::MAX)
    }
}

/// One sending under way.
#[derive(Debug)]
pub struct Sending {
    sends: Arc<Mutex<Sends>>,
    number: u64,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.sends.lock().indexes.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_behind_the_oldest_sending_stays_until_it_ends() {
        let sends = SnapshotSends::default();
        assert_eq!(sends.oldest_index(), u64::MAX);
        let old = sends.begin(7);
        let same = sends.begin(7);
        let new = sends.begin(9);
        assert_eq!(sends.oldest_index(), 7);
        drop(old);
        assert_eq!(sends.oldest_index(), 7);
        drop(same);
        assert_eq!(sends.oldest_index(), 9);
        drop(new);
        assert_eq!(sends.oldest_index(), u64::MAX);
    }
}
