//! The one table of reasons: every refusal of a Reckon server is a gRPC status with a
//! `google.rpc.ErrorInfo` of domain `reckon.dev` and one of these reasons.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every `ErrorInfo` that a Reckon server sends.
pub const ERROR_DOMAIN: &str = "reckon.dev";

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal, $code:ident;)+) => {
        /// Why a request was refused, in the words of the protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The reason as it stands in `ErrorInfo.reason`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The gRPC status code that always goes with this reason.
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)+ }
            }

            /// What the reason means, one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

reasons! {
    /// A stream's version is not the one the append expected; `actual` says which it is.
    WrongExpectedVersion = "WRONG_EXPECTED_VERSION", FailedPrecondition;
    /// An event matches the append's condition; `position` says where the first one stands.
    AppendConditionFailed = "APPEND_CONDITION_FAILED", FailedPrecondition;
    /// An event id is already in the store with other content, or only some ids of the append are.
    EventIdReused = "EVENT_ID_REUSED", AlreadyExists;
    /// The stream has never had an event.
    StreamNotFound = "STREAM_NOT_FOUND", NotFound;
    /// The stream was deleted; an append opens it again.
    StreamDeleted = "STREAM_DELETED", NotFound;
    /// The stream was deleted for ever, and its name cannot be used again.
    StreamTombstoned = "STREAM_TOMBSTONED", NotFound;
    /// No event that can be read has this id.
    EventNotFound = "EVENT_NOT_FOUND", NotFound;
    /// There is no subscription of this name or key.
    SubscriptionNotFound = "SUBSCRIPTION_NOT_FOUND", NotFound;
    /// A subscription of this name has another definition; `field` says where the first difference is.
    SubscriptionExists = "SUBSCRIPTION_EXISTS", AlreadyExists;
    /// The subscription was changed by somebody else meanwhile.
    SubscriptionChanged = "SUBSCRIPTION_CHANGED", Aborted;
    /// The consumers are slower than the store, and the subscription says to end rather than to wait or to drop; the
    /// checkpoint is unmoved.
    SubscriptionBufferFull = "SUBSCRIPTION_BUFFER_FULL", ResourceExhausted;
    /// A stream pattern or regular expression is malformed; `offset` says where, in bytes.
    InvalidPattern = "INVALID_PATTERN", InvalidArgument;
    /// A CEL expression is malformed or of the wrong type; `offset` says where, in bytes, if known.
    InvalidExpression = "INVALID_EXPRESSION", InvalidArgument;
    /// A subscription's selector is malformed, or does not go with its type; `field` says which part.
    InvalidSelector = "INVALID_SELECTOR", InvalidArgument;
    /// A field of the request is malformed; `field` and `value` say which.
    InvalidArgument = "INVALID_FIELD", InvalidArgument;
    /// A value is beyond its limit; `limit`, `value` and `maximum` say which.
    LimitExceeded = "LIMIT_EXCEEDED", InvalidArgument;
    /// Too many requests are in flight on this node.
    TooManyRequests = "TOO_MANY_REQUESTS", ResourceExhausted;
    /// The node holds as many unsealed bytes in memory as it may.
    MemoryPressure = "MEMORY_PRESSURE", ResourceExhausted;
    /// The disk has no room for more appends.
    DiskFull = "DISK_FULL", ResourceExhausted;
    /// No leader is known: an election is under way or too few voters are up.
    NoQuorum = "NO_QUORUM", Unavailable;
    /// Only the leader can do this and it could not be reached; `leader` says where it is, if known.
    NotLeader = "NOT_LEADER", Unavailable;
    /// The answer was lost on its way; whether the request took effect is unknown.
    OutcomeUnknown = "OUTCOME_UNKNOWN", Unavailable;
    /// The node is stopping or not ready yet.
    NotReady = "NOT_READY", Unavailable;
    /// The node has no identity yet: it belongs to no store.
    NotInitialised = "NOT_INITIALISED", FailedPrecondition;
    /// The node already belongs to a store.
    AlreadyInitialised = "ALREADY_INITIALISED", AlreadyExists;
    /// The store is formed but not yet open to clients.
    NotActivated = "NOT_ACTIVATED", Unavailable;
    /// The request names another store than the one this node belongs to.
    WrongStore = "WRONG_STORE", FailedPrecondition;
    /// The request names another volume than the one this node runs on.
    WrongVolume = "WRONG_VOLUME", FailedPrecondition;
    /// The sender or the receiver named in a peer call is not who it says.
    UnknownMember = "UNKNOWN_MEMBER", FailedPrecondition;
    /// This node is fenced off and must not take part.
    Fenced = "FENCED", FailedPrecondition;
    /// The membership changed since the caller looked.
    MembershipChanged = "MEMBERSHIP_CHANGED", Aborted;
    /// The learner lags too far behind to become a voter; `lag_bytes` says how far.
    MemberLags = "MEMBER_LAGS", FailedPrecondition;
    /// The change would leave the store without a quorum or without its leader.
    UnsafeMembershipChange = "UNSAFE_MEMBERSHIP_CHANGE", FailedPrecondition;
    /// The requested leader did not take over in time.
    TransferFailed = "TRANSFER_FAILED", Aborted;
    /// The deadline passed; an append may or may not have taken effect.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded;
    /// Stored bytes of this node are damaged; they are mended from another member, which can answer meanwhile.
    Damaged = "DAMAGED", DataLoss;
    /// A fault inside the node; its log says more.
    Internal = "INTERNAL", Internal;
}

