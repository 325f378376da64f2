//! The promises of sealed files and of the store over them.

#[path = "../../../tests/support/volume.rs"]
pub mod faulty;

mod sample;
mod tables;
