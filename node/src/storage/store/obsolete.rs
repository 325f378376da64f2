//! Files that are no longer part of the state: they go when no view and no pin holds them.

use std::sync::Arc;

use super::super::checkpoint::Checkpoint;
use super::super::records::RecordsReader;
use super::super::run::RunReader;
use super::super::volume::Volume as _;
use super::{Changes, Shared, Store, View};

/// Keeps every file of a checkpoint, and whatever is replaced later, until it is dropped.
#[derive(Debug)]
pub struct Pin {
    checkpoint: Option<Arc<Checkpoint>>,
    _held: Arc<()>,
}

impl Pin {
    /// The checkpoint whose files stay.
    pub const fn checkpoint(&self) -> Option<&Arc<Checkpoint>> {
        self.checkpoint.as_ref()
    }
}

#[derive(Debug)]
pub(super) struct Obsolete {
    bytes: u64,
    reader: Reader,
}

#[derive(Debug)]
enum Reader {
    Run(Arc<RunReader>),
    Records(Arc<RecordsReader>),
}

impl Obsolete {
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn path(&self) -> &str {
        match &self.reader {
            Reader::Run(reader) => reader.path(),
            Reader::Records(reader) => reader.path(),
        }
    }

    /// Whether a view still has the file.
    fn is_held(&self) -> bool {
        let holders = match &self.reader {
            Reader::Run(reader) => Arc::strong_count(reader),
            Reader::Records(reader) => Arc::strong_count(reader),
        };
        holders > 1
    }

    fn forget(&self) {
        match &self.reader {
            Reader::Run(reader) => reader.forget(),
            Reader::Records(reader) => reader.forget(),
        }
    }
}

impl Store {
    /// Keeps the files of the state as it is now, also when it is replaced.
    pub fn pin(&self) -> Pin {
        let _no_change = self.shared.changes.lock();
        Pin { checkpoint: self.checkpoint(), _held: Arc::clone(&self.shared.pins) }
    }

    /// Removes what is no longer part of the state and held by nobody. Every change to the state does the same.
    pub fn remove_obsolete(&self) {
        self.shared.sweep(&mut self.shared.changes.lock());
    }
}

impl Shared {
    /// Notes what was in the view `before` and is in the present one no more, and removes what can go.
    pub(super) fn retire(&self, changes: &mut Changes, before: View) {
        let now = self.view.read().checkpoint.clone();
        let named =
            |path: &str| now.as_ref().is_some_and(|now| now.files().any(|file| file.name == path));
        // What was to go may be part of the state again: the same name is the same contents.
        changes.obsolete.retain(|obsolete| !named(obsolete.path()));
        let size = |path: &str| {
            let mut files = before.checkpoint.iter().flat_map(|checkpoint| checkpoint.files());
            files.find(|file| file.name == path).map_or(0, |file| file.bytes)
        };
        for layer in &before.sealed.layers {
            let records =
                layer.records.iter().map(|file| Reader::Records(Arc::clone(&file.reader)));
            for reader in records.chain([Reader::Run(Arc::clone(&layer.run))]) {
                let mut obsolete = Obsolete { bytes: 0, reader };
                if !named(obsolete.path()) {
                    obsolete.bytes = size(obsolete.path());
                    changes.fenced.remove(obsolete.path());
                    changes.obsolete.push(obsolete);
                }
            }
        }
        drop(before);
        self.sweep(changes);
    }

    fn sweep(&self, changes: &mut Changes) {
        // One reference is the store's own. A pin is only given out while changes are locked, as they are now.
        if Arc::strong_count(&self.pins) > 1 {
            return;
        }
        changes.obsolete.retain(|obsolete| {
            if obsolete.is_held() {
                return true;
            }
            obsolete.forget();
            // What cannot be removed now is tried again, and at the latest removed by the next start.
            self.volume.remove(obsolete.path()).is_err()
        });
    }
}
