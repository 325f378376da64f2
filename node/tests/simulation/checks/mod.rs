//! What must hold after a run, each check under the name by which a failure is told.

pub mod consumers;
pub mod followers;
pub mod linearizable;
pub mod linearizable_tests;
pub mod order;
pub mod replicas;

mod known;
mod reads;

use std::fmt;

/// A promise that was broken, and the evidence.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The name of the check.
    pub check: &'static str,
    pub what: String,
}

impl Violation {
    /// A broken promise.
    pub fn new(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.what)
    }
}
