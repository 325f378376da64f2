//! What a node keeps in its data folder beside Raft's log: files that never change, and the catalogue that says which
//! of them make up the state.
//!
//! Must not know Raft, the network, the clock, or what a stream's head means: it knows bytes and positions.

mod block;
mod cache;
mod entries;
mod error;
mod files;
mod filter;
mod identity;
pub mod keys;
mod records;
mod run;
mod sealed;
mod table;
#[cfg(test)]
mod tests;
pub mod volume;

pub use cache::BlockCache;
pub use error::{ReadError, WriteError};
pub use files::Files;
pub use identity::{FORMAT_VERSION, Identity, IdentityError, IdentityStore};
pub use records::{RecordsEntries, RecordsReader, RecordsSummary, RecordsWriter};
pub use run::{RunEntries, RunReader, RunWriter};
pub use sealed::{Sealed, SealedLayer, SealedRecords};
pub use table::Summary;
