//! Damaged files: they are named, fetched again from a peer, and put in their place.

use std::io;
use std::sync::Arc;

use super::super::checkpoint::{Checkpoint, FileMeta};
use super::super::names::{self, DAMAGED_FOLDER, RECORDS_FOLDER, RUNS_FOLDER};
use super::super::volume::Volume as _;
use super::output::Output;
use super::staging::{is_part, unstage};
use super::view::View;
use super::{Changes, Store, StoreError};

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

    /// Takes a damaged file out of its place, so that the next start knows of the damage too: it finds the file missing,
    /// and fences it. What is left of it is kept until a whole one is in its place. Says whether the file is part of the
    /// state.
    pub fn set_aside(&self, name: &str) -> Result<bool, StoreError> {
        if !self.fence(name) {
            return Ok(false);
        }
        let volume = &self.shared.volume;
        let aside = names::set_aside(name);
        match volume.rename(name, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(StoreError::io(&aside)(error)),
        }
        for folder in [DAMAGED_FOLDER, names::folder(name)] {
            volume.sync_folder(folder).map_err(StoreError::io(folder))?;
        }
        Ok(true)
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

    /// Takes over the list of files of a peer whose checkpoint has the same contents: it may have merged what is damaged
    /// here into another file. All its files are part of the state and whole, or received. What `lock` returns is held
    /// while the state changes, and given back.
    pub fn replace_files<G>(
        &self,
        offered: &Checkpoint,
        lock: impl FnOnce() -> G,
    ) -> Result<G, StoreError> {
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
        let mut moved: Vec<String> = Vec::new();
        {
            let mut changes = shared.changes.lock();
            for file in offered.files() {
                if changes.fenced.contains_key(&file.name) || !is_part(now.as_deref(), file) {
                    unstage(shared, &mut changes, file)?;
                    moved.push(file.name.clone());
                }
            }
        }
        for folder in [RECORDS_FOLDER, RUNS_FOLDER] {
            shared.volume.sync_folder(folder).map_err(StoreError::io(folder))?;
        }
        let held = lock();
        shared.commit(Output::new(shared), |now| {
            let now = now.filter(|now| same(Some(now))).ok_or(StoreError::Superseded)?;
            let (records, runs) = (offered.records.clone(), offered.runs.clone());
            // What the engine keeps of its own speaks of the files.
            let local_state = offered.local_state.clone();
            Ok(Checkpoint { local_state, records, runs, ..now.clone() })
        })?;
        let mut changes = shared.changes.lock();
        self.put_in_place(&mut changes, &moved);
        Ok(held)
    }

    /// Files with these names were received, and were put in their place in a state that is committed: those that were
    /// fenced are whole again.
    pub(super) fn put_in_place(&self, changes: &mut Changes, names: &[String]) {
        for name in names {
            changes.staged.remove(name);
            if changes.fenced.remove(name).is_some() {
                self.renew(name);
                // What cannot be removed now is removed by the next start.
                let _ = self.shared.volume.remove(&names::set_aside(name));
            }
        }
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
