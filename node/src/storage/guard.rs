//! The rule for a disk that fails: after a failed sync, or a write that failed for another reason than a lack of space,
//! nothing is written any more and the node has to stop.
//!
//! After a failed sync the system may have dropped what was to be written and will not say so again (Rebello et al.,
//! "Can Applications Recover from fsync Failures?", 2020), so a second try proves nothing. A full disk that refuses a
//! file's growth has lost nothing, and the same write may be tried again when there is space.

use std::io;
use std::sync::{Arc, OnceLock};

use super::error::is_full;
use super::volume::{Volume, VolumeFile};

/// Why nothing is written any more.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "{path} could not be {what} ({reason}): the disk cannot be trusted and the node has to stop"
)]
pub struct Poison {
    /// What people call the file or folder.
    pub path: String,
    /// What could not be done to it.
    pub what: &'static str,
    /// What the system said.
    pub reason: String,
}

/// A volume that keeps the rule.
#[derive(Debug, Clone)]
pub(super) struct GuardedVolume {
    inner: Arc<dyn Volume>,
    poison: Arc<OnceLock<Poison>>,
}

#[derive(Debug)]
struct GuardedFile {
    inner: Arc<dyn VolumeFile>,
    path: String,
    poison: Arc<OnceLock<Poison>>,
}

impl GuardedVolume {
    pub fn new(inner: Arc<dyn Volume>) -> Self {
        Self { inner, poison: Arc::default() }
    }

    /// Why nothing is written any more; `None` as long as all is well.
    pub fn poison(&self) -> Option<&Poison> {
        self.poison.get()
    }

    fn guarded(&self, path: &str, file: Arc<dyn VolumeFile>) -> Arc<dyn VolumeFile> {
        let poison = Arc::clone(&self.poison);
        Arc::new(GuardedFile { inner: file, path: self.inner.name(path), poison })
    }
}

fn check(poison: &OnceLock<Poison>) -> io::Result<()> {
    poison.get().map_or(Ok(()), |poison| Err(io::Error::other(poison.clone())))
}

/// Poisons unless it was the disk's lack of space and that is harmless.
fn failed(
    poison: &OnceLock<Poison>,
    path: &str,
    what: &'static str,
    error: &io::Error,
) -> io::Error {
    let reason = error.to_string();
    io::Error::other(poison.get_or_init(|| Poison { path: path.to_owned(), what, reason }).clone())
}

impl Volume for GuardedVolume {
    fn create(&self, path: &str) -> io::Result<Arc<dyn VolumeFile>> {
        check(&self.poison)?;
        Ok(self.guarded(path, self.inner.create(path)?))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn VolumeFile>> {
        Ok(self.guarded(path, self.inner.open(path)?))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.inner.list(folder)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check(&self.poison)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        check(&self.poison)?;
        self.inner.remove(path)
    }

    fn make_folder(&self, path: &str) -> io::Result<()> {
        check(&self.poison)?;
        self.inner.make_folder(path)
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        check(&self.poison)?;
        let synced = self.inner.sync_folder(path);
        synced.map_err(|error| failed(&self.poison, &self.inner.name(path), "synced", &error))
    }

    fn available_bytes(&self) -> io::Result<u64> {
        self.inner.available_bytes()
    }

    fn name(&self, path: &str) -> String {
        self.inner.name(path)
    }
}

impl GuardedFile {
    fn written(&self, written: io::Result<()>) -> io::Result<()> {
        written.map_err(|error| {
            if is_full(&error) {
                return error;
            }
            failed(&self.poison, &self.path, "written", &error)
        })
    }
}

impl VolumeFile for GuardedFile {
    fn bytes(&self) -> io::Result<u64> {
        self.inner.bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        check(&self.poison)?;
        self.written(self.inner.write_at(offset, bytes))
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        check(&self.poison)?;
        self.written(self.inner.set_bytes(bytes))
    }

    fn sync_data(&self) -> io::Result<()> {
        check(&self.poison)?;
        let synced = self.inner.sync_data();
        synced.map_err(|error| failed(&self.poison, &self.path, "synced", &error))
    }
}
