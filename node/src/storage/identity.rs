//! Who the volume belongs to: written once, read at every start, never changed.
//!
//! A node that loses its volume must come back as somebody else, and a node that keeps it must come back as
//! the same one; so the identity lives on the volume and nowhere else. Randomness comes in from outside.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The catalogue's file in the data folder.
const FILE_NAME: &str = "store.redb";

/// The layout of the data folder that this program reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// Memory for the pages of the catalogue, in bytes. It holds a few rows; the default would be a gibibyte.
const CACHE_BYTES: usize = 1024 * 1024;

const TABLE: TableDefinition<&str, &[u8]> = TableDefinition::new("identity");
const KEY_FORMAT_VERSION: &str = "format_version";
const KEY_VOLUME_ID: &str = "volume_id";
const KEY_IDENTITY: &str = "identity";

/// What a volume was given when its node was initialised or joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The node's id in Raft, from 1, never used for another volume.
    pub node_id: u64,
    /// The store the volume belongs to.
    pub cluster_id: String,
    /// The store's epoch, from 1; it grows when a store is restored or recovered without its quorum.
    pub epoch: u64,
    /// The layout of the data folder when it was given, [`FORMAT_VERSION`] or older.
    pub format_version: u32,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { node_id, cluster_id, epoch, .. } = self;
        write!(f, "node {node_id} of store {cluster_id} in epoch {epoch}")
    }
}

/// Why the identity could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The data folder cannot be made or used.
    #[error("the data folder {} cannot be used: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the data folder open.
    #[error("{} is in use by another process: two nodes cannot share a data folder", path.display())]
    InUse {
        /// The locked file.
        path: PathBuf,
    },
    /// A newer or foreign program wrote the data folder.
    #[error(
        "{} has format version {found}, and this program knows {FORMAT_VERSION} only: \
         run the version that wrote it",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The version found in it.
        found: String,
    },
    /// The volume already belongs to another node or store.
    #[error("the volume belongs to {existing} already and cannot become {offered}")]
    AlreadyAssigned {
        /// What it is.
        existing: Identity,
        /// What it should have become.
        offered: Identity,
    },
    /// What stands in the file is not what was written there.
    #[error("{} is damaged: `{key}` cannot be read", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The row that makes no sense.
        key: &'static str,
    },
    /// Reading or writing failed.
    #[error("{} cannot be read or written: {source}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: Box<redb::Error>,
    },
}

impl IdentityError {
    /// Whether opening again, unchanged, may succeed: only when another process may still let go.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::InUse { .. })
    }
}

/// The identity of one data folder. While it or a clone lives, no other process can open the folder.
#[derive(Debug, Clone)]
pub struct IdentityStore {
    path: PathBuf,
    database: Arc<Database>,
    volume_id: Uuid,
}

impl IdentityStore {
    /// Opens the data folder, making it when it is not there. A new volume is given the id that
    /// `new_volume_id` returns before this returns; a volume that has one keeps it.
    pub fn open(
        data_dir: &Path,
        new_volume_id: impl FnOnce() -> Uuid,
    ) -> Result<Self, IdentityError> {
        let folder = |source| IdentityError::Folder { path: data_dir.to_owned(), source };
        fs::create_dir_all(data_dir).map_err(folder)?;
        let path = data_dir.join(FILE_NAME);

        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            // A few pages are checked in no time, and a damaged one must not be believed.
            .set_check_integrity_on_open(true)
            .create(&path)
            .map_err(|error| match error {
                DatabaseError::DatabaseAlreadyOpen => IdentityError::InUse { path: path.clone() },
                other => storage_error(&path, other),
            })?;
        // The file's name must survive a crash as well as its contents.
        File::open(data_dir).and_then(|folder| folder.sync_all()).map_err(folder)?;

        let mut store = Self { path, database: Arc::new(database), volume_id: Uuid::nil() };
        store.volume_id = store.read_or_make_volume_id(new_volume_id)?;
        Ok(store)
    }

