//! The next log file, made before it is needed: filling it with zeroes takes longer than an append may.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use super::files;

/// A file that waits, or one in the making. At most one.
#[derive(Debug)]
pub(super) struct Spare {
    path: PathBuf,
    /// The size of the usual file: a larger one was asked for the sake of one entry.
    bytes: u64,
    making: Option<JoinHandle<io::Result<(File, u64)>>>,
}

impl Spare {
    /// None yet. What an earlier process left under the name is of no use: it may not be whole.
    pub fn new(path: PathBuf) -> Self {
        remove(&path);
        Self { path, bytes: u64::MAX, making: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, if one of this size could be made, under [`Self::path`]; waits while it is in the making.
    pub fn take(&mut self, bytes: u64) -> Option<File> {
        let made = self.making.take()?.join();
        match made {
            Ok(Ok((file, made_bytes))) if made_bytes == bytes => return Some(file),
            Ok(Ok(_of_another_size)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, path = %self.path.display(), "no log file could be made ahead");
            }
            Err(_panic) => tracing::error!("making a log file ahead panicked"),
        }
        remove(&self.path);
        None
    }

    /// Begins to make the next file, behind one of this size. What becomes of it is told by [`Self::take`].
    pub fn make(&mut self, bytes: u64) {
        self.bytes = self.bytes.min(bytes);
        let (path, bytes) = (self.path.clone(), self.bytes);
        let making = move || {
            let file = files::make(&path, bytes)?;
            // Else the first appends to the file would wait for all of it.
            file.sync_data()?;
            Ok((file, bytes))
        };
        // Without a thread the next file is made when it is needed.
        self.making = thread::Builder::new().name("log-spare".to_owned()).spawn(making).ok();
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(making) = self.making.take() {
            let _ = making.join();
        }
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "a log file made ahead stays");
        }
        _ => {}
    }
}
