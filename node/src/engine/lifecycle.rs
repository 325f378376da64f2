//! The life of streams: deletion, tombstones, truncation. Each takes effect in the stream's head, and is told
//! by an event in `$streams`.

use super::Engine;
use super::error::ReadError;
use super::expectation::Expectation;
use super::head::{Head, StreamStatus};
use super::notice::{NOTICES_STREAM, StreamChange, notice_record};
use super::outcome::{Outcome, Removed};
use super::refusal::Refusal;
use super::removals::Removal;
use crate::event::has_control;

impl Engine {
    /// A stream that is deleted already stays as it is, and the answer is the first one's.
    pub(super) fn delete(
        &mut self,
        stream_id: &str,
        expectation: Expectation,
    ) -> Result<Outcome, ReadError> {
        let head = self.head(stream_id)?;
        let unexpected = || Refusal::unexpected(stream_id, expectation, head.as_ref());
        let refusal = match &head {
            None if expectation.is_met(None) => not_found(stream_id),
            Some(Head { status: StreamStatus::Tombstoned, .. }) => tombstoned(stream_id),
            Some(head) if head.status == StreamStatus::Deleted && names(expectation, head) => {
                return Ok(Outcome::Deleted(removed(head)));
            }
            Some(head) if expectation.is_met(Some(head)) => {
                let removed = self.remove_all(stream_id, *head, StreamStatus::Deleted)?;
                return Ok(Outcome::Deleted(removed));
            }
            None | Some(_) => unexpected(),
        };
        Ok(Outcome::Refused(refusal))
    }

    /// Also a name that was never used can be tombstoned. Again, the answer is the first one's.
    pub(super) fn tombstone(
        &mut self,
        stream_id: &str,
        expectation: Expectation,
    ) -> Result<Outcome, ReadError> {
        if has_control(stream_id) {
            return Ok(Outcome::Refused(Refusal::InvalidName { name: stream_id.to_owned() }));
        }
        let head = self.head(stream_id)?;
        if let Some(head) = &head
            && head.status == StreamStatus::Tombstoned
        {
            return Ok(if names(expectation, head) {
                Outcome::Tombstoned(removed(head))
            } else {
                Outcome::Refused(tombstoned(stream_id))
            });
        }
        if !expectation.is_met(head.as_ref()) {
            let refusal = Refusal::unexpected(stream_id, expectation, head.as_ref());
            return Ok(Outcome::Refused(refusal));
        }
        let head = head.unwrap_or(Head::unused());
        let removed = self.remove_all(stream_id, head, StreamStatus::Tombstoned)?;
        Ok(Outcome::Tombstoned(removed))
    }

    /// Versions below `before_version` go. A stream that begins there or later already stays as it is.
    pub(super) fn truncate(
        &mut self,
        stream_id: &str,
        before_version: u64,
        expectation: Expectation,
    ) -> Result<Outcome, ReadError> {
        let found = self.head(stream_id)?;
        let unexpected = || Refusal::unexpected(stream_id, expectation, found.as_ref());
        let refusal = match found {
            None if expectation.is_met(None) => not_found(stream_id),
            None => unexpected(),
            Some(Head { status: StreamStatus::Tombstoned, .. }) => tombstoned(stream_id),
            Some(head) if !expectation.is_met(Some(&head)) => unexpected(),
            Some(Head { status: StreamStatus::Deleted, .. }) => {
                Refusal::StreamDeleted { stream_id: stream_id.to_owned() }
            }
            Some(head) if before_version > head.next_version => Refusal::TruncateBeyondEnd {
                stream_id: stream_id.to_owned(),
                before_version,
                next_version: head.next_version,
            },
            Some(head) if before_version <= head.first_version => {
                return Ok(Outcome::Truncated(removed(&head)));
            }
            Some(mut head) => {
                let notices = self.head(NOTICES_STREAM)?;
                head.first_epoch_us = self.epoch_of_version(stream_id, &head, before_version)?;
                let gone = before_version - head.first_version;
                head.first_version = before_version;
                self.state.count_removed(stream_id, gone, false);
                let removed = self.note(StreamChange::Truncated, stream_id, head, notices);
                return Ok(Outcome::Truncated(removed));
            }
        };
        Ok(Outcome::Refused(refusal))
    }

    /// The time of the first event that can be read from a version on; 0: there is none.
    fn epoch_of_version(
        &self,
        stream_id: &str,
        head: &Head,
        version: u64,
    ) -> Result<u64, ReadError> {
        if version == head.next_version {
            return Ok(0);
        }
        let missing = || ReadError::VersionMissing { stream_id: stream_id.to_owned(), version };
        let stored = self.stream_record(stream_id, version)?.ok_or_else(missing)?;
        Ok(stored.epoch_us)
    }

    fn remove_all(
        &mut self,
        stream_id: &str,
        mut head: Head,
        status: StreamStatus,
    ) -> Result<Removed, ReadError> {
        let notices = self.head(NOTICES_STREAM)?;
        let existed = head.status == StreamStatus::Live && head.next_version > 0;
        self.state.count_removed(stream_id, head.events(), existed);
        head.status = status;
        head.first_version = head.next_version;
        head.first_epoch_us = 0;
        let change = match status {
            StreamStatus::Tombstoned => StreamChange::Tombstoned,
            StreamStatus::Deleted | StreamStatus::Live => StreamChange::Deleted,
        };
        Ok(self.note(change, stream_id, head, notices))
    }

    /// Puts the head in force and writes the notice. Nothing can fail any more: `notices` is the head of the
    /// stream of notices.
    fn note(
        &mut self,
        change: StreamChange,
        stream_id: &str,
        mut head: Head,
        notices: Option<Head>,
    ) -> Removed {
        let position = self.state.next_position;
        head.noticed_at = Some(position);
        let record = notice_record(change, stream_id, &head, position);
        self.active.set_head(stream_id, head);
        let removal = Removal { first_version: head.first_version, before_position: position };
        if head.next_version > 0 {
            self.removals.note(stream_id, removal);
        }
        // The stream of notices may itself be what was changed just now.
        let notices = self.active.head_here(NOTICES_STREAM).copied().or(notices);
        self.active.add_record_bytes(record.bytes().len());
        self.push(record, notices);
        removed(&head)
    }
}

/// Whether a repeated removal speaks of the stream as it is: only another exact version does not.
fn names(expectation: Expectation, head: &Head) -> bool {
    match expectation {
        Expectation::Exact(version) => head.last_version() == Some(version),
        Expectation::Any | Expectation::NoStream | Expectation::StreamExists => true,
    }
}

/// The answer about a stream that has this head now.
fn removed(head: &Head) -> Removed {
    Removed {
        first_version: head.first_version,
        last_version: head.last_version(),
        position: head.noticed_at.unwrap_or(head.last_position),
    }
}

fn not_found(stream_id: &str) -> Refusal {
    Refusal::StreamNotFound { stream_id: stream_id.to_owned() }
}

fn tombstoned(stream_id: &str) -> Refusal {
    Refusal::StreamTombstoned { stream_id: stream_id.to_owned() }
}
