//! Why apply changes nothing. The same on every node.

use uuid::Uuid;

use super::expectation::Expectation;
use super::head::Head;

/// Why a command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `actual` is the last version that the stream ever had, −1 for none.
    #[error("stream {stream_id:?} was expected at {expected} but is at {actual}")]
    WrongExpectedVersion { stream_id: String, expected: Expectation, actual: i64 },
    /// No expectation is met any more, not even `any`.
    #[error("stream {stream_id:?} is tombstoned")]
    StreamTombstoned { stream_id: String },
    /// There is nothing to delete or truncate: the stream never had an event.
    #[error("stream {stream_id:?} has never had an event")]
    StreamNotFound { stream_id: String },
    /// There is nothing to truncate.
    #[error("stream {stream_id:?} is deleted")]
    StreamDeleted { stream_id: String },
    /// A stream cannot begin behind the version that its next event takes.
    #[error(
        "stream {stream_id:?} cannot begin at {before_version}: its next version is {next_version}"
    )]
    TruncateBeyondEnd { stream_id: String, before_version: u64, next_version: u64 },
    /// `position` is the first that matched.
    #[error("the event at position {position} matches the append's condition")]
    AppendConditionFailed { position: u64 },
    /// The id is in the store with other content, in another stream, or in another order; or the store has
    /// only some ids of the append; or the append names the id twice.
    #[error("event id {event_id} is already in use")]
    EventIdReused { event_id: Uuid },
    /// An append names each stream once.
    #[error("stream {stream_id:?} is named twice in one append")]
    StreamNamedTwice { stream_id: String },
    /// A stream, type, tag or reference that the indexes could not tell from another.
    #[error("the name {name:?} has a control character")]
    InvalidName { name: String },
    #[error("there is no subscription {name:?}")]
    SubscriptionNotFound { name: String },
    /// Under another definition.
    #[error("subscription {name:?} exists with another definition")]
    SubscriptionExists { name: String },
    /// Its definition is another one than the caller looked at.
    #[error("subscription {name:?} was changed by somebody else meanwhile")]
    SubscriptionChanged { name: String },
    #[error("there are {maximum} subscriptions, which is the most")]
    TooManySubscriptions { maximum: usize },
    /// Node ids are given out to volumes with a name of 1 to 256 bytes.
    #[error("a volume id of {bytes} bytes cannot be given a node id")]
    InvalidVolumeId { bytes: usize },
}

impl Refusal {
    /// The refusal of a command whose expectation a stream does not meet; `None`: it never had an event.
    pub(super) fn unexpected(stream_id: &str, expected: Expectation, head: Option<&Head>) -> Self {
        let last_version = head.and_then(Head::last_version);
        Self::WrongExpectedVersion {
            stream_id: stream_id.to_owned(),
            expected,
            actual: last_version.map_or(-1, u64::cast_signed),
        }
    }

    /// Never: the same command is refused again until the caller has looked at the store.
    pub const fn retryable(&self) -> bool {
        false
    }
}
