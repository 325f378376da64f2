//! New files on their way into the state.

use std::collections::BTreeSet;
use std::io;

use ring::digest;

use super::super::checkpoint::{Checkpoint, FileMeta};
use super::super::names;
use super::super::table::Summary;
use super::super::volume::Volume as _;
use super::{Shared, StoreError};

/// What is read at once when a file is read back.
const READ_BYTES: usize = 1 << 20;

/// Files that were written and are not part of the state yet. They are removed when this is dropped, unless kept.
#[derive(Debug)]
pub(super) struct Output<'a> {
    shared: &'a Shared,
    paths: BTreeSet<String>,
}

impl<'a> Output<'a> {
    pub const fn new(shared: &'a Shared) -> Self {
        Self { shared, paths: BTreeSet::new() }
    }

    /// Writes a file whose name begins with `beginning`: `write` is given the path to write to, and returns when the
    /// file is synced. The file is read back before it gets its name.
    pub fn write<T>(
        &mut self,
        beginning: &str,
        write: impl FnOnce(&str) -> Result<(Summary, T), StoreError>,
    ) -> Result<(FileMeta, T), StoreError> {
        let volume = &self.shared.volume;
        let unfinished = names::unfinished(beginning);
        match volume.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io(&unfinished)(error));
            }
            _ => {}
        }
        self.paths.insert(unfinished.clone());
        let (Summary { bytes, digest, .. }, written) = write(&unfinished)?;
        if self.shared.digest_of(&unfinished, bytes)? != digest {
            return Err(StoreError::Contents { file: unfinished });
        }
        let name = names::finished(beginning, &digest);
        volume.rename(&unfinished, &name).map_err(StoreError::io(&name))?;
        self.paths.remove(&unfinished);
        self.paths.insert(name.clone());
        Ok((FileMeta { name, bytes, digest }, written))
    }

    /// Makes the names of the files survive a crash.
    pub fn sync_folders(&self) -> Result<(), StoreError> {
        let folders: BTreeSet<_> = self.paths.iter().map(|path| names::folder(path)).collect();
        for folder in folders {
            self.shared.volume.sync_folder(folder).map_err(StoreError::io(folder))?;
        }
        Ok(())
    }

    /// The files stay.
    pub fn keep(mut self) {
        self.paths.clear();
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        if self.paths.is_empty() {
            return;
        }
        // An earlier try, whose outcome could not be seen, may have brought the same names into the catalogue.
        let Ok(in_catalogue) = self.shared.catalogue.checkpoint() else { return };
        let in_view = self.shared.view.read().checkpoint.clone();
        let named = in_catalogue.iter().chain(in_view.as_deref());
        let named: BTreeSet<&str> =
            named.flat_map(Checkpoint::files).map(|file| file.name.as_str()).collect();
        for path in self.paths.iter().filter(|path| !named.contains(path.as_str())) {
            // What cannot be removed now is removed by the next start.
            let _ = self.shared.volume.remove(path);
        }
    }
}

impl Shared {
    /// The SHA-256 of a file as the disk gives it back; an error if it has another size.
    pub(super) fn digest_of(&self, path: &str, bytes: u64) -> Result<[u8; 32], StoreError> {
        let failed = || StoreError::io(path);
        let file = self.volume.open(path).map_err(failed())?;
        if file.bytes().map_err(failed())? != bytes {
            return Err(StoreError::Contents { file: path.to_owned() });
        }
        let mut digest = digest::Context::new(&digest::SHA256);
        let mut buffer = vec![0; READ_BYTES];
        let mut offset = 0;
        while offset < bytes {
            self.check_running()?;
            let piece = buffer.len().min(usize::try_from(bytes - offset).unwrap_or(usize::MAX));
            file.read_at(offset, &mut buffer[..piece]).map_err(failed())?;
            digest.update(&buffer[..piece]);
            offset += piece as u64;
        }
        Ok(digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}
