//! A real Kubernetes to try Reckon in, what is tried there, and the demonstration for a newcomer.

pub mod cluster;
pub mod command;
pub mod oci;
pub mod progress;
pub mod wait;
