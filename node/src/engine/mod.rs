//! The state machine: committed groups of commands in, outcomes out, and reads of what is there.
//!
//! A pure function of the groups applied: it knows no clock (the proposer stamps time), no randomness, no
//! `async`, no network and no disk. So every node that applied the same log holds the same state. Apply
//! changes only the overlay and a small state, and costs microseconds an event.

#![deny(clippy::disallowed_methods)]

mod append;
mod command;
mod group;
mod outcome;
mod overlay;
mod page;
mod read;
mod small_state;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use append::Decision;
pub use command::{Command, CorruptCommand, Expectation, StreamAppend};
pub use group::{CorruptGroup, Group, encode_group};
pub use outcome::{Appended, Outcome, Refusal};
use overlay::Overlay;
pub use page::{Direction, Page, RecordedEvent, StreamPage, StreamSummary};
use small_state::SmallState;

use crate::event::StoredRecord;

/// The store's state on one node.
#[derive(Debug, Default)]
pub struct Engine {
    overlay: Overlay,
    state: SmallState,
}

impl Engine {
    /// Applies one committed group: one outcome per command, in order. The overlay keeps slices of the
    /// group's bytes. A group that cannot be read in full changes nothing.
    pub fn apply_group(&mut self, group: &Bytes) -> Result<Vec<Outcome>, CorruptGroup> {
        let Group { epoch_us, commands } = Group::decode(group)?;
        let commands = commands
            .iter()
            .enumerate()
            .map(|(index, command)| {
                Command::decode(command).map_err(|source| CorruptGroup::Command { index, source })
            })
            .collect::<Result<Vec<_>, _>>()?;

        let position_before = self.state.next_position;
        self.state.epoch_us = self.state.epoch_us.max(epoch_us);
        let outcomes = commands.into_iter().map(|command| self.apply(command)).collect();
        if self.state.next_position > position_before {
            self.overlay.add_group_bytes(group.len());
        }
        Ok(outcomes)
    }

    /// The position that the next event takes; every position below it is readable.
    pub const fn next_position(&self) -> u64 {
        self.state.next_position
    }

    /// The newest group's time, microseconds since 1970 UTC; 0 before the first.
    pub const fn epoch_us(&self) -> u64 {
        self.state.epoch_us
    }

    /// How many events there are, those of the server's own streams left out.
    pub const fn events(&self) -> u64 {
        self.state.events
    }

    /// How many streams there are, the server's own left out.
    pub const fn streams(&self) -> u64 {
        self.state.streams
    }

    /// Memory that unsealed events and their indexes take, in bytes; an estimate on the high side.
    pub const fn overlay_bytes(&self) -> u64 {
        self.overlay.bytes()
    }

    /// Whether the store is open to clients.
    pub const fn activated(&self) -> bool {
        self.state.activated
    }

    fn apply(&mut self, command: Command) -> Outcome {
        match command {
            Command::Append { appends } => match append::decide(self, &appends) {
                Decision::Assign => Outcome::Appended(self.assign(appends)),
                Decision::Repeated(appended) => Outcome::Appended(appended),
                Decision::Refused(refusal) => Outcome::Refused(refusal),
            },
            Command::Activate => {
                self.state.activated = true;
                Outcome::Activated
            }
            Command::AllocateNodeId { volume_id } => self.state.allocate_node_id(&volume_id),
        }
    }

    /// Gives every event of the append its version and position. Nothing can be refused any more.
    fn assign(&mut self, appends: Vec<StreamAppend>) -> Appended {
        let first_position = self.state.next_position;
        let epoch_us = self.state.epoch_us;
        let mut last_versions = Vec::with_capacity(appends.len());
        for StreamAppend { record, .. } in appends {
            let last_version = self.last_version(record.stream_id());
            let stored = StoredRecord {
                first_position: self.state.next_position,
                first_version: last_version.map_or(0, |last| last + 1),
                epoch_us,
                removed: 0,
                record,
            };
            if !stored.record.is_system() {
                self.state.events += u64::from(stored.record.events_len());
                self.state.streams += u64::from(last_version.is_none());
            }
            self.state.next_position = stored.end_position();
            last_versions.push(stored.last_version());
            self.overlay.push(stored);
        }
        let last_position = self.state.next_position - 1;
        Appended { last_versions, first_position, last_position, epoch_us }
    }

    /// The version of the stream's last event; `None`: it has never had one.
    fn last_version(&self, stream_id: &str) -> Option<u64> {
        self.overlay.stream(stream_id).map(|stream| stream.last().last_version())
    }
}
