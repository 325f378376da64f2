//! The dispatcher: looks at every new record once, and wakes those that are interested in it.

use tokio::sync::watch;

use super::Interests;
use crate::engine::StateReader;
use crate::limits;
use crate::raft::state_machine::Applied;

/// Wakes for as long as records are applied, from now on. Ends when none can be any more; then everybody is woken.
pub async fn dispatch(
    interests: Interests,
    reader: StateReader,
    mut applied: watch::Receiver<Applied>,
) {
    let mut next = reader.next_position();
    // What was applied before is for those to read who registered before this.
    interests.wake_everybody();
    while applied.changed().await.is_ok() {
        let end = applied.borrow_and_update().next_position;
        while next < end {
            next = look(&interests, &reader, next);
            // One who is woken may be on this thread.
            tokio::task::yield_now().await;
        }
        // A store under load applies thousands of groups a second; they are looked at together, and whoever is woken
        // reads them together.
        tokio::time::sleep(limits::WAKE_PAUSE).await;
    }
    interests.wake_everybody();
}

/// Wakes for some of the records from a position on, and gives the position to go on at.
fn look(interests: &Interests, reader: &StateReader, from: u64) -> u64 {
    // Taken first: whoever registers after it was seen that nobody is there reads these records itself.
    let next_position = reader.next_position();
    if interests.is_empty() {
        return next_position;
    }
    match reader.recent_records(from, limits::WAKE_RECORDS_MAX) {
        #[cfg(feature = "planted-bugs")]
        Some(recent)
            if crate::planted::has(crate::planted::Planted::WakeForgotten)
                && recent.next_position.is_multiple_of(2) =>
        {
            recent.next_position.max(from + 1)
        }
        Some(recent) if !recent.records.is_empty() => {
            interests.wake(&recent.records);
            recent.next_position
        }
        Some(_) => next_position,
        // A seal went by, or a checkpoint was taken in, faster than this looked.
        None => {
            interests.wake_everybody();
            next_position
        }
    }
}
