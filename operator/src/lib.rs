//! The operator of Reckon: it keeps the `EventStore`s and `Subscription`s of a Kubernetes cluster as their
//! specifications say.
//!
//! A reconcile is four steps in four modules: [`observe`] looks at Kubernetes and at the nodes, [`plan`]
//! decides (purely), [`act`] does it, [`report`] says how things stand. Those of subscriptions have the same names in
//! [`subscription`]. Knows the API types and the nodes' protocol, never the inside of a node.

pub mod act;
pub mod config;
pub mod controller;
pub mod http;
pub mod lease;
pub mod metrics;
pub mod nodes;
pub mod observe;
pub mod plan;
pub mod report;
pub mod requests;
pub mod resources;
pub mod run;
pub mod subscription;
