//! A part of one stream: what `Read` delivers.

use reckon_api::v1;
use tonic::Status;

use crate::engine::{Direction, Page, ReadError, StateReader, StreamRead, StreamSummary};
use crate::limits;
use crate::service::wire::{self, Start, Times};

/// What is wanted of a stream that lives.
#[derive(Debug, Clone)]
pub(super) struct StreamPart {
    stream_id: String,
    direction: Direction,
    /// The stream's own first and last version when the read began.
    first_version: u64,
    last_version: u64,
    /// The first and the last version that are wanted; `None`: none is.
    bounds: Option<(u64, u64)>,
}

impl StreamPart {
    /// What the stream held, as far as it is within the time bounds. What comes later does not belong to the
    /// answer: its header says where it ends.
    pub fn new(
        reader: &StateReader,
        stream_id: String,
        direction: Direction,
        summary: &StreamSummary,
        times: Times,
    ) -> Result<Self, ReadError> {
        // A live stream has had an event.
        let last_version = summary.last_version.unwrap_or(0);
        let bounds = bounds(reader, &stream_id, (summary.first_version, last_version), times)?;
        let first_version = summary.first_version;
        Ok(Self { stream_id, direction, first_version, last_version, bounds })
    }

    pub fn header(&self, next_position: u64) -> v1::ReadHeader {
        v1::ReadHeader {
            first_version: self.first_version.cast_signed(),
            last_version: self.last_version.cast_signed(),
            next_position,
        }
    }

    /// The version to begin at; `None`: there is nothing to read.
    pub fn begin(&self, reader: &StateReader, start: Start) -> Result<Option<u64>, ReadError> {
        let Some((first, last)) = self.bounds else { return Ok(None) };
        let from = match (start, self.direction) {
            (Start::First, _) => Some(first),
            (Start::At(version), Direction::Forward) => Some(version.max(first)),
            (Start::Time(time_us), Direction::Forward) => {
                Some(reader.first_version_at(&self.stream_id, time_us)?.max(first))
            }
            (Start::Last, Direction::Forward) => None,
            (Start::At(version), Direction::Backward) => Some(version.min(last)),
            (Start::Time(time_us), Direction::Backward) => {
                reader.version_at(&self.stream_id, time_us)?.map(|version| version.min(last))
            }
            (Start::Last, Direction::Backward) => Some(last),
        };
        Ok(from.filter(|from| (first..=last).contains(from)))
    }

    /// A page from a version on. A stream that ends while it is read does not look as if it had been read whole.
    pub fn page(&self, reader: &StateReader, from: u64, events_max: usize) -> Result<Page, Status> {
        let Some((first, last)) = self.bounds else { return Ok(Page::default()) };
        let direction = self.direction;
        let read = StreamRead {
            stream_id: &self.stream_id,
            from,
            first,
            last,
            direction,
            events_max,
            bytes_max: limits::READ_PAGE_BYTES_MAX,
        };
        let page = reader.read_stream(&read).map_err(wire::read_failed)?;
        let end = if direction == Direction::Forward { last } else { first };
        let ends_early =
            page.next.is_none() && page.events.last().is_none_or(|event| event.version != end);
        if ends_early {
            let state = reader.stream(&self.stream_id).map_err(wire::read_failed)?;
            wire::live(&self.stream_id, &state)?;
        }
        Ok(page)
    }
}

fn bounds(
    reader: &StateReader,
    stream_id: &str,
    (mut first, mut last): (u64, u64),
    times: Times,
) -> Result<Option<(u64, u64)>, ReadError> {
    if let Some(since_us) = times.since_us {
        first = first.max(reader.first_version_at(stream_id, since_us)?);
    }
    if let Some(until_us) = times.until_us {
        match reader.version_at(stream_id, until_us)? {
            Some(until) => last = last.min(until),
            None => return Ok(None),
        }
    }
    Ok((first <= last).then_some((first, last)))
}
