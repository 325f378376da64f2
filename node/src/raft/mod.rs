//! Agreement: openraft's types, the peer network, the proposer, reads and membership.
//!
//! Knows the engine only as something to apply groups to, and nothing of the services in front of it.

pub mod checkpointer;
pub mod compactor;
pub mod fetcher;
pub mod installer;
pub mod intake;
pub mod member;
pub mod membership;
pub mod network;
pub mod prefetcher;
pub mod proposer;
pub mod reads;
pub mod repairer;
pub mod runtime;
pub mod sealer;
pub mod seals;
pub mod sends;
pub mod snapshot;
pub mod state_machine;
pub mod types;
pub mod wire;

pub use intake::Intake;
pub use member::Member;
pub use types::PeerNode;

/// openraft, instantiated for Reckon.
pub type RaftCore = openraft::Raft<types::TypeConfig, state_machine::StateMachine>;
