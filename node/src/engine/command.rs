//! Commands: what is proposed to the log and decided by apply, and their binary form.
//!
//! ```text
//! format version (1) | kind (1) | append:           stream count, then per stream: expectation, record
//!                               | append if:        condition, then as append
//!                               | activate:         nothing
//!                               | allocate node id: volume id
//!                               | delete:           expectation, stream id
//!                               | tombstone:        expectation, stream id
//!                               | truncate:         expectation, stream id, first version to keep
//!                               | seal:             nothing
//!                               | subscription:     see `subscriptions/codec.rs`
//! ```
//!
//! Decoding copies no event: records are slices of the command's bytes.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::expectation::Expectation;
use super::query::AppendCondition;
use super::subscriptions::SubscriptionCommand;
use crate::event::codec::{Reader, prefixed_len, put_prefixed, put_varint, varint_len};
use crate::event::{CorruptRecord, Malformed, RecordView};

/// The one version of the command format that this build reads and writes.
const COMMAND_FORMAT_VERSION: u8 = 1;

const KIND_APPEND: u8 = 1;
const KIND_ACTIVATE: u8 = 2;
const KIND_ALLOCATE_NODE_ID: u8 = 3;
const KIND_APPEND_IF: u8 = 4;
const KIND_DELETE: u8 = 5;
const KIND_TOMBSTONE: u8 = 6;
const KIND_TRUNCATE: u8 = 7;
const KIND_SEAL: u8 = 8;
const KIND_SUBSCRIPTION: u8 = 9;

/// A change to the store, as it is proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Appends to one or several streams, all or nothing.
    Append { appends: Vec<StreamAppend>, condition: Option<AppendCondition> },
    /// Removes a stream's events from every read; an append opens the stream again.
    Delete { stream_id: String, expectation: Expectation },
    /// Removes a stream's events from every read, and its name from use for ever.
    Tombstone { stream_id: String, expectation: Expectation },
    /// Removes a stream's events below a version.
    Truncate { stream_id: String, before_version: u64, expectation: Expectation },
    /// Freezes the overlay at the end of the group, so that every node seals at the same position.
    Seal,
    /// Opens the store to clients.
    Activate,
    /// Gives out a node id; the same volume is given the same id again.
    AllocateNodeId { volume_id: String },
    /// Changes subscriptions.
    Subscription(SubscriptionCommand),
}

/// The part of an append that concerns one stream. The record names the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamAppend {
    pub expectation: Expectation,
    pub record: RecordView,
}

