//! The promises of sealed files and of the store over them.

#[path = "../../../tests/support/volume.rs"]
pub mod faulty;

mod catalogue;
mod driven;
mod sample;
mod store;
mod tables;
