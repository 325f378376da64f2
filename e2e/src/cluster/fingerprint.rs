//! What a machine looks like from where a cluster could change it. Two of these, from before and after, tell whether a
//! cluster left anything behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::Result;

use crate::command::run;

/// Settings that change by themselves.
const RESTLESS: [&str; 10] = [
    "fs/aio-nr",
    "fs/dentry-state",
    "fs/file-nr",
    "fs/inode-nr",
    "fs/inode-state",
    "fs/quota",
    "kernel/ns_last_pid",
    "kernel/pty/nr",
    "kernel/random",
    "net/netfilter/nf_conntrack_count",
];

/// Where Kubernetes and its parts put files unless told otherwise.
const USUAL_PLACES: [&str; 13] = [
    "/etc/cni",
    "/etc/containerd",
    "/etc/kubernetes",
    "/opt/cni",
    "/opt/containerd",
    "/run/containerd",
    "/run/netns",
    "/tmp/hostpath_pv",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/pods",
];

/// The state of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    parts: BTreeMap<&'static str, BTreeSet<String>>,
    settings: BTreeMap<String, String>,
}

impl Fingerprint {
    /// Of the machine as it is now. `cluster` is the folder whose programs and mark tell the cluster's processes.
    pub fn take(cache: &Path) -> Result<Self> {
        let lines = |text: String| -> BTreeSet<String> {
            text.lines()
                .map(|line| line.trim().to_owned())
                .filter(|line| !line.is_empty())
                .collect()
        };
        let parts = BTreeMap::from([
            ("links", lines(run("ip", &["-oneline", "-brief", "link", "show"])?)),
            ("addresses", lines(run("ip", &["-oneline", "-brief", "address", "show"])?)),
            ("routes", lines(run("ip", &["route", "show", "table", "all"])?)),
            ("routes of IPv6", lines(run("ip", &["-6", "route", "show", "table", "all"])?)),
            ("routing rules", lines(run("ip", &["rule", "show"])?)),
            ("network namespaces", lines(run("ip", &["netns", "list"])?)),
            ("packet filter tables", lines(run("nft", &["list", "tables"])?)),
            ("mounts", mounts()?),
            ("cgroups", cgroups()?),
            ("processes", processes(cache)?),
            ("places", places()),
        ]);
        let mut settings = BTreeMap::new();
        for area in ["fs", "kernel", "net", "user", "vm"] {
            read_settings(&Path::new("/proc/sys").join(area), area, &mut settings);
        }
        Ok(Self { parts, settings })
    }

    /// What `later` has too much or too little, one line for each difference.
    #[must_use]
    pub fn differences(&self, later: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        for (name, before) in &self.parts {
            let after = &later.parts[name];
            differences.extend(after.difference(before).map(|it| format!("{name}: new: {it}")));
            differences.extend(before.difference(after).map(|it| format!("{name}: gone: {it}")));
        }
        for (name, before) in &self.settings {
            // A setting may appear when the kernel loads a module, which nobody can undo safely.
            if let Some(after) = later.settings.get(name).filter(|after| *after != before) {
                differences.push(format!("setting {name}: {before:?} became {after:?}"));
            }
        }
        differences
    }
}

/// Place, type and source; not the numbers, which change when an unrelated mount comes and goes.
fn mounts() -> Result<BTreeSet<String>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(text
        .lines()
        .filter_map(|line| {
            let (own, source) = line.split_once(" - ")?;
            let place = own.split(' ').nth(4)?;
            Some(format!("{place} {}", source.split(' ').take(2).collect::<Vec<_>>().join(" ")))
        })
        .collect())
}

/// The top level, and whatever names this project or a kubelet's pods; below that a machine's services come and go.
fn cgroups() -> Result<BTreeSet<String>> {
    let found = run("find", &["/sys/fs/cgroup", "-type", "d"])?;
    let root = Path::new("/sys/fs/cgroup").components().count();
    Ok(found
        .lines()
        .filter(|line| {
            let depth = Path::new(line).components().count() - root;
            depth <= 1 || line.contains("reckon") || line.contains("kubepods")
        })
        .map(str::to_owned)
        .collect())
}

/// Of the machine's processes those that run the cluster's programs, carry its mark, or live in namespaces of their
/// own; without their numbers.
fn processes(cache: &Path) -> Result<BTreeSet<String>> {
    let own = namespaces("self");
    let cache = cache.display().to_string();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()))
        else {
            continue;
        };
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if command.is_empty() {
            continue; // a thread of the kernel, or one that has ended
        }
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let marked = String::from_utf8_lossy(&environment).contains("RECKON_E2E_PROCESS=");
        let elsewhere = namespaces(pid);
        if marked || command.contains(&cache) || (!elsewhere.is_empty() && elsewhere != own) {
            found.insert(command);
        }
    }
    Ok(found)
}

fn namespaces(pid: &str) -> Vec<String> {
    ["net", "mnt", "pid"]
        .iter()
        .filter_map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok())
        .map(|link| link.display().to_string())
        .collect()
}

fn places() -> BTreeSet<String> {
    USUAL_PLACES.iter().filter(|it| Path::new(it).exists()).map(ToString::to_string).collect()
}

fn read_settings(folder: &Path, name: &str, settings: &mut BTreeMap<String, String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if RESTLESS.contains(&name.as_str()) {
            continue;
        }
        if entry.path().is_dir() {
            read_settings(&entry.path(), &name, settings);
        } else if let Ok(value) = fs::read_to_string(entry.path()) {
            settings.insert(name, value.trim().to_owned());
        }
    }
}
