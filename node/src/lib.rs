//! The store node of Reckon.

pub mod engine;
pub mod event;
pub mod limits;
pub mod log;
pub mod raft;
