//! Whether a cluster can be made on this machine, and if not, why, in one line.

use std::path::Path;

use anyhow::Result;

use super::{binaries::Binaries, cache::Cache, cgroups, network};
use crate::{command::run, progress::Progress};

/// The oldest Go that can fetch the newer one which the module asks for.
const GO_MINOR_MIN: u32 = 21;

/// A program or header, and the Debian package that has it.
struct Needed {
    /// A name on the `PATH`, or an absolute path.
    what: &'static str,
    package: &'static str,
    /// Only to build the binaries.
    to_build: bool,
}

const NEEDED: [Needed; 7] = [
    Needed { what: "ip", package: "iproute2", to_build: false },
    Needed { what: "nft", package: "nftables", to_build: false },
    Needed { what: "nsenter", package: "util-linux", to_build: false },
    Needed { what: "unshare", package: "util-linux", to_build: false },
    Needed { what: "gcc", package: "gcc", to_build: true },
    Needed { what: "pkg-config", package: "pkg-config", to_build: true },
    Needed { what: "/usr/include/seccomp.h", package: "libseccomp-dev", to_build: true },
];

/// Why there can be no cluster here; nothing if there can. Installs Debian packages that are missing.
pub fn unmet(cache: &Cache, progress: Progress) -> Result<Option<String>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Some("a cluster of its own needs root (or name another by --context)".into()));
    }
    let cached = Binaries::are_cached(cache)?;
    if let Some(reason) = without_packages(cached, progress) {
        return Ok(Some(reason));
    }
    if let Some(reason) = (!cached).then(without_go).flatten() {
        return Ok(Some(reason));
    }
    if let Err(error) =
        run("unshare", &["--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "true"])
    {
        return Ok(Some(format!("no namespaces can be made here: {error:#}")));
    }
    if let Some(reason) = cgroups::missing() {
        return Ok(Some(reason));
    }
    network::conflict()
}

fn without_packages(cached: bool, progress: Progress) -> Option<String> {
    let missing = || {
        let mut packages: Vec<&str> = NEEDED
            .iter()
            .filter(|needed| (!needed.to_build || !cached) && !is_there(needed.what))
            .map(|needed| needed.package)
            .collect();
        packages.dedup();
        packages
    };
    let packages = missing();
    if packages.is_empty() {
        return None;
    }
    let named = packages.join(" ");
    if !is_there("apt-get") {
        return Some(format!("these packages (by their Debian names) are missing: {named}"));
    }
    progress.say(format_args!("installing {named}"));
    let install = format!(
        "export DEBIAN_FRONTEND=noninteractive; apt-get update -q && \
         apt-get install -q -y --no-install-recommends {named}"
    );
    match run("sh", &["-c", &install]) {
        Ok(_) if missing().is_empty() => None,
        Ok(_) => Some(format!("still missing after their installation: {}", missing().join(" "))),
        Err(error) => Some(format!("{named} cannot be installed: {error:#}")),
    }
}

fn without_go() -> Option<String> {
    let advice = format!("building the cluster needs Go 1.{GO_MINOR_MIN} or later");
    let Ok(version) = run("go", &["env", "GOVERSION"]) else {
        return Some(format!("{advice}, and there is none"));
    };
    let minor = version.trim().strip_prefix("go1.").and_then(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    });
    match minor {
        Some(minor) if minor < GO_MINOR_MIN => Some(format!("{advice}, not {}", version.trim())),
        // A development version names itself otherwise; it may try.
        _ => None,
    }
}

fn is_there(what: &str) -> bool {
    if what.starts_with('/') {
        return Path::new(what).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An ordinary user's shell may leave out where root's programs are.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(what).exists())
}
