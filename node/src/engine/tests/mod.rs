//! The engine's decisions and reads, one by one. Long random histories are in `tests/engine_model.rs`.

mod appends;
mod conditions;
mod lifecycle;
mod reads;
mod sealing;
mod subscriptions;

use crate::storage::LogPosition;
use uuid::Uuid;

use super::*;
use crate::event::{EventDraft, encode_record};

/// An event to append.
#[derive(Debug, Clone, Copy)]
struct Given<'a> {
    id: u128,
    event_type: &'a str,
    tags: &'a [&'a str],
    data: &'a str,
}

/// An event of which only the id and the data matter.
const fn event(id: u128, data: &str) -> Given<'_> {
    Given { id, event_type: "happened", tags: &[], data }
}

fn draft<'a>(given: &Given<'a>) -> EventDraft<'a> {
    let id = Uuid::from_u128(given.id);
    let mut draft = EventDraft::new(id, given.event_type, given.data.as_bytes());
    draft.set_tags(given.tags.iter().copied());
    draft
}

fn part_of(expectation: Expectation, stream: &str, events: &[Given<'_>]) -> StreamAppend {
    let drafts: Vec<_> = events.iter().map(draft).collect();
    StreamAppend { expectation, record: encode_record(stream, &drafts).unwrap() }
}

fn part(expectation: Expectation, stream: &str, events: &[(u128, &str)]) -> StreamAppend {
    let events: Vec<_> = events.iter().map(|(id, data)| event(*id, data)).collect();
    part_of(expectation, stream, &events)
}

/// An engine and what services see of it.
#[derive(Debug)]
struct Tested {
    shared: SharedEngine,
    reader: StateReader,
    applied: u64,
}

impl Default for Tested {
    fn default() -> Self {
        let shared = SharedEngine::default();
        Self { reader: StateReader::new(Arc::clone(&shared)), shared, applied: 0 }
    }
}

impl Tested {
    fn group(&mut self, epoch_us: u64, commands: &[Command]) -> Vec<Outcome> {
        let commands: Vec<_> = commands.iter().map(Command::encode).collect();
        self.applied += 1;
        let applied = LogPosition { term: 1, index: self.applied };
        let group = encode_group(epoch_us, &commands);
        self.shared.write().apply_group(&group, applied).unwrap()
    }

    fn command(&mut self, command: Command) -> Outcome {
        self.group(1_000, &[command]).remove(0)
    }

    fn append_at(&mut self, epoch_us: u64, appends: Vec<StreamAppend>) -> Outcome {
        self.group(epoch_us, &[Command::Append { appends, condition: None }]).remove(0)
    }

    fn append(&mut self, appends: Vec<StreamAppend>) -> Outcome {
        self.append_at(1_000, appends)
    }

    /// Appends one event, whatever the stream is at.
    fn append_one(&mut self, stream: &str, id: u128) -> Outcome {
        self.append(vec![part(Expectation::Any, stream, &[(id, "")])])
    }

    fn delete(&mut self, stream: &str) -> Outcome {
        let expectation = Expectation::Any;
        self.command(Command::Delete { stream_id: stream.to_owned(), expectation })
    }

    fn tombstone(&mut self, stream: &str) -> Outcome {
        let expectation = Expectation::Any;
        self.command(Command::Tombstone { stream_id: stream.to_owned(), expectation })
    }

    fn truncate(&mut self, stream: &str, before_version: u64) -> Outcome {
        let (stream_id, expectation) = (stream.to_owned(), Expectation::Any);
        self.command(Command::Truncate { stream_id, before_version, expectation })
    }

    /// Streams `a` (versions 0 to 2, ids 1 to 3) and `b` (version 0, id 4), appended at time 1,000.
    fn with_two_streams() -> Self {
        let mut tested = Self::default();
        let a = part(Expectation::NoStream, "a", &[(1, "1"), (2, "2"), (3, "3")]);
        assert_eq!(tested.append(vec![a]), appended(&[2], 0, 2));
        let b = part(Expectation::Any, "b", &[(4, "4")]);
        assert_eq!(tested.append(vec![b]), appended(&[0], 3, 3));
        tested
    }

    fn next_position(&self) -> u64 {
        self.reader.next_position()
    }

    /// The ids of all events of a stream, page by page.
    fn stream_ids(&self, stream: &str) -> Vec<u128> {
        let page = self.reader.read_stream(&StreamRead::of(stream)).unwrap();
        assert_eq!(page.next, None);
        ids(&page)
    }

    /// The ids of all events of the store but the server's own, page by page.
    fn all_ids(&self) -> Vec<u128> {
        let page = self.reader.read_all(&AllRead::default()).unwrap();
        assert_eq!(page.next, None);
        ids(&page)
    }
}

fn ids(page: &Page) -> Vec<u128> {
    page.events.iter().map(|event| event.event().event_id.as_u128()).collect()
}

fn appended(last_versions: &[u64], first_position: u64, last_position: u64) -> Outcome {
    appended_at(1_000, last_versions, first_position, last_position)
}

fn appended_at(
    epoch_us: u64,
    last_versions: &[u64],
    first_position: u64,
    last_position: u64,
) -> Outcome {
    let last_versions = last_versions.to_vec();
    Outcome::Appended(Appended { last_versions, first_position, last_position, epoch_us })
}

fn reused(id: u128) -> Outcome {
    Outcome::Refused(Refusal::EventIdReused { event_id: Uuid::from_u128(id) })
}

fn unexpected(stream: &str, expected: Expectation, actual: i64) -> Outcome {
    let stream_id = stream.to_owned();
    Outcome::Refused(Refusal::WrongExpectedVersion { stream_id, expected, actual })
}

fn is_tombstoned(stream: &str) -> Outcome {
    Outcome::Refused(Refusal::StreamTombstoned { stream_id: stream.to_owned() })
}
