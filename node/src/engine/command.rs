//! Commands: what is proposed to the log and decided by apply, and their binary form.
//!
//! ```text
//! format version (1) | kind (1) | append:           stream count, then per stream: expectation, record
//!                               | activate:         nothing
//!                               | allocate node id: volume id
//! ```
//!
//! Decoding copies nothing: records are slices of the command's bytes.

use std::fmt;

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::event::codec::{Reader, prefixed_len, put_prefixed, put_varint, varint_len};
use crate::event::{CorruptRecord, Malformed, RecordView};

/// The one version of the command format that this build reads and writes.
const COMMAND_FORMAT_VERSION: u8 = 1;

const KIND_APPEND: u8 = 1;
const KIND_ACTIVATE: u8 = 2;
const KIND_ALLOCATE_NODE_ID: u8 = 3;

const EXPECT_ANY: u8 = 0;
const EXPECT_NO_STREAM: u8 = 1;
const EXPECT_STREAM_EXISTS: u8 = 2;
const EXPECT_EXACT: u8 = 3;

/// A change to the store, as it is proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Appends to one or several streams, all or nothing.
    Append { appends: Vec<StreamAppend> },
    /// Opens the store to clients.
    Activate,
    /// Gives out a node id; the same volume is given the same id again.
    AllocateNodeId { volume_id: String },
}

/// The part of an append that concerns one stream. The record names the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamAppend {
    pub expectation: Expectation,
    pub record: RecordView,
}

/// What must hold for a stream before an append.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing.
    #[default]
    Any,
    /// The stream has never had an event.
    NoStream,
    /// The stream has at least one event.
    StreamExists,
    /// This is the stream's last version.
    Exact(u64),
}

impl Expectation {
    /// Whether a stream with this last version, if any, is as expected.
    pub const fn is_met(self, last_version: Option<u64>) -> bool {
        match (self, last_version) {
            (Self::Any, _) | (Self::NoStream, None) | (Self::StreamExists, Some(_)) => true,
            (Self::Exact(expected), Some(actual)) => expected == actual,
            (Self::NoStream, Some(_)) | (Self::StreamExists | Self::Exact(_), None) => false,
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

/// Why bytes are not a command of a version and kind that this build knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CorruptCommand {
    #[error("the command has format version {0}, this build knows {COMMAND_FORMAT_VERSION}")]
    UnknownVersion(u8),
    #[error("the command is of the unknown kind {0}")]
    UnknownKind(u8),
    #[error("the append holds an expectation of the unknown kind {0}")]
    UnknownExpectation(u8),
    #[error("the append names no stream")]
    NoAppends,
    #[error("the command is malformed: {0}")]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Record(#[from] CorruptRecord),
}

impl CorruptCommand {
    /// Never: the same bytes stay corrupt.
    pub const fn retryable(self) -> bool {
        false
    }
}

impl Command {
    /// The command as it goes into a group.
    pub fn encode(&self) -> Bytes {
        let mut buf = BytesMut::with_capacity(self.encoded_len());
        buf.put_u8(COMMAND_FORMAT_VERSION);
        match self {
            Self::Append { appends } => {
                buf.put_u8(KIND_APPEND);
                put_varint(&mut buf, appends.len() as u64);
                for append in appends {
                    put_expectation(&mut buf, append.expectation);
                    put_prefixed(&mut buf, append.record.bytes());
                }
            }
            Self::Activate => buf.put_u8(KIND_ACTIVATE),
            Self::AllocateNodeId { volume_id } => {
                buf.put_u8(KIND_ALLOCATE_NODE_ID);
                put_prefixed(&mut buf, volume_id.as_bytes());
            }
        }
        debug_assert_eq!(buf.len(), self.encoded_len(), "a command is made in one allocation");
        buf.freeze()
    }

    /// Reads a command from exactly its bytes. An unknown version, kind or expectation is an error.
    pub fn decode(bytes: &Bytes) -> Result<Self, CorruptCommand> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            COMMAND_FORMAT_VERSION => {}
            unknown => return Err(CorruptCommand::UnknownVersion(unknown)),
        }
        let command = match reader.u8()? {
            KIND_APPEND => Self::Append { appends: read_appends(bytes, &mut reader)? },
            KIND_ACTIVATE => Self::Activate,
            KIND_ALLOCATE_NODE_ID => Self::AllocateNodeId { volume_id: reader.text()?.to_owned() },
            unknown => return Err(CorruptCommand::UnknownKind(unknown)),
        };
        reader.finish()?;
        Ok(command)
    }

    fn encoded_len(&self) -> usize {
        2 + match self {
            Self::Append { appends } => {
                let append_len = |append: &StreamAppend| {
                    expectation_len(append.expectation) + prefixed_len(append.record.bytes().len())
                };
                varint_len(appends.len() as u64) + appends.iter().map(append_len).sum::<usize>()
            }
            Self::Activate => 0,
            Self::AllocateNodeId { volume_id } => prefixed_len(volume_id.len()),
        }
    }
}

fn read_appends(
    bytes: &Bytes,
    reader: &mut Reader<'_>,
) -> Result<Vec<StreamAppend>, CorruptCommand> {
    let count = reader.varint()?;
    if count == 0 {
        return Err(CorruptCommand::NoAppends);
    }
    // Grows as it is filled: the count is not believed before the records are there.
    let mut appends = Vec::new();
    for _ in 0..count {
        let expectation = read_expectation(reader)?;
        let len = reader.prefixed()?.len();
        let record = bytes.slice(reader.at() - len..reader.at());
        appends.push(StreamAppend { expectation, record: RecordView::new(record)? });
    }
    Ok(appends)
}

fn expectation_len(expectation: Expectation) -> usize {
    match expectation {
        Expectation::Exact(version) => 1 + varint_len(version),
        Expectation::Any | Expectation::NoStream | Expectation::StreamExists => 1,
    }
}

fn put_expectation(buf: &mut BytesMut, expectation: Expectation) {
    match expectation {
        Expectation::Any => buf.put_u8(EXPECT_ANY),
        Expectation::NoStream => buf.put_u8(EXPECT_NO_STREAM),
        Expectation::StreamExists => buf.put_u8(EXPECT_STREAM_EXISTS),
        Expectation::Exact(version) => {
            buf.put_u8(EXPECT_EXACT);
            put_varint(buf, version);
        }
    }
}

fn read_expectation(reader: &mut Reader<'_>) -> Result<Expectation, CorruptCommand> {
    match reader.u8()? {
        EXPECT_ANY => Ok(Expectation::Any),
        EXPECT_NO_STREAM => Ok(Expectation::NoStream),
        EXPECT_STREAM_EXISTS => Ok(Expectation::StreamExists),
        EXPECT_EXACT => Ok(Expectation::Exact(reader.varint()?)),
        unknown => Err(CorruptCommand::UnknownExpectation(unknown)),
    }
}
