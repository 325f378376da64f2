//! What the log asks of a disk, and the real one.
//!
//! The traits are as small as the log allows, so that a disk that forgets, fails or stands still can take their
//! place in tests and in simulation. They know numbers and bytes; frames and entries are not their business.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::RngExt as _;
use rustix::fs::{CWD, FallocateFlags, FlockOperation, RenameFlags};

use super::OpenError;
use super::spare::Spare;

/// The number of a log file; the first is 1, and numbers are never used again.
pub type FileNumber = u32;

/// How much is written at once when a file is filled with zeroes.
const ZEROES_BYTES: usize = 1 << 20;

/// What the file is called that waits to become the next log file. Not a number, so never taken for one.
const SPARE_NAME: &str = "spare";

/// A folder of log files.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Makes a file of `bytes` zeroes whose space is taken. It may vanish in a crash until [`Disk::sync`] returned.
    fn create(&self, number: FileNumber, bytes: u64) -> io::Result<Arc<dyn LogFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, number: FileNumber) -> io::Result<Arc<dyn LogFile>>;
    /// The numbers of all files, ascending.
    fn list(&self) -> io::Result<Vec<FileNumber>>;
    /// Removes a file. It may come back in a crash until [`Disk::sync`] returned. Open handles stay readable.
    fn remove(&self, number: FileNumber) -> io::Result<()>;
    /// Makes the creations and removals so far survive a crash.
    fn sync(&self) -> io::Result<()>;
    /// A number that no earlier file had, so that stale bytes are never taken for frames of a new file.
    fn nonce(&self) -> u64;
    /// How many bytes can still be written to the medium.
    fn available_bytes(&self) -> io::Result<u64>;
    /// What people call the file, for messages.
    fn name(&self, number: FileNumber) -> String;
}

/// One log file.
pub trait LogFile: fmt::Debug + Send + Sync + 'static {
    /// The size, preallocated space included.
    fn bytes(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset` on; an end of file within is an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Returns when everything written so far survives a crash.
    fn sync_data(&self) -> io::Result<()>;
}

/// A real folder. While it lives, no other process can open the same one.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// The folder itself, for syncing it; holding it open also holds the lock on it.
    handle: File,
    spare: Mutex<Spare>,
}

impl Directory {
    /// Opens the folder, making it when needed, and locks it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |what: &str| OpenError::io(format!("{what} {}", path.display()));
        if !path.is_dir() {
            fs::create_dir_all(path).map_err(failed("making the folder"))?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                let synced = File::open(parent).and_then(|parent| parent.sync_all());
                synced.map_err(failed("syncing the parent of"))?;
            }
        }
        let handle = File::open(path).map_err(failed("opening the folder"))?;
        match rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let spare = Mutex::new(Spare::new(path.join(SPARE_NAME)));
                Ok(Self { path: path.to_owned(), handle, spare })
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(OpenError::Locked(path.display().to_string()))
            }
            Err(errno) => Err(failed("locking the folder")(errno.into())),
        }
    }

    fn path_of(&self, number: FileNumber) -> PathBuf {
        self.path.join(format!("{number:010}"))
    }
}

impl Disk for Directory {
    fn create(&self, number: FileNumber, bytes: u64) -> io::Result<Arc<dyn LogFile>> {
        let path = self.path_of(number);
        let mut spare = self.spare.lock();
        let file = match spare.take(bytes) {
            Some(file) => {
                rustix::fs::renameat_with(CWD, spare.path(), CWD, &path, RenameFlags::NOREPLACE)?;
                file
            }
            None => make(&path, bytes)?,
        };
        spare.make(bytes);
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, number: FileNumber) -> io::Result<Arc<dyn LogFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path_of(number))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn list(&self) -> io::Result<Vec<FileNumber>> {
        let mut numbers = Vec::new();
        for item in fs::read_dir(&self.path)? {
            // What is not named like a log file is not ours (`lost+found` on a volume of its own).
            let name = item?.file_name();
            let number = name.to_str().and_then(|name| name.parse().ok());
            if let Some(number) = number.filter(|number| self.path_of(*number).ends_with(&name)) {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn remove(&self, number: FileNumber) -> io::Result<()> {
        fs::remove_file(self.path_of(number))
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn nonce(&self) -> u64 {
        rand::rng().random()
    }

    fn available_bytes(&self) -> io::Result<u64> {
        let medium = rustix::fs::fstatvfs(&self.handle)?;
        Ok(medium.f_bavail.saturating_mul(medium.f_frsize))
    }

    fn name(&self, number: FileNumber) -> String {
        self.path_of(number).display().to_string()
    }
}

/// Makes a file of zeroes. Its space is taken now, so that a full disk is met when a file is made and never between two
/// frames. The zeroes are written out, since space that was only reserved makes the file system note with every sync
/// what of it is in use by now, in a write of its own.
pub(super) fn make(path: &Path, bytes: u64) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error.into()),
    }
    let zeroes = vec![0; ZEROES_BYTES];
    let mut offset = 0;
    while offset < bytes {
        let length = zeroes.len().min(usize::try_from(bytes - offset).unwrap_or(usize::MAX));
        file.write_all_at(&zeroes[..length], offset)?;
        offset += length as u64;
    }
    Ok(file)
}

#[derive(Debug)]
struct RealFile(File);

impl LogFile for RealFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.0)?)
    }
}
