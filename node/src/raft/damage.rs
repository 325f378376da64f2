//! Damaged files that somebody met: they are fenced, and whoever mends them is told.

use std::sync::Arc;

use tokio::sync::watch;

use crate::engine::ReadError;
use crate::storage::{self, Store};

/// Takes notice of damage. Cheap to clone; clones tell the same repairer.
#[derive(Debug, Clone)]
pub struct Damage {
    store: Store,
    /// How often something was found to be damaged.
    found: Arc<watch::Sender<u64>>,
}

impl Damage {
    /// Nothing has been found yet, beyond what the store missed when it was opened.
    pub fn new(store: Store) -> Self {
        Self { store, found: Arc::new(watch::Sender::new(0)) }
    }

    /// Fences the file, if that is what the error of a read is about.
    pub fn note(&self, error: &ReadError) {
        if let Some(file) = error.damaged_file() {
            self.fence(file, error);
        }
    }

    /// As [`Damage::note`], for an error met below the engine.
    pub fn note_file(&self, error: &storage::ReadError) {
        if let storage::ReadError::Damaged { file, .. } = error {
            self.fence(file, error);
        }
    }

    fn fence(&self, file: &str, error: &dyn std::fmt::Display) {
        if self.store.fence(file) {
            tracing::error!(%error, "a file is damaged and will be fetched again");
            self.found.send_modify(|found| *found += 1);
        }
    }

    /// Tells when something new is found.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.found.subscribe()
    }

    /// The names of the files that are damaged now.
    pub fn files(&self) -> Vec<String> {
        self.store.fenced().into_iter().map(|file| file.name).collect()
    }
}
