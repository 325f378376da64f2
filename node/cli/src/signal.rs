//! When a person, or whoever runs the program, wants it to end.

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Resolves when the process is told to end, by Ctrl-C or as Kubernetes does. The signals are taken from the call on:
/// what is under way can be brought to an end.
pub fn told_to_end() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Runtime)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
