//! A checkpoint: which files make up the sealed state, and what belongs to it besides files.
//!
//! It is a row of the catalogue, and the manifest by which replicas compare what they have.

use std::ops::{Range, RangeInclusive};

use bytes::{Buf as _, BufMut as _, Bytes};

use super::names;
use crate::event::Malformed;
use crate::event::codec::{Reader, put_prefixed, put_varint};

const FORMAT_VERSION: u8 = 1;

/// A place in Raft's log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// The term of the entry.
    pub term: u64,
    /// The index of the entry.
    pub index: u64,
}

/// A file that never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMeta {
    /// Its path in the volume. It ends with the first bytes of the digest, so a name never means two contents.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    pub digest: [u8; 32],
}

/// A records file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordsMeta {
    /// The file.
    pub file: FileMeta,
    /// From the first record's first position to the end of the last.
    pub positions: Range<u64>,
    /// The times of the first and of the last record, microseconds since 1970 UTC.
    pub epochs_us: RangeInclusive<u64>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMeta {
    /// The file.
    pub file: FileMeta,
    /// How often its keys were merged: 0 for a seal's own.
    pub level: u32,
    /// The seals whose keys it holds.
    pub seals: RangeInclusive<u64>,
    /// The positions that it indexes.
    pub positions: Range<u64>,
}

/// The sealed state of a store after one seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The number of the last seal, from 1.
    pub seal: u64,
    /// Every position below it is sealed.
    pub end_position: u64,
    /// The last log entry whose effect is part of the state.
    pub applied: LogPosition,
    /// The membership in force then, encoded by Raft's side.
    pub membership: Bytes,
    /// The engine's small state.
    pub state: Bytes,
    /// What the engine keeps besides, which may differ between replicas and is not part of the digest.
    pub local_state: Bytes,
    /// SHA-256 over the digest before, the seal's records as they were decoded, and the state: equal on all replicas,
    /// however their files are cut.
    pub digest: [u8; 32],
    /// The records files, ascending by positions.
    pub records: Vec<RecordsMeta>,
    /// The runs, ascending by positions, without gaps.
    pub runs: Vec<RunMeta>,
}

/// Why bytes are not a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorruptCheckpoint {
    #[error("the checkpoint has format version {0}, this build knows {FORMAT_VERSION}")]
    UnknownVersion(u8),
    #[error("the checkpoint does not match its checksum")]
    Checksum,
    #[error("the checkpoint is malformed: {0}")]
    Malformed(#[from] Malformed),
    #[error("the checkpoint names a file `{0}`, which is no name of one")]
    Name(String),
    #[error("the checkpoint's files do not follow each other")]
    OutOfOrder,
}

impl CorruptCheckpoint {
    /// Never: the same bytes stay corrupt.
    pub const fn retryable(&self) -> bool {
        false
    }
}

impl Checkpoint {
    /// All files of the state.
    pub fn files(&self) -> impl Iterator<Item = &FileMeta> {
        let records = self.records.iter().map(|records| &records.file);
        records.chain(self.runs.iter().map(|run| &run.file))
    }

    /// Bytes of all files.
    pub fn file_bytes(&self) -> u64 {
        self.files().map(|file| file.bytes).sum()
    }

    /// The checkpoint as bytes, with a version and a checksum.
    pub fn encode(&self) -> Bytes {
        let mut buf = vec![FORMAT_VERSION];
        for number in [self.seal, self.end_position, self.applied.term, self.applied.index] {
            put_varint(&mut buf, number);
        }
        for bytes in [&self.membership, &self.state, &self.local_state] {
            put_prefixed(&mut buf, bytes);
        }
        buf.put_slice(&self.digest);
        put_varint(&mut buf, self.records.len() as u64);
        for records in &self.records {
            put_file(&mut buf, &records.file);
            put_range(&mut buf, &records.positions);
            put_varint(&mut buf, *records.epochs_us.start());
            put_varint(&mut buf, *records.epochs_us.end());
        }
        put_varint(&mut buf, self.runs.len() as u64);
        for run in &self.runs {
            put_file(&mut buf, &run.file);
            put_varint(&mut buf, u64::from(run.level));
            put_varint(&mut buf, *run.seals.start());
            put_varint(&mut buf, *run.seals.end());
            put_range(&mut buf, &run.positions);
        }
        let crc = crc32c::crc32c(&buf);
        buf.put_u32_le(crc);
        buf.into()
    }

