//! What a caller expects of a stream, and whether it holds.

use std::fmt;

use bytes::BufMut;

use super::command::CorruptCommand;
use super::head::{Head, StreamStatus};
use crate::event::codec::{Reader, put_varint, varint_len};

const EXPECT_ANY: u8 = 0;
const EXPECT_NO_STREAM: u8 = 1;
const EXPECT_STREAM_EXISTS: u8 = 2;
const EXPECT_EXACT: u8 = 3;

/// What must hold for a stream before a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing.
    #[default]
    Any,
    /// The stream has never had an event, or is deleted.
    NoStream,
    /// The stream has had an event and is not deleted. A stream truncated to nothing still exists.
    StreamExists,
    /// This is the version of the last event that the stream ever had, also if it is deleted.
    Exact(u64),
}

impl Expectation {
    /// Whether a stream with this head is as expected; `None`: it has never had an event. A tombstoned stream
    /// is never as expected.
    pub fn is_met(self, head: Option<&Head>) -> bool {
        let Some(head) = head else { return matches!(self, Self::Any | Self::NoStream) };
        match (self, head.status) {
            (_, StreamStatus::Tombstoned) => false,
            (Self::Any, _) => true,
            (Self::NoStream, status) => status == StreamStatus::Deleted,
            (Self::StreamExists, status) => status == StreamStatus::Live,
            (Self::Exact(expected), _) => head.last_version() == Some(expected),
        }
    }

    /// Bytes of the encoded form.
    pub(super) const fn encoded_len(self) -> usize {
        match self {
            Self::Exact(version) => 1 + varint_len(version),
            Self::Any | Self::NoStream | Self::StreamExists => 1,
        }
    }

    pub(super) fn put(self, buf: &mut impl BufMut) {
        match self {
            Self::Any => buf.put_u8(EXPECT_ANY),
            Self::NoStream => buf.put_u8(EXPECT_NO_STREAM),
            Self::StreamExists => buf.put_u8(EXPECT_STREAM_EXISTS),
            Self::Exact(version) => {
                buf.put_u8(EXPECT_EXACT);
                put_varint(buf, version);
            }
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, CorruptCommand> {
        match reader.u8()? {
            EXPECT_ANY => Ok(Self::Any),
            EXPECT_NO_STREAM => Ok(Self::NoStream),
            EXPECT_STREAM_EXISTS => Ok(Self::StreamExists),
            EXPECT_EXACT => Ok(Self::Exact(reader.varint()?)),
            unknown => Err(CorruptCommand::UnknownExpectation(unknown)),
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::NoStream => f.write_str("no_stream"),
            Self::StreamExists => f.write_str("stream_exists"),
            Self::Exact(version) => write!(f, "{version}"),
        }
    }
}
