//! What apply decides for a command. The same on every node.

use uuid::Uuid;

use super::command::Expectation;

/// What the engine decided for one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The events of the append are in the store, since now or since its first try.
    Appended(Appended),
    /// Nothing was changed.
    Refused(Refusal),
    /// The store is open to clients.
    Activated,
    /// The volume's node id.
    NodeIdAllocated(u64),
}

/// Where the events of an append stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Per stream, in the order of the request: the version of its last event in the request.
    pub last_versions: Vec<u64>,
    pub first_position: u64,
    pub last_position: u64,
    /// When the leader took the append, microseconds since 1970 UTC.
    pub epoch_us: u64,
}

/// Why a command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `actual` is the last version, −1 for a stream that never had an event.
    #[error("stream {stream_id:?} was expected at {expected} but is at {actual}")]
    WrongExpectedVersion { stream_id: String, expected: Expectation, actual: i64 },
    /// The id is in the store with other content, in another stream, or in another order; or the store has
    /// only some ids of the append; or the append names the id twice.
    #[error("event id {event_id} is already in use")]
    EventIdReused { event_id: Uuid },
    /// An append names each stream once.
    #[error("stream {stream_id:?} is named twice in one append")]
    StreamNamedTwice { stream_id: String },
    /// Node ids are given out to volumes with a name of 1 to 256 bytes.
    #[error("a volume id of {bytes} bytes cannot be given a node id")]
    InvalidVolumeId { bytes: usize },
}

impl Refusal {
    /// Never: the same command is refused again until the caller has looked at the store.
    pub const fn retryable(&self) -> bool {
        false
    }
}
