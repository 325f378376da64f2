//! A run: the sealed index over a range of positions. See [`super::keys`] for what stands in it.

mod ids;
mod reader;
mod writer;

pub use reader::{RunEntries, RunReader};
pub use writer::RunWriter;
