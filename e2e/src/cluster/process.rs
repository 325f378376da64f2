//! The cluster's processes on the machine. Each carries a mark in its environment, and its children inherit it: so
//! they are found, and told from everyone else's, without a list that could be stale or lack the newest one.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

/// The mark: `<folder of the cluster>#<name>`.
const MARK: &str = "RECKON_E2E_PROCESS";

/// A killed node ends when all its pods have; that takes the kernel well under a second.
const EXIT_LIMIT: Duration = Duration::from_secs(20);

/// The processes of the cluster in one folder.
#[derive(Clone, Debug)]
pub struct Processes {
    folder: PathBuf,
}

impl Processes {
    /// The processes of the cluster that lives in `folder`.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Starts `command` as `name`, with its output in a log file and out of reach of the terminal's Ctrl-C.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Result<()> {
        let log = self.log(name);
        fs::create_dir_all(log.parent().expect("a log lies in a folder"))?;
        let output = File::options().create(true).append(true).open(&log)?;
        command
            .env(MARK, OsStr::from_bytes(&self.mark(name)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(())
    }

    /// Where the output of `name` goes.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join("log").join(format!("{name}.log"))
    }

    /// Whether any process of `name` lives.
    #[must_use]
    pub fn alive(&self, name: &str) -> bool {
        !marked(&self.mark(name), true).is_empty()
    }

    /// The process of `name` that is PID 1 of the namespace it lives in, as the machine numbers it.
    pub fn init_of(&self, name: &str) -> Result<Pid> {
        let is_init = |pid: &Pid| {
            let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid()));
            status.is_ok_and(|status| {
                status
                    .lines()
                    .find_map(|line| line.strip_prefix("NSpid:"))
                    .is_some_and(|pids| pids.split_whitespace().nth(1) == Some("1"))
            })
        };
        let Some(pid) = marked(&self.mark(name), true).into_iter().find(is_init) else {
            bail!("{name} is not running");
        };
        Ok(pid)
    }

    /// Kills `name` and waits until it and everything in its namespaces is gone.
    pub fn kill(&self, name: &str) -> Result<()> {
        kill_marked(&self.mark(name), true)
    }

    /// Kills every process of the cluster.
    pub fn kill_all(&self) -> Result<()> {
        kill_marked(&self.mark(""), false)
    }

    fn mark(&self, name: &str) -> Vec<u8> {
        let mut mark = self.folder.as_os_str().as_bytes().to_vec();
        mark.push(b'#');
        mark.extend_from_slice(name.as_bytes());
        mark
    }
}

/// The processes whose mark is (`exact`) or begins with `mark`. One that has ended, but was not yet waited for, has
/// no environment and is not among them.
fn marked(mark: &[u8], exact: bool) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .filter(|pid| carries(*pid, mark, exact))
        .collect()
}

fn carries(pid: Pid, mark: &[u8], exact: bool) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{}/environ", pid.as_raw_pid())) else {
        return false;
    };
    environment.split(|byte| *byte == 0).any(|variable| {
        variable
            .strip_prefix(MARK.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="))
            .is_some_and(|value| if exact { value == mark } else { value.starts_with(mark) })
    })
}

fn kill_marked(mark: &[u8], exact: bool) -> Result<()> {
    let begun = Instant::now();
    loop {
        // A process may start another while it is being killed, so look again until none is left.
        let dying: Vec<OwnedFd> = marked(mark, exact)
            .into_iter()
            .filter_map(|pid| {
                let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
                // The number may have changed hands between the look and the handle; the handle cannot.
                carries(pid, mark, exact).then_some(handle)
            })
            .collect();
        if dying.is_empty() {
            return Ok(());
        }
        for handle in &dying {
            // A failure means that it has ended by itself.
            let _ended = pidfd_send_signal(handle, Signal::KILL);
        }
        for handle in &dying {
            let left = EXIT_LIMIT.saturating_sub(begun.elapsed());
            let left = Timespec::try_from(left).expect("seconds fit");
            let mut events = [PollFd::new(handle, PollFlags::IN)];
            if poll(&mut events, Some(&left)).unwrap_or(0) == 0 {
                bail!("a killed process has not ended after {} s", EXIT_LIMIT.as_secs());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_mark_and_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let processes = Processes::of(folder.path());
        processes.spawn("one", Command::new("sh").args(["-c", "sleep 600 & wait"])).unwrap();
        processes.spawn("other", Command::new("sleep").arg("600")).unwrap();
        while marked(&processes.mark("one"), true).len() < 2 {
            std::thread::yield_now();
        }
        processes.kill("one").unwrap();
        assert!(!processes.alive("one"));
        assert!(processes.alive("other"));
        processes.kill_all().unwrap();
        assert!(!processes.alive("other"));
    }
}
