//! Records files: the sealed records of a range of positions, in their order.
//!
//! A table whose keys are first positions (big-endian) and whose values are
//!
//! ```text
//! first version | epoch_us | removed events | record
//! ```
//!
//! The index notes the time of each block's first record, so that a time is found like a position.

mod encoding;
mod join;
mod reader;
mod writer;

pub(super) use join::{JoinError, RecordsJoiner};
pub use reader::{RecordsEntries, RecordsReader};
pub use writer::{RecordsSummary, RecordsWriter};

/// Bytes of a block before compression: larger compresses better, smaller reads less for one event, and
/// stays within what allocators keep at hand: with 64 KiB a third of the time of a read went into pages that the kernel
/// zeroed. What it costs in space is not measured yet. A larger record stands alone in one.
const BLOCK_BYTES: usize = 16 << 10;
