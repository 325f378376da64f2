//! Appends, made safe to retry.

use uuid::Uuid;

use super::error::Error;
use super::{Client, streams};
use crate::v1;

/// What must hold for a stream before an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Expect {
    /// Anything goes.
    #[default]
    Any,
    /// The stream has never had an event.
    NoStream,
    /// The stream has at least one event.
    StreamExists,
    /// The stream's last event has exactly this version.
    Version(u64),
}

impl Expect {
    const ANY: i64 = -2;
    const NO_STREAM: i64 = -1;

    /// The expectation as the protocol writes it. A version beyond what the protocol can say stands for
    /// the highest one it can, which no stream has either.
    pub fn to_message(self) -> v1::Expectation {
        use v1::expectation::Kind;
        let kind = match self {
            Self::Any => Kind::Version(Self::ANY),
            Self::NoStream => Kind::Version(Self::NO_STREAM),
            Self::StreamExists => Kind::StreamExists(true),
            Self::Version(version) => Kind::Version(i64::try_from(version).unwrap_or(i64::MAX)),
        };
        v1::Expectation { kind: Some(kind) }
    }
}

impl Client {
    /// Appends events to one or several streams, atomically. Events without an id are given one (UUIDv7)
    /// before the first attempt, so that however often the request is sent it takes effect once.
    pub async fn append(
        &self,
        mut request: v1::AppendRequest,
    ) -> Result<v1::AppendResponse, Error> {
        name_events(&mut request);
        self.call(request, |channel, request| async move { streams(channel).append(request).await })
            .await
    }

    /// Appends events to one stream.
    pub async fn append_to(
        &self,
        stream_id: impl Into<String>,
        expect: Expect,
        events: Vec<v1::NewEvent>,
    ) -> Result<v1::AppendResponse, Error> {
        let append = v1::StreamAppend {
            stream_id: stream_id.into(),
            expectation: Some(expect.to_message()),
            events,
        };
        self.append(v1::AppendRequest { appends: vec![append], condition: None }).await
    }
}

/// Gives an id to every event that has none.
pub(super) fn name_events(request: &mut v1::AppendRequest) {
    for event in request.appends.iter_mut().flat_map(|append| &mut append.events) {
        if event.event_id.as_deref().is_none_or(str::is_empty) {
            event.event_id = Some(Uuid::now_v7().to_string());
        }
    }
}