    /// Reads a checkpoint, also one that a peer sent: what it names are names of files and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, CorruptCheckpoint> {
        let (body, mut crc) = bytes.split_at(bytes.len().checked_sub(4).ok_or(Malformed::Short)?);
        if crc32c::crc32c(body) != crc.get_u32_le() {
            return Err(CorruptCheckpoint::Checksum);
        }
        let mut reader = Reader::new(body);
        match reader.u8()? {
            FORMAT_VERSION => {}
            unknown => return Err(CorruptCheckpoint::UnknownVersion(unknown)),
        }
        let (seal, end_position) = (reader.varint()?, reader.varint()?);
        let applied = LogPosition { term: reader.varint()?, index: reader.varint()? };
        let mut bytes = || reader.prefixed().map(Bytes::copy_from_slice);
        let (membership, state, local_state) = (bytes()?, bytes()?, bytes()?);
        let digest = reader.array()?;
        let mut records = Vec::new();
        for _ in 0..reader.varint()? {
            records.push(RecordsMeta {
                file: read_file(&mut reader, names::RECORDS_FOLDER)?,
                positions: reader.varint()?..reader.varint()?,
                epochs_us: reader.varint()?..=reader.varint()?,
            });
        }
        let mut runs = Vec::new();
        for _ in 0..reader.varint()? {
            runs.push(RunMeta {
                file: read_file(&mut reader, names::RUNS_FOLDER)?,
                level: reader.varint_u32()?,
                seals: reader.varint()?..=reader.varint()?,
                positions: reader.varint()?..reader.varint()?,
            });
        }
        reader.finish()?;
        let checkpoint = Self {
            seal,
            end_position,
            applied,
            membership,
            state,
            local_state,
            digest,
            records,
            runs,
        };
        if checkpoint.is_in_order() { Ok(checkpoint) } else { Err(CorruptCheckpoint::OutOfOrder) }
    }

    /// Runs cover the sealed positions without a gap, and every records file lies within one run's.
    fn is_in_order(&self) -> bool {
        let mut position = 0;
        let mut seal = 0;
        for run in &self.runs {
            if run.positions.start != position
                || run.positions.is_empty()
                || *run.seals.start() <= seal
                || run.seals.is_empty()
            {
                return false;
            }
            position = run.positions.end;
            seal = *run.seals.end();
        }
        if position != self.end_position || seal > self.seal {
            return false;
        }
        let mut runs = self.runs.iter().peekable();
        let mut position = 0;
        self.records.iter().all(|records| {
            while runs.next_if(|run| run.positions.end <= records.positions.start).is_some() {}
            let ordered = records.positions.start >= position && !records.positions.is_empty();
            position = records.positions.end;
            ordered && runs.peek().is_some_and(|run| records.positions.end <= run.positions.end)
        })
    }
}

fn put_file(buf: &mut Vec<u8>, file: &FileMeta) {
    put_prefixed(buf, file.name.as_bytes());
    put_varint(buf, file.bytes);
    buf.put_slice(&file.digest);
}

fn put_range(buf: &mut Vec<u8>, range: &Range<u64>) {
    put_varint(buf, range.start);
    put_varint(buf, range.end);
}

fn read_file(reader: &mut Reader<'_>, folder: &str) -> Result<FileMeta, CorruptCheckpoint> {
    let name = reader.text()?.to_owned();
    if !names::is_file_of(folder, &name) {
        return Err(CorruptCheckpoint::Name(name));
    }
    Ok(FileMeta { name, bytes: reader.varint()?, digest: reader.array()? })
}
