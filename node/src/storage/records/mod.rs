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
mod reader;
mod writer;

pub use reader::{RecordsEntries, RecordsReader};
pub use writer::{RecordsSummary, RecordsWriter};
