//! Work for a store, and the proof afterwards that nothing of it was lost, doubled, reordered or made up. Knows only the
//! store's client, not where the store runs.

mod arrivals;
mod consumer;
mod events;
mod ledger;
mod selection;
mod verify;
mod writer;

pub use self::{
    arrivals::{Arrivals, Delivered},
    consumer::Consuming,
    events::feed_events,
    ledger::{Counts, Ledger},
    selection::{Selection, select},
    verify::{Verified, check, is_users, read_everything, verify},
    writer::{Writers, append, steady},
};
