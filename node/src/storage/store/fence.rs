//! Damaged files: they are named, fetched again from a peer, and put in their place.

use std::sync::Arc;

use super::super::checkpoint::{Checkpoint, FileMeta};
use super::super::names::{self, RECORDS_FOLDER, RUNS_FOLDER};
use super::super::volume::Volume as _;
use super::output::Output;
use super::staging::{is_part, unstage};
use super::view::View;
use super::{Store, StoreError};

impl Store {
    /// Notes that a file of the state is damaged: it is not merged and not sent until it is restored. Reads of it go on,
    /// since every block is checked for itself. Says whether the file is part of the state.
    pub fn fence(&self, name: &str) -> bool {
        let mut changes = self.shared.changes.lock();
        let checkpoint = self.checkpoint();
        let mut files = checkpoint.iter().flat_map(|checkpoint| checkpoint.files());
        let Some(file) = files.find(|file| file.name == name) else { return false };
        changes.fenced.insert(name.to_owned(), file.clone());
        true
    }

    /// Fences the files that readers found damaged since the last time.
    pub fn fence_reported(&self) {
        for name in self.shared.files.reports().take() {
            self.fence(&name);
        }
    }

    /// The fenced files. Those that were missing when the store was opened are among them.
    pub fn fenced(&self) -> Vec<FileMeta> {
        self.shared.changes.lock().fenced.values().cloned().collect()
    }

    /// Puts a file that was received (see [`Store::stage`]) in the place of the fenced one.
    pub fn restore_fenced(&self, name: &str) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let mut changes = shared.changes.lock();
        let Some(file) = changes.fenced.get(name).cloned() else {
            // It is whole already, or no part of the state any more.
            return Ok(());
        };
        unstage(shared, &mut changes, &file)?;
        let folder = names::folder(name);
        shared.volume.sync_folder(folder).map_err(StoreError::io(folder))?;
        changes.staged.remove(name);
        changes.fenced.remove(name);
        // The reader has the damaged file open: it is replaced, and with it what is cached.
        self.renew(name);
        Ok(())
    }
}

impl Store {
    /// Takes over the list of files of a peer whose checkpoint has the same contents: it may have merged what is damaged
    /// here into another file. All its files are part of the state and whole, or received.
    pub fn replace_files(&self, offered: &Checkpoint) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let _no_seal = shared.sealing.lock();
        let _no_merge = shared.rewriting.lock();
        let same = |now: Option<&Checkpoint>| {
            now.is_some_and(|now| (now.seal, now.digest) == (offered.seal, offered.digest))
        };
        let now = self.checkpoint();
        if !same(now.as_deref()) {
            return Err(StoreError::Superseded);
        }
        let mut moved = Vec::new();
        {
            let mut changes = shared.changes.lock();
            for file in offered.files() {
                if changes.fenced.contains_key(&file.name) || !is_part(now.as_deref(), file) {
                    unstage(shared, &mut changes, file)?;
                    moved.push(file.name.as_str());
                }
            }
        }
        for folder in [RECORDS_FOLDER, RUNS_FOLDER] {
            shared.volume.sync_folder(folder).map_err(StoreError::io(folder))?;
        }
        shared.commit(Output::new(shared), |now| {
            let now = now.filter(|now| same(Some(now))).ok_or(StoreError::Superseded)?;
            let (records, runs) = (offered.records.clone(), offered.runs.clone());
            // What the engine keeps of its own speaks of the files.
            let local_state = offered.local_state.clone();
            Ok(Checkpoint { local_state, records, runs, ..now.clone() })
        })?;
        let mut changes = shared.changes.lock();
        for name in moved {
            changes.staged.remove(name);
            if changes.fenced.remove(name).is_some() {
                self.renew(name);
            }
        }
        Ok(())
    }

    /// Gives readers another handle on a file that was replaced under its name, and forgets what is cached of the old.
    fn renew(&self, name: &str) {
        let mut view = self.shared.view.write();
        let before = view.clone();
        let checkpoint = before.checkpoint.clone();
        *view = View::new(&self.shared.files, checkpoint, Some(&before), Some(name));
        drop(view);
        forget(&before, name);
    }
}

/// Frees the cache of a file's blocks under its old reader.
fn forget(view: &View, name: &str) {
    for layer in &view.sealed.layers {
        if layer.run.path() == name {
            Arc::clone(&layer.run).forget();
        }
        for file in layer.records.iter().filter(|file| file.reader.path() == name) {
            file.reader.forget();
        }
    }
}
