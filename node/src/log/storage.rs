//! The log as openraft sees it.
//!
//! Everything is decided and ordered here under one short lock; the writer makes it durable later, in the same order.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use futures::channel::oneshot;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use parking_lot::Mutex;

use super::files::Disk;
use super::queue::{self, Done, Op, Queue};
use super::reader::LogReader;
use super::recovery::recover;
use super::state::{Shared, State};
use super::writer::Writer;
use super::{FILE_BYTES_MIN, OpenError, Options};
use crate::offload::Offload;
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};

/// A handle on the open log; cheap to clone. The log closes with [`LogStore::shutdown`] or with the last handle.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
    inner: Arc<Inner>,
}

struct Inner {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
    offload: Offload,
}

impl LogStore {
    /// Opens the log on its disk, or makes one, and starts the writer. Blocks while it reads every file.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Self, OpenError> {
        let offload = options.offload.clone();
        let (store, driver) = Self::open_driven(disk, options)?;
        if offload.is_in_place() {
            tokio::spawn(driver.run_as_task(offload));
            return Ok(store);
        }
        let thread = thread::Builder::new().name("log".to_owned()).spawn(move || driver.run());
        *store.inner.thread.lock() =
            Some(thread.map_err(OpenError::io("starting the log's thread"))?);
        Ok(store)
    }

    /// Opens the log without a writer's thread: nothing reaches the disk unless the caller runs the driver.
    pub fn open_driven(disk: Arc<dyn Disk>, options: Options) -> Result<(Self, Driver), OpenError> {
        let file_bytes = options.file_bytes.max(FILE_BYTES_MIN);
        let mut state = State::new(options.cache_bytes);
        let tail = recover(&*disk, file_bytes, options.must_exist, &mut state)?;
        let shared = Arc::new(Mutex::new(state));
        let queue = Arc::new(Queue::default());
        let writer = Writer::new(disk, Arc::clone(&shared), file_bytes, options.on_fsync, tail);
        let driver = Driver { writer, queue: Arc::clone(&queue) };
        let inner = Inner { queue, thread: Mutex::new(None), offload: options.offload };
        Ok((Self { shared, inner: Arc::new(inner) }, driver))
    }

    /// The last entry, or the purge mark when there is none.
    pub fn last_log_id(&self) -> Option<LogId> {
        self.shared.lock().last_log_id()
    }

    /// Bytes that the files take, preallocated space included.
    pub fn bytes_on_disk(&self) -> u64 {
        self.shared.lock().files.values().map(|file| file.bytes).sum()
    }

    /// Encoded bytes of the entries after `index`, or of all entries: how far somebody lags who has those up to it.
    pub fn bytes_behind(&self, index: impl Into<Option<u64>>) -> u64 {
        self.shared.lock().index.bytes_after(index.into())
    }

    /// The last index that can go when the newest entries of `retain_bytes` are to stay.
    pub fn purgeable(&self, retain_bytes: u64) -> Option<u64> {
        self.shared.lock().index.last_before(retain_bytes)
    }

    /// Encoded bytes of the entries that are in memory.
    pub fn cached_bytes(&self) -> u64 {
        self.shared.lock().cache.bytes()
    }

    /// Tells the cache that entries up to `index` are applied. From the first call on, it keeps all that is not.
    pub fn set_applied(&self, index: u64) {
        self.shared.lock().set_applied(index);
    }

    /// Writes what waits and closes the log; blocks until that is done. A second call does nothing.
    pub fn shutdown(&self) {
        self.inner.shutdown();
    }

    /// Queues what `prepare` makes, after its changes to the state, and waits until it is durable. `None` from
    /// `prepare`: there is nothing to do.
    async fn durably(
        &self,
        prepare: impl FnOnce(&mut State, Done) -> Option<Op> + Send,
    ) -> io::Result<()> {
        let (done, durable) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            state.check()?;
            let Some(op) = prepare(&mut state, done) else { return Ok(()) };
            self.inner.queue.push(op)?;
        }
        durable.await.unwrap_or_else(|_| Err(queue::closed()))
    }
}

impl Inner {
    fn shutdown(&self) {
        self.queue.close();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the log's thread panicked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl fmt::Debug for LogStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStore").field("last_log_id", &self.last_log_id()).finish_non_exhaustive()
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let state = self.shared.lock();
        state.check()?;
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last_log_id() })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader::new(Arc::clone(&self.shared), self.inner.offload.clone())
    }

    /// Returns when the vote and every append before it are durable. The vote is a frame of the same files: openraft
    /// counts every earlier append as flushed once this returns.
    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.durably(|_, done| Some(Op::Vote { vote: *vote, done })).await
    }

    /// Keeps the mark in memory; the next frame carries it to the disk.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let mut state = self.shared.lock();
        state.check()?;
        state.committed = committed;
        Ok(())
    }

    /// The mark, but never beyond the last entry: it is saved before the entries under it are flushed, and openraft
    /// refuses to start from a mark beyond its log.
    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let state = self.shared.lock();
        state.check()?;
        let last = state.last_log_id();
        let beyond = state.committed.map(|mark| mark.index) > last.map(|last| last.index);
        Ok(if beyond { last } else { state.committed })
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let mut state = self.shared.lock();
        state.check()?;
        state.append(&entries)?;
        self.inner.queue.push(Op::Append { entries, done: callback })
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        self.durably(|state, done| {
            let after = last_log_id.max(state.purged);
            let last = state.last_log_id()?;
            if after.is_some_and(|after| after.index >= last.index) {
                return None;
            }
            state.truncate_after(after);
            Some(Op::Truncate { after, done })
        })
        .await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.durably(|state, done| {
            if state.purged.is_some_and(|purged| purged.index >= log_id.index) {
                return None;
            }
            state.purge(log_id);
            Some(Op::Purge { upto: log_id, done })
        })
        .await
    }
}

/// Runs the writer over what is queued.
pub struct Driver {
    writer: Writer,
    queue: Arc<Queue>,
}

impl Driver {
    /// Runs until the log is closed; for a thread.
    pub fn run(mut self) {
        while let Some(group) = self.queue.wait() {
            self.write(group);
        }
        self.writer.close();
    }

    /// Runs until the log is closed; for a task of a simulation, whose disk does not block. A group takes the
    /// time that `offload` says, and is not written before.
    pub async fn run_as_task(mut self, offload: Offload) {
        while let Some(group) = self.queue.next().await {
            offload.pause().await;
            self.write(group);
        }
        self.writer.close();
    }

    /// Writes what is queued now as one group; whether there was anything.
    pub fn step(&mut self) -> bool {
        let group = self.queue.take();
        let waiting = !group.is_empty();
        if waiting {
            self.write(group);
        }
        waiting
    }

    fn write(&mut self, group: Vec<Op>) {
        if let Err(error) = self.writer.run(group) {
            tracing::error!(%error, "the log has failed; the node must stop");
        }
    }
}

impl Drop for Driver {
    /// Whoever still waits learns that nothing will be written any more.
    fn drop(&mut self) {
        self.queue.close();
        drop(self.queue.take());
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}
