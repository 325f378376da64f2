//! What is sealed, as it is at one moment: an immutable view for readers.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::error::ReadError;
use super::records::RecordsReader;
use super::run::RunReader;
use crate::event::StoredRecord;

/// A run and the records that it indexes.
#[derive(Debug, Clone)]
pub struct SealedLayer {
    /// The positions of the layer's records; the next layer's follow without a gap.
    pub positions: Range<u64>,
    /// The index.
    pub run: Arc<RunReader>,
    /// The records, ascending.
    pub records: Vec<SealedRecords>,
}

/// One records file of a layer.
#[derive(Debug, Clone)]
pub struct SealedRecords {
    /// From the first record's first position to the end of the last; between files there may be reclaimed gaps.
    pub positions: Range<u64>,
    /// The time of the last record, microseconds since 1970 UTC.
    pub last_epoch_us: u64,
    /// The file.
    pub reader: Arc<RecordsReader>,
}

/// All layers of a store.
#[derive(Debug, Clone, Default)]
pub struct Sealed {
    /// Ascending and without gaps.
    pub layers: Vec<SealedLayer>,
}

impl SealedLayer {
    /// The first record whose end lies above `position`: the one that holds it, or else the next.
    pub fn record_at_or_after(&self, position: u64) -> Result<Option<StoredRecord>, ReadError> {
        let start = self.records.partition_point(|file| file.positions.end <= position);
        for file in &self.records[start..] {
            if let Some(found) = file.reader.at_or_after(position)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Visits records from the one on that [`Self::record_at_or_after`] finds, until `visit` breaks or a block ends.
    pub fn visit_records_from(
        &self,
        position: u64,
        visit: &mut dyn FnMut(StoredRecord) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let start = self.records.partition_point(|file| file.positions.end <= position);
        for file in &self.records[start..] {
            if file.reader.visit_from(position, visit)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The last record whose first position is at or below `position`: the one that holds it, or else the one before.
    pub fn record_at_or_before(&self, position: u64) -> Result<Option<StoredRecord>, ReadError> {
        let end = self.records.partition_point(|file| file.positions.start <= position);
        for file in self.records[..end].iter().rev() {
            if let Some(found) = file.reader.at_or_before(position)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first record that is not older than a time, in microseconds since 1970 UTC.
    pub fn record_at_time(&self, epoch_us: u64) -> Result<Option<StoredRecord>, ReadError> {
        let start = self.records.partition_point(|file| file.last_epoch_us < epoch_us);
        for file in &self.records[start..] {
            if let Some(found) = file.reader.at_time(epoch_us)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}
