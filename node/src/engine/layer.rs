//! A layer: the records of a contiguous range of positions with the indexes over them, and how to seek in it.
//! The overlay is one, and so is a sealed run with its record files. Whatever reads is written against this.
//!
//! Layers never overlap in positions. An index entry of a layer speaks of that layer's records only; what it
//! says may be older than what a newer layer says, and may point at events that were removed since.

use std::fmt::Debug;
use std::ops::{ControlFlow, Range};

use super::error::ReadError;
use super::head::Head;
use super::removals::Removal;
use crate::event::StoredRecord;

/// An index over the first positions of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Posting<'a> {
    /// Records with an event of this type.
    Type(&'a str),
    /// Records with an event that carries this tag.
    Tag(&'a str),
    /// Records with an event caused by this id.
    Causation(&'a str),
    /// Records with an event of this correlation.
    Correlation(&'a str),
    /// Records that create a stream, or open a deleted one again.
    Created,
}

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPlace {
    /// The first position of its record.
    pub record_position: u64,
    /// Its number in the record, from 0; removed events are counted.
    pub index: u32,
}

/// Records of a range of positions and the indexes over them. All bounds are inclusive.
pub trait Layer: Debug + Send + Sync {
    /// The positions that the layer's records take.
    fn positions(&self) -> Range<u64>;

    /// The stream's head at the layer's end, if the stream was changed in it.
    fn head(&self, stream_id: &str) -> Result<Option<Head>, ReadError>;

    /// The first stream whose name is not below `name` in the order of bytes, of those changed in the layer.
    fn head_from(&self, name: &str) -> Result<Option<(String, Head)>, ReadError>;

    /// The place of the newest event with this id.
    fn place(&self, event_id: &[u8; 16]) -> Result<Option<EventPlace>, ReadError>;

    /// The first record whose end lies above the position.
    fn record_from(&self, position: u64) -> Result<Option<StoredRecord>, ReadError>;

    /// Visits records from the first one on whose end lies above the position, in their order and without a gap, until
    /// `visit` says that it was enough, or before that where it is cheap to stop: at least one, if there is one. For many
    /// records it takes a fraction of the time that [`Self::record_from`] would.
    fn records_from(
        &self,
        position: u64,
        visit: &mut dyn FnMut(StoredRecord) -> ControlFlow<()>,
    ) -> Result<(), ReadError>;

    /// The last record that does not begin above the position.
    fn record_to(&self, position: u64) -> Result<Option<StoredRecord>, ReadError>;

    /// The stream's first record whose last version is not below the version.
    fn stream_record_from(
        &self,
        stream_id: &str,
        version: u64,
    ) -> Result<Option<StoredRecord>, ReadError>;

    /// The stream's last record that does not begin above the version.
    fn stream_record_to(
        &self,
        stream_id: &str,
        version: u64,
    ) -> Result<Option<StoredRecord>, ReadError>;

    /// The first entry not below the position. It is a record's first position; the record may be gone.
    fn posting_from(&self, posting: Posting<'_>, position: u64) -> Result<Option<u64>, ReadError>;

    /// The last entry not above the position.
    fn posting_to(&self, posting: Posting<'_>, position: u64) -> Result<Option<u64>, ReadError>;

    /// The first position of the first record that is not older than the time, microseconds since 1970 UTC.
    fn position_at_time(&self, epoch_us: u64) -> Result<Option<u64>, ReadError>;

    /// The first stream whose name is not below `name`, of those of which events were removed while the layer was
    /// the newest.
    fn removal_from(&self, name: &str) -> Result<Option<(String, Removal)>, ReadError>;
}

/// The record that begins at the position, unless it is gone.
pub(super) fn record_at(
    layer: &dyn Layer,
    position: u64,
) -> Result<Option<StoredRecord>, ReadError> {
    Ok(layer.record_from(position)?.filter(|stored| stored.first_position == position))
}
