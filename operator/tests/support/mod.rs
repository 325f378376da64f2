//! The parts of a cluster that the reconcile tests play.

pub mod api_server;
pub mod nodes;
pub mod subscriptions;
