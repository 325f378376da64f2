//! A run: the sealed index over a range of positions. See [`super::keys`] for what stands in it.

mod ids;
mod merged;
mod reader;
mod writer;

pub use merged::MergedEntries;
pub use reader::{RunEntries, RunReader};
pub use writer::RunWriter;
