//! The proof: all is read back and compared with the ledger.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use reckon_api::{
    Client,
    v1::{Event, ReadAllRequest},
};

use super::ledger::{Entry, Ledger};

/// What a proof found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Events of the ledger that were read back, each once.
    pub read_back: u64,
    /// Of those, events whose answer never came, and which stand nevertheless.
    pub unacknowledged: u64,
}

/// Reads the whole store, linearizably, and checks it against the ledger. Only for a store that nobody else writes to.
pub async fn verify(client: &Client, ledger: &Ledger) -> Result<Verified> {
    check(&read_everything(client).await?, ledger)
}

/// Every event of the store in its order, those of the server's own streams included.
pub async fn read_everything(client: &Client) -> Result<Vec<Event>> {
    let request = ReadAllRequest { include_system: true, ..ReadAllRequest::default() };
    let mut reading = client.read_all(request).await.context("the store cannot be read")?;
    let mut events = Vec::new();
    while let Some(event) = reading.next().await {
        events.push(event.context("the store cannot be read to its end")?);
    }
    Ok(events)
}

/// Whether a user wrote the event, and not the server, which notes in streams of its own that, for instance, a
/// subscription was created.
#[must_use]
pub fn is_users(event: &Event) -> bool {
    !event.stream_id.starts_with('$')
}

/// Checks everything that a store holds against the ledger.
pub fn check(events: &[Event], ledger: &Ledger) -> Result<Verified> {
    compare(events, &ledger.snapshot())
}

/// Checks what stands in the store, in its order, against what was sent, in its order.
fn compare(events: &[Event], entries: &[Entry]) -> Result<Verified> {
    let mut versions: HashMap<&str, u64> = HashMap::new();
    let mut standing: HashMap<&str, &Event> = HashMap::new();
    for (position, event) in events.iter().enumerate() {
        ensure!(
            event.position == position as u64,
            "position {position} is missing: the next event stands at {}",
            event.position
        );
        let next = versions.entry(&event.stream_id).or_default();
        ensure!(
            event.version == *next,
            "{}: version {next} is missing: the next event is version {}",
            event.stream_id,
            event.version
        );
        *next += 1;
        if standing.insert(&event.event_id, event).is_some() {
            bail!("event {} stands more than once", event.event_id);
        }
    }

    let mut sent = HashSet::new();
    let mut newest: HashMap<&str, u64> = HashMap::new();
    let mut verified = Verified { read_back: 0, unacknowledged: 0 };
    for entry in entries {
        let id = entry.id.to_string();
        let event = standing.get(id.as_str());
        sent.insert(id);
        let Some(event) = event else {
            ensure!(
                entry.acknowledged.is_none(),
                "acknowledged event {} of {} is lost",
                entry.id,
                entry.stream
            );
            continue;
        };
        verified.read_back += 1;
        ensure!(event.stream_id == entry.stream, "event {} is in {}", entry.id, event.stream_id);
        match entry.acknowledged {
            None => verified.unacknowledged += 1,
            Some(answer) => ensure!(
                event.version == answer.version && event.position == answer.position,
                "event {} stands at version {} and position {}, but the answer said {} and {}",
                entry.id,
                event.version,
                event.position,
                answer.version,
                answer.position
            ),
        }
        // Each stream has one writer, which sends its next event after the answer to the one before.
        if let Some(before) = newest.insert(&entry.stream, event.version) {
            ensure!(before < event.version, "{}: sent later, stands earlier", entry.stream);
        }
    }
    let mut written = events.iter().filter(|event| is_users(event));
    if let Some(event) = written.find(|event| !sent.contains(&event.event_id)) {
        bail!("nobody wrote event {} of {}", event.event_id, event.stream_id);
    }
    Ok(verified)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use uuid::Uuid;

    use super::*;
    use crate::workload::ledger::Acknowledged;

    /// Two streams of two events, all acknowledged.
    fn right() -> (Vec<Event>, Vec<Entry>) {
        let mut events = Vec::new();
        let mut entries = Vec::new();
        for (position, (stream, version)) in
            [("a", 0), ("b", 0), ("a", 1), ("b", 1)].into_iter().enumerate()
        {
            let (id, position) = (Uuid::now_v7(), position as u64);
            events.push(Event {
                event_id: id.to_string(),
                stream_id: stream.into(),
                version,
                position,
                ..Event::default()
            });
            let acknowledged = Some(Acknowledged { at: Instant::now(), version, position });
            entries.push(Entry { stream: stream.into(), id, acknowledged });
        }
        (events, entries)
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Vec<Event>, &mut Vec<Entry>), complaint: &str) {
        let (mut events, mut entries) = right();
        change(&mut events, &mut entries);
        let error = compare(&events, &entries).unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
    }

    #[test]
    fn a_whole_store_is_accepted_also_with_answers_that_never_came() {
        let (events, mut entries) = right();
        entries[3].acknowledged = None;
        let lost = Entry { stream: "b".into(), id: Uuid::now_v7(), acknowledged: None };
        entries.push(lost);
        let verified = compare(&events, &entries).unwrap();
        assert_eq!(verified, Verified { read_back: 4, unacknowledged: 1 });
    }

    #[test]
    fn what_the_server_writes_takes_a_position_and_nobody_sent_it() {
        let (mut events, entries) = right();
        events.push(Event {
            event_id: Uuid::now_v7().to_string(),
            stream_id: "$subscriptions".into(),
            position: events.len() as u64,
            ..Event::default()
        });
        let verified = compare(&events, &entries).unwrap();
        assert_eq!(verified, Verified { read_back: 4, unacknowledged: 0 });
    }

    #[test]
    fn what_is_lost_doubled_moved_or_made_up_is_found() {
        refused(|events, _| drop(events.pop()), "is lost");
        refused(|events, _| drop(events.remove(1)), "position 1 is missing");
        refused(|events, _| events[2].version = 2, "version 1 is missing");
        refused(|events, _| events[3].event_id = events[2].event_id.clone(), "more than once");
        refused(|_, entries| drop(entries.pop()), "nobody wrote");
        refused(|_, entries| entries.swap(0, 2), "stands earlier");
        refused(
            |_, entries| entries[3].acknowledged.as_mut().unwrap().position = 7,
            "the answer said",
        );
    }
}
