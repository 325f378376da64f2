//! A cap on requests of one kind in flight.

use std::sync::Arc;

use reckon_api::Reason;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

/// How many requests of one kind may be in work on this node. Cheap to clone; clones share the cap.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    limit: &'static str,
    maximum: usize,
    slots: Arc<Semaphore>,
}

impl InFlight {
    /// `limit` is the configuration's name for `maximum`.
    pub fn new(limit: &'static str, maximum: usize) -> Self {
        Self { limit, maximum, slots: Arc::new(Semaphore::new(maximum)) }
    }

    /// A slot until it is dropped; refused at once when there is none.
    pub fn enter(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.slots).try_acquire_owned().map_err(|_full| self.full())
    }

    /// Slots for as many of `wanted` requests as there is room for, until they are dropped.
    pub fn enter_some(&self, wanted: usize) -> (Option<OwnedSemaphorePermit>, usize) {
        loop {
            let entered = wanted.min(self.slots.available_permits());
            if entered == 0 {
                return (None, 0);
            }
            let count = u32::try_from(entered).expect("a chunk has fewer requests");
            if let Ok(slots) = Arc::clone(&self.slots).try_acquire_many_owned(count) {
                return (Some(slots), entered);
            }
        }
    }

    /// The refusal of a request for which there is no slot.
    pub fn full(&self) -> Status {
        Reason::TooManyRequests.status(
            format!("{} requests are in flight on this node, which is the most", self.maximum),
            [("limit", self.limit.to_owned()), ("maximum", self.maximum.to_string())],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_enter_as_there_is_room_for() {
        let in_flight = InFlight::new("limits.appends_in_flight_max", 3);
        let (first, entered) = in_flight.enter_some(2);
        assert_eq!(entered, 2);
        let (second, entered) = in_flight.enter_some(2);
        assert_eq!((second.is_some(), entered), (true, 1));
        let (none, entered) = in_flight.enter_some(2);
        assert_eq!((none.is_some(), entered), (false, 0));
        in_flight.enter().unwrap_err();
        drop(first);
        assert_eq!(in_flight.enter_some(5).1, 2);
    }
}
