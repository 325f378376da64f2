//! Agreement: openraft's types, the peer network, the proposer and the formation of a store.

pub mod types;
