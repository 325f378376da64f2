//! The bytes of a log file: a header, then frames without gaps, then zeroes.
//!
//! A frame is 72 bytes of header and a body, filled up with zeroes to a multiple of 8:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic, mixed with the file's nonce |
//! | 4 | 4 | CRC-32C of the file's nonce and the rest of the frame's header |
//! | 8 | 8 | sequence: frames are numbered over all files, from 1 |
//! | 16 | 8 | durable: when this frame was made, all frames up to this sequence were on stable storage |
//! | 24 | 4 | bytes of the body, without the filling |
//! | 28 | 4 | CRC-32C of the body with the filling |
//! | 32 | 1 | kind |
//! | 33 | 1 | flags: 1 has a log id, 2 has a commit mark |
//! | 34 | 6 | zeroes |
//! | 40 | 16 | log id: of the entry, or up to where to cut or to purge (term, index) |
//! | 56 | 16 | commit mark (term, index) |
//!
//! The sequence, and not only the index of entries, says what is durable: so a damaged vote is told from a torn one
//! too, and a truncation, which takes indexes back, takes nothing back here. The nonce, which no other file has, and
//! the sequence together keep stale bytes from ever being read as frames.

use bytes::{Buf, BufMut};

use super::entry::log_id;
use super::files::FileNumber;
use crate::raft::types::{LogId, Vote};

/// The header of a file; less than a sector, so it is there or it is not.
pub const FILE_HEADER_BYTES: u64 = 512;
/// The header of a frame.
pub const FRAME_HEADER_BYTES: usize = 72;
/// The newest file format that is known here.
pub const FORMAT_VERSION: u32 = 1;

const FILE_MAGIC: &[u8; 8] = b"RECKONLG";
const FRAME_MAGIC: u32 = 0x4652_4d31;
/// Frames begin at multiples of this.
pub const ALIGNMENT: usize = 8;

const HAS_LOG_ID: u8 = 1;
const HAS_COMMITTED: u8 = 2;

const HAS_PREVIOUS: u8 = 1;
const HAS_PURGED: u8 = 2;
const HAS_VOTE: u8 = 4;
const VOTE_COMMITTED: u8 = 8;
const HAS_FILE_COMMITTED: u8 = 16;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The body is an encoded entry.
    Entry = 1,
    /// The body is a vote.
    Vote = 2,
    /// All entries after the log id, or all entries when there is none, are gone.
    Truncate = 3,
    /// All entries up to the log id are gone.
    Purge = 4,
    /// Nothing but what every frame carries: what is durable, and the commit mark.
    Mark = 5,
}

impl Kind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Entry,
            2 => Self::Vote,
            3 => Self::Truncate,
            4 => Self::Purge,
            5 => Self::Mark,
            _ => return None,
        })
    }
}

/// The header of a frame, without what only serves to check it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// The frame's number over all files.
    pub sequence: u64,
    /// The highest sequence that was on stable storage when this frame was made; 0: none.
    pub durable: u64,
    /// What the frame is for.
    pub kind: Kind,
    /// The place that the frame is about.
    pub log_id: Option<LogId>,
    /// The newest commit mark when this frame was made. It may be beyond the entries that are on disk.
    pub committed: Option<LogId>,
    /// Bytes of the body without the filling.
    pub body_bytes: u32,
    body_crc: u32,
}

impl FrameHeader {
    /// Reads a header, or nothing where no frame of this file begins, or a damaged one.
    pub fn read(mut bytes: &[u8], nonce: u64) -> Option<Self> {
        if bytes.len() < FRAME_HEADER_BYTES || (&bytes[..4]).get_u32_le() != magic(nonce) {
            return None;
        }
        if (&bytes[4..8]).get_u32_le() != header_crc(nonce, &bytes[8..FRAME_HEADER_BYTES]) {
            return None;
        }
        bytes.advance(8);
        let sequence = bytes.get_u64_le();
        let durable = bytes.get_u64_le();
        let body_bytes = bytes.get_u32_le();
        let body_crc = bytes.get_u32_le();
        let kind = Kind::from_byte(bytes.get_u8())?;
        let flags = bytes.get_u8();
        bytes.advance(6);
        let log_id = get_log_id(&mut bytes, flags & HAS_LOG_ID != 0);
        let committed = get_log_id(&mut bytes, flags & HAS_COMMITTED != 0);
        Some(Self { sequence, durable, kind, log_id, committed, body_bytes, body_crc })
    }

