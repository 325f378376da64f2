//! Log lines of what runs for long, to standard error: text for people, JSON for programs.

use std::io::{self, IsTerminal as _};

use tracing::Level;

use crate::args::Format;

/// Sets up logging for the whole process; a second time it does nothing.
pub fn init(format: Format, level: Level) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // It fails only where somebody logs already.
    let _ = match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}
