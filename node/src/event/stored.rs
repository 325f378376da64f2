//! A record in its place: what apply assigned to it, and what may have been removed of it since.

use super::{EventSpan, RecordView};

/// A record, and what apply assigned to it. The same in memory and in sealed files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// The events that are still there; at least one.
    pub record: RecordView,
    /// The position of the record's first event, removed or not.
    pub first_position: u64,
    /// The version of the record's first event, removed or not.
    pub first_version: u64,
    /// When the leader took the append, microseconds since 1970 UTC.
    pub epoch_us: u64,
    /// Leading events whose bytes were reclaimed. They keep their positions and versions.
    pub removed: u32,
}

impl StoredRecord {
    /// How many positions and versions the record takes.
    pub fn events_len(&self) -> u64 {
        u64::from(self.removed) + u64::from(self.record.events_len())
    }

    /// The position after the last event's.
    pub fn end_position(&self) -> u64 {
        self.first_position + self.events_len()
    }

    /// The version of the last event.
    pub fn last_version(&self) -> u64 {
        self.first_version + self.events_len() - 1
    }

    /// Whether the version is one of the record's, removed or not.
    pub fn has_version(&self, version: u64) -> bool {
        (self.first_version..=self.last_version()).contains(&version)
    }

    /// The number (removed ones counted, from 0) of each event that is still there, in order, and where it lies.
    pub fn spans(&self) -> impl Iterator<Item = (u32, EventSpan)> + '_ {
        (self.removed..).zip(self.record.spans())
    }

    /// Where the event with this number (removed ones counted, from 0) lies; `None`: it is not there any more,
    /// or never was.
    pub fn span(&self, index: u32) -> Option<EventSpan> {
        let left = index.checked_sub(self.removed)?;
        self.record.spans().nth(left as usize)
    }
}
