//! What is read of the engine against what the model holds.

use proptest::prelude::*;
use proptest::sample::Index;
use reckon_node::engine::{
    AllRead, Direction, Found, Listing, Notice, NoticePage, Page, QueryItem, RecordedEvent, Select,
    SelectError, StateReader, StreamChange, StreamRead, StreamState, StreamStatus,
};
use uuid::Uuid;

use crate::history::{History, query_of};
use crate::model::{Content, Items, Model, STREAMS, Stored, is_system, notice_type};

/// What is asked in one look at everything.
#[derive(Debug, Clone)]
pub struct Look {
    pub from: Index,
    pub first: Index,
    pub last: Index,
    pub items: Option<Items>,
    pub with_candidates: bool,
    pub page: usize,
    pub bytes_max: usize,
}

/// The query of a look as a filter.
#[derive(Debug)]
struct Chosen {
    query: reckon_node::engine::Query,
    candidates: Option<Vec<QueryItem>>,
}

impl Select for Chosen {
    fn candidates(&self) -> Option<&[QueryItem]> {
        self.candidates.as_deref()
    }

    fn selects(&self, event: &RecordedEvent) -> Result<bool, SelectError> {
        Ok(self.query.matches(&event.event()))
    }
}

/// Whether the engine's event is the model's.
pub fn same(recorded: &RecordedEvent, stored: &Stored) -> bool {
    let event = recorded.event();
    let content = match &stored.content {
        Content::Appended(own) => {
            event.event_id.as_u128() == own.id
                && event.event_type == own.event_type
                && event.data == own.data
                && event.tags.iter().eq(own.tags.iter().map(String::as_str))
        }
        Content::Notice { change, stream, first_version, last_version } => {
            let data: serde_json::Value = serde_json::from_slice(event.data).unwrap();
            event.event_type == notice_type(*change)
                && data["stream_id"] == **stream
                && data["first_version"] == *first_version
                && data["last_version"].as_u64() == *last_version
        }
    };
    content
        && recorded.stream_id() == stored.stream
        && recorded.version == stored.version
        && recorded.position == stored.position
        && recorded.epoch_us == stored.epoch_us
}

fn check_same(recorded: &[RecordedEvent], stored: &[&Stored]) -> Result<(), TestCaseError> {
    for (recorded, stored) in recorded.iter().zip(stored) {
        prop_assert!(same(recorded, stored), "{:?} is not {:?}", recorded, stored);
    }
    prop_assert_eq!(recorded.len(), stored.len());
    Ok(())
}

/// Reads page after page until there is no next one.
fn all_pages(
    from: u64,
    events_max: usize,
    read: impl Fn(u64) -> Page,
) -> Result<Vec<RecordedEvent>, TestCaseError> {
    let mut events = Vec::new();
    let mut next = Some(from);
    while let Some(at) = next {
        let page = read(at);
        prop_assert!(page.events.len() <= events_max);
        prop_assert!(page.next != Some(at), "a page that stays where it is");
        events.extend(page.events);
        next = page.next;
    }
    Ok(events)
}

/// Events in the direction of a read, within its bounds.
fn expected(
    events: Vec<&Stored>,
    (from, first, last): (u64, u64, u64),
    direction: Direction,
    key: impl Fn(&Stored) -> u64,
) -> Vec<&Stored> {
    let within = events.into_iter().filter(|stored| (first..=last).contains(&key(stored)));
    match direction {
        Direction::Forward => within.filter(|stored| key(stored) >= from).collect(),
        Direction::Backward => {
            let mut within: Vec<_> = within.filter(|stored| key(stored) <= from).collect();
            within.reverse();
            within
        }
    }
}

impl Look {
    /// Begin and bounds; one past the end is asked for too.
    fn range(&self, end: u64) -> (u64, u64, u64) {
        let at = |index: Index| index.index(end as usize + 2) as u64;
        (at(self.from), at(self.first), at(self.last))
    }

    pub fn check(&self, reader: &StateReader, history: &History) -> Result<(), TestCaseError> {
        let model = &history.model;
        check_counts(reader, model)?;
        for direction in [Direction::Forward, Direction::Backward] {
            self.check_stream_reads(reader, model, direction)?;
            for include_system in [false, true] {
                self.check_store_reads(reader, model, direction, include_system)?;
            }
        }
        self.check_times(reader, model)?;
        self.check_positions(reader, model)?;
        for id in history.sent_ids() {
            let event = reader.event(Uuid::from_u128(id)).unwrap();
            match model.by_id(id) {
                None => prop_assert!(event.is_none(), "{:?} was removed, or never came", event),
                Some((stored, _)) => prop_assert!(event.is_some_and(|event| same(&event, stored))),
            }
        }
        check_streams(reader, model)?;
        self.check_listings(reader, model)
    }

