//! Damaged files: they are named, fetched again from a peer, and put in their place.

use std::sync::Arc;

use super::super::checkpoint::FileMeta;
use super::super::names;
use super::super::volume::Volume as _;
use super::staging::unstage;
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
        let mut view = shared.view.write();
        let before = view.clone();
        *view = View::new(&shared.files, before.checkpoint.clone(), Some(&before), Some(name));
        drop(view);
        forget(&before, name);
        Ok(())
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
