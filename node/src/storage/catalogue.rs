//! The catalogue, `store.redb`: the volume's id, its identity, and the checkpoint. Replacing the checkpoint in it is the
//! one moment at which files become part of the state.
//!
//! Every row carries a checksum of our own, since the database trusts its pages once it is open. The rows are read once,
//! when the catalogue is opened, and kept; what fails later is only ever a write.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use redb::{Builder, Database, ReadableDatabase as _, ReadableTable, TableDefinition};
use uuid::Uuid;

use super::backend::VolumeBackend;
use super::checkpoint::{Checkpoint, CorruptCheckpoint};
use super::error::is_full;
use super::identity::{FORMAT_VERSION, Identity};
use super::names;
use super::volume::Volume;

/// The catalogue's file.
pub(super) const FILE_NAME: &str = "store.redb";
/// The file while it is made: it gets its name when there is a volume id in it, so an empty one is never found.
const NEW_FILE_NAME: &str = "store.redb.new";

/// Memory for the pages of the catalogue, in bytes. It holds a few rows; the default would be a gibibyte.
const CACHE_BYTES: usize = 1024 * 1024;

const TABLE: TableDefinition<&str, &[u8]> = TableDefinition::new("catalogue");
const KEY_FORMAT_VERSION: &str = "format_version";
const KEY_VOLUME_ID: &str = "volume_id";
const KEY_IDENTITY: &str = "identity";
const KEY_CHECKPOINT: &str = "checkpoint";

/// Bytes of the checksum in front of a row.
const CHECKSUM_BYTES: usize = 4;

/// Why the catalogue could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A newer or foreign program wrote the data folder.
    #[error(
        "{path} has format version {found}, and this program knows {FORMAT_VERSION} only: \
         run the version that wrote it"
    )]
    UnknownFormat {
        /// The file.
        path: String,
        /// The version found in it.
        found: String,
    },
    /// The volume already belongs to another node or store.
    #[error("the volume belongs to {existing} already and cannot become {offered}")]
    AlreadyAssigned {
        /// What it is.
        existing: Box<Identity>,
        /// What it should have become.
        offered: Box<Identity>,
    },
    /// What stands in the file is not what was written there. The node must not go on with this volume.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// Reading or writing failed.
    #[error("{path} cannot be read or written: {source}")]
    Storage {
        /// The file.
        path: String,
        /// What the database said.
        source: Box<redb::Error>,
    },
}

impl CatalogueError {
    /// Whether the same may succeed later: only when the disk was full.
    pub fn retryable(&self) -> bool {
        let Self::Storage { source, .. } = self else { return false };
        matches!(&**source, redb::Error::Io(error) if is_full(error))
    }
}

/// What a commit came to when it did not simply succeed.
#[derive(Debug)]
pub(super) enum NotCommitted {
    /// The catalogue is as it was before.
    Unchanged(CatalogueError),
    /// It is not known what the catalogue holds now; the next start will see.
    Unknown(CatalogueError),
}

impl From<NotCommitted> for CatalogueError {
    fn from(error: NotCommitted) -> Self {
        match error {
            NotCommitted::Unchanged(error) | NotCommitted::Unknown(error) => error,
        }
    }
}

