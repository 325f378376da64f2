//! Subscriptions and their consumers, against real nodes.

#[path = "../processes/mod.rs"]
mod processes;

mod definitions;
mod failover;
mod parking;
mod support;
mod working;
