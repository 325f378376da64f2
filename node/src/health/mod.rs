//! How the node is: what it answers to probes, and how much memory it uses.
//!
//! Must not know how the answers are found; the node gives them.

pub mod http;
pub mod memory;
pub mod raft;
