//! The read side of the engine, for services: a cheap handle whose every call does bounded work.
//!
//! What a call reads lies in one layer at a time. The active overlay is read under the engine's lock, in small
//! batches and without touching a file; everything below is read without the lock, and may wait for a disk:
//! callers that must not wait hand these calls over to a thread that may.

mod all;
mod gather;
mod listing;
mod notices;
mod recent;
mod stream;
mod subscriptions;
mod times;

use std::sync::Arc;

use uuid::Uuid;

use super::error::ReadError;
use super::head::{Head, StreamStatus};
use super::layer::{Layer, record_at};
use super::layers::Layers;
use super::page::{RecordedEvent, StreamSummary};
use super::removals::Removals;
use super::{Engine, SharedEngine};

pub use all::{AllRead, Counted, Found};
pub use listing::Listing;
pub use notices::NoticePage;
pub use recent::{Recent, RecentStream};
pub use stream::StreamRead;

/// A cheap way to read the engine.
#[derive(Debug, Clone)]
pub struct StateReader {
    engine: SharedEngine,
}

/// What is known of a stream's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamState {
    /// It was never used.
    Unknown,
    Live(StreamSummary),
    /// Its events are gone; an append opens it again.
    Deleted(StreamSummary),
    /// Its events are gone and it can never be used again.
    Tombstoned(StreamSummary),
}

impl StreamState {
    /// What is known of the stream; `None`: its name was never used.
    pub const fn summary(&self) -> Option<&StreamSummary> {
        match self {
            Self::Unknown => None,
            Self::Live(summary) | Self::Deleted(summary) | Self::Tombstoned(summary) => {
                Some(summary)
            }
        }
    }

    /// Whether the stream was deleted, tombstoned, truncated or opened again since it was as `before`.
    pub fn is_cut_since(&self, before: &Self) -> bool {
        let beginning = |state: &Self| state.summary().map(|it| (it.status, it.first_version));
        beginning(self) != beginning(before)
    }
}

/// How much there is at one moment, the server's own streams left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// How many events can be read.
    pub events: u64,
    /// The position that the next event takes.
    pub next_position: u64,
}

/// The layers that do not change, as they were when they were looked at, and the removals to go with them.
#[derive(Debug)]
struct View {
    layers: Layers,
    removals: Arc<Removals>,
}

impl StateReader {
    /// Reads this engine, also after another state was put in its place.
    pub const fn new(engine: SharedEngine) -> Self {
        Self { engine }
    }

    /// The position that the next event takes; every position below it can be read.
    pub fn next_position(&self) -> u64 {
        self.engine.read().next_position()
    }

    /// How much there is and where it ends, at one moment.
    pub fn totals(&self) -> Totals {
        let engine = self.engine.read();
        Totals { events: engine.events(), next_position: engine.next_position() }
    }

    /// The newest group's time, microseconds since 1970 UTC; 0 before the first.
    pub fn epoch_us(&self) -> u64 {
        self.engine.read().epoch_us()
    }

    /// How many events can be read, those of the server's own streams left out.
    pub fn events(&self) -> u64 {
        self.engine.read().events()
    }

    /// How many streams exist, the server's own left out.
    pub fn streams(&self) -> u64 {
        self.engine.read().streams()
    }

    /// Whether the store is open to clients.
    pub fn activated(&self) -> bool {
        self.engine.read().activated()
    }

    /// Whether at least one event can be read.
    pub fn has_events(&self, include_system: bool) -> bool {
        let state = &self.engine.read().state;
        state.events > 0 || (include_system && state.system_events > 0)
    }

    /// One stream at a glance.
    pub fn stream(&self, stream_id: &str) -> Result<StreamState, ReadError> {
        let Some(head) = self.head(stream_id)? else { return Ok(StreamState::Unknown) };
        let summary = head.summary(stream_id);
        Ok(match head.status {
            StreamStatus::Live => StreamState::Live(summary),
            StreamStatus::Deleted => StreamState::Deleted(summary),
            StreamStatus::Tombstoned => StreamState::Tombstoned(summary),
        })
    }

    /// The event with this id, unless it was removed.
    pub fn event(&self, event_id: Uuid) -> Result<Option<RecordedEvent>, ReadError> {
        let event_id = event_id.as_bytes();
        let engine = self.engine.read();
        if let Some(found) = event_in(&engine.active, &engine.removals, event_id)? {
            return Ok(found);
        }
        let view = engine.view();
        drop(engine);
        for layer in view.layers.newest_first() {
            if let Some(found) = event_in(layer, &view.removals, event_id)? {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The event at a position, unless it was removed.
    pub fn event_at(&self, position: u64) -> Result<Option<RecordedEvent>, ReadError> {
        let read = AllRead {
            from: position,
            first: position,
            last: position,
            include_system: true,
            events_max: 1,
            ..AllRead::default()
        };
        Ok(self.read_all(&read)?.events.pop())
    }

    /// The layers below the active overlay, if any of them is in files.
    pub(super) fn layers_with_files(&self) -> Option<Layers> {
        let engine = self.engine.read();
        engine.layers.has_files().then(|| engine.layers.clone())
    }

    fn head(&self, stream_id: &str) -> Result<Option<Head>, ReadError> {
        let engine = self.engine.read();
        if let Some(head) = engine.active.head_here(stream_id) {
            return Ok(Some(*head));
        }
        let view = engine.view();
        drop(engine);
        view.layers.head(stream_id)
    }
}

impl Engine {
    fn view(&self) -> View {
        View { layers: self.layers.clone(), removals: Arc::clone(&self.removals) }
    }
}

/// What a layer says about an event: nothing, that it is not there any more, or the event. An id is used again
/// only after its event was removed, so the newest layer that knows it decides.
#[allow(
    clippy::option_option,
    reason = "not known here, known to be gone, and there are three answers"
)]
fn event_in(
    layer: &dyn Layer,
    removals: &Removals,
    event_id: &[u8; 16],
) -> Result<Option<Option<RecordedEvent>>, ReadError> {
    let Some(place) = layer.place(event_id)? else { return Ok(None) };
    let Some(stored) = record_at(layer, place.record_position)? else { return Ok(Some(None)) };
    let version = stored.first_version + u64::from(place.index);
    let readable = removals.first_readable(&stored).is_some_and(|first| first <= version);
    let span = stored.span(place.index).filter(|_| readable);
    Ok(Some(span.map(|span| RecordedEvent::new(&stored, place.index, span))))
}
