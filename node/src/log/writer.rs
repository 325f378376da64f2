//! The writer: takes a group of operations, writes their frames, syncs once, reports once.
//!
//! It is synchronous and owns the end of the newest file. A thread drives it in production, a task in simulation;
//! it knows neither. It also knows nothing of who waits: it completes what it was given, after the sync and never
//! before. After the first failure it only fails.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use openraft::storage::IOFlushed;

use super::entry::{encode_into, encoded_bytes};
use super::files::{Disk, FileNumber};
use super::frame::{
    FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, Kind, Stamp, VOTE_BYTES, frame_bytes,
    write_frame, write_vote,
};
use super::index::Location;
use super::queue::Op;
use super::state::{OpenFile, Shared};
use super::{FILE_BYTES_MIN, FsyncObserver};
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};

/// A group larger than this is written in parts, still with one sync, so that the buffer stays small.
const WRITE_BYTES_MAX: usize = 4 << 20;
/// Every file keeps room for the mark of a clean end, which must not need a new file.
const MARK_BYTES: u64 = FRAME_HEADER_BYTES as u64;

/// Where the log goes on, as recovery found it.
#[derive(Debug)]
pub struct Tail {
    pub file: OpenFile,
    /// Where the next frame goes.
    pub offset: u64,
    /// The sequence of the next frame; all before it are on stable storage.
    pub next_sequence: u64,
    /// The last log id, the purge mark and the vote of the frames so far.
    pub last: Option<LogId>,
    pub purged: Option<LogId>,
    pub vote: Option<Vote>,
}

/// The one that writes.
pub struct Writer {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    file_bytes: u64,
    on_fsync: FsyncObserver,
    /// As on disk and in the buffer.
    tail: Tail,
    /// Frames that begin at `tail.offset` of the file and are not yet written.
    buffer: Vec<u8>,
    /// Written since the last sync.
    dirty: bool,
    /// The highest sequence on stable storage.
    durable: u64,
    /// The commit mark for the frames of this group.
    committed: Option<LogId>,
    /// Where the entries of this group are.
    located: Vec<(LogId, Location)>,
}

impl Writer {
    pub fn new(
        disk: Arc<dyn Disk>,
        shared: Arc<Shared>,
        file_bytes: u64,
        on_fsync: FsyncObserver,
        tail: Tail,
    ) -> Self {
        Self {
            disk,
            shared,
            file_bytes: file_bytes.max(FILE_BYTES_MIN),
            on_fsync,
            durable: tail.next_sequence - 1,
            tail,
            buffer: Vec::new(),
            dirty: false,
            committed: None,
            located: Vec::new(),
        }
    }

    /// Makes a group durable, in order, and completes it. An error is final: the group and everything after it fails.
    pub fn run(&mut self, group: Vec<Op>) -> io::Result<()> {
        let result = self.write_group(&group);
        if let Err(error) = &result {
            self.shared.lock().fail(error);
        }
        complete(group, &result);
        result
    }

    /// Ends the log cleanly: with a mark that everything is durable, so that later damage to the last group is told
    /// from a torn write, and that carries the newest commit mark.
    pub fn close(&mut self) {
        if self.end() + MARK_BYTES > self.tail.file.bytes || self.shared.lock().check().is_err() {
            return;
        }
        self.committed = self.shared.lock().committed;
        self.push_frame(Kind::Mark, None, |_| ());
        if let Err(error) = self.flush().and_then(|()| self.sync()) {
            // Everything that was reported is durable without the mark.
            tracing::warn!(%error, file = %self.tail.file.name, "the log could not be marked as closed");
        }
    }

    fn write_group(&mut self, group: &[Op]) -> io::Result<()> {
        {
            let state = self.shared.lock();
            state.check()?;
            self.committed = state.committed;
        }
        self.located.clear();
        for op in group {
            match op {
                Op::Append { entries, .. } => {
                    for entry in entries {
                        self.put_entry(entry)?;
                    }
                }
                Op::Vote { vote, .. } => {
                    self.put(Kind::Vote, None, VOTE_BYTES, |bytes| write_vote(bytes, vote))?;
                    self.tail.vote = Some(*vote);
                }
                Op::Truncate { after, .. } => {
                    self.put(Kind::Truncate, *after, 0, |_| ())?;
                    self.tail.last = *after;
                }
                Op::Purge { upto, .. } => self.put_purge(*upto)?,
            }
        }
        self.flush()?;
        self.sync()?;

        let mut state = self.shared.lock();
        state.vote = self.tail.vote;
        state.locate(self.located.drain(..));
        drop(state);
        if group.iter().any(|op| matches!(op, Op::Purge { .. })) {
            self.remove_purged_files()?;
        }
        Ok(())
    }

    fn put_entry(&mut self, entry: &Entry) -> io::Result<()> {
        let offset = self.put(Kind::Entry, Some(entry.log_id), encoded_bytes(entry), |bytes| {
            encode_into(entry, bytes);
        })?;
        self.located.push((entry.log_id, Location { file: self.tail.file.number, offset }));
        self.tail.last = Some(entry.log_id);
        Ok(())
    }

