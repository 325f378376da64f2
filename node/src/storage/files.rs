//! The volume and the block cache: what every reader of a store shares.

use std::sync::Arc;

use super::cache::BlockCache;
use super::reports::DamageReports;
use super::table::{Kind, TableReader};
use super::volume::Volume;

/// A volume with a cache over its files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    volume: Arc<dyn Volume>,
    cache: Arc<BlockCache>,
    reports: Arc<DamageReports>,
}

impl Files {
    /// The files of a volume, with a cache of `cache_bytes` for their blocks.
    pub fn new(volume: Arc<dyn Volume>, cache_bytes: u64) -> Self {
        let cache = Arc::new(BlockCache::new(cache_bytes));
        Self { volume, cache, reports: Arc::default() }
    }

    pub(super) fn shared(&self) -> (Arc<dyn Volume>, Arc<BlockCache>, Arc<DamageReports>) {
        (Arc::clone(&self.volume), Arc::clone(&self.cache), Arc::clone(&self.reports))
    }

    /// The volume.
    pub fn volume(&self) -> &dyn Volume {
        &*self.volume
    }

    /// The cache.
    pub fn cache(&self) -> &BlockCache {
        &self.cache
    }

    /// Damage that readers of these files met.
    pub(super) fn reports(&self) -> &DamageReports {
        &self.reports
    }

    pub(super) fn table(&self, path: String, kind: Kind, bytes: u64) -> TableReader {
        TableReader::new(self, path, kind, bytes)
    }
}
