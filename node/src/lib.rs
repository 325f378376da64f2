//! The store node of Reckon.

pub mod config;
pub mod discovery;
pub mod engine;
pub mod event;
pub mod health;
pub mod limits;
pub mod log;
pub mod logging;
pub mod metrics;
pub mod raft;
pub mod storage;

#[cfg(test)]
mod generated;
