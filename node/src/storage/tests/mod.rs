//! The promises of sealed files and of the store over them.

#[path = "../../../tests/support/volume.rs"]
pub mod faulty;

mod catalogue;
mod crash;
mod damage;
mod driven;
mod faults;
mod sample;
mod store;
mod tables;