    /// The id of this volume, made with it and never changed.
    pub fn volume_id(&self) -> Uuid {
        self.volume_id
    }

    /// Who the volume belongs to, or `None` as long as it belongs to nobody.
    pub fn identity(&self) -> Result<Option<Identity>, IdentityError> {
        let transaction = self.database.begin_read().map_err(|error| self.storage(error))?;
        let table = transaction.open_table(TABLE).map_err(|error| self.storage(error))?;
        self.read_identity(&table)
    }

    /// Gives the volume its identity, on stable storage when this returns. The same identity again changes
    /// nothing; another one is refused.
    pub fn assign(&self, offered: Identity) -> Result<(), IdentityError> {
        let transaction = self.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE).map_err(|error| self.storage(error))?;
            match self.read_identity(&table)? {
                Some(existing) if existing == offered => return Ok(()),
                Some(existing) => {
                    return Err(IdentityError::AlreadyAssigned { existing, offered });
                }
                None => {}
            }
            let row = serde_json::to_vec(&offered).expect("an identity is plain data");
            table.insert(KEY_IDENTITY, row.as_slice()).map_err(|error| self.storage(error))?;
        }
        transaction.commit().map_err(|error| self.storage(error))
    }

    fn read_or_make_volume_id(
        &self,
        new_volume_id: impl FnOnce() -> Uuid,
    ) -> Result<Uuid, IdentityError> {
        let transaction = self.begin_write()?;
        let made = {
            let mut table = transaction.open_table(TABLE).map_err(|error| self.storage(error))?;
            let format = self.read(&table, KEY_FORMAT_VERSION)?;
            match format.as_deref().map(String::from_utf8_lossy) {
                Some(found) if found == FORMAT_VERSION.to_string() => {
                    let row = self.read(&table, KEY_VOLUME_ID)?;
                    return row
                        .and_then(|row| Uuid::try_parse_ascii(&row).ok())
                        .ok_or_else(|| self.damaged(KEY_VOLUME_ID));
                }
                Some(found) => {
                    let (path, found) = (self.path.clone(), found.into_owned());
                    return Err(IdentityError::UnknownFormat { path, found });
                }
                None => {}
            }
            let made = new_volume_id();
            for (key, value) in [
                (KEY_FORMAT_VERSION, FORMAT_VERSION.to_string()),
                (KEY_VOLUME_ID, made.to_string()),
            ] {
                table.insert(key, value.as_bytes()).map_err(|error| self.storage(error))?;
            }
            made
        };
        transaction.commit().map_err(|error| self.storage(error))?;
        Ok(made)
    }

    /// A transaction that is on stable storage when its commit returns, and needs no repair after a crash.
    fn begin_write(&self) -> Result<redb::WriteTransaction, IdentityError> {
        let mut transaction = self.database.begin_write().map_err(|error| self.storage(error))?;
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(true);
        Ok(transaction)
    }

    fn read_identity(
        &self,
        table: &impl ReadableTable<&'static str, &'static [u8]>,
    ) -> Result<Option<Identity>, IdentityError> {
        self.read(table, KEY_IDENTITY)?
            .map(|row| serde_json::from_slice(&row).map_err(|_| self.damaged(KEY_IDENTITY)))
            .transpose()
    }

    fn read(
        &self,
        table: &impl ReadableTable<&'static str, &'static [u8]>,
        key: &'static str,
    ) -> Result<Option<Vec<u8>>, IdentityError> {
        let row = table.get(key).map_err(|error| self.storage(error))?;
        Ok(row.map(|row| row.value().to_vec()))
    }

    fn damaged(&self, key: &'static str) -> IdentityError {
        IdentityError::Damaged { path: self.path.clone(), key }
    }

    fn storage(&self, error: impl Into<redb::Error>) -> IdentityError {
        storage_error(&self.path, error)
    }
}

