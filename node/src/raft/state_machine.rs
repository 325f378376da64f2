//! The state machine as openraft drives it: hands committed groups to the engine, hands what the engine froze to the
//! sealer, and tells who waits how far it has come. Decides nothing itself.

use std::io;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use openraft::entry::RaftEntry as _;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};

use super::sealer::Frozen;
use super::seals::Seals;
use super::snapshot::{self, SnapshotData, decode_membership, log_id, log_position};
use super::types::{Group, GroupOutcome, LogId, StoredMembership, TypeConfig};
use crate::engine::{ApplyError, Engine};
use crate::offload::Offload;
use crate::storage::Store;

/// The engine as readers share it: apply writes, reads take bounded pages.
pub type SharedEngine = Arc<RwLock<Engine>>;

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
    store: Store,
    offload: Offload,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    progress: watch::Sender<Applied>,
    /// The number of the last seal whose files are part of the state.
    checkpoints: watch::Sender<u64>,
    seals: Seals,
    /// To the sealer, in the order of the log. Unbounded, since apply must not wait; what may be in it is bounded
    /// by the intake, which counts frozen overlays as memory in use.
    frozen: mpsc::UnboundedSender<Frozen>,
}

impl StateMachine {
    /// As the checkpoint left it; the log behind it is replayed into it.
    pub fn new(
        engine: SharedEngine,
        store: Store,
        offload: Offload,
        checkpoints: watch::Sender<u64>,
        seals: Seals,
        frozen: mpsc::UnboundedSender<Frozen>,
    ) -> io::Result<(Self, watch::Receiver<Applied>)> {
        let (last_applied, membership) = match store.checkpoint() {
            None => (None, StoredMembership::default()),
            Some(checkpoint) => {
                (Some(log_id(checkpoint.applied)), decode_membership(&checkpoint.membership)?)
            }
        };
        let next_position = engine.read().next_position();
        let next_index = last_applied.map_or(0, |last| last.index() + 1);
        let (progress, watched) = watch::channel(Applied { next_index, next_position });
        Ok((
            Self {
                engine,
                store,
                offload,
                last_applied,
                membership,
                progress,
                checkpoints,
                seals,
                frozen,
            },
            watched,
        ))
    }

    fn apply_group(&self, log_id: LogId, group: &Group) -> io::Result<(GroupOutcome, u64)> {
        let mut engine = self.engine.write();
        let outcomes = engine.apply_group(&group.0, log_position(&log_id)).map_err(|error| {
            self.set_aside(&error);
            let what = format!("the group at log index {} cannot be applied", log_id.index());
            io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {error}"))
        })?;
        if let Some(sealing) = engine.take_sealing() {
            let membership = self.membership.clone();
            // The sealer is gone only when the node is.
            let _ = self.frozen.send(Frozen { sealing, membership });
        }
        Ok((GroupOutcome(outcomes), engine.next_position()))
    }

    /// Without a damaged file that it needs this member cannot go on. It ends, and fetches it before it starts again; in
    /// a store of one nobody could give it.
    fn set_aside(&self, error: &ApplyError) {
        let Some(file) = error.damaged_file() else { return };
        if self.membership.nodes().count() < 2 {
            return;
        }
        match self.store.set_aside(file) {
            Ok(known) => tracing::error!(file, known, "a damaged file is set aside"),
            Err(error) => tracing::error!(file, %error, "a damaged file cannot be set aside"),
        }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Checkpoints;

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
                    let (outcome, next_position) = self.apply_group(log_id, &group)?;
                    (outcome, Some(next_position))
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

    /// A checkpoint is never made on demand: what is asked for here is the newest one.
    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Checkpoints> {
        self.store.checkpoint().map(|checkpoint| Checkpoints(Some(checkpoint)))
    }

    async fn get_snapshot_builder(&mut self) -> Checkpoints {
        Checkpoints(self.store.checkpoint())
    }

    /// The files are here or staged already: a rename and a transaction.
    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<TypeConfig>,
        snapshot: SnapshotData,
    ) -> io::Result<()> {
        let store = self.store.clone();
        let installed =
            self.offload.run(move || store.install(&snapshot)).await.map_err(io::Error::other)?;
        let next_position = {
            let mut engine = self.engine.write();
            *engine = snapshot::engine(&self.store).map_err(io::Error::other)?;
            engine.next_position()
        };
        self.seals.replaced(&installed);
        self.checkpoints.send_replace(installed.seal);
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.progress.send_modify(|applied| {
            applied.next_index = meta.last_log_id.map_or(0, |last| last.index() + 1);
            applied.next_position = next_position;
        });
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<SnapshotOf<TypeConfig, SnapshotData>>> {
        self.store.checkpoint().map(snapshot::snapshot).transpose()
    }
}

/// Gives openraft the checkpoint that there is.
#[derive(Debug)]
pub struct Checkpoints(Option<SnapshotData>);

impl RaftSnapshotBuilder<TypeConfig> for Checkpoints {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, SnapshotData>> {
        let checkpoint = self.0.clone().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "nothing has been sealed yet")
        })?;
        snapshot::snapshot(checkpoint)
    }
}
