//! What a node keeps in its data folder beside Raft's log: files that never change, and the catalogue that says which
//! of them make up the state.
//!
//! Must not know Raft, the network, the clock, or what a stream's head means: it knows bytes and positions.

mod backend;
mod block;
mod cache;
mod catalogue;
mod checkpoint;
mod entries;
mod error;
mod files;
mod filter;
mod guard;
mod identity;
pub mod keys;
mod names;
mod records;
mod reports;
mod run;
mod sealed;
mod store;
mod table;
#[cfg(test)]
mod tests;
pub mod volume;

pub use cache::BlockCache;
pub use catalogue::CatalogueError;
pub use checkpoint::{Checkpoint, CorruptCheckpoint, FileMeta, LogPosition, RecordsMeta, RunMeta};
pub use error::{ReadError, WriteError};
pub use files::Files;
pub use guard::Poison;
pub use identity::{FORMAT_VERSION, Identity};
pub use records::{RecordsEntries, RecordsReader, RecordsSummary, RecordsWriter};
pub use run::{RunEntries, RunReader, RunWriter};
pub use sealed::{Sealed, SealedLayer, SealedRecords};
pub use store::{
    CACHE_BYTES_DEFAULT, MergePlan, OpenError, Options, Pin, Reclaimed, SealInput, SealedFile,
    Staged, Store, StoreError,
};
pub use table::Summary;
