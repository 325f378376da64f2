//! The controller of `Subscription`: it keeps the subscriptions of stores as their resources say, and runs what
//! delivers to their sinks.
//!
//! The same four steps as for stores, in the files of the same names. What a subscription is, in the store's words,
//! is made and compared in [`definition`]. It asks stores through their own service and knows nothing of how they
//! are kept.

pub mod act;
pub mod controller;
pub mod definition;
pub mod observe;
pub mod plan;
pub mod report;
pub mod service;
pub mod sink;
