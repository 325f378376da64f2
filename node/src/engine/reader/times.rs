//! Where a time lies: times never decrease over positions, so it is found by search, without an index of times.

use super::StateReader;
use crate::engine::error::ReadError;
use crate::engine::layer::Layer;

impl StateReader {
    /// The first position that is not older than a time (microseconds since 1970 UTC): where a forward read from
    /// that time begins. The next position when everything is older.
    pub fn first_position_at(&self, epoch_us: u64) -> Result<u64, ReadError> {
        let engine = self.engine.read();
        let active = engine.active.position_at_time(epoch_us)?;
        let next_position = engine.next_position();
        let view = engine.view();
        drop(engine);
        for layer in view.layers.ascending() {
            if let Some(position) = layer.position_at_time(epoch_us)? {
                return Ok(position);
            }
        }
        Ok(active.unwrap_or(next_position))
    }

    /// The last position that is not younger than a time: where a backward read from that time begins. `None`:
    /// everything is younger.
    pub fn last_position_at(&self, epoch_us: u64) -> Result<Option<u64>, ReadError> {
        let behind = match epoch_us.checked_add(1) {
            Some(younger) => self.first_position_at(younger)?,
            None => self.next_position(),
        };
        Ok(behind.checked_sub(1))
    }

    /// The last version of a stream, of those that can be read, that is not younger than a time. `None`: there
    /// is none.
    pub fn version_at(&self, stream_id: &str, epoch_us: u64) -> Result<Option<u64>, ReadError> {
        let behind = match epoch_us.checked_add(1) {
            Some(younger) => self.first_version_at(stream_id, younger)?,
            None => self.head(stream_id)?.map_or(0, |head| head.next_version),
        };
        let first_version = self.head(stream_id)?.map_or(0, |head| head.first_version);
        Ok(behind.checked_sub(1).filter(|&version| version >= first_version))
    }

    /// The first version of a stream, of those that can be read, that is not older than a time. The version of
    /// the next event when all are older; 0 for a stream that never had one.
    pub fn first_version_at(&self, stream_id: &str, epoch_us: u64) -> Result<u64, ReadError> {
        let engine = self.engine.read();
        let active = first_version_in(&engine.active, stream_id, epoch_us)?;
        let view = engine.view();
        drop(engine);
        let Some(head) = self.head(stream_id)? else { return Ok(0) };
        // Older layers hold older records: the first that has one young enough has the first one.
        for layer in view.layers.ascending().filter(|layer| !layer.positions().is_empty()) {
            if layer.position_at_time(epoch_us)?.is_none() {
                continue;
            }
            if let Some(version) = first_version_in(layer, stream_id, epoch_us)? {
                return Ok(version.max(head.first_version));
            }
        }
        Ok(active.map_or(head.next_version, |version| version.max(head.first_version)))
    }
}

/// The first version of a stream in a layer that is not older than a time: binary search over versions.
fn first_version_in(
    layer: &dyn Layer,
    stream_id: &str,
    epoch_us: u64,
) -> Result<Option<u64>, ReadError> {
    let Some(last) = layer.stream_record_to(stream_id, u64::MAX)? else { return Ok(None) };
    if last.epoch_us < epoch_us {
        return Ok(None);
    }
    let first = layer.stream_record_from(stream_id, 0)?;
    // Every version below `low` is older, the record that begins at `high` is not.
    let mut low = first.map_or(last.first_version, |first| first.first_version);
    let mut high = last.first_version;
    while low < high {
        let middle = low.midpoint(high);
        match layer.stream_record_to(stream_id, middle)? {
            Some(stored) if stored.epoch_us >= epoch_us => high = stored.first_version,
            Some(stored) => low = (stored.last_version() + 1).max(middle + 1),
            None => low = middle + 1,
        }
    }
    Ok(Some(high))
}
