//! Files from and for peers: what is missing is received into the staging folder, and a checkpoint is installed when
//! all of it is there.

use std::io;
use std::sync::Arc;

use super::super::checkpoint::{Checkpoint, FileMeta};
use super::super::names::{self, RECORDS_FOLDER, RUNS_FOLDER, STAGING_FOLDER};
use super::super::volume::{Volume as _, VolumeFile};
use super::output::Output;
use super::{Changes, Shared, Store, StoreError};

/// A file of the state, to be sent to a peer. It stays readable while a [`super::Pin`] from before it was opened lives.
#[derive(Debug)]
pub struct SealedFile {
    meta: FileMeta,
    file: Arc<dyn VolumeFile>,
}

impl SealedFile {
    /// Its name, size and digest.
    pub const fn meta(&self) -> &FileMeta {
        &self.meta
    }

    /// Fills `buffer` from `offset` on.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.file.read_at(offset, buffer).map_err(StoreError::io(&self.meta.name))
    }
}

/// A file that is being received.
#[derive(Debug)]
pub struct Staged {
    shared: Arc<Shared>,
    meta: FileMeta,
    path: String,
    file: Arc<dyn VolumeFile>,
    received: u64,
}

impl Staged {
    /// How many bytes are there, from an earlier try too: the next ones are wanted from here on.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Adds the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let end = self.received + bytes.len() as u64;
        if end > self.meta.bytes {
            return Err(StoreError::Contents { file: self.meta.name.clone() });
        }
        self.file.write_at(self.received, bytes).map_err(StoreError::io(&self.path))?;
        self.received = end;
        Ok(())
    }

    /// Syncs and checks the file. What is not the file that was asked for is removed.
    pub fn finish(self) -> Result<(), StoreError> {
        let volume = &self.shared.volume;
        if self.received < self.meta.bytes {
            return Err(StoreError::NotStaged { file: self.meta.name });
        }
        self.file.sync_data().map_err(StoreError::io(&self.path))?;
        if self.shared.digest_of(&self.path, self.meta.bytes)? != self.meta.digest {
            volume.remove(&self.path).map_err(StoreError::io(&self.path))?;
            return Err(StoreError::Contents { file: self.meta.name });
        }
        volume.sync_folder(STAGING_FOLDER).map_err(StoreError::io(STAGING_FOLDER))?;
        self.shared.changes.lock().staged.insert(self.meta.name);
        Ok(())
    }
}

impl Store {
    /// The files of a checkpoint that are neither part of the state nor received.
    pub fn missing(&self, checkpoint: &Checkpoint) -> Vec<FileMeta> {
        let changes = self.shared.changes.lock();
        let now = self.checkpoint();
        let files = checkpoint.files();
        let missing = files.filter(|file| {
            !changes.staged.contains(&file.name)
                && (changes.fenced.contains_key(&file.name) || !is_part(now.as_deref(), file))
        });
        missing.cloned().collect()
    }

