//! The protocol of Reckon, `reckon.v1`, as generated code, and a client that follows the leader.
//!
//! Knows nothing of how a node works inside.

pub mod client;
pub mod connect;
mod failure;
mod reason;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use client::Client;
pub use reason::{ERROR_DOMAIN, Reason};

/// The generated messages, clients and servers of `reckon.v1`.
#[allow(clippy::pedantic, clippy::large_enum_variant, missing_debug_implementations)]
pub mod v1 {
    tonic::include_proto!("reckon.v1");

    /// The encoded `FileDescriptorSet` of all services, for reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/reckon_descriptor.bin"));
}
