//! The bytes of a log entry, the same on disk and between peers.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | kind: 1 blank, 2 group, 3 membership |
//! | 8 | term |
//! | 8 | index |
//! | rest | group: the proposer's bytes, untouched; membership: see below; blank: nothing |
//!
//! A membership is a count of configurations, each a count and the ids of its voters; then a count of nodes, each an
//! id and four texts: name, peer address, client address, volume id. Numbers are little-endian, counts and lengths
//! have 32 bits. The carrier of an entry (a frame, a message) has the checksum.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, TryGetError};
use openraft::type_config::alias::CommittedLeaderIdOf;

use crate::raft::types::{Entry, Group, LogId, Membership, Payload, PeerNode, TypeConfig};

const VERSION: u8 = 1;
const KIND_BLANK: u8 = 1;
const KIND_GROUP: u8 = 2;
const KIND_MEMBERSHIP: u8 = 3;
/// Version, kind, term and index.
const PREFIX_BYTES: usize = 18;

/// Why bytes are not an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes end before the entry does.
    #[error("the entry ends too early")]
    Truncated,
    /// The bytes go on after the entry.
    #[error("{0} bytes follow the entry")]
    Trailing(usize),
    /// Written by a version that is not known here.
    #[error("version {0} of an entry is not known")]
    Version(u8),
    /// A kind that is not known here.
    #[error("kind {0} of an entry is not known")]
    Kind(u8),
    /// A text that is not UTF-8.
    #[error("a text of a membership is not UTF-8")]
    Text,
    /// A membership that contradicts itself.
    #[error("the membership is not valid: {0}")]
    Membership(String),
}

impl EntryError {
    /// The same bytes never become an entry.
    pub const fn retryable(&self) -> bool {
        false
    }
}

impl From<TryGetError> for EntryError {
    fn from(_: TryGetError) -> Self {
        Self::Truncated
    }
}

/// The log id of a term and an index: with one leader per term they name an entry.
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderIdOf::<TypeConfig>::from(term), index)
}

/// The entry as bytes. A group's bytes are copied once; everything else is small.
pub fn encode(entry: &Entry) -> Bytes {
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + group_bytes(entry));
    encode_into(entry, &mut bytes);
    bytes.into()
}

/// Appends what [`encode`] gives to `bytes`.
pub fn encode_into(entry: &Entry, bytes: &mut Vec<u8>) {
    bytes.reserve(PREFIX_BYTES + group_bytes(entry));
    bytes.put_u8(VERSION);
    bytes.put_u8(match &entry.payload {
        Payload::Blank => KIND_BLANK,
        Payload::Normal(_) => KIND_GROUP,
        Payload::Membership(_) => KIND_MEMBERSHIP,
    });
    bytes.put_u64_le(entry.log_id.committed_leader_id().term);
    bytes.put_u64_le(entry.log_id.index);
    match &entry.payload {
        Payload::Blank => {}
        Payload::Normal(Group(group)) => bytes.extend_from_slice(group),
        Payload::Membership(membership) => put_membership(bytes, membership),
    }
}

/// How long [`encode`] makes the entry, in bytes.
pub fn encoded_bytes(entry: &Entry) -> u64 {
    let body = match &entry.payload {
        Payload::Blank => 0,
        Payload::Normal(Group(group)) => group.len(),
        Payload::Membership(membership) => {
            let mut bytes = Vec::new();
            put_membership(&mut bytes, membership);
            bytes.len()
        }
    };
    (PREFIX_BYTES + body) as u64
}

/// The entry that the bytes are; a group's bytes are shared, not copied.
pub fn decode(mut bytes: Bytes) -> Result<Entry, EntryError> {
    let version = bytes.try_get_u8()?;
    if version != VERSION {
        return Err(EntryError::Version(version));
    }
    let kind = bytes.try_get_u8()?;
    let log_id = log_id(bytes.try_get_u64_le()?, bytes.try_get_u64_le()?);
    let payload = match kind {
        KIND_BLANK => Payload::Blank,
        KIND_GROUP => return Ok(Entry { log_id, payload: Payload::Normal(Group(bytes)) }),
        KIND_MEMBERSHIP => Payload::Membership(get_membership(&mut bytes)?),
        _ => return Err(EntryError::Kind(kind)),
    };
    match bytes.len() {
        0 => Ok(Entry { log_id, payload }),
        trailing => Err(EntryError::Trailing(trailing)),
    }
}

fn group_bytes(entry: &Entry) -> usize {
    if let Payload::Normal(Group(group)) = &entry.payload { group.len() } else { 0 }
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.put_u32_le(u32::try_from(count).expect("a membership has a handful of members"));
}

fn put_membership(bytes: &mut Vec<u8>, membership: &Membership) {
    put_count(bytes, membership.get_joint_config().len());
    for config in membership.get_joint_config() {
        put_count(bytes, config.len());
        for id in config {
            bytes.put_u64_le(*id);
        }
    }
    put_count(bytes, membership.nodes().count());
    for (id, node) in membership.nodes() {
        bytes.put_u64_le(*id);
        for text in [&node.name, &node.peer_address, &node.client_address, &node.volume_id] {
            put_count(bytes, text.len());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
}

fn get_membership(bytes: &mut Bytes) -> Result<Membership, EntryError> {
    // A damaged count fails at the first read past the end: nothing is reserved for it beforehand.
    let mut configs = Vec::new();
    for _ in 0..bytes.try_get_u32_le()? {
        let mut config = BTreeSet::new();
        for _ in 0..bytes.try_get_u32_le()? {
            config.insert(bytes.try_get_u64_le()?);
        }
        configs.push(config);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..bytes.try_get_u32_le()? {
        let id = bytes.try_get_u64_le()?;
        let node = PeerNode {
            name: get_text(bytes)?,
            peer_address: get_text(bytes)?,
            client_address: get_text(bytes)?,
            volume_id: get_text(bytes)?,
        };
        nodes.insert(id, node);
    }
    Membership::new(configs, nodes).map_err(|error| EntryError::Membership(error.to_string()))
}

fn get_text(bytes: &mut Bytes) -> Result<String, EntryError> {
    let length = bytes.try_get_u32_le()? as usize;
    if bytes.len() < length {
        return Err(EntryError::Truncated);
    }
    String::from_utf8(bytes.split_to(length).into()).map_err(|_| EntryError::Text)
}
