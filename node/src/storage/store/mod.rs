//! The store: the files that make up the sealed state, and every change to which files those are.
//!
//! A change writes new files, syncs them and their folders, reads them back, and then replaces the checkpoint in the
//! catalogue. Before that moment a crash leaves files that nothing names and that the next start removes; after it,
//! files that are no longer named. Nothing that is part of a checkpoint is ever written to.

mod commit;
mod error;
mod fence;
mod merge;
mod obsolete;
mod output;
mod reclaim;
mod seal;
mod staging;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use super::catalogue::{Catalogue, CatalogueError, FILE_NAME};
use super::checkpoint::{Checkpoint, FileMeta};
use super::files::Files;
use super::guard::{GuardedVolume, Poison};
use super::identity::Identity;
use super::names::{self, DAMAGED_FOLDER, RECORDS_FOLDER, RUNS_FOLDER, STAGING_FOLDER};
use super::sealed::Sealed;
use super::volume::{DirectoryVolume, Volume};
pub use error::{OpenError, StoreError};
pub use merge::MergePlan;
use obsolete::Obsolete;
pub use obsolete::Pin;
pub use reclaim::Reclaimed;
pub use seal::SealInput;
pub use staging::{SealedFile, Staged};
use view::View;

/// Memory for decoded blocks when nothing else is configured.
pub const CACHE_BYTES_DEFAULT: u64 = 64 << 20;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The budget of the block cache, in bytes: blocks of all files, their indexes and filters among them.
    pub cache_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_bytes: CACHE_BYTES_DEFAULT }
    }
}

/// The sealed state of one volume. Cheap to clone; all clones are the same store.
///
/// Everything here may wait for the disk. Seals exclude each other, as do merges and reclaims; a seal does not wait for
/// a merge, and readers wait for neither.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    volume: GuardedVolume,
    files: Files,
    catalogue: Catalogue,
    view: RwLock<View>,
    changes: Mutex<Changes>,
    /// One seal at a time.
    sealing: Mutex<()>,
    /// One merge or reclaim at a time.
    rewriting: Mutex<()>,
    pins: Arc<()>,
    stopped: AtomicBool,
}

/// What only changes to the state need, and what keeps them one after the other.
#[derive(Debug, Default)]
struct Changes {
    /// Files that are no longer part of the state and not removed yet.
    obsolete: Vec<Obsolete>,
    /// Files in the staging folder that have all their bytes and the right digest.
    staged: BTreeSet<String>,
    /// Damaged files of the state.
    fenced: BTreeMap<String, FileMeta>,
}

