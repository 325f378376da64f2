//! Who is woken when records are new: each waits for what it is interested in, and one dispatcher looks at every new
//! record once. So an append costs those who want it and nobody else, however many follow other streams.
//!
//! Whoever is woken reads on by itself, and may find nothing: interests know streams, types and tags, and nothing of what
//! else is asked of events. Nobody sleeps over a record that it wants: the dispatcher looks at a record after it can be
//! read, so whoever registered too late to be woken for it finds it when it reads.

mod dispatch;
mod registry;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

pub use dispatch::dispatch;
use registry::Registry;

use crate::event::RecordView;

/// The new records that somebody has to be woken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interest {
    /// Every record, those of the server's own streams among them or not.
    Everything { system: bool },
    /// Records of this stream, which may be the server's.
    Stream(String),
    /// Records with an event of any of these types.
    Types(Vec<String>),
    /// Records with an event that carries any of these tags.
    Tags(Vec<String>),
}

/// Everybody who waits for new records. Cheap to clone; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Interests(Arc<Mutex<Registry>>);

impl Interests {
    /// From now on the one who registers is woken for what it is interested in. Whoever reads to the end after this, and
    /// before it waits, misses nothing.
    pub fn register(&self, interest: Interest) -> Registered {
        let waker = Arc::new(Notify::new());
        let id = self.0.lock().add(&interest, &waker);
        Registered { interests: self.clone(), interest, id, waker }
    }

    /// How many are registered.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Wakes those that are interested in any of these records.
    pub fn wake(&self, records: &[RecordView]) {
        let registry = self.0.lock();
        for record in records {
            registry.wake(record);
        }
    }

    /// Wakes everybody: nobody knows what there is.
    pub fn wake_everybody(&self) {
        self.0.lock().wake_everybody();
    }
}

/// One who is woken, until this is dropped.
#[derive(Debug)]
pub struct Registered {
    interests: Interests,
    interest: Interest,
    id: u64,
    waker: Arc<Notify>,
}

impl Registered {
    /// Returns when there may be something new since it returned last: at once if there was in the meantime.
    pub async fn woken(&self) {
        self.waker.notified().await;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.interests.0.lock().remove(&self.interest, self.id);
    }
}
