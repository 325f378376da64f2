//! Three nodes as ordinary processes on loopback, which form a store without an operator: for machines where no cluster
//! can be made.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    cluster::{Cache, Processes},
    images::Programs,
    progress::Progress,
};

const NODES: usize = 3;

/// Each node listens for clients, peers and HTTP.
const PORTS_PER_NODE: usize = 3;

/// The nodes, while they run. Dropping it kills them and deletes their data, unless they were told to stay.
#[derive(Debug)]
pub struct Loopback {
    cache: Cache,
    folder: PathBuf,
    programs: Programs,
    processes: Processes,
    ports: Vec<u16>,
    stays: bool,
}

impl Loopback {
    /// Starts the nodes over empty folders.
    pub async fn start(cache: &Cache, progress: Progress) -> Result<Self> {
        let programs = Programs::build(progress).await?;
        let folder = cache.loopback();
        fs::create_dir_all(&folder)?;
        let loopback = Self {
            cache: cache.clone(),
            processes: Processes::of(&folder),
            folder,
            programs,
            ports: free_ports(NODES * PORTS_PER_NODE)?,
            stays: false,
        };
        for number in 0..NODES {
            loopback.start_node(number)?;
        }
        Ok(loopback)
    }

    /// Kills what an earlier run left and deletes it; tells whether there was anything.
    pub fn remove(cache: &Cache) -> Result<bool> {
        let folder = cache.loopback();
        if !folder.exists() {
            return Ok(false);
        }
        Processes::of(&folder).kill_all()?;
        fs::remove_dir_all(&folder)?;
        Ok(true)
    }

    /// Leaves the nodes running when this process ends.
    pub fn leave_running(mut self) {
        self.stays = true;
    }

    /// Where clients reach the nodes.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        (0..NODES).map(|number| self.address(number, 0)).collect()
    }

    /// A program, to be called by hand.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.path(name).map_or_else(|_| name.into(), Path::to_owned)
    }

    /// Kills a node, as the kernel would: nothing is said, nothing is flushed.
    pub fn kill(&self, node: &str) -> Result<()> {
        self.processes.kill(node)
    }

    /// Starts a killed node again over its data.
    pub fn restart(&self, node: &str) -> Result<()> {
        let number = (0..NODES).find(|number| name(*number) == node);
        self.start_node(number.with_context(|| format!("there is no node {node}"))?)
    }

    fn start_node(&self, number: usize) -> Result<()> {
        let peers: Vec<String> = (0..NODES).map(|other| self.address(other, 1)).collect();
        let name = name(number);
        let mut command = Command::new(self.programs.path("reckon-node")?);
        command
            .arg("run")
            .args(["--name", &name])
            .arg("--data-dir")
            .arg(self.folder.join(&name))
            .args(["--listen-client", &self.address(number, 0)])
            .args(["--listen-peer", &self.address(number, 1)])
            .args(["--listen-http", &self.address(number, 2)])
            .args(["--set", "formation.mode=expect"])
            .args(["--set", &format!("formation.expect={NODES}")])
            .args(["--set", "discovery.mode=static"])
            .args(["--set", &format!("discovery.static={}", peers.join(","))]);
        self.processes.spawn(&name, &mut command)
    }

    fn address(&self, node: usize, port: usize) -> String {
        format!("127.0.0.1:{}", self.ports[node * PORTS_PER_NODE + port])
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        if let Err(error) = Self::remove(&self.cache) {
            Progress::start().say(format_args!("the nodes are not gone: {error:#}"));
        }
    }
}

fn name(number: usize) -> String {
    format!("node-{number}")
}

/// Ports that nobody listens on now, all different.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let listeners =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<Result<Vec<_>, _>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
