//! What storage asks of a disk, and the real one.
//!
//! The traits are as small as the files allow, so that a disk that forgets, fails or is full can take their place
//! in tests and in simulation. They know paths and bytes; blocks and tables are not their business.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;

/// A folder with folders in it. Paths are relative, their parts joined by `/`; the folder itself is the empty path.
pub trait Volume: fmt::Debug + Send + Sync + 'static {
    /// Makes a file that does not exist yet. It may vanish in a crash until its folder is synced.
    fn create(&self, path: &str) -> io::Result<Arc<dyn VolumeFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &str) -> io::Result<Arc<dyn VolumeFile>>;
    /// The names of the files and folders in a folder, sorted.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Gives a file another path, replacing what is there. Survives a crash once both folders are synced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. It may come back in a crash until its folder is synced. Open handles stay readable.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Makes a folder; it may be there already. Survives a crash once the folder around it is synced.
    fn make_folder(&self, path: &str) -> io::Result<()>;
    /// Makes what was created, renamed and removed in a folder so far survive a crash.
    fn sync_folder(&self, path: &str) -> io::Result<()>;
    /// How many bytes can still be written.
    fn available_bytes(&self) -> io::Result<u64>;
    /// What people call a path, for messages.
    fn name(&self, path: &str) -> String;
}

/// One file of a volume.
pub trait VolumeFile: fmt::Debug + Send + Sync + 'static {
    /// The size.
    fn bytes(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset` on; an end of file within is an error of kind `UnexpectedEof`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`; the file grows as needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file, or lengthens it with zeroes.
    fn set_bytes(&self, bytes: u64) -> io::Result<()>;
    /// Returns when everything written so far, and the size, survives a crash.
    fn sync_data(&self) -> io::Result<()>;
}

/// Why a folder cannot serve as a volume.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The folder cannot be made or used.
    #[error("the data folder {} cannot be used: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process, or another handle of this one, has the folder open.
    #[error("{} is in use by another process: two nodes cannot share a data folder", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

impl VolumeError {
    /// Whether opening again, unchanged, may succeed: only when another process may still let go.
    pub const fn retryable(&self) -> bool {
        matches!(self, Self::InUse { .. })
    }
}

/// A real folder. While it lives, no other process can open the same one.
#[derive(Debug)]
pub struct DirectoryVolume {
    path: PathBuf,
    /// The folder itself; holding it open holds the lock on it.
    lock: File,
}

impl DirectoryVolume {
    /// Opens the folder, making it when needed, and locks it.
    pub fn open(path: &Path) -> Result<Self, VolumeError> {
        let folder = |source| VolumeError::Folder { path: path.to_owned(), source };
        if !path.is_dir() {
            fs::create_dir_all(path).map_err(folder)?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent).and_then(|parent| parent.sync_all()).map_err(folder)?;
            }
        }
        let lock = File::open(path).map_err(folder)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(VolumeError::InUse { path: path.to_owned() }),
            Err(errno) => Err(folder(errno.into())),
        }
    }

    fn path_of(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.path.clone() } else { self.path.join(path) }
    }
}

impl Volume for DirectoryVolume {
    fn create(&self, path: &str) -> io::Result<Arc<dyn VolumeFile>> {
        let path = self.path_of(path);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn VolumeFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path_of(path))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for item in fs::read_dir(self.path_of(folder))? {
            // Storage names its files in ASCII; anything else is not its own.
            if let Ok(name) = item?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path_of(from), self.path_of(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path_of(path))
    }

    fn make_folder(&self, path: &str) -> io::Result<()> {
        fs::create_dir_all(self.path_of(path))
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        if path.is_empty() {
            return self.lock.sync_all();
        }
        File::open(self.path_of(path))?.sync_all()
    }

    fn available_bytes(&self) -> io::Result<u64> {
        let known = rustix::fs::fstatvfs(&self.lock)?;
        Ok(known.f_bavail.saturating_mul(known.f_frsize))
    }

    fn name(&self, path: &str) -> String {
        self.path_of(path).display().to_string()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl VolumeFile for RealFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.0)?)
    }
}
