//! What the harness changed on the machine, written down before each change, so that any later process can undo it.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, ErrorKind, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::command::run;

/// The kernel frees the last references to a killed pod's cgroup a moment after its processes.
const CGROUP_REMOVAL_LIMIT: Duration = Duration::from_secs(10);

/// Where `ip netns` keeps its names, and what it turns into a mount of its own on first use.
const NAMESPACES: &str = "/run/netns";

/// One change of the machine, with what undoing it needs. Undoing what never came about is no error: a crash between
/// the record and the change is harmless.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// A kernel setting or a cgroup's list of controllers, with the text that puts it back.
    Setting { path: PathBuf, restore: String },
    /// A network interface.
    Link { name: String },
    /// The folder of network namespaces, which `ip` made or mounted because it was not there.
    NamespaceFolder { existed: bool },
    /// A named network namespace.
    Namespace { name: String },
    /// A route that says a destination is unreachable.
    UnreachableRoute { destination: String },
    /// A folder of cgroups, with everything below it.
    CgroupTree { path: PathBuf },
}

/// The file of changes.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    /// The journal in `path`, which need not exist.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Writes `change` down, then makes it.
    pub fn make(&self, change: &Change, how: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        let mut line = serde_json::to_vec(change)?;
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_data()?;
        how()
    }

    /// Undoes everything, newest first, and forgets what is undone. Goes on after a failure and returns the first.
    pub fn undo(&self) -> Result<()> {
        let mut failures = Vec::new();
        for change in self.changes()?.iter().rev() {
            if let Err(error) = change.undo() {
                failures.push(error.context(format!("cannot undo {change:?}")));
            }
        }
        match failures.into_iter().next() {
            Some(error) => Err(error),
            None => match fs::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            },
        }
    }

    fn changes(&self) -> Result<Vec<Change>> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        let mut changes = Vec::new();
        for line in BufReader::new(file).split(b'\n') {
            // A torn last line is a record whose change was never begun.
            if let Ok(change) = serde_json::from_slice(&line?) {
                changes.push(change);
            }
        }
        Ok(changes)
    }
}

impl Change {
    fn undo(&self) -> Result<()> {
        match self {
            Self::Setting { path, restore } => {
                fs::write(path, restore).with_context(|| path.display().to_string())
            }
            Self::Link { name } => {
                if Path::new("/sys/class/net").join(name).exists() {
                    run("ip", &["link", "delete", name])?;
                }
                Ok(())
            }
            Self::NamespaceFolder { existed } => {
                // Others may have made namespaces meanwhile; then the folder is theirs.
                let used = fs::read_dir(NAMESPACES).is_ok_and(|mut names| names.next().is_some());
                if !used {
                    while is_mounted(NAMESPACES)? {
                        rustix::mount::unmount(NAMESPACES, rustix::mount::UnmountFlags::DETACH)?;
                    }
                    if !existed && Path::new(NAMESPACES).exists() {
                        fs::remove_dir(NAMESPACES)?;
                    }
                }
                Ok(())
            }
            Self::Namespace { name } => {
                if Path::new(NAMESPACES).join(name).exists() {
                    run("ip", &["netns", "delete", name])?;
                }
                Ok(())
            }
            Self::UnreachableRoute { destination } => {
                if run("ip", &["route", "show", "type", "unreachable", destination])?.is_empty() {
                    return Ok(());
                }
                run("ip", &["route", "delete", "unreachable", destination]).map(drop)
            }
            Self::CgroupTree { path } => remove_cgroup_tree(path),
        }
    }
}

/// What [`Change::NamespaceFolder`] must remember, or nothing if the folder is already a mount of its own.
pub fn namespace_folder() -> Result<Option<Change>> {
    let existed = Path::new(NAMESPACES).exists();
    Ok((!is_mounted(NAMESPACES)?).then_some(Change::NamespaceFolder { existed }))
}

/// Removes a folder of cgroups and all below it, once their last processes are gone.
pub fn remove_cgroup_tree(path: &Path) -> Result<()> {
    let begun = Instant::now();
    loop {
        match remove_cgroups(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if begun.elapsed() > CGROUP_REMOVAL_LIMIT => {
                return Err(error).with_context(|| path.display().to_string());
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// The files in a cgroup cannot be removed and need not be: only folders go, the deepest first.
fn remove_cgroups(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroups(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

fn is_mounted(path: &str) -> Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mounts.lines().any(|line| line.split(' ').nth(4) == Some(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_undone_newest_first_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let setting = folder.path().join("setting");
        fs::write(&setting, "first").unwrap();
        let journal = Journal::new(folder.path().join("journal"));
        for value in ["second", "third"] {
            let change = Change::Setting {
                path: setting.clone(),
                restore: fs::read_to_string(&setting).unwrap(),
            };
            journal.make(&change, || Ok(fs::write(&setting, value)?)).unwrap();
        }
        journal.undo().unwrap();
        assert_eq!(fs::read_to_string(&setting).unwrap(), "first");
        assert!(journal.changes().unwrap().is_empty());
    }

    #[test]
    fn a_change_is_written_down_before_it_is_made_and_a_torn_record_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("journal"));
        let change = Change::CgroupTree { path: folder.path().join("absent") };
        journal
            .make(&change, || {
                assert_eq!(journal.changes().unwrap().len(), 1);
                Ok(())
            })
            .unwrap();
        let mut file = OpenOptions::new().append(true).open(&journal.path).unwrap();
        file.write_all(br#"{"kind":"link","na"#).unwrap();
        assert_eq!(journal.changes().unwrap().len(), 1);
        journal.undo().unwrap();
    }
}