    fn check_stream_reads(
        &self,
        reader: &StateReader,
        model: &Model,
        direction: Direction,
    ) -> Result<(), TestCaseError> {
        for stream in STREAMS.into_iter().chain(["$streams"]) {
            let end = model.streams.get(stream).map_or(0, |known| known.next_version);
            for (from, first, last) in [self.range(end), (self.range(end).0, 0, u64::MAX)] {
                let read = all_pages(from, self.page, |from| {
                    let (events_max, bytes_max) = (self.page, self.bytes_max);
                    let stream_id = stream;
                    reader
                        .read_stream(&StreamRead {
                            stream_id,
                            from,
                            first,
                            last,
                            direction,
                            events_max,
                            bytes_max,
                        })
                        .unwrap()
                })?;
                let range = (from, first, last);
                let events = model.of_stream(stream);
                check_same(&read, &expected(events, range, direction, |stored| stored.version))?;
            }
        }
        Ok(())
    }

    fn check_store_reads(
        &self,
        reader: &StateReader,
        model: &Model,
        direction: Direction,
        include_system: bool,
    ) -> Result<(), TestCaseError> {
        let chosen = self.items.as_ref().map(|items| {
            let query = query_of(items);
            let candidates = self.with_candidates.then(|| query.items.clone());
            Chosen { query, candidates }
        });
        for chosen in [None, chosen.as_ref()] {
            let (from, first, last) = self.range(model.next_position());
            let read = AllRead {
                from,
                first,
                last,
                direction,
                include_system,
                select: chosen.map(|chosen| chosen as &dyn Select),
                events_max: self.page,
                bytes_max: self.bytes_max,
            };
            let events = model
                .readable()
                .filter(|stored| include_system || !is_system(&stored.stream))
                .filter(|stored| match (&self.items, chosen) {
                    (Some(items), Some(_)) => items.matches(stored),
                    _ => true,
                })
                .collect();
            let events = expected(events, (from, first, last), direction, |stored| stored.position);
            let pages = all_pages(from, self.page, |from| {
                reader.read_all(&AllRead { from, ..read }).unwrap()
            })?;
            check_same(&pages, &events)?;

            let mut counted = 0;
            let mut next = Some(from);
            while let Some(from) = next {
                let some = reader.count(&AllRead { from, ..read }).unwrap();
                counted += some.events;
                next = some.next;
            }
            prop_assert_eq!(counted, events.len() as u64);
            let mut found = Found { position: None, next: Some(from) };
            while let Some(from) = found.next {
                found = reader.any(&AllRead { from, ..read }).unwrap();
            }
            prop_assert_eq!(found.position, events.first().map(|stored| stored.position));
        }
        Ok(())
    }

    fn check_times(&self, reader: &StateReader, model: &Model) -> Result<(), TestCaseError> {
        let mut times = vec![0, u64::MAX];
        if !model.events.is_empty() {
            let time = self.from.get(&model.events).epoch_us;
            times.extend([time - 1, time, time + 1]);
        }
        for time in times {
            // Where events were removed, the position may lie anywhere in the hole.
            let first = reader.first_position_at(time).unwrap();
            let last = reader.last_position_at(time).unwrap();
            for stored in model.readable() {
                prop_assert_eq!(stored.position >= first, stored.epoch_us >= time);
                let within = last.is_some_and(|last| stored.position <= last);
                prop_assert_eq!(within, stored.epoch_us <= time);
            }
            for stream in STREAMS {
                let events = model.of_stream(stream);
                let last = events.iter().rfind(|stored| stored.epoch_us <= time);
                let version = reader.version_at(stream, time).unwrap();
                prop_assert_eq!(version, last.map(|stored| stored.version));
                let first = events.iter().find(|stored| stored.epoch_us >= time);
                let end = model.streams.get(stream).map_or(0, |known| known.next_version);
                let version = reader.first_version_at(stream, time).unwrap();
                prop_assert_eq!(version, first.map_or(end, |stored| stored.version));
            }
        }
        Ok(())
    }

    fn check_positions(&self, reader: &StateReader, model: &Model) -> Result<(), TestCaseError> {
        let (from, ..) = self.range(model.next_position());
        for position in [0, from, from + 1, u64::MAX] {
            for stream in STREAMS.into_iter().chain(["$streams"]) {
                let events = model.of_stream(stream);
                let first = events.iter().find(|stored| stored.position >= position);
                let end = model.streams.get(stream).map_or(0, |known| known.next_version);
                let version = reader.first_version_from(stream, position).unwrap();
                prop_assert_eq!(version, first.map_or(end, |stored| stored.version));
            }
            let found = reader.event_at(position).unwrap();
            match model.readable().find(|stored| stored.position == position) {
                None => prop_assert!(found.is_none(), "{:?} was removed, or never came", found),
                Some(stored) => prop_assert!(found.is_some_and(|event| same(&event, stored))),
            }
        }
        Ok(())
    }

