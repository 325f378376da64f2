//! The nodes' cgroups: one folder for each node, which its kubelet takes for the root of all its pods'. Works with
//! both versions of cgroups.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::journal::{Change, Journal, remove_cgroup_tree};

const MOUNT: &str = "/sys/fs/cgroup";
const FOLDER: &str = "reckon-e2e";

/// What a kubelet needs in version 2.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// What a kubelet calls the root of its cgroups.
#[must_use]
pub fn root_of(node: &str) -> String {
    format!("/{FOLDER}/{node}")
}

/// Why there are no usable cgroups here, if there are none.
#[must_use]
pub fn missing() -> Option<String> {
    match hierarchies() {
        Ok(found) if !found.is_empty() => None,
        _ => Some(format!("there are no cgroups in {MOUNT}")),
    }
}

/// Makes the folders of `nodes`.
pub fn make(journal: &Journal, nodes: &[&str]) -> Result<()> {
    for hierarchy in hierarchies()? {
        let folder = hierarchy.join(FOLDER);
        if is_version_2() {
            delegate(journal, &hierarchy)?;
        }
        journal.make(&Change::CgroupTree { path: folder.clone() }, || {
            Ok(fs::create_dir_all(&folder)?)
        })?;
        if is_version_2() {
            delegate(journal, &folder)?;
        }
        for node in nodes {
            fs::create_dir_all(folder.join(node))?;
        }
    }
    Ok(())
}

/// Removes what a crashed node's pods left: the next kubelet would try each for seconds before it is ready.
pub fn clear(node: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let folder = hierarchy.join(FOLDER).join(node);
        remove_cgroup_tree(&folder)?;
        fs::create_dir_all(&folder)?;
    }
    Ok(())
}

/// Lets children of `folder` use every controller that a kubelet needs.
fn delegate(journal: &Journal, folder: &Path) -> Result<()> {
    let path = folder.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for controller in CONTROLLERS {
        if enabled.split_whitespace().any(|it| it == controller) {
            continue;
        }
        let change = Change::Setting { path: path.clone(), restore: format!("-{controller}") };
        journal.make(&change, || Ok(fs::write(&path, format!("+{controller}"))?))?;
    }
    Ok(())
}

fn is_version_2() -> bool {
    Path::new(MOUNT).join("cgroup.controllers").exists()
}

/// Version 2 is one hierarchy; version 1 has one folder for each.
fn hierarchies() -> Result<Vec<PathBuf>> {
    if is_version_2() {
        return Ok(vec![PathBuf::from(MOUNT)]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(MOUNT).with_context(|| MOUNT.to_owned())? {
        let path = entry?.path();
        // `cpu` and `cpuacct` are often links to one folder of both names.
        if path.is_dir() && !path.is_symlink() {
            found.push(path);
        }
    }
    if found.is_empty() {
        bail!("there are no cgroups in {MOUNT}");
    }
    Ok(found)
}
