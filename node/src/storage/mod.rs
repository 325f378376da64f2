//! What a node keeps in its data folder beside Raft's log.
//!
//! Must not know Raft, the network or the clock.

mod identity;

pub use identity::{FORMAT_VERSION, Identity, IdentityError, IdentityStore};