impl Store {
    /// Opens the store on a volume, which must be locked for this process. A new volume is given the id that
    /// `new_volume_id` returns before this returns; a volume that has one keeps it. What a crash left behind is
    /// removed. Damage to the catalogue is an error; damage to other files is met when they are read.
    pub fn open(
        volume: Arc<dyn Volume>,
        options: &Options,
        new_volume_id: impl FnOnce() -> Uuid,
    ) -> Result<Self, OpenError> {
        let volume = GuardedVolume::new(volume);
        let shared: Arc<dyn Volume> = Arc::new(volume.clone());
        let files = Files::new(Arc::clone(&shared), options.cache_bytes);
        let catalogue = Catalogue::open(shared, new_volume_id)?;
        let io = |path: &str| {
            let path = volume.name(path);
            move |source| OpenError::Io { path, source }
        };
        for folder in [RECORDS_FOLDER, RUNS_FOLDER, STAGING_FOLDER, DAMAGED_FOLDER] {
            volume.make_folder(folder).map_err(io(folder))?;
        }
        volume.sync_folder("").map_err(io(""))?;

        let checkpoint = catalogue.checkpoint()?.map(Arc::new);
        let mut missing: BTreeMap<String, FileMeta> = checkpoint
            .iter()
            .flat_map(|checkpoint| checkpoint.files())
            .map(|file| (file.name.clone(), file.clone()))
            .collect();
        for folder in [RECORDS_FOLDER, RUNS_FOLDER] {
            for name in volume.list(folder).map_err(io(folder))? {
                let path = format!("{folder}/{name}");
                if missing.remove(&path).is_none() {
                    volume.remove(&path).map_err(io(&path))?;
                }
            }
        }
        // Beside a file that is missing there may be what is left of it.
        let aside: BTreeSet<_> = missing.keys().map(|name| names::set_aside(name)).collect();
        for name in volume.list(DAMAGED_FOLDER).map_err(io(DAMAGED_FOLDER))? {
            let path = format!("{DAMAGED_FOLDER}/{name}");
            if !aside.contains(&path) {
                volume.remove(&path).map_err(io(&path))?;
            }
        }
        let view = View::new(&files, checkpoint, None, None);
        let shared = Shared {
            volume,
            files,
            catalogue,
            view: RwLock::new(view),
            changes: Mutex::new(Changes { fenced: missing, ..Changes::default() }),
            sealing: Mutex::default(),
            rewriting: Mutex::default(),
            pins: Arc::default(),
            stopped: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Opens the store in a folder, making and locking it.
    pub fn open_folder(
        path: &Path,
        options: &Options,
        new_volume_id: impl FnOnce() -> Uuid,
    ) -> Result<Self, OpenError> {
        Self::open(Arc::new(DirectoryVolume::open(path)?), options, new_volume_id)
    }

    /// The id of this volume, made with it and never changed.
    pub fn volume_id(&self) -> Uuid {
        self.shared.catalogue.volume_id()
    }

    /// Who the volume belongs to, or `None` as long as it belongs to nobody.
    pub fn identity(&self) -> Option<Identity> {
        self.shared.catalogue.identity()
    }

    /// Gives the volume its identity, on stable storage when this returns. The same identity again changes
    /// nothing; another one is refused.
    pub fn assign(&self, offered: Identity) -> Result<(), CatalogueError> {
        self.shared.catalogue.assign(offered)
    }

    /// The sealed state as it is now; `None` before the first seal.
    pub fn checkpoint(&self) -> Option<Arc<Checkpoint>> {
        self.shared.view.read().checkpoint.clone()
    }

    /// The sealed files as they are now, for reading. They stay while the view is held.
    pub fn sealed(&self) -> Arc<Sealed> {
        Arc::clone(&self.shared.view.read().sealed)
    }

    /// The checkpoint and the files that belong to it.
    pub fn checkpoint_and_sealed(&self) -> (Option<Arc<Checkpoint>>, Arc<Sealed>) {
        let view = self.shared.view.read();
        (view.checkpoint.clone(), Arc::clone(&view.sealed))
    }

    /// How many blocks were not in memory and had to be read, since the store was opened.
    pub fn blocks_read(&self) -> u64 {
        self.shared.files.cache().missed()
    }

    /// Memory that the block cache takes, in bytes.
    pub fn cache_bytes(&self) -> u64 {
        self.shared.files.cache().bytes()
    }

    /// How many bytes can still be written to the volume.
    pub fn available_bytes(&self) -> Result<u64, StoreError> {
        self.shared.volume.available_bytes().map_err(StoreError::io(""))
    }

    /// Why nothing is written any more, once a sync or a write has failed; the node has to stop then.
    pub fn poison(&self) -> Option<Poison> {
        self.shared.volume.poison().cloned()
    }

    /// Long work ends early from here on, with [`StoreError::Stopped`].
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }

    /// Bytes on disk by part: `records`, `runs`, `staging`, `catalogue`, and `obsolete` for what is still held by a
    /// reader or a [`Pin`].
    pub fn bytes(&self) -> Result<BTreeMap<&'static str, u64>, StoreError> {
        let mut parts = BTreeMap::new();
        if let Some(checkpoint) = self.checkpoint() {
            let records = checkpoint.records.iter().map(|records| records.file.bytes).sum();
            parts.insert(RECORDS_FOLDER, records);
            parts.insert(RUNS_FOLDER, checkpoint.runs.iter().map(|run| run.file.bytes).sum());
        }
        let volume = &self.shared.volume;
        let size = |path: &str| volume.open(path).and_then(|file| file.bytes());
        let mut staging = 0;
        for name in volume.list(STAGING_FOLDER).map_err(StoreError::io(STAGING_FOLDER))? {
            // It may have been installed meanwhile, and is counted there then.
            staging += size(&format!("{STAGING_FOLDER}/{name}")).unwrap_or(0);
        }
        parts.insert(STAGING_FOLDER, staging);
        parts.insert("catalogue", size(FILE_NAME).map_err(StoreError::io(FILE_NAME))?);
        let changes = self.shared.changes.lock();
        parts.insert("obsolete", changes.obsolete.iter().map(Obsolete::bytes).sum());
        Ok(parts)
    }
}

impl Shared {
    fn check_running(&self) -> Result<(), StoreError> {
        if self.stopped.load(Ordering::Relaxed) { Err(StoreError::Stopped) } else { Ok(()) }
    }
}
