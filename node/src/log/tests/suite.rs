//! openraft's own suite for log stores.

use std::io;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use openraft::entry::RaftPayload as _;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::{Snapshot, SnapshotMeta, StorageError};
use tempfile::TempDir;

use crate::log::files::Directory;
use crate::log::{FILE_BYTES_MIN, LogStore, Options};
use crate::raft::types::{GroupOutcome, LogId, StoredMembership, TypeConfig};

/// Remembers the last applied entry and the last membership, which is all that the suite asks for.
#[derive(Debug, Clone, Default)]
pub struct Trivial {
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshot: Option<SnapshotMetaOf<TypeConfig>>,
}

impl RaftStateMachine<TypeConfig> for Trivial {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            self.applied = Some(entry.log_id);
            if let Some(membership) = entry.payload.get_membership() {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            if let Some(responder) = responder {
                responder.send(GroupOutcome::default());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        // The builder is a copy, and what it builds must be current here.
        self.snapshot = Some(meta(self));
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<TypeConfig>,
        (): (),
    ) -> Result<(), io::Error> {
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.snapshot = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<TypeConfig, ()>>, io::Error> {
        Ok(self.snapshot.clone().map(|meta| Snapshot { meta, snapshot: () }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Trivial {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, ()>, io::Error> {
        Ok(Snapshot { meta: meta(self), snapshot: () })
    }
}

fn meta(machine: &Trivial) -> SnapshotMetaOf<TypeConfig> {
    SnapshotMeta { last_log_id: machine.applied, last_membership: machine.membership.clone() }
}

struct Builder {
    cache_bytes: u64,
}

impl StoreBuilder<TypeConfig, LogStore, Trivial, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Trivial), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let disk = Directory::open(&dir.path().join("log")).unwrap();
        let options = Options {
            file_bytes: FILE_BYTES_MIN,
            cache_bytes: self.cache_bytes,
            ..Options::default()
        };
        let store = LogStore::open(Arc::new(disk), options).unwrap();
        Ok((dir, store, Trivial::default()))
    }
}

#[tokio::test]
async fn openrafts_suite_passes() {
    Suite::test_all(Builder { cache_bytes: 1 << 20 }).await.unwrap();
}

#[tokio::test]
async fn openrafts_suite_passes_when_everything_is_read_from_files() {
    Suite::test_all(Builder { cache_bytes: 0 }).await.unwrap();
}
