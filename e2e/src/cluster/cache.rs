//! Where the harness keeps what it builds and what it runs.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

/// Names another folder for everything below.
pub const CACHE_VARIABLE: &str = "RECKON_E2E_CACHE";

/// A node hides these folders of the machine behind its own: nothing it must see may lie in them.
const HIDDEN_IN_NODES: [&str; 3] = ["/run", "/var/lib", "/var/log"];

/// The harness's folder: built binaries by content, and the one cluster that may run.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$RECKON_E2E_CACHE`, else `reckon/e2e` in `$XDG_CACHE_HOME` or `~/.cache`. Made if absent.
    pub fn locate() -> Result<Self> {
        let root = if let Some(named) = env::var_os(CACHE_VARIABLE).filter(|it| !it.is_empty()) {
            PathBuf::from(named)
        } else if let Some(base) = env::var_os("XDG_CACHE_HOME").filter(|it| !it.is_empty()) {
            Path::new(&base).join("reckon/e2e")
        } else {
            let home = env::home_dir().context("no home folder; set RECKON_E2E_CACHE")?;
            home.join(".cache/reckon/e2e")
        };
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        let root = root.canonicalize()?;
        if let Some(hidden) = HIDDEN_IN_NODES.iter().find(|hidden| root.starts_with(hidden)) {
            bail!("{} lies in {hidden}: name another folder in {CACHE_VARIABLE}", root.display());
        }
        Ok(Self { root })
    }

    /// Where binaries built from inputs with this digest lie.
    #[must_use]
    pub fn binaries(&self, digest: &str) -> PathBuf {
        self.root.join("bin").join(digest)
    }

    /// Everything of the running cluster.
    #[must_use]
    pub fn cluster(&self) -> PathBuf {
        self.root.join("cluster")
    }

    /// The logs of the last cluster that was taken down.
    #[must_use]
    pub fn last_logs(&self) -> PathBuf {
        self.root.join("last-logs")
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What a store on loopback keeps.
    #[must_use]
    pub fn loopback(&self) -> PathBuf {
        self.root.join("loopback")
    }

    /// Waits until no other process uses the cluster, then keeps others out until dropped. `waiting` is called once
    /// if there is anything to wait for. The kernel frees the lock of a process that died.
    pub fn lock(&self, waiting: impl FnOnce()) -> Result<Lock> {
        let file = File::create(self.root.join("lock"))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            waiting();
            flock(&file, FlockOperation::LockExclusive)?;
        }
        Ok(Lock { _file: file })
    }
}

/// The right to change the cluster.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}