    /// Bytes of the body with the filling.
    pub const fn filled_bytes(&self) -> u64 {
        (self.body_bytes as u64).next_multiple_of(ALIGNMENT as u64)
    }

    /// Bytes from this frame's beginning to the next one's.
    pub const fn frame_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + self.filled_bytes()
    }

    /// Whether the body with its filling is what was written.
    pub fn matches(&self, filled_body: &[u8]) -> bool {
        crc32c::crc32c(filled_body) == self.body_crc
    }
}

/// What the writer says about a frame; the rest follows from the body.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// The frame's number over all files.
    pub sequence: u64,
    /// The highest sequence on stable storage.
    pub durable: u64,
    /// What the frame is for.
    pub kind: Kind,
    /// The place that the frame is about.
    pub log_id: Option<LogId>,
    /// The newest commit mark.
    pub committed: Option<LogId>,
}

/// Appends a frame whose body `write_body` writes.
pub fn write_frame(
    bytes: &mut Vec<u8>,
    nonce: u64,
    stamp: &Stamp,
    write_body: impl FnOnce(&mut Vec<u8>),
) {
    let start = bytes.len();
    bytes.resize(start + FRAME_HEADER_BYTES, 0);
    let body_start = bytes.len();
    write_body(bytes);
    let body_bytes = bytes.len() - body_start;
    bytes.resize(body_start + body_bytes.next_multiple_of(ALIGNMENT), 0);
    let body_crc = crc32c::crc32c(&bytes[body_start..]);

    let mut header = Vec::with_capacity(FRAME_HEADER_BYTES);
    header.put_u32_le(magic(nonce));
    header.put_u32_le(0);
    header.put_u64_le(stamp.sequence);
    header.put_u64_le(stamp.durable);
    header.put_u32_le(u32::try_from(body_bytes).expect("entries are checked against their limit"));
    header.put_u32_le(body_crc);
    header.put_u8(stamp.kind as u8);
    let mut flags = 0;
    flags |= if stamp.log_id.is_some() { HAS_LOG_ID } else { 0 };
    flags |= if stamp.committed.is_some() { HAS_COMMITTED } else { 0 };
    header.put_u8(flags);
    header.put_bytes(0, 6);
    put_log_id(&mut header, stamp.log_id);
    put_log_id(&mut header, stamp.committed);
    let crc = header_crc(nonce, &header[8..]);
    header[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes[start..body_start].copy_from_slice(&header);
}

/// How long a frame with a body of so many bytes is.
pub const fn frame_bytes(body_bytes: u64) -> u64 {
    FRAME_HEADER_BYTES as u64 + body_bytes.next_multiple_of(ALIGNMENT as u64)
}

/// Bytes of an encoded vote.
pub const VOTE_BYTES: u64 = 17;

/// Appends a vote.
pub fn write_vote(bytes: &mut Vec<u8>, vote: &Vote) {
    bytes.put_u64_le(vote.leader_id.term);
    bytes.put_u64_le(vote.leader_id.voted_for);
    bytes.put_u8(u8::from(vote.committed));
}

/// Reads what [`write_vote`] wrote.
pub fn read_vote(mut bytes: &[u8]) -> Option<Vote> {
    let term = bytes.try_get_u64_le().ok()?;
    let node_id = bytes.try_get_u64_le().ok()?;
    match bytes.try_get_u8().ok()? {
        0 => Some(Vote::new(term, node_id)),
        1 => Some(Vote::new_committed(term, node_id)),
        _ => None,
    }
}

/// The header of a file: where it continues, and what would be lost with the files before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHeader {
    /// The file's number, so that a file under another's name is noticed.
    pub number: FileNumber,
    /// Mixed into every frame of the file.
    pub nonce: u64,
    /// The sequence of the file's first frame. All frames before it are on stable storage.
    pub first_sequence: u64,
    /// The last log id before this file.
    pub previous: Option<LogId>,
    /// The purge mark: entries up to it are gone.
    pub purged: Option<LogId>,
    /// The last vote before this file.
    pub vote: Option<Vote>,
    /// The newest commit mark before this file.
    pub committed: Option<LogId>,
}

