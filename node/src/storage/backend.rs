//! The catalogue's database over a file of a volume.

use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use super::volume::VolumeFile;

/// Locks nothing: the volume is locked as a whole.
#[derive(Debug)]
pub(super) struct VolumeBackend(pub Arc<dyn VolumeFile>);

impl StorageBackend for VolumeBackend {
    fn len(&self) -> io::Result<u64> {
        self.0.bytes()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_bytes(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}
