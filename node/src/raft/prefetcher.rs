//! Reading ahead: the blocks of sealed files that applying a group will need are brought into memory while the group is
//! on its way to disks and peers, so that apply seldom waits for a disk.
//!
//! Looking up everything twice costs something too. So nothing is looked up while nearly everything is in memory anyway:
//! only after many blocks were missing, for as many commands as there were, the next groups are read ahead. What cannot
//! be done in time is left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use openraft::EntryPayload;
use tokio::sync::mpsc;

use super::types::{Entry, Group};
use crate::engine::{self, StateReader};
use crate::limits;
use crate::offload::Offload;
use crate::storage::Store;

/// Takes groups whose blocks are to be read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Prefetcher {
    groups: mpsc::Sender<Bytes>,
    store: Store,
    pressure: Arc<Pressure>,
}

impl Prefetcher {
    /// Starts reading ahead on the current runtime; it ends with the last handle.
    pub fn start(store: Store, reader: StateReader, offload: Offload) -> Self {
        let (groups, waiting) = mpsc::channel(limits::PREFETCH_QUEUED_MAX);
        tokio::spawn(run(waiting, reader, offload));
        Self { groups, store, pressure: Arc::default() }
    }

    /// As [`Self::offer`], for each group among entries.
    pub fn offer_entries(&self, entries: &[Entry]) {
        for entry in entries {
            if let EntryPayload::Normal(Group(group)) = &entry.payload {
                self.offer(group);
            }
        }
    }

    /// Has the blocks of a group read, if that may help and there is time for it.
    pub fn offer(&self, group: &Bytes) {
        let commands = u64::from(engine::commands_in(group));
        if self.pressure.calls_for_reading(self.store.blocks_read(), commands) {
            // When the queue is full, apply reads what it needs by itself.
            let _ = self.groups.try_send(group.clone());
        }
    }
}

async fn run(mut groups: mpsc::Receiver<Bytes>, reader: StateReader, offload: Offload) {
    while let Some(group) = groups.recv().await {
        let reader = reader.clone();
        offload.run(move || engine::prefetch(&group, &reader)).await;
    }
}

/// Whether blocks have been missing lately.
#[derive(Debug, Default)]
struct Pressure {
    blocks_read: AtomicU64,
    groups_left: AtomicU64,
}

impl Pressure {
    /// To be asked once per group, with how many blocks had to be read since the start, and the group's commands.
    fn calls_for_reading(&self, blocks_read: u64, commands: u64) -> bool {
        let missing =
            blocks_read.saturating_sub(self.blocks_read.swap(blocks_read, Ordering::Relaxed));
        if missing > 0 && missing * limits::PREFETCH_COMMANDS_PER_BLOCK >= commands {
            self.groups_left.store(limits::PREFETCHED_GROUPS, Ordering::Relaxed);
            return true;
        }
        let less = |left: u64| left.checked_sub(1);
        self.groups_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_ahead_only_for_a_while_after_a_block_was_missing() {
        let pressure = Pressure::default();
        assert!(!pressure.calls_for_reading(0, 1), "nothing was ever missing");
        assert!(pressure.calls_for_reading(3, 1));
        for group in 0..limits::PREFETCHED_GROUPS {
            assert!(pressure.calls_for_reading(3, 1), "group {group}");
        }
        assert!(!pressure.calls_for_reading(3, 1));
        assert!(pressure.calls_for_reading(4, 1));
    }

    #[test]
    fn few_missing_blocks_are_no_reason_to_look_up_many_commands_twice() {
        let pressure = Pressure::default();
        let commands = 2 * limits::PREFETCH_COMMANDS_PER_BLOCK;
        assert!(!pressure.calls_for_reading(1, commands));
        assert!(!pressure.calls_for_reading(2, commands));
        assert!(pressure.calls_for_reading(4, commands));
    }
}
