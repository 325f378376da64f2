//! What becomes of an event that was handled.

use std::any::Any;
use std::fmt::Display;
use std::time::Duration;

use crate::v1;

/// The most characters of a reason that are sent: a person reads it, and it is kept in the store.
const REASON_CHARS_MAX: usize = 1000;

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It is done.
    Ack,
    /// It comes again, and what comes behind it in its key waits. When it was tried as often as the subscription allows,
    /// it is parked.
    Retry {
        /// Why, for people.
        reason: String,
        /// At the earliest after so long; without it, after the subscription's backoff.
        after: Option<Duration>,
    },
    /// It is put aside, until somebody has it replayed or discards it.
    Park {
        /// Why, for people.
        reason: String,
    },
    /// It is done without having been handled; the store counts these apart.
    Skip,
}

impl Settlement {
    /// A retry after the subscription's backoff.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after: None }
    }

    /// Puts the event aside.
    pub fn park(reason: impl Into<String>) -> Self {
        Self::Park { reason: reason.into() }
    }

    /// A retry because of a panic that was caught.
    pub(super) fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("it does not say why");
        Self::retry(format!("the handler panicked: {text}"))
    }

    /// Adds it to a message, as what became of the delivery of this id.
    pub(super) fn add_to(self, message: &mut v1::Settle, id: u64) {
        match self {
            Self::Ack => message.ack.push(id),
            Self::Skip => message.skip.push(id),
            Self::Park { reason } => {
                message.park.push(v1::Park { id, reason: shortened(reason) });
            }
            Self::Retry { reason, after } => message.retry.push(v1::Retry {
                id,
                reason: shortened(reason),
                after_ms: after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            }),
        }
    }
}

fn shortened(mut reason: String) -> String {
    if let Some((end, _)) = reason.char_indices().nth(REASON_CHARS_MAX) {
        reason.truncate(end);
    }
    reason
}

/// What a handler may end with: a settlement, nothing (done), or a result, whose error is a retry with the error's
/// sentence as the reason.
pub trait IntoSettlement {
    /// The settlement that it means.
    fn into_settlement(self) -> Settlement;
}

impl IntoSettlement for Settlement {
    fn into_settlement(self) -> Settlement {
        self
    }
}

impl IntoSettlement for () {
    fn into_settlement(self) -> Settlement {
        Settlement::Ack
    }
}

impl<T: IntoSettlement, E: Display> IntoSettlement for Result<T, E> {
    fn into_settlement(self) -> Settlement {
        match self {
            Ok(settlement) => settlement.into_settlement(),
            // The alternate form names the causes, too, where an error type has one.
            Err(error) => Settlement::retry(format!("{error:#}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_handler_ends_with_means_a_settlement() {
        assert_eq!(().into_settlement(), Settlement::Ack);
        assert_eq!(Ok::<_, &str>(Settlement::Skip).into_settlement(), Settlement::Skip);
        assert_eq!(Err::<(), _>("no").into_settlement(), Settlement::retry("no"));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut message = v1::Settle::default();
        Settlement::park("ü".repeat(REASON_CHARS_MAX + 1)).add_to(&mut message, 7);
        assert_eq!(message.park[0].reason.chars().count(), REASON_CHARS_MAX);
        assert_eq!(message.park[0].id, 7);
    }
}
