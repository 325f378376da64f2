//! One node: what its kubelet, containerd and network plugins are told, and its power switch.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    cgroups,
    control_plane::{CLUSTER_DOMAIN, Parts, proxy_configuration, write_json},
    network::{DNS, HOST, NodeNetwork},
    node_init::Boot,
    roles,
};
use crate::command::{run, run_async};

/// The image that holds a pod's namespaces open.
pub const PAUSE_IMAGE: &str = "reckon.dev/pause:1";

/// A node of the cluster.
#[derive(Clone, Debug)]
pub struct Node {
    network: NodeNetwork,
    parts: Parts,
}

impl Node {
    /// The node with these addresses.
    #[must_use]
    pub fn new(network: NodeNetwork, parts: Parts) -> Self {
        Self { network, parts }
    }

    /// Its name in Kubernetes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.network.name
    }

    /// Its addresses.
    #[must_use]
    pub fn network(&self) -> &NodeNetwork {
        &self.network
    }

    fn folder(&self) -> PathBuf {
        folder(&self.parts.folder, self.name())
    }

    /// Writes what the node's programs read.
    pub fn configure(&self) -> Result<()> {
        let folder = self.folder();
        for part in ["lib", "log", "cni", "volumes"] {
            fs::create_dir_all(folder.join(part))?;
        }
        fs::write(folder.join("resolv.conf"), format!("nameserver {HOST}\n"))?;
        write_json(&folder.join("cni/10-pods.conflist"), &self.cni())?;
        fs::write(folder.join("containerd.toml"), self.containerd())?;
        write_json(&folder.join("kubelet.json"), &self.kubelet())?;
        let address = self.network.address.to_string();
        let proxy = proxy_configuration(&self.parts.credentials, self.name(), &address);
        write_json(&folder.join("proxy.json"), &proxy)?;
        write_json(&folder.join("boot.json"), &serde_json::to_value(self.boot())?)
    }

    /// Switches the node on. Its disk is what it was.
    pub fn start(&self) -> Result<()> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.network.namespace()))
            // When `unshare` is killed the kernel kills the node's first process, and with it all others.
            .args(["unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--mount-proc"])
            .args(["--kill-child", "--"])
            .args(roles::node(&self.folder().join("boot.json"))?);
        self.parts.processes.spawn(self.name(), &mut command)
    }

    /// Cuts the power: every process of the node ends at once, nothing is flushed but by the machine's own kernel.
    pub fn crash(&self) -> Result<()> {
        self.parts.processes.kill(self.name())?;
        cgroups::clear(self.name())
    }

    /// Pulls the network plug.
    pub fn cut(&self) -> Result<()> {
        self.network.cut()
    }

    /// Puts the network plug back in.
    pub fn heal(&self) -> Result<()> {
        self.network.heal()
    }

    /// A command that runs on the machine, but in the node's network.
    #[must_use]
    pub fn command(&self, program: &Path) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.network.namespace())).arg(program);
        command
    }

    /// Gives the node the images of an OCI archive.
    pub async fn load(&self, archive: &Path) -> Result<()> {
        let init = self.parts.processes.init_of(self.name())?;
        let mut command = tokio::process::Command::new("nsenter");
        command
            .arg(format!("--target={}", init.as_raw_pid()))
            .arg("--mount")
            .arg(self.parts.binaries.path("ctr"))
            .args(["--namespace=k8s.io", "images", "import", "--local"])
            .arg(archive);
        run_async(&mut command)
            .await
            .with_context(|| format!("{} cannot load {}", self.name(), archive.display()))?;
        Ok(())
    }

    /// What the kernel counts as used by a container of the node, in bytes, without what it could drop at once.
    pub fn container_memory(&self, pod_uid: &str, container: &str) -> Result<u64> {
        let find = format!(
            "find /sys/fs/cgroup -type d -path '*{}/*{pod_uid}*/{container}'",
            cgroups::root_of(self.name())
        );
        let found = run("sh", &["-c", &find])?;
        for folder in found.lines().map(Path::new) {
            for (usage, inactive) in [
                ("memory.usage_in_bytes", "total_inactive_file "),
                ("memory.current", "inactive_file "),
            ] {
                let Ok(used) = fs::read_to_string(folder.join(usage)) else { continue };
                let used: u64 = used.trim().parse()?;
                let statistics = fs::read_to_string(folder.join("memory.stat"))?;
                let inactive = statistics
                    .lines()
                    .find_map(|line| line.strip_prefix(inactive)?.trim().parse().ok())
                    .unwrap_or(0);
                return Ok(used.saturating_sub(inactive));
            }
        }
        anyhow::bail!("{} has no container {container}", self.name())
    }

    fn boot(&self) -> Boot {
        let folder = self.folder();
        let kubelet = format!("--config={}", folder.join("kubelet.json").display());
        let kubeconfig = self.parts.credentials.kubeconfig(self.name());
        Boot {
            hostname: self.name().to_owned(),
            lib: folder.join("lib"),
            log: folder.join("log"),
            binaries: self.parts.binaries.folder().to_owned(),
            images: images(&self.parts.folder),
            api_ready: api_ready(&self.parts.folder),
            containerd_config: folder.join("containerd.toml"),
            kubelet: vec![
                kubelet,
                format!("--kubeconfig={}", kubeconfig.display()),
                format!("--hostname-override={}", self.name()),
                format!("--node-ip={}", self.network.address),
            ],
            proxy: vec![format!("--config={}", folder.join("proxy.json").display())],
            logs: self.parts.folder.join("log"),
        }
    }

    fn cni(&self) -> serde_json::Value {
        json!({
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isDefaultGateway": true,
                    "hairpinMode": true,
                    "ipam": { "type": "host-local", "ranges": [[{ "subnet": self.network.pods }]] },
                },
                { "type": "portmap", "capabilities": { "portMappings": true }, "backend": "nftables" },
            ],
        })
    }

    fn containerd(&self) -> String {
        let binaries = self.parts.binaries.folder().display();
        let cni = self.folder().join("cni");
        // `restrict_oom_score_adj`: where root may not protect a process from the kernel's memory killer, no pod
        // would start. AppArmor's profiles would have to be loaded into the machine's kernel.
        format!(
            "version = 3
root = '/var/lib/containerd'
state = '/run/containerd'
imports = []
disabled_plugins = [
  'io.containerd.nri.v1.nri',
  'io.containerd.snapshotter.v1.blockfile',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.erofs',
  'io.containerd.snapshotter.v1.zfs',
  'io.containerd.tracing.processor.v1.otlp',
]
[grpc]
address = '/run/containerd/containerd.sock'
[plugins.'io.containerd.internal.v1.opt']
path = '/var/lib/containerd/opt'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{PAUSE_IMAGE}'
[plugins.'io.containerd.cri.v1.runtime']
disable_apparmor = true
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['{binaries}']
conf_dir = '{cni}'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = '{binaries}/runc'
SystemdCgroup = false
",
            cni = cni.display(),
        )
    }

    fn kubelet(&self) -> serde_json::Value {
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.network.address,
            "failCgroupV1": false,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": cgroups::root_of(self.name()),
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            // Only this machine and its pods reach the address.
            "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
            "authorization": { "mode": "AlwaysAllow" },
            "clusterDomain": CLUSTER_DOMAIN,
            "clusterDNS": [DNS],
            "resolvConf": self.folder().join("resolv.conf"),
            "failSwapOn": false,
            "healthzBindAddress": "127.0.0.1",
            // The disk is the machine's: its fill level is not the cluster's business.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
                "nodefs.inodesFree": "1%",
            },
            // A lost node is noticed after 16 s; the lease must be renewed well within that.
            "nodeStatusUpdateFrequency": "4s",
            "nodeLeaseDurationSeconds": 12,
            "volumePluginDir": "/var/lib/kubelet/flex",
        })
    }
}

/// A node's own folder in the cluster's.
#[must_use]
pub fn folder(cluster: &Path, node: &str) -> PathBuf {
    cluster.join("nodes").join(node)
}

/// The images every node has from its first start.
#[must_use]
pub fn images(cluster: &Path) -> PathBuf {
    cluster.join("images")
}

/// Nodes wait for this file before their kubelets start: one that finds no API server backs off for seconds.
#[must_use]
pub fn api_ready(cluster: &Path) -> PathBuf {
    cluster.join("api-ready")
}
