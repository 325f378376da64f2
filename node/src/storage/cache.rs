//! One cache of decoded blocks with one budget in bytes, for all files.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use foldhash::fast::FixedState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use super::entries::Entries;

/// Blocks that readers use at the same time rarely share a shard; more would each hold too little to choose from.
const SHARDS: usize = 8;
/// What an average block takes in memory; a hint for the first sizes of the cache's own tables.
const BLOCK_BYTES_EXPECTED: u64 = 16 << 10;
/// What the cache keeps for a block besides its bytes: its entry, the shared pointers, the allocator's rounding.
const BLOCK_OVERHEAD_BYTES: usize = 128;

/// Which block of which file. A file's number is never given to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct BlockKey {
    file: u64,
    offset: u64,
}

/// A block as look-ups use it.
#[derive(Debug, Clone)]
pub(super) enum Block {
    /// Entries of a table, or of an index.
    Entries(Arc<Entries>),
    /// Bits of a filter.
    Filter(Bytes),
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<BlockKey, Block> for ByBytes {
    fn weight(&self, _key: &BlockKey, block: &Block) -> u64 {
        let bytes = match block {
            Block::Entries(entries) => entries.memory_bytes(),
            Block::Filter(bits) => bits.len(),
        };
        (bytes + BLOCK_OVERHEAD_BYTES) as u64
    }
}

type Lifecycle = DefaultLifecycle<BlockKey, Block>;

/// The cache. Shared by all readers of a store.
#[derive(Debug)]
pub struct BlockCache {
    /// Hashes the same in every process, so that a simulation reads the same blocks in every run.
    blocks: Cache<BlockKey, Block, ByBytes, FixedState, Lifecycle>,
    files: AtomicU64,
    missed: AtomicU64,
}

impl BlockCache {
    /// A cache that holds up to `bytes` of decoded blocks.
    pub fn new(bytes: u64) -> Self {
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .estimated_items_capacity(usize::try_from(bytes / BLOCK_BYTES_EXPECTED).unwrap_or(0))
            .weight_capacity(bytes)
            .build()
            .expect("every required option is set");
        let blocks =
            Cache::with_options(options, ByBytes, FixedState::default(), Lifecycle::default());
        Self { blocks, files: AtomicU64::new(0), missed: AtomicU64::new(0) }
    }

    /// How often a block was asked for that was not there.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Memory that cached blocks take, in bytes.
    pub fn bytes(&self) -> u64 {
        self.blocks.weight()
    }

    /// A number for a file that is opened.
    pub(super) fn file_number(&self) -> u64 {
        self.files.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn get(&self, file: u64, offset: u64) -> Option<Block> {
        let found = self.blocks.get(&BlockKey { file, offset });
        if found.is_none() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    pub(super) fn insert(&self, file: u64, offset: u64, block: Block) {
        self.blocks.insert(BlockKey { file, offset }, block);
    }

    /// Forgets the blocks of a file that is read no more.
    pub(super) fn forget(&self, file: u64) {
        self.blocks.retain(|key, _| key.file != file);
    }
}
