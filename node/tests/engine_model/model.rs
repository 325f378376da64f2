//! The model: one list of events, searched from end to end. Too simple to be wrong.

use std::collections::{BTreeMap, BTreeSet};

use reckon_node::engine::{
    Appended, Expectation, NOTICES_STREAM, Outcome, Refusal, Removed, StreamChange, StreamStatus,
};
use uuid::Uuid;

/// Few streams, so that histories meet; one is the server's own.
pub const STREAMS: [&str; 7] =
    ["orders-1", "orders-2", "$sys", "zebra", "#hash", "orders-10", "orders"];

pub const TYPES: [&str; 4] = ["placed", "paid", "sent", "placed-again"];

pub const TAGS: [&str; 3] = ["customer", "order", "order-1"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: u128,
    #[allow(clippy::struct_field_names, reason = "the field is called so everywhere")]
    pub event_type: &'static str,
    pub tags: BTreeSet<String>,
    pub data: Vec<u8>,
}

/// The part of an append that concerns one stream.
#[derive(Debug, Clone)]
pub struct Part {
    pub stream: &'static str,
    pub expectation: Expectation,
    pub events: Vec<Event>,
}

/// Items of any of the types and all of the tags.
#[derive(Debug, Clone)]
pub struct Items(pub Vec<(Vec<&'static str>, Vec<&'static str>)>);

#[derive(Debug, Clone)]
pub struct Condition {
    pub items: Items,
    pub after_position: Option<u64>,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Appended(Event),
    /// What happened to a stream: its first and last version then.
    Notice {
        change: StreamChange,
        stream: String,
        first_version: u64,
        last_version: Option<u64>,
    },
}

#[derive(Debug, Clone)]
pub struct Stored {
    pub stream: String,
    pub version: u64,
    pub position: u64,
    pub epoch_us: u64,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub struct Stream {
    pub status: StreamStatus,
    pub first_version: u64,
    pub next_version: u64,
    pub last_position: u64,
    pub noticed_at: Option<u64>,
}

/// A record that created a stream or opened it again.
#[derive(Debug, Clone)]
pub struct Creation {
    pub stream: String,
    pub position: u64,
    pub first_version: u64,
    pub last_version: u64,
}

#[derive(Debug, Default)]
pub struct Model {
    pub events: Vec<Stored>,
    pub streams: BTreeMap<String, Stream>,
    pub creations: Vec<Creation>,
    pub epoch_us: u64,
    pub activated: bool,
    pub node_ids: BTreeMap<String, u64>,
    pub seals: u64,
    pub changed: bool,
}

pub fn is_system(stream: &str) -> bool {
    stream.starts_with('$')
}

impl Stream {
    pub fn last_version(&self) -> Option<u64> {
        self.next_version.checked_sub(1)
    }

    pub fn exists(&self) -> bool {
        self.status == StreamStatus::Live && self.next_version > 0
    }

    fn removed(&self) -> Removed {
        Removed {
            first_version: self.first_version,
            last_version: self.last_version(),
            position: self.noticed_at.unwrap_or(self.last_position),
        }
    }
}

impl Items {
    pub fn matches(&self, stored: &Stored) -> bool {
        self.0.iter().any(|(types, tags)| {
            let (event_type, own_tags) = match &stored.content {
                Content::Appended(event) => (event.event_type, Some(&event.tags)),
                Content::Notice { change, .. } => (notice_type(*change), None),
            };
            let of_type = types.is_empty() || types.contains(&event_type);
            of_type && tags.iter().all(|tag| own_tags.is_some_and(|own| own.contains(*tag)))
        })
    }
}

pub fn notice_type(change: StreamChange) -> &'static str {
    match change {
        StreamChange::Deleted => "$StreamDeleted",
        StreamChange::Tombstoned => "$StreamTombstoned",
        StreamChange::Truncated => "$StreamTruncated",
        StreamChange::Created => unreachable!("no event tells of it"),
    }
}

impl Model {
    pub fn next_position(&self) -> u64 {
        self.events.len() as u64
    }

    pub fn is_readable(&self, stored: &Stored) -> bool {
        stored.version >= self.streams[&stored.stream].first_version
    }

    pub fn readable(&self) -> impl DoubleEndedIterator<Item = &Stored> {
        self.events.iter().filter(|stored| self.is_readable(stored))
    }

    pub fn of_stream(&self, stream: &str) -> Vec<&Stored> {
        self.readable().filter(|stored| stored.stream == stream).collect()
    }

    pub fn last_version(&self, stream: &str) -> i64 {
        let last = self.streams.get(stream).and_then(Stream::last_version);
        last.map_or(-1, |version| i64::try_from(version).unwrap())
    }

    pub fn by_id(&self, id: u128) -> Option<(&Stored, &Event)> {
        self.readable().find_map(|stored| match &stored.content {
            Content::Appended(event) if event.id == id => Some((stored, event)),
            _ => None,
        })
    }

