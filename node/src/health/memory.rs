//! How much of the memory that the node may use it does use.
//!
//! In a container the limit is the control group's, of version 2 or 1, and what counts as used is what the kernel
//! would have to take away by force: usage without the file cache that nobody has touched for a while.

use std::fs;
use std::path::Path;

const CGROUP: &str = "/sys/fs/cgroup";
const MEMINFO: &str = "/proc/meminfo";
const KIB: u64 = 1024;

/// Memory in use and memory there is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUsage {
    /// What is in use.
    pub used: u64,
    /// The limit, never zero.
    pub total: u64,
}

impl MemoryUsage {
    /// What the system says now, or `None` if it does not say.
    pub fn now() -> Option<Self> {
        Self::read(Path::new(CGROUP), Path::new(MEMINFO))
    }

    /// The part that is used, from 0.
    #[expect(clippy::cast_precision_loss, reason = "nobody reads the sixteenth digit of a ratio")]
    pub fn ratio(self) -> f64 {
        self.used as f64 / self.total as f64
    }

    fn read(cgroup: &Path, meminfo: &Path) -> Option<Self> {
        let machine = fs::read_to_string(meminfo).ok()?;
        let machine_total = field(&machine, "MemTotal:")? * KIB;
        // A limit of `max` is no number, and a limit above the machine's memory is none.
        let group = GROUP_FILES
            .iter()
            .find_map(|files| files.read(cgroup))
            .filter(|group| group.total > 0 && group.total < machine_total);
        let used = machine_total.checked_sub(field(&machine, "MemAvailable:")? * KIB)?;
        let of_machine = (machine_total > 0).then_some(Self { used, total: machine_total });
        group.or(of_machine)
    }
}

/// Where a version of control groups says what it counts.
struct GroupFiles {
    limit: &'static str,
    used: &'static str,
    stat: &'static str,
    idle_cache: &'static str,
}

const GROUP_FILES: [GroupFiles; 2] = [
    GroupFiles {
        limit: "memory.max",
        used: "memory.current",
        stat: "memory.stat",
        idle_cache: "inactive_file",
    },
    GroupFiles {
        limit: "memory/memory.limit_in_bytes",
        used: "memory/memory.usage_in_bytes",
        stat: "memory/memory.stat",
        idle_cache: "total_inactive_file",
    },
];

impl GroupFiles {
    fn read(&self, cgroup: &Path) -> Option<MemoryUsage> {
        let total = number(&cgroup.join(self.limit))?;
        let used = number(&cgroup.join(self.used))?;
        let stat = fs::read_to_string(cgroup.join(self.stat)).ok()?;
        Some(MemoryUsage { used: used.saturating_sub(field(&stat, self.idle_cache)?), total })
    }
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The number that follows a name in a file of `name number` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(name)).then(|| words.next()?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: &str = "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    250 kB\n";

    fn usage(cgroup: &[(&str, &str)]) -> Option<MemoryUsage> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("memory")).unwrap();
        for (name, text) in cgroup {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let meminfo = folder.path().join("meminfo");
        fs::write(&meminfo, MACHINE).unwrap();
        MemoryUsage::read(folder.path(), &meminfo)
    }

    #[test]
    fn in_a_container_its_limit_counts_and_idle_file_cache_does_not() {
        let found = usage(&[
            ("memory.max", "500000\n"),
            ("memory.current", "300000\n"),
            ("memory.stat", "anon 1\nfile 9\ninactive_file 200000\n"),
        ]);
        assert_eq!(found, Some(MemoryUsage { used: 100_000, total: 500_000 }));
        assert!((found.unwrap().ratio() - 0.2).abs() < 1e-9);
    }

    #[test]
    fn the_first_version_of_control_groups_is_read_too() {
        let found = usage(&[
            ("memory/memory.limit_in_bytes", "400000\n"),
            ("memory/memory.usage_in_bytes", "300000\n"),
            ("memory/memory.stat", "inactive_file 1\ntotal_inactive_file 100000\n"),
        ]);
        assert_eq!(found, Some(MemoryUsage { used: 200_000, total: 400_000 }));
    }

    #[test]
    fn without_a_limit_the_machine_counts() {
        let machine = Some(MemoryUsage { used: 750 * KIB, total: 1000 * KIB });
        assert_eq!(usage(&[]), machine);
        assert_eq!(
            usage(&[
                ("memory.max", "max\n"),
                ("memory.current", "3"),
                ("memory.stat", "inactive_file 1\n")
            ]),
            machine
        );
    }
}
