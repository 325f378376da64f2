//! What waits for the writer, in the order in which it must reach the disk.

use std::future::poll_fn;
use std::io;
use std::task::{Poll, Waker};

use futures::channel::oneshot;
use openraft::storage::IOFlushed;
use parking_lot::{Condvar, Mutex};

use crate::raft::types::{Entry, LogId, TypeConfig, Vote};

/// Where the result of an operation goes that somebody waits for.
pub type Done = oneshot::Sender<io::Result<()>>;

/// One operation on the log.
pub enum Op {
    /// Entries, and openraft's callback for when they are durable.
    Append { entries: Vec<Entry>, done: IOFlushed<TypeConfig> },
    /// A vote.
    Vote { vote: Vote, done: Done },
    /// The entries after `after`, or all, are to go.
    Truncate { after: Option<LogId>, done: Done },
    /// The entries up to `upto` are to go.
    Purge { upto: LogId, done: Done },
}

/// Operations between the store and the writer. Its length is bounded by the proposer and by openraft, which both
/// stop when too much is unflushed; a bound here would stop the Raft core and its heartbeats.
#[derive(Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    ops: Vec<Op>,
    closed: bool,
    waker: Option<Waker>,
}

impl Waiting {
    fn take(&mut self) -> Vec<Op> {
        #[cfg(feature = "planted-bugs")]
        if crate::planted::has(crate::planted::Planted::VoteBeforeLog)
            && let Some(vote) = self.ops.iter().position(|op| matches!(op, Op::Vote { .. }))
        {
            return vec![self.ops.remove(vote)];
        }
        std::mem::take(&mut self.ops)
    }
}

impl Queue {
    /// Adds an operation; an error when the log is closed.
    pub fn push(&self, op: Op) -> io::Result<()> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(closed());
        }
        waiting.ops.push(op);
        self.wake(waiting.waker.take());
        Ok(())
    }

    /// Nothing more is taken; what waits is still given out.
    pub fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        self.wake(waiting.waker.take());
    }

    /// Everything that waits now.
    pub fn take(&self) -> Vec<Op> {
        self.waiting.lock().take()
    }

    /// Blocks until something waits, and takes all of it. `None` when closed and empty.
    pub fn wait(&self) -> Option<Vec<Op>> {
        let mut waiting = self.waiting.lock();
        while waiting.ops.is_empty() && !waiting.closed {
            self.changed.wait(&mut waiting);
        }
        Some(waiting.take()).filter(|ops| !ops.is_empty())
    }

    /// As [`Queue::wait`], for a task.
    pub async fn next(&self) -> Option<Vec<Op>> {
        poll_fn(|context| {
            let mut waiting = self.waiting.lock();
            if waiting.ops.is_empty() && !waiting.closed {
                waiting.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(Some(waiting.take()).filter(|ops| !ops.is_empty()))
        })
        .await
    }

    fn wake(&self, waker: Option<Waker>) {
        self.changed.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The error of everything that is asked after the log was closed.
pub fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log is closed")
}
