//! The events of a selector in their order: one path for what was and for what comes.
//!
//! A source holds where it stands and nothing else, and every page is read from the store anew. So there is no seam
//! between history and live at which something could be lost or come twice. A selector of one stream is read by the
//! stream's own index, all others by position.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::selector::Selector;
use crate::engine::{
    AllRead, ReadError, RecentStream, RecordedEvent, Select, SelectError, StateReader, StreamRead,
};
use crate::limits;

/// Where events are wanted from; inclusive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    #[default]
    Beginning,
    /// Behind the last event that there is.
    End,
    Position(u64),
    /// A version of the one stream that the selector is about. For any other selector, the beginning.
    Version(u64),
    /// Microseconds since 1970 UTC: the first event that is not older.
    Time(u64),
}

/// Some events of a selector in their order.
#[derive(Debug, Clone, Default)]
pub struct SourcePage {
    /// May be empty although more follow: others were passed over.
    pub events: Vec<RecordedEvent>,
    /// Whether that was everything that there was when the page was asked for.
    pub caught_up: bool,
}

/// Reads the events of a selector, page by page.
#[derive(Debug, Clone)]
pub struct Source {
    selector: Arc<Selector>,
    start: Start,
    /// `None`: it has not begun.
    place: Option<Place>,
}

/// How far a source has come.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Everything wanted below this position was handed out.
    position: u64,
    /// Of its stream, everything wanted below this version was handed out. Not used without a stream.
    version: u64,
}

impl Source {
    /// Begins where it is told with the first page, or with [`Self::begin`].
    pub const fn new(selector: Arc<Selector>, start: Start) -> Self {
        Self { selector, start, place: None }
    }

    pub const fn selector(&self) -> &Arc<Selector> {
        &self.selector
    }

    /// Finds the place to begin at, unless it is known. From the position that this gives on, everything that is wanted
    /// is handed out. May read files.
    pub fn begin(&mut self, reader: &StateReader) -> Result<u64, ReadError> {
        Ok(self.place(reader)?.position)
    }

    /// Everything that is wanted below this position was handed out. 0 before it has begun.
    pub fn next_position(&self) -> u64 {
        self.place.map_or(0, |place| place.position)
    }

    /// Whether the next page can be read from memory alone. A seal may put it into a file right after that, which is then
    /// in the page cache.
    pub fn is_in_memory(&self, reader: &StateReader) -> bool {
        let Some(place) = self.place else { return false };
        match self.selector.stream() {
            None => place.position >= reader.memory_start(),
            Some(stream_id) => {
                let recent = reader.recent_stream(stream_id, place.version, place.position);
                recent != RecentStream::InFiles
            }
        }
    }

    /// As [`Self::is_in_memory`], and whether there is so little to look at that any thread may do it.
    pub fn is_short_and_in_memory(&self, reader: &StateReader) -> bool {
        let behind = reader.next_position().saturating_sub(self.next_position());
        let is_short = self.selector.stream().is_some()
            || self.selector.candidates().is_some()
            || behind <= limits::LIVE_PAGE_EVENTS_MAX as u64;
        is_short && self.is_in_memory(reader)
    }

    /// The next events, at most so many and about so many bytes of them. Looks at a bounded number of records; may read
    /// files. An event that the selector cannot judge is an error once everything before it was handed out; whoever
    /// wants to go on without it begins behind its position.
    pub fn page(
        &mut self,
        reader: &StateReader,
        events_max: usize,
        bytes_max: usize,
    ) -> Result<SourcePage, ReadError> {
        let place = self.place(reader)?;
        let selector = Arc::clone(&self.selector);
        let (mut page, next) = match selector.stream() {
            None => page_of_store(&selector, reader, place, events_max, bytes_max)?,
            Some(stream_id) => {
                page_of_stream(&selector, stream_id, reader, place, events_max, bytes_max)?
            }
        };
        // A start that lies ahead of the store is no place to read at yet.
        match self.start {
            Start::Time(time_us) => page.events.retain(|event| event.epoch_us >= time_us),
            Start::Position(position) => page.events.retain(|event| event.position >= position),
            Start::Beginning | Start::End | Start::Version(_) => {}
        }
        #[cfg(feature = "planted-bugs")]
        if crate::planted::has(crate::planted::Planted::SourceSkips) {
            page.events.retain(|event| !event.position.is_multiple_of(7));
        }
        self.place = Some(next);
        Ok(page)
    }

    /// The event at a position, if it can still be read, wanted or not.
    pub fn event_at(
        reader: &StateReader,
        position: u64,
    ) -> Result<Option<RecordedEvent>, ReadError> {
        reader.event_at(position)
    }

    fn place(&mut self, reader: &StateReader) -> Result<Place, ReadError> {
        if let Some(place) = self.place {
            return Ok(place);
        }
        let place = match self.selector.stream() {
            None => Place { position: place_in_store(reader, self.start)?, version: 0 },
            Some(stream_id) => place_in_stream(reader, stream_id, self.start)?,
        };
        self.place = Some(place);
        Ok(place)
    }
}

