//! The store node of Reckon: one member of a replicated event store.
//!
//! A request passes each room once: `service` → `raft::proposer` → `log` → `engine` → answer. The engine knows no
//! clock, no randomness and no network; `serve` is where the effects are put together.

// The support of integration tests names this crate from outside, and unit tests use it too.
#[cfg(test)]
extern crate self as reckon_node;

pub mod command;
pub mod config;
pub mod delivery;
pub mod discovery;
pub mod engine;
pub mod environment;
pub mod event;
pub mod filter;
pub mod formation;
#[cfg(test)]
mod generated;
pub mod health;
pub mod limits;
pub mod log;
pub mod logging;
pub mod metrics;
pub mod node;
pub mod offload;
#[cfg(feature = "planted-bugs")]
pub mod planted;
pub mod raft;
pub mod serve;
pub mod service;
pub mod shutdown;
pub mod storage;
pub mod supervise;