    /// Begins to receive a file, or goes on where an earlier try ended.
    pub fn stage(&self, meta: &FileMeta) -> Result<Staged, StoreError> {
        let volume = &self.shared.volume;
        let path = names::staged(&meta.name);
        let failed = || StoreError::io(&path);
        self.shared.changes.lock().staged.remove(&meta.name);
        let file = match volume.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                volume.create(&path).map_err(failed())?
            }
            Err(error) => return Err(failed()(error)),
        };
        let mut received = file.bytes().map_err(failed())?;
        if received > meta.bytes {
            file.set_bytes(0).map_err(failed())?;
            received = 0;
        }
        let (shared, meta) = (Arc::clone(&self.shared), meta.clone());
        Ok(Staged { shared, meta, path, file, received })
    }

    /// Makes a checkpoint of a peer the state. All its files are part of the state or received; they are renamed and
    /// the catalogue is replaced, so this is fast. An older checkpoint than the present one is refused.
    pub fn install(&self, checkpoint: &Checkpoint) -> Result<Arc<Checkpoint>, StoreError> {
        let shared = &*self.shared;
        // No seal and no merge commits between the look at what is there and the commit.
        let _no_seal = shared.sealing.lock();
        let now = self.checkpoint();
        let moved = {
            let mut changes = shared.changes.lock();
            let mut moved = Vec::new();
            for file in checkpoint.files() {
                // What is fenced and was fetched again is mended; what was fenced since then stays so for now.
                let mended =
                    changes.fenced.contains_key(&file.name) && changes.staged.contains(&file.name);
                if mended || !is_part(now.as_deref(), file) {
                    unstage(shared, &mut changes, file)?;
                    moved.push(file.name.clone());
                }
            }
            moved
        };
        for folder in [RECORDS_FOLDER, RUNS_FOLDER] {
            if moved.iter().any(|name| names::folder(name) == folder) {
                shared.volume.sync_folder(folder).map_err(StoreError::io(folder))?;
            }
        }
        let installed = shared.commit(Output::new(shared), |now| {
            let (last_seal, end_position) = now.map_or((0, 0), |now| (now.seal, now.end_position));
            if now.is_some_and(|now| checkpoint.applied < now.applied) {
                let (seal, position) = (checkpoint.seal, checkpoint.end_position);
                return Err(StoreError::OutOfOrder { seal, position, last_seal, end_position });
            }
            // A merge may have replaced what was there at the first look.
            let there = |file: &FileMeta| is_part(now, file) || moved.contains(&file.name);
            if checkpoint.files().all(there) {
                Ok(checkpoint.clone())
            } else {
                Err(StoreError::Superseded)
            }
        })?;
        self.put_in_place(&mut shared.changes.lock(), &moved);
        // What else was received was for checkpoints that are older now, and nobody would ask for it again. What cannot
        // be removed is tried again with the next install.
        let _ = self.clear_staging();
        Ok(installed)
    }

    /// Removes what was received and never installed.
    pub fn clear_staging(&self) -> Result<(), StoreError> {
        let volume = &self.shared.volume;
        self.shared.changes.lock().staged.clear();
        for name in volume.list(STAGING_FOLDER).map_err(StoreError::io(STAGING_FOLDER))? {
            let path = format!("{STAGING_FOLDER}/{name}");
            volume.remove(&path).map_err(StoreError::io(&path))?;
        }
        Ok(())
    }

    /// Opens a file to send it to a peer; `None` when it is no part of the state and not kept by a pin, or when it is
    /// fenced.
    pub fn open_for_sending(&self, wanted: &FileMeta) -> Result<Option<SealedFile>, StoreError> {
        let changes = self.shared.changes.lock();
        let kept = changes.obsolete.iter().any(|obsolete| obsolete.path() == wanted.name);
        let part = is_part(self.checkpoint().as_deref(), wanted);
        if changes.fenced.contains_key(&wanted.name) || !(kept || part) {
            return Ok(None);
        }
        let file = self.shared.volume.open(&wanted.name).map_err(StoreError::io(&wanted.name))?;
        Ok(Some(SealedFile { meta: wanted.clone(), file }))
    }
}

/// Moves a received file to its own place. One that an earlier try has moved is there already.
pub(super) fn unstage(
    shared: &Shared,
    changes: &mut Changes,
    file: &FileMeta,
) -> Result<(), StoreError> {
    let not_staged = || StoreError::NotStaged { file: file.name.clone() };
    if !changes.staged.contains(&file.name) {
        return Err(not_staged());
    }
    match shared.volume.rename(&names::staged(&file.name), &file.name) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let there = shared.volume.open(&file.name).and_then(|file| file.bytes());
            if there.is_ok_and(|bytes| bytes == file.bytes) { Ok(()) } else { Err(not_staged()) }
        }
        Err(error) => Err(StoreError::io(&file.name)(error)),
    }
}

pub(super) fn is_part(checkpoint: Option<&Checkpoint>, file: &FileMeta) -> bool {
    checkpoint.is_some_and(|checkpoint| checkpoint.files().any(|part| part == file))
}
