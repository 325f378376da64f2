//! The log's disk as a folder of a volume, so that one crash takes from the log and from storage alike.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io;
use std::sync::Arc;

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
}

impl<V: Volume> VolumeDisk<V> {
    /// Makes the folder when it is not there. Nonces follow from the seed, which must differ from start to start.
    pub fn open(volume: V, nonce_seed: u64) -> io::Result<Self> {
        volume.make_folder(FOLDER)?;
        volume.sync_folder("")?;
        Ok(Self { volume, nonces: Mutex::new(StdRng::seed_from_u64(nonce_seed)) })
    }

    fn path(number: FileNumber) -> String {
        format!("{FOLDER}/{number:010}")
    }
}

impl<V: Volume> Disk for VolumeDisk<V> {
    fn create(&self, number: FileNumber, bytes: u64) -> io::Result<Arc<dyn LogFile>> {
        let file = self.volume.create(&Self::path(number))?;
        file.set_bytes(bytes)?;
        Ok(Arc::new(VolumeLogFile(file)))
    }

    fn open(&self, number: FileNumber) -> io::Result<Arc<dyn LogFile>> {
        Ok(Arc::new(VolumeLogFile(self.volume.open(&Self::path(number))?)))
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
struct VolumeLogFile(Arc<dyn VolumeFile>);

impl LogFile for VolumeLogFile {
    fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