impl Reason {
    /// The reason a server gave with a status, if it gave one of ours.
    pub fn of(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info()?;
        if info.domain != ERROR_DOMAIN {
            return None;
        }
        Self::ALL.iter().copied().find(|reason| reason.as_str() == info.reason)
    }

    /// Whether the same request may succeed when it is sent again after a while, unchanged.
    pub const fn retryable(self) -> bool {
        matches!(self, Self::Damaged)
            || matches!(
                self.code(),
                Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded
            )
    }

    /// Builds the status for this reason. `message` is a sentence a person can act on; `metadata` carries
    /// the values it speaks of. Reasons that a retry can help get a `RetryInfo`.
    pub fn status<K, V>(
        self,
        message: impl Into<String>,
        metadata: impl IntoIterator<Item = (K, V)>,
    ) -> Status
    where
        K: Into<String>,
        V: Into<String>,
    {
        let metadata: HashMap<String, String> =
            metadata.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        let mut details = ErrorDetails::with_error_info(self.as_str(), ERROR_DOMAIN, metadata);
        if self.retryable() {
            details.set_retry_info(Some(RETRY_DELAY));
        }
        Status::with_error_details(self.code(), message, details)
    }

    /// Like [`Reason::status`], without values.
    pub fn plain(self, message: impl Into<String>) -> Status {
        self.status(message, std::iter::empty::<(String, String)>())
    }
}

/// What servers suggest to wait before a retry.
const RETRY_DELAY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fmt::Write as _;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_refusal_carries_its_reason_its_values_and_when_to_retry() {
        for reason in Reason::ALL.iter().copied() {
            let status = reason.status("a sentence", [("limit", "7")]);
            assert_eq!(Reason::of(&status), Some(reason));
            assert_eq!(status.code(), reason.code());
            let details = status.get_error_details();
            let info = details.error_info().expect("an ErrorInfo");
            assert_eq!(info.metadata.get("limit").map(String::as_str), Some("7"));
            assert_eq!(details.retry_info().is_some(), reason.retryable());
        }
    }

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }

    #[test]
    fn the_reference_of_reasons_is_up_to_date() {
        let mut text = String::from(
            "# Reasons\n\nEvery refusal is a gRPC status with a `google.rpc.ErrorInfo` of domain `reckon.dev`. \
             This table is made from `src/reason.rs` by its test.\n\n\
             | reason | gRPC status | retry helps | meaning |\n|---|---|---|---|\n",
        );
        for reason in Reason::ALL {
            let retry = if reason.retryable() { "yes" } else { "no" };
            let (name, code, meaning) = (reason.as_str(), reason.code(), reason.meaning());
            writeln!(text, "| `{name}` | `{code:?}` | {retry} | {meaning} |").expect("memory");
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("REASONS.md");
        if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "REASONS.md is stale: run this test again with UPDATE=1");
    }
}