fn storage_error(path: &Path, error: impl Into<redb::Error>) -> IdentityError {
    IdentityError::Storage { path: path.to_owned(), source: Box::new(error.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(number: u128) -> impl FnOnce() -> Uuid {
        move || Uuid::from_u128(number)
    }

    fn identity() -> Identity {
        Identity {
            node_id: 3,
            cluster_id: "5f1c".to_owned(),
            epoch: 1,
            format_version: FORMAT_VERSION,
        }
    }

    #[test]
    fn a_new_volume_has_an_id_and_no_identity() {
        let folder = tempfile::tempdir().unwrap();
        let store = IdentityStore::open(&folder.path().join("deep/data"), volume(7)).unwrap();
        assert_eq!(store.volume_id(), Uuid::from_u128(7));
        assert_eq!(store.identity().unwrap(), None);
    }

    #[test]
    fn volume_id_and_identity_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        IdentityStore::open(folder.path(), volume(7)).unwrap().assign(identity()).unwrap();
        let store = IdentityStore::open(folder.path(), volume(8)).unwrap();
        assert_eq!(store.volume_id(), Uuid::from_u128(7));
        assert_eq!(store.identity().unwrap(), Some(identity()));
    }

    #[test]
    fn what_was_assigned_is_in_the_file_when_assign_returns() {
        let folder = tempfile::tempdir().unwrap();
        let store = IdentityStore::open(folder.path(), volume(7)).unwrap();
        store.assign(identity()).unwrap();
        // A copy of the file while the store is open is what a killed process would leave.
        let copy = tempfile::tempdir().unwrap();
        fs::copy(folder.path().join(FILE_NAME), copy.path().join(FILE_NAME)).unwrap();
        let after = IdentityStore::open(copy.path(), volume(8)).unwrap();
        assert_eq!(after.volume_id(), Uuid::from_u128(7));
        assert_eq!(after.identity().unwrap(), Some(identity()));
    }

    #[test]
    fn assigning_the_same_again_changes_nothing_and_another_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = IdentityStore::open(folder.path(), volume(7)).unwrap();
        store.assign(identity()).unwrap();
        store.assign(identity()).unwrap();
        for other in [
            Identity { node_id: 4, ..identity() },
            Identity { cluster_id: "other".to_owned(), ..identity() },
            Identity { epoch: 2, ..identity() },
        ] {
            let error = store.assign(other).unwrap_err();
            assert!(matches!(error, IdentityError::AlreadyAssigned { .. }), "{error}");
            assert!(!error.retryable());
        }
        assert_eq!(store.identity().unwrap(), Some(identity()));
    }

    #[test]
    fn a_folder_in_use_is_refused_by_name_until_it_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let first = IdentityStore::open(folder.path(), volume(7)).unwrap();
        let error = IdentityStore::open(folder.path(), volume(8)).unwrap_err();
        assert!(error.to_string().contains("in use by another process"), "{error}");
        assert!(error.to_string().contains(FILE_NAME), "{error}");
        assert!(error.retryable());
        drop(first);
        IdentityStore::open(folder.path(), volume(8)).unwrap();
    }

    #[test]
    fn an_unknown_format_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = IdentityStore::open(folder.path(), volume(7)).unwrap();
        let transaction = store.begin_write().unwrap();
        transaction.open_table(TABLE).unwrap().insert(KEY_FORMAT_VERSION, b"2".as_slice()).unwrap();
        transaction.commit().unwrap();
        drop(store);
        let error = IdentityStore::open(folder.path(), volume(8)).unwrap_err();
        assert!(error.to_string().contains("format version 2"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_catalogue_is_an_error_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::write(&path, "not a catalogue, but somebody's file").unwrap();
        let error = IdentityStore::open(folder.path(), volume(7)).unwrap_err();
        assert!(matches!(error, IdentityError::Storage { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "not a catalogue, but somebody's file");
    }
}
