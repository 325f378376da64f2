//! What clients asked and what they were told: all that the checks may judge a run by.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use reckon_api::Reason;
use uuid::Uuid;

/// One request of a client, retries included.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Which client asked; for whoever reads the evidence.
    #[allow(dead_code, reason = "shown in evidence")]
    pub client: usize,
    /// Simulated time of the first attempt.
    pub invoked: Duration,
    /// Simulated time of the answer; `None`: never answered for certain.
    pub completed: Option<Duration>,
    pub action: Action,
    pub outcome: Outcome,
    /// Whether more than one attempt may have taken effect.
    pub repeated: bool,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Append { parts: Vec<Part>, condition: Option<Condition> },
    Delete { stream: String, expected: Expected },
    Tombstone { stream: String },
    Truncate { stream: String, before: u64 },
    ReadStream { stream: String, freshness: Freshness },
    ReadAll { from: u64, freshness: Freshness },
}

/// One stream's share of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub stream: String,
    pub expected: Expected,
    pub events: Vec<Uuid>,
    /// Carried by each of the events.
    pub tag: Option<String>,
}

/// What must hold for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expected {
    Any,
    NoStream,
    Exists,
    Version(u64),
}

/// No event with this tag above this position; `None`: none at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub tag: String,
    pub after: Option<u64>,
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Freshness {
    Linearizable,
    Stale,
    AtLeast(u64),
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// No certain answer: it may have taken effect, or still may.
    Unknown,
    Appended {
        first: u64,
        last: u64,
        last_versions: Vec<u64>,
        epoch_us: u64,
    },
    /// The stream was deleted, tombstoned or truncated by the notice at `position`.
    Removed {
        first_version: Option<u64>,
        last_version: i64,
        position: u64,
    },
    /// Certainly without effect.
    Refused {
        reason: Reason,
        actual: Option<i64>,
        position: Option<u64>,
    },
    Stream {
        first: i64,
        last: i64,
        next_position: u64,
        events: Vec<Seen>,
    },
    All {
        next_position: u64,
        events: Vec<Seen>,
    },
    /// A read that was not answered, or whose answer broke off: it says nothing.
    Failed,
}

/// An event as a reader saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub id: Uuid,
    pub stream: String,
    pub version: u64,
    pub position: u64,
    pub epoch_us: u64,
    /// Type, data and tags are what the writer of this id sends.
    pub intact: bool,
    /// What a system event tells.
    pub notice: Option<Notice>,
    /// What an entry of a subscription's journal says was parked.
    pub parked: Option<ParkedAt>,
}

/// A stream's events below a version were removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub stream: String,
    /// The first version that can still be read.
    pub first_version: u64,
    pub removal: Removal,
}

/// An event of this subscription was parked, and stands at this position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedAt {
    pub subscription: String,
    pub position: u64,
}

/// How events were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    Deleted,
    Tombstoned,
    Truncated,
}

/// The operations of a run, in the order in which they began.
#[derive(Debug, Clone, Default)]
pub struct History {
    operations: Rc<RefCell<Vec<Operation>>>,
    open: Rc<Cell<usize>>,
}

impl History {
    /// Writes down that something is asked; its place in the history is returned.
    pub fn invoke(&self, client: usize, invoked: Duration, action: Action) -> usize {
        let mut operations = self.operations.borrow_mut();
        let outcome = Outcome::Unknown;
        self.open.update(|open| open + 1);
        let repeated = false;
        operations.push(Operation { client, invoked, completed: None, action, outcome, repeated });
        operations.len() - 1
    }

    /// Writes down the answer. `repeated`: attempts before the last one may have taken effect too.
    pub fn complete(&self, place: usize, at: Duration, outcome: Outcome, repeated: bool) {
        self.open.update(|open| open - 1);
        let mut operations = self.operations.borrow_mut();
        let operation = &mut operations[place];
        operation.completed = (outcome != Outcome::Unknown).then_some(at);
        operation.outcome = outcome;
        operation.repeated = repeated;
    }

    /// Whether a client still waits for an answer.
    pub fn pending(&self) -> bool {
        self.open.get() > 0
    }

    /// Everything so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.operations.borrow().clone()
    }
}
