//! A table: a file of keys and values in ascending order of keys, written once and never changed.
//!
//! ```text
//! blocks: entries, index, filter … | footer
//! ```
//!
//! Blocks follow each other without a gap. An index is a tree of blocks whose entries are the first key below a block
//! and where that block lies; it is written as it fills, so that a writer holds one block per level whatever the size
//! of the file, and a reader holds nothing but what the cache keeps. A second tree leads to the pages of the filter.
//! The footer says where the two roots are; it is checked when the file is first used.

mod footer;
mod index;
mod reader;
mod scan;
mod writer;

pub(super) use footer::{Kind, PROPERTIES_BYTES};
pub(super) use reader::{Seek, TableReader};
pub(super) use scan::Scan;
pub use writer::Summary;
pub(super) use writer::TableWriter;
