//! Where a time or a position lies: neither decreases over positions, or over the versions of a stream, so it is found by
//! search, without an index of its own.

use super::StateReader;
use crate::engine::error::ReadError;
use crate::engine::head::Head;
use crate::engine::layer::Layer;
use crate::event::StoredRecord;

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
        self.first_version_where(stream_id, Reached::Time(epoch_us))
    }

    /// The first version of a stream, of those that can be read, that does not stand below a position. The version of
    /// the next event when all do; 0 for a stream that never had one.
    pub fn first_version_from(&self, stream_id: &str, position: u64) -> Result<u64, ReadError> {
        self.first_version_where(stream_id, Reached::Position(position))
    }

    /// Everything is looked up in the layers of one moment: an event that comes in between must neither be found by its
    /// stream's head alone nor be missed by it.
    fn first_version_where(&self, stream_id: &str, wanted: Reached) -> Result<u64, ReadError> {
        let engine = self.engine.read();
        let active = first_version_in(&engine.active, stream_id, wanted)?;
        let active_head = engine.active.head_here(stream_id).copied();
        let view = engine.view();
        drop(engine);
        let head = match active_head {
            Some(head) => Some(head),
            None => view.layers.head(stream_id)?,
        };
        let Some(head) = head else { return Ok(0) };
        if wanted.is_behind(&head) {
            return Ok(head.next_version);
        }
        // Older layers hold older records: the first that has one which is reached has the first one.
        for layer in view.layers.ascending().filter(|layer| !layer.positions().is_empty()) {
            if !wanted.is_in(layer)? {
                continue;
            }
            if let Some(version) = first_version_in(layer, stream_id, wanted)? {
                return Ok(version.max(head.first_version));
            }
        }
        Ok(active.map_or(head.next_version, |version| version.max(head.first_version)))
    }
}

/// From where on events of a stream are wanted. Neither decreases over its versions.
#[derive(Debug, Clone, Copy)]
enum Reached {
    Time(u64),
    Position(u64),
}

impl Reached {
    /// Whether it lies behind every event that the stream has had.
    const fn is_behind(self, head: &Head) -> bool {
        match self {
            Self::Time(epoch_us) => head.last_epoch_us < epoch_us,
            Self::Position(position) => head.last_position < position,
        }
    }

    /// Whether a record of the layer may reach it.
    fn is_in(self, layer: &dyn Layer) -> Result<bool, ReadError> {
        Ok(match self {
            Self::Time(epoch_us) => layer.position_at_time(epoch_us)?.is_some(),
            Self::Position(position) => layer.positions().end > position,
        })
    }

    /// Whether an event of the record reaches it.
    fn is_of(self, stored: &StoredRecord) -> bool {
        match self {
            Self::Time(epoch_us) => stored.epoch_us >= epoch_us,
            Self::Position(position) => stored.end_position() > position,
        }
    }

    /// The first version of a record, of which one reaches it.
    const fn first_version(self, stored: &StoredRecord) -> u64 {
        let before = match self {
            Self::Time(_) => 0,
            Self::Position(position) => position.saturating_sub(stored.first_position),
        };
        stored.first_version + before
    }
}

/// The first version of a stream in a layer from which on it is reached: binary search over versions.
fn first_version_in(
    layer: &dyn Layer,
    stream_id: &str,
    wanted: Reached,
) -> Result<Option<u64>, ReadError> {
    let Some(last) = layer.stream_record_to(stream_id, u64::MAX)? else { return Ok(None) };
    if !wanted.is_of(&last) {
        return Ok(None);
    }
    let first = layer.stream_record_from(stream_id, 0)?;
    // Below `low` it is not reached, by `found` it is.
    let mut low = first.map_or(last.first_version, |first| first.first_version);
    let mut found = last;
    while low < found.first_version {
        let middle = low.midpoint(found.first_version);
        match layer.stream_record_to(stream_id, middle)? {
            Some(stored) if wanted.is_of(&stored) => found = stored,
            Some(stored) => low = (stored.last_version() + 1).max(middle + 1),
            None => low = middle + 1,
        }
    }
    Ok(Some(wanted.first_version(&found)))
}
