//! A real Kubernetes to try Reckon in, what is tried there, and the demonstration for a newcomer.

pub mod cluster;
mod command;
pub mod demo;
pub mod images;
pub mod kubernetes;
pub mod logging;
pub mod loopback;
mod oci;
pub mod progress;
pub mod report;
pub mod wait;
pub mod workload;
