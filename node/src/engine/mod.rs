//! The state machine.

/// What the engine decided for one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {}
