//! Checkpoints of the storage as openraft's snapshots. Pure; knows no disk and no connection.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};

use super::types::{Entry, LogId, StoredMembership, TypeConfig};
use crate::engine::{self, Engine};
use crate::log::entry;
use crate::storage::{Checkpoint, LogPosition, Store};

/// What openraft calls the data of a snapshot: which files make up the state, and all that is in none of them.
pub type SnapshotData = Arc<Checkpoint>;

/// The place of an entry as the storage writes it down.
pub fn log_position(log_id: &LogId) -> LogPosition {
    LogPosition { term: log_id.committed_leader_id().term, index: log_id.index() }
}

/// The place of an entry as openraft knows it.
pub fn log_id(position: LogPosition) -> LogId {
    entry::log_id(position.term, position.index)
}

/// A membership and its place as bytes: those of its log entry. Empty: there has been none.
pub fn encode_membership(stored: &StoredMembership) -> Bytes {
    let Some(log_id) = stored.log_id() else { return Bytes::new() };
    let payload = EntryPayload::Membership(stored.membership().clone());
    entry::encode(&Entry { log_id: *log_id, payload })
}

/// What [`encode_membership`] wrote; an error where it is something else.
pub fn decode_membership(bytes: &Bytes) -> io::Result<StoredMembership> {
    if bytes.is_empty() {
        return Ok(StoredMembership::default());
    }
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let decoded = entry::decode(bytes.clone())
        .map_err(|error| invalid(format!("the membership of a checkpoint is damaged: {error}")))?;
    match decoded.payload {
        EntryPayload::Membership(membership) => {
            Ok(StoredMembership::new(Some(decoded.log_id), membership))
        }
        _ => Err(invalid("a checkpoint holds no membership where one should be".to_owned())),
    }
}

/// The engine as the checkpoint of a store left it; the log behind it is applied next.
pub fn engine(store: &Store) -> Result<Engine, engine::OpenError> {
    match store.checkpoint_and_sealed() {
        (None, _) => Ok(Engine::default()),
        (Some(last), sealed) => Engine::continued(&last.state, &last.local_state, sealed),
    }
}

/// A checkpoint as openraft's snapshot.
pub fn snapshot(checkpoint: SnapshotData) -> io::Result<SnapshotOf<TypeConfig, SnapshotData>> {
    let meta = SnapshotMetaOf::<TypeConfig> {
        last_log_id: Some(log_id(checkpoint.applied)),
        last_membership: decode_membership(&checkpoint.membership)?,
    };
    Ok(SnapshotOf::<TypeConfig, SnapshotData> { meta, snapshot: checkpoint })
}
