//! Damage that readers met. They only say so; whoever keeps the store fences the files and has them mended.

use std::collections::BTreeSet;

use parking_lot::Mutex;

/// The files that were found to be damaged since somebody last asked.
#[derive(Debug, Default)]
pub struct DamageReports {
    paths: Mutex<BTreeSet<String>>,
}

impl DamageReports {
    pub fn add(&self, path: &str) {
        let mut paths = self.paths.lock();
        if !paths.contains(path) {
            paths.insert(path.to_owned());
        }
    }

    pub fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.paths.lock())
    }
}
