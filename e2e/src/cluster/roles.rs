//! The harness starts its own executable again for what must outlive it or live elsewhere: a node's first process, the
//! volume provisioner, and the guardian that takes a cluster down when its owner dies.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use super::{control_plane::Parts, guardian, node_init, provisioner};

const NODE: &str = "reckon-e2e-node";
const PROVISIONER: &str = "reckon-e2e-provisioner";
const GUARDIAN: &str = "reckon-e2e-guardian";

/// Plays the role this process was started for, if any; then the caller returns the code. To be called first in
/// every `main` that may make a cluster, before any thread starts.
#[must_use]
pub fn play() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let role = arguments.next()?;
    let paths: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let outcome = match (role.to_str()?, paths.as_slice()) {
        (NODE, [boot]) => node_init::run(boot).map(|never| match never {}),
        (PROVISIONER, [cluster, kubeconfig]) => provisioner::run(cluster, kubeconfig),
        (GUARDIAN, []) => guardian::run(),
        _ => return None,
    };
    Some(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write;
            drop(writeln!(std::io::stderr(), "{error:#}"));
            ExitCode::FAILURE
        }
    })
}

/// The command line of a node's first process.
pub fn node(boot: &Path) -> Result<Vec<OsString>> {
    Ok(vec![own_executable()?.into(), NODE.into(), boot.into()])
}

/// The command of the volume provisioner.
pub fn provisioner(parts: &Parts) -> Result<Command> {
    let mut command = Command::new(own_executable()?);
    command.arg(PROVISIONER).arg(&parts.folder).arg(parts.credentials.kubeconfig("admin"));
    Ok(command)
}

/// The command of the guardian.
pub fn guardian() -> Result<Command> {
    let mut command = Command::new(own_executable()?);
    command.arg(GUARDIAN);
    Ok(command)
}

fn own_executable() -> Result<PathBuf> {
    std::env::current_exe().context("this program does not know where it is")
}