    fn unexpected(&self, stream: &str, expected: Expectation) -> Refusal {
        let stream_id = stream.to_owned();
        Refusal::WrongExpectedVersion { stream_id, expected, actual: self.last_version(stream) }
    }

    fn is_met(&self, stream: &str, expectation: Expectation) -> bool {
        let Some(known) = self.streams.get(stream) else {
            return matches!(expectation, Expectation::Any | Expectation::NoStream);
        };
        match (known.status, expectation) {
            (StreamStatus::Tombstoned, _) => false,
            (_, Expectation::Any) => true,
            (status, Expectation::NoStream) => status == StreamStatus::Deleted,
            (status, Expectation::StreamExists) => status == StreamStatus::Live,
            (_, Expectation::Exact(version)) => known.last_version() == Some(version),
        }
    }

    fn is_tombstoned(&self, stream: &str) -> bool {
        let known = self.streams.get(stream);
        known.is_some_and(|known| known.status == StreamStatus::Tombstoned)
    }

    pub fn append(&mut self, parts: &[Part], condition: Option<&Condition>) -> Outcome {
        match self.decide(parts, condition) {
            Ok(Some(first)) => Outcome::Appended(first),
            Ok(None) => self.assign(parts),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn decide(
        &self,
        parts: &[Part],
        condition: Option<&Condition>,
    ) -> Result<Option<Appended>, Refusal> {
        let mut streams = BTreeSet::new();
        if let Some(part) = parts.iter().find(|part| !streams.insert(part.stream)) {
            return Err(Refusal::StreamNamedTwice { stream_id: part.stream.to_owned() });
        }
        let ids: Vec<u128> =
            parts.iter().flat_map(|part| &part.events).map(|event| event.id).collect();
        let reused = |id| Err(Refusal::EventIdReused { event_id: Uuid::from_u128(id) });
        let mut sorted = ids.clone();
        sorted.sort_by_key(|id| id.to_be_bytes());
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return reused(twice[0]);
        }
        let known: Vec<_> = ids.iter().filter_map(|id| self.by_id(*id)).collect();
        if !known.is_empty() && known.len() < ids.len() {
            return reused(known[0].1.id);
        }
        if !known.is_empty() {
            return self.first_result(parts).map(Some);
        }
        if let Some(part) = parts.iter().find(|part| self.is_tombstoned(part.stream)) {
            return Err(Refusal::StreamTombstoned { stream_id: part.stream.to_owned() });
        }
        if let Some(part) = parts.iter().find(|part| !self.is_met(part.stream, part.expectation)) {
            return Err(self.unexpected(part.stream, part.expectation));
        }
        if let Some(Condition { items, after_position }) = condition {
            let counts = |stored: &&Stored| {
                after_position.is_none_or(|after| stored.position > after)
                    && !is_system(&stored.stream)
                    && items.matches(stored)
            };
            if let Some(found) = self.readable().find(counts) {
                return Err(Refusal::AppendConditionFailed { position: found.position });
            }
        }
        Ok(None)
    }

    fn first_result(&self, parts: &[Part]) -> Result<Appended, Refusal> {
        let mut last_versions = Vec::new();
        let mut found = Vec::new();
        for part in parts {
            let mut previous = None;
            for event in &part.events {
                let (stored, first) = self.by_id(event.id).unwrap();
                let follows = previous.is_none_or(|previous: u64| stored.version == previous + 1);
                if stored.stream != part.stream || first != event || !follows {
                    return Err(Refusal::EventIdReused { event_id: Uuid::from_u128(event.id) });
                }
                previous = Some(stored.version);
                found.push(stored);
            }
            last_versions.extend(previous);
        }
        Ok(Appended {
            last_versions,
            first_position: found.iter().map(|stored| stored.position).min().unwrap(),
            last_position: found.iter().map(|stored| stored.position).max().unwrap(),
            epoch_us: found.iter().map(|stored| stored.epoch_us).max().unwrap(),
        })
    }

    fn assign(&mut self, parts: &[Part]) -> Outcome {
        let first_position = self.next_position();
        let mut last_versions = Vec::new();
        for part in parts {
            let contents = part.events.iter().cloned().map(Content::Appended).collect();
            last_versions.push(self.push(part.stream, contents));
        }
        Outcome::Appended(Appended {
            last_versions,
            first_position,
            last_position: self.next_position() - 1,
            epoch_us: self.epoch_us,
        })
    }

    fn push(&mut self, stream: &str, contents: Vec<Content>) -> u64 {
        let position = self.next_position();
        let known = self.streams.entry(stream.to_owned()).or_insert(Stream {
            status: StreamStatus::Live,
            first_version: 0,
            next_version: 0,
            last_position: 0,
            noticed_at: None,
        });
        let creates = known.next_version == 0 || known.status == StreamStatus::Deleted;
        let first_version = known.next_version;
        known.status = StreamStatus::Live;
        known.next_version += contents.len() as u64;
        known.last_position = position + contents.len() as u64 - 1;
        let last_version = known.next_version - 1;
        for (offset, content) in (0..).zip(contents) {
            self.events.push(Stored {
                stream: stream.to_owned(),
                version: first_version + offset,
                position: position + offset,
                epoch_us: self.epoch_us,
                content,
            });
        }
        if creates {
            self.creations.push(Creation {
                stream: stream.to_owned(),
                position,
                first_version,
                last_version,
            });
        }
        last_version
    }

    pub fn delete(&mut self, stream: &str, expectation: Expectation) -> Outcome {
        match self.streams.get(stream) {
            None if self.is_met(stream, expectation) => not_found(stream),
            Some(known) if known.status == StreamStatus::Tombstoned => tombstoned(stream),
            Some(known) if known.status == StreamStatus::Deleted && names(known, expectation) => {
                Outcome::Deleted(known.removed())
            }
            Some(_) if self.is_met(stream, expectation) => {
                Outcome::Deleted(self.remove(stream, None, StreamChange::Deleted))
            }
            _ => Outcome::Refused(self.unexpected(stream, expectation)),
        }
    }

    pub fn tombstone(&mut self, stream: &str, expectation: Expectation) -> Outcome {
        match self.streams.get(stream) {
            Some(known) if known.status == StreamStatus::Tombstoned => {
                if names(known, expectation) {
                    Outcome::Tombstoned(known.removed())
                } else {
                    tombstoned(stream)
                }
            }
            _ if self.is_met(stream, expectation) => {
                Outcome::Tombstoned(self.remove(stream, None, StreamChange::Tombstoned))
            }
            _ => Outcome::Refused(self.unexpected(stream, expectation)),
        }
    }

    pub fn truncate(
        &mut self,
        stream: &str,
        before_version: u64,
        expectation: Expectation,
    ) -> Outcome {
        let stream_id = stream.to_owned();
        match self.streams.get(stream) {
            None if self.is_met(stream, expectation) => not_found(stream),
            Some(known) if known.status == StreamStatus::Tombstoned => tombstoned(stream),
            known if !self.is_met(stream, expectation) || known.is_none() => {
                Outcome::Refused(self.unexpected(stream, expectation))
            }
            Some(known) if known.status == StreamStatus::Deleted => {
                Outcome::Refused(Refusal::StreamDeleted { stream_id })
            }
            Some(known) if before_version > known.next_version => {
                let next_version = known.next_version;
                Outcome::Refused(Refusal::TruncateBeyondEnd {
                    stream_id,
                    before_version,
                    next_version,
                })
            }
            Some(known) if before_version <= known.first_version => {
                Outcome::Truncated(known.removed())
            }
            _ => {
                let before = Some(before_version);
                Outcome::Truncated(self.remove(stream, before, StreamChange::Truncated))
            }
        }
    }

    /// Removes versions below `before`, or all, and tells it.
    fn remove(&mut self, stream: &str, before: Option<u64>, change: StreamChange) -> Removed {
        let position = self.next_position();
        let known = self.streams.entry(stream.to_owned()).or_insert(Stream {
            status: StreamStatus::Live,
            first_version: 0,
            next_version: 0,
            last_position: 0,
            noticed_at: None,
        });
        known.first_version = before.unwrap_or(known.next_version);
        known.noticed_at = Some(position);
        known.status = match change {
            StreamChange::Deleted => StreamStatus::Deleted,
            StreamChange::Tombstoned => StreamStatus::Tombstoned,
            _ => known.status,
        };
        let (first_version, last_version) = (known.first_version, known.last_version());
        let removed = known.removed();
        let stream = stream.to_owned();
        let notice = Content::Notice { change, stream, first_version, last_version };
        self.push(NOTICES_STREAM, vec![notice]);
        removed
    }

    pub fn allocate_node_id(&mut self, volume_id: &str) -> Outcome {
        let next = self.node_ids.len() as u64 + 2;
        Outcome::NodeIdAllocated(*self.node_ids.entry(volume_id.to_owned()).or_insert(next))
    }

    /// At the end of a group that asks for it.
    pub fn seal(&mut self) -> Outcome {
        self.seals += u64::from(std::mem::take(&mut self.changed));
        Outcome::Sealed { seal: self.seals, position: self.next_position() }
    }
}

fn names(known: &Stream, expectation: Expectation) -> bool {
    match expectation {
        Expectation::Exact(version) => known.last_version() == Some(version),
        _ => true,
    }
}

fn not_found(stream: &str) -> Outcome {
    Outcome::Refused(Refusal::StreamNotFound { stream_id: stream.to_owned() })
}

fn tombstoned(stream: &str) -> Outcome {
    Outcome::Refused(Refusal::StreamTombstoned { stream_id: stream.to_owned() })
}