#[derive(Debug)]
pub(super) struct Catalogue {
    volume: Arc<dyn Volume>,
    path: String,
    volume_id: Uuid,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` after a failed write: the database refuses everything then and has to be opened again.
    database: Option<Database>,
    rows: Rows,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rows {
    volume_id: Uuid,
    identity: Option<Identity>,
    /// As it was encoded.
    checkpoint: Option<Bytes>,
}

impl Catalogue {
    /// Opens the catalogue. A volume without one is given one, with the id that `new_volume_id` returns.
    pub fn open(
        volume: Arc<dyn Volume>,
        new_volume_id: impl FnOnce() -> Uuid,
    ) -> Result<Self, CatalogueError> {
        let path = volume.name(FILE_NAME);
        let io = |error: io::Error| storage_error(&path, error);
        let names = volume.list("").map_err(io)?;
        if !names.iter().any(|name| name == FILE_NAME) {
            refuse_orphans(&*volume, &path)?;
            make(&*volume, &path, &names, new_volume_id())?;
        }
        let (database, rows) = open(&*volume, &path)?;
        let volume_id = rows.volume_id;
        let state = Mutex::new(State { database: Some(database), rows });
        Ok(Self { volume, path, volume_id, state })
    }

    pub const fn volume_id(&self) -> Uuid {
        self.volume_id
    }

    pub fn identity(&self) -> Option<Identity> {
        self.state.lock().rows.identity.clone()
    }

    /// Gives the volume its identity, on stable storage when this returns. The same identity again changes
    /// nothing; another one is refused.
    pub fn assign(&self, offered: Identity) -> Result<(), CatalogueError> {
        let mut state = self.state.lock();
        match &state.rows.identity {
            Some(existing) if *existing == offered => return Ok(()),
            Some(existing) => {
                let (existing, offered) = (Box::new(existing.clone()), Box::new(offered));
                return Err(CatalogueError::AlreadyAssigned { existing, offered });
            }
            None => {}
        }
        let row = serde_json::to_vec(&offered).expect("an identity is plain data");
        let rows = Rows { identity: Some(offered), ..state.rows.clone() };
        Ok(self.commit(&mut state, KEY_IDENTITY, &row, rows)?)
    }

    pub fn checkpoint(&self) -> Result<Option<Checkpoint>, CatalogueError> {
        let bytes = self.state.lock().rows.checkpoint.clone();
        let decoded = bytes.map(|bytes| Checkpoint::decode(&bytes)).transpose();
        decoded.map_err(|error: CorruptCheckpoint| damaged(&self.path, error.to_string()))
    }

    /// Replaces the checkpoint, on stable storage when this returns.
    pub fn set_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), NotCommitted> {
        let mut state = self.state.lock();
        let bytes = checkpoint.encode();
        let rows = Rows { checkpoint: Some(bytes.clone()), ..state.rows.clone() };
        self.commit(&mut state, KEY_CHECKPOINT, &bytes, rows)
    }

    fn commit(
        &self,
        state: &mut State,
        key: &'static str,
        row: &[u8],
        after: Rows,
    ) -> Result<(), NotCommitted> {
        let reopened = |state: &mut State| -> Result<(), CatalogueError> {
            if state.database.is_none() {
                let (database, rows) = open(&*self.volume, &self.path)?;
                *state = State { database: Some(database), rows };
            }
            Ok(())
        };
        reopened(state).map_err(NotCommitted::Unchanged)?;
        let written = match &state.database {
            Some(database) => write(database, &self.path, &[(key, sealed(row))]),
            None => Ok(()),
        };
        let Err(error) = written else {
            state.rows = after;
            return Ok(());
        };
        // The write may have failed before or after it took effect: what stands in the file decides.
        state.database = None;
        match reopened(state) {
            Ok(()) if state.rows == after => Ok(()),
            Ok(()) => Err(NotCommitted::Unchanged(error)),
            Err(_) => Err(NotCommitted::Unknown(error)),
        }
    }
}

/// A volume with sealed files has a catalogue. Making a new one would throw them away.
fn refuse_orphans(volume: &dyn Volume, path: &str) -> Result<(), CatalogueError> {
    for folder in [names::RECORDS_FOLDER, names::RUNS_FOLDER] {
        match volume.list(folder) {
            Ok(files) if files.is_empty() => {}
            Ok(_) => {
                let what = format!("it is missing, but there are files in `{folder}`");
                return Err(damaged(path, what));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(storage_error(path, error)),
        }
    }
    Ok(())
}

/// Makes the file under another name, and gives it its own when all is in it.
fn make(
    volume: &dyn Volume,
    path: &str,
    names: &[String],
    volume_id: Uuid,
) -> Result<(), CatalogueError> {
    let io = |error: io::Error| storage_error(path, error);
    if names.iter().any(|name| name == NEW_FILE_NAME) {
        volume.remove(NEW_FILE_NAME).map_err(io)?;
    }
    let file = volume.create(NEW_FILE_NAME).map_err(io)?;
    let database = builder()
        .create_with_backend(VolumeBackend(Arc::clone(&file)))
        .map_err(|error| storage_error(path, error))?;
    let rows = [
        (KEY_FORMAT_VERSION, FORMAT_VERSION.to_string().into_bytes()),
        (KEY_VOLUME_ID, sealed(volume_id.to_string().as_bytes())),
    ];
    write(&database, path, &rows)?;
    database.close().map_err(|error| storage_error(path, error))?;
    file.sync_data().map_err(io)?;
    volume.rename(NEW_FILE_NAME, FILE_NAME).map_err(io)?;
    volume.sync_folder("").map_err(io)
}

/// Opens the file and reads every row of it.
fn open(volume: &dyn Volume, path: &str) -> Result<(Database, Rows), CatalogueError> {
    let file = volume.open(FILE_NAME).map_err(|error| storage_error(path, error))?;
    // An empty file would be made into a new database, and what it held would be forgotten in silence.
    if file.bytes().map_err(|error| storage_error(path, error))? == 0 {
        return Err(damaged(path, "it is empty".to_owned()));
    }
    let database = builder()
        .create_with_backend(VolumeBackend(file))
        .map_err(|error| storage_error(path, error))?;
    let rows = read_rows(&database, path)?;
    Ok((database, rows))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    // A few pages are checked in no time, and a damaged one must not be believed.
    builder.set_check_integrity_on_open(true);
    builder
}

/// Writes rows in a transaction that is on stable storage when this returns, and needs no repair after a crash.
fn write(
    database: &Database,
    path: &str,
    rows: &[(&'static str, Vec<u8>)],
) -> Result<(), CatalogueError> {
    let written = || -> Result<(), redb::Error> {
        let mut transaction = database.begin_write()?;
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(true);
        {
            let mut table = transaction.open_table(TABLE)?;
            for (key, row) in rows {
                table.insert(*key, row.as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    };
    written().map_err(|error| storage_error(path, error))
}

fn read_rows(database: &Database, path: &str) -> Result<Rows, CatalogueError> {
    let transaction = database.begin_read().map_err(|error| storage_error(path, error))?;
    let table = transaction.open_table(TABLE).map_err(|error| storage_error(path, error))?;
    match read(&table, path, KEY_FORMAT_VERSION)? {
        Some(found) if *found == *FORMAT_VERSION.to_string().as_bytes() => {}
        found => {
            let found = String::from_utf8_lossy(&found.unwrap_or_default()).into_owned();
            return Err(CatalogueError::UnknownFormat { path: path.to_owned(), found });
        }
    }
    let checked = |key| read(&table, path, key)?.map(|row| unsealed(path, key, row)).transpose();
    let senseless = |key| damaged(path, format!("`{key}` cannot be read"));
    let volume_id = checked(KEY_VOLUME_ID)?
        .and_then(|row| Uuid::try_parse_ascii(&row).ok())
        .ok_or_else(|| senseless(KEY_VOLUME_ID))?;
    let identity = checked(KEY_IDENTITY)?
        .map(|row| serde_json::from_slice(&row).map_err(|_| senseless(KEY_IDENTITY)))
        .transpose()?;
    Ok(Rows { volume_id, identity, checkpoint: checked(KEY_CHECKPOINT)? })
}

fn read(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    path: &str,
    key: &'static str,
) -> Result<Option<Bytes>, CatalogueError> {
    let row = table.get(key).map_err(|error| storage_error(path, error))?;
    Ok(row.map(|row| Bytes::copy_from_slice(row.value())))
}

/// A row as it is stored.
fn sealed(row: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(CHECKSUM_BYTES + row.len());
    sealed.extend_from_slice(&crc32c::crc32c(row).to_le_bytes());
    sealed.extend_from_slice(row);
    sealed
}

#[allow(clippy::needless_pass_by_value, reason = "what is left shares its bytes")]
fn unsealed(path: &str, key: &str, stored: Bytes) -> Result<Bytes, CatalogueError> {
    match stored.split_first_chunk::<CHECKSUM_BYTES>() {
        Some((crc, row)) if crc32c::crc32c(row) == u32::from_le_bytes(*crc) => {
            Ok(stored.slice(CHECKSUM_BYTES..))
        }
        _ => Err(damaged(path, format!("`{key}` does not match its checksum"))),
    }
}

fn damaged(path: &str, what: String) -> CatalogueError {
    CatalogueError::Damaged { path: path.to_owned(), what }
}

fn storage_error(path: &str, error: impl Into<redb::Error>) -> CatalogueError {
    CatalogueError::Storage { path: path.to_owned(), source: Box::new(error.into()) }
}
