//! The log's disk as a folder of a volume, so that one crash takes from the log and from storage alike.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reckon_node::log::files::{Disk, FileNumber, LogFile};
use reckon_node::storage::volume::{Volume, VolumeFile};

const FOLDER: &str = "log";

/// The folder `log` of a volume.
#[derive(Debug)]
pub struct VolumeDisk<V> {
    volume: V,
    nonces: Mutex<StdRng>,
    late: Option<Duration>,
}

impl<V: Volume> VolumeDisk<V> {
    /// Makes the folder when it is not there. Nonces follow from the seed, which must differ from start to start.
    pub fn open(volume: V, nonce_seed: u64) -> io::Result<Self> {
        volume.make_folder(FOLDER)?;
        volume.sync_folder("")?;
        Ok(Self { volume, nonces: Mutex::new(StdRng::seed_from_u64(nonce_seed)), late: None })
    }

    /// A bug: a sync of a log file says that it is done, and is done so much later, by a task.
    pub fn syncing_late(self, late: Duration) -> Self {
        Self { late: Some(late), ..self }
    }

    fn file(&self, file: Arc<dyn VolumeFile>) -> Arc<dyn LogFile> {
        Arc::new(VolumeLogFile { file, late: self.late })
    }

    fn path(number: FileNumber) -> String {
        format!("{FOLDER}/{number:010}")
    }
}

impl<V: Volume> Disk for VolumeDisk<V> {
    fn create(&self, number: FileNumber, bytes: u64) -> io::Result<Arc<dyn LogFile>> {
        let file = self.volume.create(&Self::path(number))?;
        file.set_bytes(bytes)?;
        Ok(self.file(file))
    }

    fn open(&self, number: FileNumber) -> io::Result<Arc<dyn LogFile>> {
        Ok(self.file(self.volume.open(&Self::path(number))?))
    }

    fn list(&self) -> io::Result<Vec<FileNumber>> {
        let names = self.volume.list(FOLDER)?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    fn remove(&self, number: FileNumber) -> io::Result<()> {
        self.volume.remove(&Self::path(number))
    }

    fn sync(&self) -> io::Result<()> {
        self.volume.sync_folder(FOLDER)
    }

    fn nonce(&self) -> u64 {
        self.nonces.lock().random()
    }

    fn available_bytes(&self) -> io::Result<u64> {
        self.volume.available_bytes()
    }

    fn name(&self, number: FileNumber) -> String {
        self.volume.name(&Self::path(number))
    }
}

#[derive(Debug)]
struct VolumeLogFile {
    file: Arc<dyn VolumeFile>,
    late: Option<Duration>,
}

impl LogFile for VolumeLogFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        if let Some(late) = self.late {
            let file = Arc::clone(&self.file);
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                // A file that is gone by then has nothing to lose.
                let _ = file.sync_data();
            });
            return Ok(());
        }
        self.file.sync_data()
    }
}
