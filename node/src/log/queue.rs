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
    #[cfg(feature = "planted-bugs")]
    held_back: Option<Vote>,
}

#[cfg(feature = "planted-bugs")]
impl Waiting {
    /// With the bug, a vote is done before it is written, which happens behind the next entries.
    fn hold_back(&mut self, op: Op) -> Option<Op> {
        use crate::planted::{Planted, has};
        match op {
            Op::Vote { vote, done } if has(Planted::VoteBehindLog) => {
                self.held_back = Some(vote);
                let _ = done.send(Ok(()));
                None
            }
            Op::Append { .. } => {
                if let Some(vote) = self.held_back.take() {
                    self.ops.push(op);
                    return Some(Op::Vote { vote, done: oneshot::channel().0 });
                }
                Some(op)
            }
            other => Some(other),
        }
    }
}

impl Queue {
    /// Adds an operation; an error when the log is closed.
    pub fn push(&self, op: Op) -> io::Result<()> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(closed());
        }
        #[cfg(feature = "planted-bugs")]
        let Some(op) = waiting.hold_back(op) else { return Ok(()) };
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
        std::mem::take(&mut self.waiting.lock().ops)
    }

    /// Blocks until something waits, and takes all of it. `None` when closed and empty.
    pub fn wait(&self) -> Option<Vec<Op>> {
        let mut waiting = self.waiting.lock();
        while waiting.ops.is_empty() && !waiting.closed {
            self.changed.wait(&mut waiting);
        }
        Some(std::mem::take(&mut waiting.ops)).filter(|ops| !ops.is_empty())
    }

    /// As [`Queue::wait`], for a task.
    pub async fn next(&self) -> Option<Vec<Op>> {
        poll_fn(|context| {
            let mut waiting = self.waiting.lock();
            if waiting.ops.is_empty() && !waiting.closed {
                waiting.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(Some(std::mem::take(&mut waiting.ops)).filter(|ops| !ops.is_empty()))
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
