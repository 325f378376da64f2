//! The volume and the block cache: what every reader of a store shares.

use std::sync::Arc;

use super::cache::BlockCache;
use super::table::{Kind, TableReader};
use super::volume::Volume;

/// A volume with a cache over its files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    volume: Arc<dyn Volume>,
    cache: Arc<BlockCache>,
}

impl Files {
    /// The files of a volume, with a cache of `cache_bytes` for their blocks.
    pub fn new(volume: Arc<dyn Volume>, cache_bytes: u64) -> Self {
        Self { volume, cache: Arc::new(BlockCache::new(cache_bytes)) }
    }

    /// The volume.
    pub fn volume(&self) -> &dyn Volume {
        &*self.volume
    }

    /// The cache.
    pub fn cache(&self) -> &BlockCache {
        &self.cache
    }

    pub(super) fn table(&self, path: String, kind: Kind, bytes: u64) -> TableReader {
        TableReader::new(Arc::clone(&self.volume), Arc::clone(&self.cache), path, kind, bytes)
    }
}
