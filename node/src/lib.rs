//! The store node of Reckon.

pub mod engine;
pub mod raft;