/// Why bytes are not a file header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// Not what was written, or never written.
    Damaged,
    /// Whole, but of a format that is not known here.
    Version(u32),
}

impl FileHeader {
    /// The header's bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FILE_HEADER_BYTES as usize);
        bytes.extend_from_slice(FILE_MAGIC);
        bytes.put_u32_le(FORMAT_VERSION);
        bytes.put_u32_le(self.number);
        bytes.put_u64_le(self.nonce);
        bytes.put_u64_le(self.first_sequence);
        let mut flags = 0;
        flags |= if self.previous.is_some() { HAS_PREVIOUS } else { 0 };
        flags |= if self.purged.is_some() { HAS_PURGED } else { 0 };
        flags |= if self.vote.is_some() { HAS_VOTE } else { 0 };
        flags |= if self.vote.is_some_and(|vote| vote.committed) { VOTE_COMMITTED } else { 0 };
        flags |= if self.committed.is_some() { HAS_FILE_COMMITTED } else { 0 };
        bytes.put_u64_le(u64::from(flags));
        put_log_id(&mut bytes, self.previous);
        put_log_id(&mut bytes, self.purged);
        let leader = self.vote.map(|vote| vote.leader_id);
        bytes.put_u64_le(leader.map_or(0, |leader| leader.term));
        bytes.put_u64_le(leader.map_or(0, |leader| leader.voted_for));
        put_log_id(&mut bytes, self.committed);
        bytes.resize(FILE_HEADER_BYTES as usize - 4, 0);
        let crc = crc32c::crc32c(&bytes);
        bytes.put_u32_le(crc);
        bytes
    }

    /// Reads [`FILE_HEADER_BYTES`] bytes.
    pub fn read(bytes: &[u8]) -> Result<Self, HeaderError> {
        let body_bytes = FILE_HEADER_BYTES as usize - 4;
        if bytes.len() != FILE_HEADER_BYTES as usize
            || &bytes[..8] != FILE_MAGIC
            || crc32c::crc32c(&bytes[..body_bytes]) != (&bytes[body_bytes..]).get_u32_le()
        {
            return Err(HeaderError::Damaged);
        }
        let mut bytes = &bytes[8..body_bytes];
        let version = bytes.get_u32_le();
        if version != FORMAT_VERSION {
            return Err(HeaderError::Version(version));
        }
        let number = bytes.get_u32_le();
        let nonce = bytes.get_u64_le();
        let first_sequence = bytes.get_u64_le();
        let flags = u8::try_from(bytes.get_u64_le()).map_err(|_| HeaderError::Damaged)?;
        let previous = get_log_id(&mut bytes, flags & HAS_PREVIOUS != 0);
        let purged = get_log_id(&mut bytes, flags & HAS_PURGED != 0);
        let (term, node_id) = (bytes.get_u64_le(), bytes.get_u64_le());
        let vote = (flags & HAS_VOTE != 0).then(|| {
            if flags & VOTE_COMMITTED == 0 {
                Vote::new(term, node_id)
            } else {
                Vote::new_committed(term, node_id)
            }
        });
        let committed = get_log_id(&mut bytes, flags & HAS_FILE_COMMITTED != 0);
        Ok(Self { number, nonce, first_sequence, previous, purged, vote, committed })
    }
}

/// The lower half of the nonce is enough to tell files apart at a glance; the checksum holds all of it.
const fn magic(nonce: u64) -> u32 {
    FRAME_MAGIC ^ nonce as u32
}

fn header_crc(nonce: u64, checked: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&nonce.to_le_bytes()), checked)
}

fn put_log_id(bytes: &mut Vec<u8>, log_id: Option<LogId>) {
    bytes.put_u64_le(log_id.map_or(0, |log_id| log_id.committed_leader_id().term));
    bytes.put_u64_le(log_id.map_or(0, |log_id| log_id.index));
}

fn get_log_id(bytes: &mut &[u8], present: bool) -> Option<LogId> {
    let (term, index) = (bytes.get_u64_le(), bytes.get_u64_le());
    present.then(|| log_id(term, index))
}
