//! Apply: a committed group in, one outcome per command out. The same on every node.

use bytes::Bytes;

use super::Engine;
use super::append::{self, Decision};
use super::command::{Command, StreamAppend};
use super::error::{ApplyError, ReadError};
use super::group::{CorruptGroup, Group};
use super::head::{Head, StreamStatus};
use super::layer::record_at;
use super::outcome::{Appended, Outcome};
use crate::event::{RecordView, StoredRecord};
use crate::storage::LogPosition;

impl Engine {
    /// Applies one committed group: one outcome per command, in order. The overlay keeps slices of the
    /// group's bytes. A group that cannot be decoded in full changes nothing; one that needs a file which
    /// cannot be read is applied up to there, and then no other can be applied any more.
    pub fn apply_group(
        &mut self,
        group: &Bytes,
        applied: LogPosition,
    ) -> Result<Vec<Outcome>, ApplyError> {
        if self.poisoned {
            return Err(ApplyError::Poisoned);
        }
        let (epoch_us, commands) = decode(group)?;
        let position_before = self.state.next_position;
        self.state.epoch_us = self.state.epoch_us.max(epoch_us);
        let mut outcomes = Vec::with_capacity(commands.len());
        let mut seals = false;
        for (index, command) in commands.into_iter().enumerate() {
            let seal = command == Command::Seal;
            seals |= seal;
            self.changed |= !seal;
            match self.apply(command) {
                Ok(outcome) => outcomes.push(outcome),
                Err(source) => {
                    self.poisoned = true;
                    return Err(ApplyError::Read { index, source });
                }
            }
        }
        if self.state.next_position > position_before {
            self.active.add_record_bytes(group.len());
        }
        if seals {
            self.seal(applied);
            let sealed =
                Outcome::Sealed { seal: self.state.seals, position: self.state.next_position };
            for outcome in &mut outcomes {
                if matches!(outcome, Outcome::Sealed { .. }) {
                    *outcome = sealed.clone();
                }
            }
        }
        Ok(outcomes)
    }

    fn apply(&mut self, command: Command) -> Result<Outcome, ReadError> {
        Ok(match command {
            Command::Append { appends, condition } => {
                match append::decide(self, &appends, condition.as_ref())? {
                    Decision::Assign(heads) => Outcome::Appended(self.assign(appends, heads)),
                    Decision::Repeated(appended) => Outcome::Appended(appended),
                    Decision::Refused(refusal) => Outcome::Refused(refusal),
                }
            }
            Command::Delete { stream_id, expectation } => self.delete(&stream_id, expectation)?,
            Command::Tombstone { stream_id, expectation } => {
                self.tombstone(&stream_id, expectation)?
            }
            Command::Truncate { stream_id, before_version, expectation } => {
                self.truncate(&stream_id, before_version, expectation)?
            }
            // Which seal it is, is known at the end of the group.
            Command::Seal => Outcome::Sealed { seal: 0, position: 0 },
            Command::Activate => {
                self.state.activated = true;
                Outcome::Activated
            }
            Command::Subscription(command) => self.apply_subscription(command)?,
            Command::AllocateNodeId { volume_id } => self.state.allocate_node_id(&volume_id),
        })
    }

    /// Gives every event of the append its version and position. Nothing can be refused any more.
    fn assign(&mut self, appends: Vec<StreamAppend>, heads: Vec<Option<Head>>) -> Appended {
        let first_position = self.state.next_position;
        let mut last_versions = Vec::with_capacity(appends.len());
        for (StreamAppend { record, .. }, head) in appends.into_iter().zip(heads) {
            last_versions.push(self.push(record, head));
        }
        let last_position = self.state.next_position - 1;
        Appended { last_versions, first_position, last_position, epoch_us: self.state.epoch_us }
    }

    /// Takes a record in behind its stream's head; gives the version of its last event.
    pub(super) fn push(&mut self, record: RecordView, head: Option<Head>) -> u64 {
        let mut head = head.unwrap_or(Head::unused());
        let creates = head.next_version == 0 || head.status == StreamStatus::Deleted;
        let stored = StoredRecord {
            first_position: self.state.next_position,
            first_version: head.next_version,
            epoch_us: self.state.epoch_us,
            removed: 0,
            record,
        };
        let last_version = stored.last_version();
        if head.events() == 0 {
            head.first_epoch_us = stored.epoch_us;
        }
        head.status = StreamStatus::Live;
        head.next_version = last_version + 1;
        head.last_position = stored.end_position() - 1;
        head.last_epoch_us = stored.epoch_us;
        self.state.count_appended(stored.record.stream_id(), stored.events_len(), creates);
        self.state.next_position = stored.end_position();
        self.active.push(stored, head, creates);
        last_version
    }

    /// The readable event with this id: its record and its number in it.
    pub(super) fn find_event(
        &self,
        event_id: &[u8; 16],
    ) -> Result<Option<(StoredRecord, u32)>, ReadError> {
        for layer in self.ascending().rev() {
            let Some(place) = layer.place(event_id)? else { continue };
            // An id is used again only after its event was removed, so the newest place decides. Whether the
            // bytes of a removed event are still there may differ between nodes; what its head says does not.
            let Some(stored) = record_at(layer, place.record_position)? else { return Ok(None) };
            let version = stored.first_version + u64::from(place.index);
            let readable = version >= self.first_readable(stored.record.stream_id())?;
            return Ok(readable.then_some((stored, place.index)));
        }
        Ok(None)
    }

    /// The record that holds a version of a stream.
    pub(super) fn stream_record(
        &self,
        stream_id: &str,
        version: u64,
    ) -> Result<Option<StoredRecord>, ReadError> {
        for layer in self.ascending().rev() {
            if let Some(stored) = layer.stream_record_to(stream_id, version)? {
                return Ok((stored.last_version() >= version).then_some(stored));
            }
        }
        Ok(None)
    }
}

/// The group's time and its commands, all of them or none.
pub(super) fn decode(group: &Bytes) -> Result<(u64, Vec<Command>), CorruptGroup> {
    let Group { epoch_us, commands } = Group::decode(group)?;
    let commands = commands
        .iter()
        .enumerate()
        .map(|(index, command)| {
            Command::decode(command).map_err(|source| CorruptGroup::Command { index, source })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok((epoch_us, commands))
}
