//! Which part of a stream or of the store a request means, against an engine of its own.

mod scan;
mod stream_part;

use std::sync::Arc;

use parking_lot::RwLock;
use uuid::Uuid;

use crate::engine::{
    Command, Engine, Expectation, Outcome, SharedEngine, StateReader, StreamAppend, encode_group,
};
use crate::event::{EventDraft, encode_record};
use crate::storage::LogPosition;

/// An engine that commands are applied to.
struct Tested {
    shared: SharedEngine,
    reader: StateReader,
    index: u64,
}

impl Tested {
    fn new() -> Self {
        let shared: SharedEngine = Arc::new(RwLock::new(Engine::default()));
        let reader = StateReader::new(Arc::clone(&shared));
        Self { shared, reader, index: 0 }
    }

    fn apply(&mut self, epoch_us: u64, command: &Command) -> Outcome {
        self.index += 1;
        let applied = LogPosition { term: 1, index: self.index };
        let group = encode_group(epoch_us, &[command.encode()]);
        self.shared.write().apply_group(&group, applied).unwrap().remove(0)
    }

    /// Appends one event to a stream at a time.
    fn append(&mut self, epoch_us: u64, stream_id: &str) {
        let event_id = Uuid::from_u128(u128::from(self.index) + 1);
        let draft = EventDraft::new(event_id, "happened", b"{}");
        let record = encode_record(stream_id, &[draft]).unwrap();
        let appends = vec![StreamAppend { expectation: Expectation::Any, record }];
        let outcome = self.apply(epoch_us, &Command::Append { appends, condition: None });
        assert!(matches!(outcome, Outcome::Appended(_)), "{outcome:?}");
    }
}