fn place_in_store(reader: &StateReader, start: Start) -> Result<u64, ReadError> {
    Ok(match start {
        Start::Beginning | Start::Version(_) => 0,
        Start::End => reader.next_position(),
        Start::Position(position) => position,
        Start::Time(time_us) => reader.first_position_at(time_us)?,
    })
}

fn place_in_stream(
    reader: &StateReader,
    stream_id: &str,
    start: Start,
) -> Result<Place, ReadError> {
    Ok(match start {
        Start::Beginning => Place { position: 0, version: 0 },
        Start::End => {
            let position = reader.next_position();
            Place { position, version: reader.first_version_from(stream_id, position)? }
        }
        Start::Position(position) => {
            Place { position, version: reader.first_version_from(stream_id, position)? }
        }
        Start::Time(time_us) => {
            // The stream's events that are old enough all stand below that position.
            let position = reader.first_position_at(time_us)?;
            Place { position, version: reader.first_version_at(stream_id, time_us)? }
        }
        Start::Version(version) => {
            // Read first: where there is no such version yet, it comes at this position or later.
            let next_position = reader.next_position();
            let first = StreamRead { from: version, events_max: 1, ..StreamRead::of(stream_id) };
            let first = reader.read_stream(&first)?.events.pop();
            Place { position: first.map_or(next_position, |event| event.position), version }
        }
    })
}

fn page_of_store(
    selector: &Selector,
    reader: &StateReader,
    place: Place,
    events_max: usize,
    bytes_max: usize,
) -> Result<(SourcePage, Place), ReadError> {
    let next_position = reader.next_position();
    if place.position >= next_position {
        return Ok((SourcePage { events: Vec::new(), caught_up: true }, place));
    }
    let mut read = AllRead {
        from: place.position,
        last: next_position - 1,
        include_system: selector.includes_system(),
        select: (!selector.takes_every_event()).then_some(selector as &dyn Select),
        events_max,
        bytes_max,
        ..AllRead::default()
    };
    let page = match reader.read_all(&read) {
        // What comes before an event that cannot be judged can be handed out; then the next page begins with it, and fails.
        Err(error) => match unjudged(&error).filter(|&position| position > place.position) {
            Some(position) => {
                read.last = position - 1;
                reader.read_all(&read)?
            }
            None => return Err(error),
        },
        Ok(page) => page,
    };
    let position = page.next.unwrap_or(read.last + 1);
    let caught_up = position == next_position;
    Ok((SourcePage { events: page.events, caught_up }, Place { position, ..place }))
}

/// The position of the event of which it cannot be said whether it is wanted.
const fn unjudged(error: &ReadError) -> Option<u64> {
    match error {
        ReadError::Select(SelectError::TooCostly { position, .. }) => Some(*position),
        _ => None,
    }
}

fn page_of_stream(
    selector: &Selector,
    stream_id: &str,
    reader: &StateReader,
    place: Place,
    events_max: usize,
    bytes_max: usize,
) -> Result<(SourcePage, Place), ReadError> {
    let next_position = reader.next_position();
    let caught_up = |version| Place { position: place.position.max(next_position), version };
    let recent = reader.recent_stream(stream_id, place.version, place.position);
    if recent == RecentStream::Unchanged {
        let page = SourcePage { events: Vec::new(), caught_up: true };
        return Ok((page, caught_up(place.version)));
    }
    let read =
        StreamRead { from: place.version, events_max, bytes_max, ..StreamRead::of(stream_id) };
    let page = reader.read_stream(&read)?;
    let last = page.events.last().map(|event| (event.version, event.position));
    // What is removed while a page is read ends it early; what was read before stays read.
    let version = page.next.or(last.map(|(version, _)| version + 1)).unwrap_or(place.version);
    let mut next = match page.next {
        None => caught_up(version),
        Some(_) => Place { version, ..place },
    };
    if let Some((_, position)) = last {
        next.position = next.position.max(position + 1);
    }
    let caught_up = page.next.is_none();
    if selector.takes_every_event() {
        return Ok((SourcePage { events: page.events, caught_up }, next));
    }
    let mut events = Vec::with_capacity(page.events.len());
    for event in page.events {
        if selector.rules_out(event.encoded()) {
            continue;
        }
        match selector.selects(&event) {
            Ok(true) => events.push(event),
            Ok(false) => {}
            // As above.
            Err(_unjudged) if event.version > place.version => {
                let next =
                    Place { version: event.version, position: place.position.max(event.position) };
                return Ok((SourcePage { events, caught_up: false }, next));
            }
            Err(unjudged) => return Err(unjudged.into()),
        }
    }
    Ok((SourcePage { events, caught_up }, next))
}