    fn check_listings(&self, reader: &StateReader, model: &Model) -> Result<(), TestCaseError> {
        for (include_system, include_deleted) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            for prefix in ["", "orders-1", "$", "zebra", "nothing"] {
                let streams = model.streams.iter();
                let wanted = streams.filter(|(name, known)| {
                    name.starts_with(prefix)
                        && (include_system || !is_system(name))
                        && (include_deleted || known.exists())
                });
                let expected: Vec<_> = wanted.map(|(name, _)| name.clone()).collect();
                let mut listed = Vec::new();
                let mut after: Option<String> = None;
                loop {
                    let page = reader.list_streams(&Listing {
                        after: after.as_deref(),
                        prefix,
                        include_system,
                        include_deleted,
                        accepts: None,
                        streams_max: self.page,
                    });
                    let page = page.unwrap();
                    prop_assert!(page.streams.len() <= self.page);
                    for summary in page.streams {
                        let state = reader.stream(&summary.stream_id).unwrap();
                        prop_assert_eq!(state.summary(), Some(&summary));
                        listed.push(summary.stream_id);
                    }
                    after = page.next_after;
                    if after.is_none() {
                        break;
                    }
                }
                prop_assert_eq!(listed, expected);
            }
        }
        Ok(())
    }
}

fn check_counts(reader: &StateReader, model: &Model) -> Result<(), TestCaseError> {
    let users = model.readable().filter(|stored| !is_system(&stored.stream)).count() as u64;
    prop_assert_eq!(reader.next_position(), model.next_position());
    prop_assert_eq!(reader.events(), users);
    let streams = model.streams.iter();
    let existing = streams.filter(|(name, known)| known.exists() && !is_system(name));
    prop_assert_eq!(reader.streams(), existing.count() as u64);
    prop_assert_eq!(reader.activated(), model.activated);
    prop_assert_eq!(reader.has_events(false), users > 0);
    prop_assert_eq!(reader.has_events(true), model.readable().next().is_some());
    Ok(())
}

fn check_streams(reader: &StateReader, model: &Model) -> Result<(), TestCaseError> {
    for stream in STREAMS.into_iter().chain(["$streams", "unknown"]) {
        let state = reader.stream(stream).unwrap();
        let Some(known) = model.streams.get(stream) else {
            prop_assert_eq!(state, StreamState::Unknown);
            continue;
        };
        let status = match state {
            StreamState::Unknown => return Err(TestCaseError::fail("a stream is unknown")),
            StreamState::Live(_) => StreamStatus::Live,
            StreamState::Deleted(_) => StreamStatus::Deleted,
            StreamState::Tombstoned(_) => StreamStatus::Tombstoned,
        };
        prop_assert_eq!(status, known.status);
        let summary = state.summary().unwrap();
        prop_assert_eq!(summary.status, known.status);
        prop_assert_eq!(summary.first_version, known.first_version);
        prop_assert_eq!(summary.last_version, known.last_version());
        let events = model.of_stream(stream);
        prop_assert_eq!(summary.events, events.len() as u64);
        let first = events.first().map_or(0, |stored| stored.epoch_us);
        prop_assert_eq!(summary.first_epoch_us, first);
        let ever = model.events.iter().rfind(|stored| stored.stream == stream);
        prop_assert_eq!(summary.last_epoch_us, ever.map_or(0, |stored| stored.epoch_us));
    }
    Ok(())
}

/// A notice: position, change, stream, its first and last version.
type Told = (u64, StreamChange, String, u64, Option<u64>);

/// `reclaimed`: creations whose records are gone as a whole need not be told.
pub fn check_notices(
    reader: &StateReader,
    model: &Model,
    (from, page): (u64, usize),
    reclaimed: bool,
) -> Result<(), TestCaseError> {
    let mut told: Vec<Told> = Vec::new();
    let mut next = NoticePage { next: from, more: true, ..NoticePage::default() };
    while next.more {
        let before = next.next;
        next = reader.notices(before, true, page).unwrap();
        prop_assert!(next.notices.len() <= page + 1);
        prop_assert!(next.next > before || !next.more, "a page that stays where it is");
        told.extend(next.notices.drain(..).map(|notice| {
            let Notice::Stream(notice) = notice else { panic!("{notice:?}") };
            let stream = notice.stream;
            let versions = (stream.first_version, stream.last_version);
            (notice.position, notice.change, stream.stream_id, versions.0, versions.1)
        }));
    }
    prop_assert_eq!(next.next, model.next_position().max(from));
    let mut expected: Vec<Told> = Vec::new();
    let mut may_be_gone = Vec::new();
    for creation in &model.creations {
        let stream = creation.stream.clone();
        let last_version = Some(creation.last_version);
        let first_version = creation.first_version;
        if creation.last_version < model.streams[&stream].first_version && reclaimed {
            may_be_gone.push(creation.position);
        }
        let change = StreamChange::Created;
        expected.push((creation.position, change, stream, first_version, last_version));
    }
    for stored in model.readable() {
        if let Content::Notice { change, stream, first_version, last_version } = &stored.content {
            let stream = stream.clone();
            expected.push((stored.position, *change, stream, *first_version, *last_version));
        }
    }
    // A creation comes before a notice at the same position: of the stream of notices itself.
    expected.sort_by_key(|(position, change, ..)| (*position, *change != StreamChange::Created));
    let kept = |told: &Told| told.1 != StreamChange::Created || !may_be_gone.contains(&told.0);
    expected.retain(|notice| notice.0 >= from && kept(notice));
    told.retain(kept);
    prop_assert_eq!(told, expected);
    Ok(())
}
