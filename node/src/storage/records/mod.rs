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

/// Bytes of a block before compression: larger compresses better, smaller reads less for one event. Measured: blocks of
/// 64 KiB take a twentieth less room, and four times as long to find an event in; the allocator gives back what is larger
/// than 32 KiB, and each block would be zeroed by the kernel first. A larger record stands alone in one.
const BLOCK_BYTES: usize = 16 << 10;
