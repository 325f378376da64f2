//! The decision on an append, in the order that the API promises: whether it is a retry, then whether its
//! streams may still be used, then their expectations, then its condition. Reads the engine, changes nothing.

use uuid::Uuid;

use super::command::StreamAppend;
use super::error::ReadError;
use super::head::{Head, StreamStatus};
use super::outcome::Appended;
use super::query::AppendCondition;
use super::refusal::Refusal;
use super::{Engine, condition};
use crate::event::{RecordView, StoredRecord, has_control};

/// What is to be done with an append.
pub(super) enum Decision {
    /// All is new and as expected: assign versions and positions. The heads of the streams, in the order of the
    /// append; `None`: the stream has never had an event.
    Assign(Vec<Option<Head>>),
    /// It was appended before; this was the answer.
    Repeated(Appended),
    Refused(Refusal),
}

impl From<Refusal> for Decision {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

pub(super) fn decide(
    engine: &Engine,
    appends: &[StreamAppend],
    condition: Option<&AppendCondition>,
) -> Result<Decision, ReadError> {
    if let Some(refusal) = malformed(appends) {
        return Ok(refusal.into());
    }
    match known(engine, appends)? {
        Known::None => {}
        Known::All(places) => {
            return Ok(match first_result(appends, &places) {
                Ok(appended) => Decision::Repeated(appended),
                Err(refusal) => refusal.into(),
            });
        }
        Known::Some(event_id) => return Ok(reused_id(&event_id).into()),
    }
    let mut heads = Vec::with_capacity(appends.len());
    for append in appends {
        heads.push(engine.head(append.record.stream_id())?);
    }
    let streams = || appends.iter().zip(&heads);
    let tombstoned =
        |head: &Option<Head>| head.is_some_and(|head| head.status == StreamStatus::Tombstoned);
    if let Some((append, _)) = streams().find(|(_, head)| tombstoned(head)) {
        let stream_id = append.record.stream_id().to_owned();
        return Ok(Refusal::StreamTombstoned { stream_id }.into());
    }
    let unmet = streams().find(|(append, head)| !append.expectation.is_met(head.as_ref()));
    if let Some((append, head)) = unmet {
        let expected = append.expectation;
        let refusal = Refusal::unexpected(append.record.stream_id(), expected, head.as_ref());
        return Ok(refusal.into());
    }
    if let Some(condition) = condition
        && let Some(position) = condition::first_match(engine, condition)?
    {
        return Ok(Refusal::AppendConditionFailed { position }.into());
    }
    Ok(Decision::Assign(heads))
}

/// What is wrong with an append whatever the store holds.
fn malformed(appends: &[StreamAppend]) -> Option<Refusal> {
    if let Some(stream_id) = named_twice(appends) {
        return Some(Refusal::StreamNamedTwice { stream_id });
    }
    if let Some(event_id) = id_twice(appends) {
        return Some(reused_id(&event_id));
    }
    appends.iter().find_map(|append| invalid_name(&append.record))
}

fn named_twice(appends: &[StreamAppend]) -> Option<String> {
    if appends.len() < 2 {
        return None;
    }
    let mut names: Vec<&str> = appends.iter().map(|append| append.record.stream_id()).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].to_owned())
}

fn id_twice(appends: &[StreamAppend]) -> Option<[u8; 16]> {
    let ids = || appends.iter().flat_map(|append| event_ids(&append.record));
    // As ids of version 7 are that were made one after the other; so is a single one.
    if ids().is_sorted_by(|one, next| one < next) {
        return None;
    }
    let mut ids: Vec<_> = ids().collect();
    ids.sort_unstable();
    ids.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// A name with a control character would make index keys ambiguous. The service refuses them with a better
/// sentence; this keeps a mistake there out of the files.
fn invalid_name(record: &RecordView) -> Option<Refusal> {
    if record.has_plain_names() {
        return None;
    }
    let refused =
        |name: &str| has_control(name).then(|| Refusal::InvalidName { name: name.to_owned() });
    refused(record.stream_id())
        .or_else(|| record.events().find_map(|event| event.names().find_map(refused)))
}

pub(super) fn event_ids(record: &RecordView) -> impl Iterator<Item = [u8; 16]> + '_ {
    record.spans().map(|span| record.event_id(span))
}

/// Which of an append's event ids stand in the store.
enum Known {
    None,
    /// Not all; the first that does.
    Some([u8; 16]),
    /// All; where, in the order of the append.
    All(Vec<(StoredRecord, u32)>),
}

fn known(engine: &Engine, appends: &[StreamAppend]) -> Result<Known, ReadError> {
    let mut events = 0;
    let mut first = None;
    let mut places = Vec::new();
    for event_id in appends.iter().flat_map(|append| event_ids(&append.record)) {
        events += 1;
        if let Some(place) = engine.find_event(&event_id)? {
            first = first.or(Some(event_id));
            places.push(place);
        }
    }
    Ok(match first {
        None => Known::None,
        Some(_) if places.len() == events => Known::All(places),
        Some(event_id) => Known::Some(event_id),
    })
}

/// The answer that the append got when its events were new. The content must be the same, and the events of a
/// stream must stand there one behind the other.
fn first_result(
    appends: &[StreamAppend],
    places: &[(StoredRecord, u32)],
) -> Result<Appended, Refusal> {
    let mut places = places.iter();
    let mut first: Option<Appended> = None;
    for StreamAppend { record, .. } in appends {
        let mut previous: Option<u64> = None;
        for (span, (stored, index)) in record.spans().zip(places.by_ref()) {
            let version = stored.first_version + u64::from(*index);
            let position = stored.first_position + u64::from(*index);
            let there = stored.span(*index).map(|span| stored.record.event_bytes(span));
            let same = stored.record.stream_id() == record.stream_id()
                && there == Some(record.event_bytes(span))
                && previous.is_none_or(|previous| previous + 1 == version);
            if !same {
                return Err(reused_id(&record.event_id(span)));
            }
            previous = Some(version);
            let result = first.get_or_insert_with(|| Appended {
                last_versions: Vec::with_capacity(appends.len()),
                first_position: position,
                last_position: position,
                epoch_us: stored.epoch_us,
            });
            result.first_position = result.first_position.min(position);
            result.last_position = result.last_position.max(position);
            result.epoch_us = result.epoch_us.max(stored.epoch_us);
        }
        if let (Some(result), Some(last_version)) = (&mut first, previous) {
            result.last_versions.push(last_version);
        }
    }
    Ok(first.expect("an append has at least one record, and a record at least one event"))
}

fn reused_id(event_id: &[u8; 16]) -> Refusal {
    Refusal::EventIdReused { event_id: Uuid::from_bytes(*event_id) }
}