/// Why bytes are not a command of a version and kind that this build knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CorruptCommand {
    #[error("the command has format version {0}, this build knows {COMMAND_FORMAT_VERSION}")]
    UnknownVersion(u8),
    #[error("the command is of the unknown kind {0}")]
    UnknownKind(u8),
    #[error("the command about subscriptions is of the unknown kind {0}")]
    UnknownSubscriptionCommand(u8),
    #[error("the append holds an expectation of the unknown kind {0}")]
    UnknownExpectation(u8),
    #[error("the append names no stream")]
    NoAppends,
    #[error("the append's condition has no item")]
    EmptyQuery,
    #[error("the append's condition has more items, types or tags than {maximum}")]
    QueryTooLarge { maximum: usize },
    #[error("the command names no stream")]
    NoStream,
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
        if let Self::Subscription(command) = self {
            let mut buf = BytesMut::new();
            buf.put_u8(COMMAND_FORMAT_VERSION);
            buf.put_u8(KIND_SUBSCRIPTION);
            command.put(&mut buf);
            return buf.freeze();
        }
        let mut buf = BytesMut::with_capacity(self.encoded_len());
        buf.put_u8(COMMAND_FORMAT_VERSION);
        match self {
            Self::Append { appends, condition } => {
                match condition {
                    None => buf.put_u8(KIND_APPEND),
                    Some(condition) => {
                        buf.put_u8(KIND_APPEND_IF);
                        condition.put(&mut buf);
                    }
                }
                put_varint(&mut buf, appends.len() as u64);
                for append in appends {
                    append.expectation.put(&mut buf);
                    put_prefixed(&mut buf, append.record.bytes());
                }
            }
            Self::Delete { stream_id, expectation } => {
                put_stream(&mut buf, KIND_DELETE, *expectation, stream_id);
            }
            Self::Tombstone { stream_id, expectation } => {
                put_stream(&mut buf, KIND_TOMBSTONE, *expectation, stream_id);
            }
            Self::Truncate { stream_id, before_version, expectation } => {
                put_stream(&mut buf, KIND_TRUNCATE, *expectation, stream_id);
                put_varint(&mut buf, *before_version);
            }
            Self::Seal => buf.put_u8(KIND_SEAL),
            Self::Activate => buf.put_u8(KIND_ACTIVATE),
            Self::AllocateNodeId { volume_id } => {
                buf.put_u8(KIND_ALLOCATE_NODE_ID);
                put_prefixed(&mut buf, volume_id.as_bytes());
            }
            Self::Subscription(_) => unreachable!("encoded above"),
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
            KIND_APPEND => {
                Self::Append { appends: read_appends(bytes, &mut reader)?, condition: None }
            }
            KIND_APPEND_IF => {
                let condition = Some(AppendCondition::read(&mut reader)?);
                Self::Append { appends: read_appends(bytes, &mut reader)?, condition }
            }
            KIND_DELETE => {
                let (expectation, stream_id) = read_stream(&mut reader)?;
                Self::Delete { stream_id, expectation }
            }
            KIND_TOMBSTONE => {
                let (expectation, stream_id) = read_stream(&mut reader)?;
                Self::Tombstone { stream_id, expectation }
            }
            KIND_TRUNCATE => {
                let (expectation, stream_id) = read_stream(&mut reader)?;
                Self::Truncate { stream_id, before_version: reader.varint()?, expectation }
            }
            KIND_SEAL => Self::Seal,
            KIND_ACTIVATE => Self::Activate,
            KIND_ALLOCATE_NODE_ID => Self::AllocateNodeId { volume_id: reader.text()?.to_owned() },
            KIND_SUBSCRIPTION => Self::Subscription(
                SubscriptionCommand::read(&mut reader)?
                    .map_err(CorruptCommand::UnknownSubscriptionCommand)?,
            ),
            unknown => return Err(CorruptCommand::UnknownKind(unknown)),
        };
        reader.finish()?;
        Ok(command)
    }

    fn encoded_len(&self) -> usize {
        2 + match self {
            Self::Append { appends, condition } => {
                let append_len = |append: &StreamAppend| {
                    append.expectation.encoded_len() + prefixed_len(append.record.bytes().len())
                };
                condition.as_ref().map_or(0, AppendCondition::encoded_len)
                    + varint_len(appends.len() as u64)
                    + appends.iter().map(append_len).sum::<usize>()
            }
            Self::Delete { stream_id, expectation }
            | Self::Tombstone { stream_id, expectation } => {
                expectation.encoded_len() + prefixed_len(stream_id.len())
            }
            Self::Truncate { stream_id, before_version, expectation } => {
                expectation.encoded_len()
                    + prefixed_len(stream_id.len())
                    + varint_len(*before_version)
            }
            Self::Activate | Self::Seal | Self::Subscription(_) => 0,
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
        let expectation = Expectation::read(reader)?;
        let len = reader.prefixed()?.len();
        let record = bytes.slice(reader.at() - len..reader.at());
        appends.push(StreamAppend { expectation, record: RecordView::new(record)? });
    }
    Ok(appends)
}

fn put_stream(buf: &mut BytesMut, kind: u8, expectation: Expectation, stream_id: &str) {
    buf.put_u8(kind);
    expectation.put(buf);
    put_prefixed(buf, stream_id.as_bytes());
}

fn read_stream(reader: &mut Reader<'_>) -> Result<(Expectation, String), CorruptCommand> {
    let expectation = Expectation::read(reader)?;
    let stream_id = reader.text()?;
    if stream_id.is_empty() {
        return Err(CorruptCommand::NoStream);
    }
    Ok((expectation, stream_id.to_owned()))
}
