//! The decision on an append, in the order that the API promises: first whether it is a retry, then the
//! expectations of all its streams. Reads the engine, changes nothing.

use uuid::Uuid;

use super::Engine;
use super::command::StreamAppend;
use super::outcome::{Appended, Refusal};

/// What is to be done with an append.
pub(super) enum Decision {
    /// All is new and as expected: assign versions and positions.
    Assign,
    /// It was appended before; this was the answer.
    Repeated(Appended),
    Refused(Refusal),
}

pub(super) fn decide(engine: &Engine, appends: &[StreamAppend]) -> Decision {
    match check(engine, appends) {
        Ok(decision) => decision,
        Err(refusal) => Decision::Refused(refusal),
    }
}

fn check(engine: &Engine, appends: &[StreamAppend]) -> Result<Decision, Refusal> {
    each_stream_once(appends)?;
    let ids = event_ids(appends);
    each_id_once(&ids)?;
    let known = |id: &&[u8; 16]| engine.overlay.has_event(id);
    if let Some(first_known) = ids.iter().find(known) {
        if !ids.iter().all(|id| known(&id)) {
            return Err(reused_id(first_known));
        }
        return first_result(engine, appends).map(Decision::Repeated);
    }
    for StreamAppend { expectation, record } in appends {
        let last_version = engine.last_version(record.stream_id());
        if !expectation.is_met(last_version) {
            return Err(Refusal::WrongExpectedVersion {
                stream_id: record.stream_id().to_owned(),
                expected: *expectation,
                actual: last_version.map_or(-1, u64::cast_signed),
            });
        }
    }
    Ok(Decision::Assign)
}

/// The answer that the append got when its events were new. Every one of its ids is known; the content must
/// be the same, and the events of a stream must stand there one behind the other.
fn first_result(engine: &Engine, appends: &[StreamAppend]) -> Result<Appended, Refusal> {
    let mut first: Option<Appended> = None;
    for StreamAppend { record, .. } in appends {
        let mut previous: Option<u64> = None;
        for span in record.spans() {
            let event_id = record.event_id(span);
            let (stored, place) =
                engine.overlay.event(&event_id).ok_or_else(|| reused_id(&event_id))?;
            let version = stored.first_version + u64::from(place.index);
            let position = stored.first_position + u64::from(place.index);
            let same = stored.record.stream_id() == record.stream_id()
                && stored.record.event_bytes(place.span) == record.event_bytes(span)
                && previous.is_none_or(|previous| previous + 1 == version);
            if !same {
                return Err(reused_id(&event_id));
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

fn each_stream_once(appends: &[StreamAppend]) -> Result<(), Refusal> {
    if appends.len() < 2 {
        return Ok(());
    }
    let mut names: Vec<&str> = appends.iter().map(|append| append.record.stream_id()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Refusal::StreamNamedTwice { stream_id: pair[0].to_owned() }),
    }
}

fn event_ids(appends: &[StreamAppend]) -> Vec<[u8; 16]> {
    let events = appends.iter().map(|append| append.record.events_len() as usize).sum();
    let mut ids = Vec::with_capacity(events);
    for StreamAppend { record, .. } in appends {
        ids.extend(record.spans().map(|span| record.event_id(span)));
    }
    ids
}

fn each_id_once(ids: &[[u8; 16]]) -> Result<(), Refusal> {
    if ids.len() < 2 {
        return Ok(());
    }
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(reused_id(&pair[0])),
    }
}

fn reused_id(event_id: &[u8; 16]) -> Refusal {
    Refusal::EventIdReused { event_id: Uuid::from_bytes(*event_id) }
}
