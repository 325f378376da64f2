//! The state machine as openraft drives it: hands committed groups to the engine and tells who waits how far
//! it has come. Decides nothing itself.

use std::io;

use futures::{Stream, StreamExt as _};
use openraft::entry::RaftEntry as _;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;

use super::types::{GroupOutcome, LogId, StoredMembership, TypeConfig};
use crate::engine::LogPosition;
pub use crate::engine::SharedEngine;

/// How far apply has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// The last applied log index plus one; 0: nothing yet.
    pub next_index: u64,
    /// Every position below this one is readable.
    pub next_position: u64,
}

/// Applies committed entries to the engine.
#[derive(Debug)]
pub struct StateMachine {
    engine: SharedEngine,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    progress: watch::Sender<Applied>,
}

impl StateMachine {
    /// An empty state machine; the log is replayed into it.
    pub fn new(engine: SharedEngine) -> (Self, watch::Receiver<Applied>) {
        let (progress, watched) = watch::channel(Applied::default());
        let membership = StoredMembership::default();
        (Self { engine, last_applied: None, membership, progress }, watched)
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = ();
    type SnapshotBuilder = NoSnapshots;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let log_id = entry.log_id();
            let (outcome, next_position) = match entry.payload {
                EntryPayload::Blank => (GroupOutcome::default(), None),
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(log_id), membership);
                    (GroupOutcome::default(), None)
                }
                EntryPayload::Normal(group) => {
                    let mut engine = self.engine.write();
                    let position = LogPosition {
                        term: log_id.committed_leader_id().term,
                        index: log_id.index(),
                    };
                    let outcomes = engine.apply_group(&group.0, position).map_err(|error| {
                        io::Error::new(
                            io::ErrorKind::InvalidData,
                            format!(
                                "the group at log index {} cannot be applied: {error}",
                                log_id.index()
                            ),
                        )
                    })?;
                    (GroupOutcome(outcomes), Some(engine.next_position()))
                }
            };
            self.last_applied = Some(log_id);
            // Readers see the new position before the writer is told, so that a caller always reads its own write.
            self.progress.send_modify(|applied| {
                applied.next_index = log_id.index() + 1;
                applied.next_position = next_position.unwrap_or(applied.next_position);
            });
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<NoSnapshots> {
        None
    }

    async fn get_snapshot_builder(&mut self) -> NoSnapshots {
        NoSnapshots
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMetaOf<TypeConfig>,
        _snapshot: (),
    ) -> io::Result<()> {
        Err(no_snapshots())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, ()>>> {
        Ok(None)
    }
}

/// Logs are kept whole, so there is nothing to build a snapshot from or for.
#[derive(Debug)]
pub struct NoSnapshots;

impl RaftSnapshotBuilder<TypeConfig> for NoSnapshots {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, ()>> {
        Err(no_snapshots())
    }
}

fn no_snapshots() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "snapshots do not exist while logs are kept whole")
}
