//! Reading the log: for replication, for apply, and at start.
//!
//! A read is planned under the lock and done without it: entries come from the cache, and those behind it from the
//! files, in pieces, on a thread that may block. What is removed meanwhile stays readable through the open file.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use futures::stream;
use openraft::RaftLogReader;

use super::frame::{FRAME_HEADER_BYTES, FrameHeader, Kind, frame_bytes};
use super::state::{OpenFile, Shared, State};
use super::{READ_BYTES_MAX, entry};
use crate::offload::Offload;
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};

/// How many bytes of a file are read at once, unless one entry is larger.
const SPAN_BYTES_MAX: u64 = 1 << 20;

/// Reads the log; cheap to make and to clone. It does not keep the log open.
#[derive(Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
    offload: Offload,
}

impl LogReader {
    pub(super) const fn new(shared: Arc<Shared>, offload: Offload) -> Self {
        Self { shared, offload }
    }

    /// The entries of `[start, end)` that the log has, from the first on as many as `bytes_max` allows, but one at
    /// least.
    async fn read(&self, start: u64, end: u64, bytes_max: u64) -> io::Result<Vec<Entry>> {
        let plan = {
            let state = self.shared.lock();
            state.check()?;
            plan(&state, start, end, bytes_max)?
        };
        if plan.spans.is_empty() {
            return Ok(plan.cached);
        }
        if tokio::runtime::Handle::try_current().is_err() {
            return plan.read();
        }
        self.offload.run(move || plan.read()).await
    }
}

impl fmt::Debug for LogReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogReader").finish_non_exhaustive()
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + fmt::Debug + Send,
    {
        let (start, end) = bounds(&range);
        self.read(start, end, u64::MAX).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        let state = self.shared.lock();
        state.check()?;
        Ok(state.vote)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let mut entries = self.read(start, end, READ_BYTES_MAX).await?;
        // Where the beginning is purged, nothing can be replicated: later entries would leave a hole.
        if entries.first().is_some_and(|first| first.log_id.index != start) {
            entries.clear();
        }
        Ok(entries)
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + Send + use<'_, RB>
    where
        RB: RangeBounds<u64> + Clone + fmt::Debug + Send,
    {
        let (start, end) = bounds(&range);
        let cursor =
            Cursor { reader: self.clone(), next: start, end, begun: false, read: VecDeque::new() };
        Box::pin(stream::try_unfold(cursor, Cursor::advance))
    }
}

/// A stream's place in the log. It holds one piece of entries, not the range.
struct Cursor {
    reader: LogReader,
    next: u64,
    end: u64,
    begun: bool,
    read: VecDeque<Entry>,
}

impl Cursor {
    async fn advance(mut self) -> io::Result<Option<(Entry, Self)>> {
        if self.read.is_empty() && self.next < self.end {
            self.read = self.reader.read(self.next, self.end, READ_BYTES_MAX).await?.into();
        }
        let Some(entry) = self.read.pop_front() else { return Ok(None) };
        if self.begun && entry.log_id.index != self.next {
            return Err(io::Error::other(format!(
                "entry {} was purged while it was being read",
                self.next
            )));
        }
        self.begun = true;
        self.next = entry.log_id.index + 1;
        Ok(Some((entry, self)))
    }
}

/// What a read has to fetch, and what it already has.
struct Plan {
    /// First these, in order.
    spans: Vec<Span>,
    /// Then these.
    cached: Vec<Entry>,
}

/// Neighbouring frames of one file.
struct Span {
    file: OpenFile,
    start: u64,
    end: u64,
    frames: Vec<(LogId, u64)>,
}

fn plan(state: &State, start: u64, end: u64, bytes_max: u64) -> io::Result<Plan> {
    let mut plan = Plan { spans: Vec::new(), cached: Vec::new() };
    let mut bytes = 0;
    let start = start.max(state.index.first());
    for index in start..end.min(state.index.next()) {
        let entry_bytes = state.index.bytes(index).unwrap_or_default();
        bytes += entry_bytes;
        if bytes > bytes_max && index > start {
            break;
        }
        if let Some(entry) = state.cache.get(index) {
            plan.cached.push(entry.clone());
            continue;
        }
        let missing =
            || io::Error::other(format!("entry {index} is neither in the cache nor in a file"));
        let location = state.index.location(index).ok_or_else(missing)?;
        let log_id = state.index.log_id(index).ok_or_else(missing)?;
        let frame = (log_id, location.offset);
        let frame_end = location.offset + frame_bytes(entry_bytes);
        match plan.spans.last_mut() {
            Some(span)
                if span.file.number == location.file
                    && frame_end - span.start <= SPAN_BYTES_MAX =>
            {
                span.end = frame_end;
                span.frames.push(frame);
            }
            _ => {
                let file = state.files.get(&location.file).ok_or_else(missing)?.clone();
                plan.spans.push(Span {
                    file,
                    start: location.offset,
                    end: frame_end,
                    frames: vec![frame],
                });
            }
        }
    }
    Ok(plan)
}

impl Plan {
    fn read(mut self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for span in &self.spans {
            span.read(&mut entries)?;
        }
        entries.append(&mut self.cached);
        Ok(entries)
    }
}

impl Span {
    fn read(&self, entries: &mut Vec<Entry>) -> io::Result<()> {
        let mut bytes = vec![0; (self.end - self.start) as usize];
        self.file.file.read_at(self.start, &mut bytes)?;
        let bytes = Bytes::from(bytes);
        for (log_id, offset) in &self.frames {
            let frame = bytes.slice((offset - self.start) as usize..);
            let entry = decode(&frame, self.file.nonce, *log_id);
            entries.push(entry.ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "the log is damaged: {} at byte {offset}: entry {log_id}",
                        self.file.name
                    ),
                )
            })?);
        }
        Ok(())
    }
}

/// The entry of a frame, if it is whole and the expected one.
fn decode(frame: &Bytes, nonce: u64, log_id: LogId) -> Option<Entry> {
    let header = FrameHeader::read(frame, nonce)?;
    let body = FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.body_bytes as usize;
    let filled = frame.get(FRAME_HEADER_BYTES..header.frame_bytes() as usize)?;
    if header.kind != Kind::Entry || header.log_id != Some(log_id) || !header.matches(filled) {
        return None;
    }
    entry::decode(frame.slice(body)).ok().filter(|entry| entry.log_id == log_id)
}

/// A range as `[start, end)`.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}
