//! Takes the cluster down when the process that owns it dies without doing so: by a panic, a signal, or a kill.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Stdio},
};

use anyhow::{Context, Result};

use super::{Cluster, cache::Cache, roles};
use crate::progress::Progress;

/// What the owner says when the cluster shall stay, or is already gone.
const DISMISSAL: u8 = b'.';

/// Holds the guardian's pipe: when this process ends, however it does, the pipe closes.
#[derive(Debug)]
pub struct Guardian {
    pipe: ChildStdin,
    child: Child,
}

impl Guardian {
    /// Starts one. It is in a process group of its own: Ctrl-C does not reach it.
    pub fn start() -> Result<Self> {
        let mut child = roles::guardian()?
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start the guardian")?;
        let pipe = child.stdin.take().expect("a pipe was asked for");
        Ok(Self { pipe, child })
    }

    /// Tells it that there is nothing to guard.
    pub fn dismiss(mut self) {
        drop(self.pipe.write_all(&[DISMISSAL]));
        drop(self.pipe);
        drop(self.child.wait());
    }
}

/// The guardian's own life: it waits for the pipe.
pub fn run() -> Result<()> {
    let mut word = [0];
    let dismissed = loop {
        match std::io::stdin().read(&mut word) {
            Ok(read) => break read == 1 && word[0] == DISMISSAL,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break false,
        }
    };
    if dismissed {
        return Ok(());
    }
    let progress = Progress::start();
    let cache = Cache::locate()?;
    let _lock = cache.lock(|| ())?;
    progress.say("the run ended before its cluster did: taking it down");
    Cluster::remove(&cache)
}