    /// When nothing remains, a new file whose header has the mark takes the place of all others; otherwise the mark
    /// is a frame, and the header of every later file repeats it.
    fn put_purge(&mut self, upto: LogId) -> io::Result<()> {
        #[cfg(feature = "planted-bugs")]
        if crate::planted::has(crate::planted::Planted::PurgeMarkLost) {
            return Ok(());
        }
        if self.tail.last.is_some_and(|last| last.index > upto.index) {
            // Known only once it is written: a file that begins with this frame must not have it in its header.
            self.put(Kind::Purge, Some(upto), 0, |_| ())?;
            self.tail.purged = Some(upto);
        } else {
            self.tail.purged = Some(upto);
            self.tail.last = Some(upto);
            self.roll(0)?;
            // With a frame in it, a damaged header of this file can never pass for a file that was just being made.
            self.put(Kind::Mark, None, 0, |_| ())?;
        }
        Ok(())
    }

    /// Puts a frame into the buffer, after rolling when it does not fit; returns its offset in the file.
    fn put(
        &mut self,
        kind: Kind,
        log_id: Option<LogId>,
        body_bytes: u64,
        write_body: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<u64> {
        let needed = frame_bytes(body_bytes);
        if self.end() + needed + MARK_BYTES > self.tail.file.bytes {
            self.roll(needed)?;
        }
        let offset = self.end();
        self.push_frame(kind, log_id, write_body);
        if self.buffer.len() > WRITE_BYTES_MAX {
            self.flush()?;
        }
        Ok(offset)
    }

    fn push_frame(
        &mut self,
        kind: Kind,
        log_id: Option<LogId>,
        write_body: impl FnOnce(&mut Vec<u8>),
    ) {
        let stamp = Stamp {
            sequence: self.tail.next_sequence,
            durable: self.durable,
            kind,
            log_id,
            committed: self.committed,
        };
        write_frame(&mut self.buffer, self.tail.file.nonce, &stamp, write_body);
        self.tail.next_sequence += 1;
    }

    /// Where the next frame goes, in bytes from the beginning of the file.
    fn end(&self) -> u64 {
        self.tail.offset + self.buffer.len() as u64
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.dirty = true;
            self.tail.file.file.write_at(self.tail.offset, &self.buffer)?;
            self.tail.offset = self.end();
            self.buffer.clear();
            self.buffer.shrink_to(WRITE_BYTES_MAX);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.dirty {
            let started = Instant::now();
            self.tail.file.file.sync_data()?;
            (self.on_fsync)(started.elapsed());
            self.dirty = false;
            self.durable = self.tail.next_sequence - 1;
        }
        Ok(())
    }

    /// Goes on in a new file with room for a frame of `needed` bytes. The old one is durable before the new one
    /// exists: so a file with a successor has no torn end.
    fn roll(&mut self, needed: u64) -> io::Result<()> {
        self.flush()?;
        self.sync()?;
        let header = FileHeader {
            number: self.tail.file.number + 1,
            nonce: self.disk.nonce(),
            first_sequence: self.tail.next_sequence,
            previous: self.tail.last,
            purged: self.tail.purged,
            vote: self.tail.vote,
            committed: self.committed,
        };
        let bytes = self.file_bytes.max(FILE_HEADER_BYTES + needed + MARK_BYTES);
        self.tail.file = create_file(&*self.disk, bytes, &header)?;
        self.tail.offset = FILE_HEADER_BYTES;
        self.shared.lock().files.insert(header.number, self.tail.file.clone());
        Ok(())
    }

    /// Removes the files before the one that has the first entry. In order, each durably, so that a crash never
    /// leaves a gap between files.
    fn remove_purged_files(&self) -> io::Result<()> {
        let state = self.shared.lock();
        // The first entry, when it is not yet written, will be in the newest file or after it.
        let first = state.index.location(state.index.first()).map(|location| location.file);
        let keep_from = first.unwrap_or(self.tail.file.number);
        let purged: Vec<FileNumber> =
            state.files.range(..keep_from).map(|(number, _)| *number).collect();
        drop(state);
        for number in purged {
            self.disk.remove(number)?;
            self.disk.sync()?;
            self.shared.lock().files.remove(&number);
        }
        Ok(())
    }
}

/// Makes a file with its header, durably.
pub fn create_file(disk: &dyn Disk, bytes: u64, header: &FileHeader) -> io::Result<OpenFile> {
    let file = disk.create(header.number, bytes)?;
    file.write_at(0, &header.write())?;
    file.sync_data()?;
    disk.sync()?;
    let name = disk.name(header.number).into();
    Ok(OpenFile { number: header.number, nonce: header.nonce, bytes, name, file })
}

/// Reports the result of a group. Of openraft's callbacks only the newest is completed, for each stands for all
/// before it, and openraft's forwarder sleeps between two that follow each other closely.
fn complete(group: Vec<Op>, result: &io::Result<()>) {
    let result = || match result {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    };
    let mut newest: IOFlushed<TypeConfig> = IOFlushed::noop();
    for op in group {
        match op {
            Op::Append { done: notify @ IOFlushed::Notify(_), .. } => newest = notify,
            Op::Append { done, .. } => done.io_completed(result()),
            Op::Vote { done, .. } | Op::Truncate { done, .. } | Op::Purge { done, .. } => {
                // Nobody waits any more: the caller was dropped, and the operation stands all the same.
                let _ = done.send(result());
            }
        }
    }
    newest.io_completed(result());
}
