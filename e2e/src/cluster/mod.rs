//! A real Kubernetes on one Linux machine: a control plane of ordinary processes, and nodes in namespaces of their own,
//! each with its own kubelet, containerd and kube-proxy, all built from source. Everything it changes on the machine is
//! written down first and undone afterwards. Knows nothing of Reckon.

mod binaries;
mod cache;
mod cgroups;
mod control_plane;
mod credentials;
pub mod fingerprint;
mod guardian;
mod journal;
mod network;
mod node;
mod node_init;
mod process;
mod provisioner;
pub mod requirements;
pub mod roles;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Node as KubernetesNode, ServiceAccount};
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};

pub use self::{
    binaries::Binaries,
    cache::{CACHE_VARIABLE, Cache},
    node::Node,
    process::Processes,
};
use self::{
    cache::Lock,
    control_plane::{Parts, dns_health, objects, proxy_health},
    credentials::Credentials,
    guardian::Guardian,
    journal::Journal,
    network::GATEWAY,
};
use crate::{
    command::{run_async, run_with_input},
    oci::Image,
    progress::Progress,
    wait::{answers_ok, until},
};

/// How long each step of starting may take on a busy machine.
const STEP_LIMIT: Duration = Duration::from_mins(2);

/// Each kubelet and containerd watches many files; Linux allows a user 128 watchers by default.
const INOTIFY_INSTANCES_MIN: u64 = 8192;

/// How much of a failed component's log an error shows.
const LOG_LINES_SHOWN: usize = 12;

/// A running cluster. Dropping it takes it down, unless it was told to stay.
pub struct Cluster {
    cache: Cache,
    parts: Parts,
    nodes: Vec<Node>,
    client: Client,
    guardian: Option<Guardian>,
    _lock: Lock,
}

impl Cluster {
    /// Makes a cluster of `count` nodes, after removing whatever an earlier run left. When it fails, what was made is
    /// taken down again.
    pub async fn up(cache: &Cache, count: usize, progress: Progress) -> Result<Self> {
        let networks = network::nodes(count)?;
        let lock = Self::reserve(cache, progress)?;
        Self::remove(cache)?;
        let binaries = Binaries::ensure(cache, progress).await?;
        let guardian = Guardian::start()?;
        let folder = cache.cluster();
        let parts = Parts {
            credentials: Credentials::of(&folder),
            processes: Processes::of(&folder),
            binaries,
            folder,
        };
        let nodes: Vec<Node> =
            networks.into_iter().map(|network| Node::new(network, parts.clone())).collect();
        match boot(&parts, &nodes, progress).await {
            Ok(client) => {
                let cache = cache.clone();
                Ok(Self { cache, parts, nodes, client, guardian: Some(guardian), _lock: lock })
            }
            Err(error) => {
                let error = error.context(complaints(&parts));
                Self::remove(cache)?;
                guardian.dismiss();
                Err(error)
            }
        }
    }

    fn reserve(cache: &Cache, progress: Progress) -> Result<Lock> {
        cache.lock(|| progress.say("waiting for another run of the cluster to end"))
    }

    /// Takes down whatever cluster there is, also what is left of one.
    pub fn down(cache: &Cache, progress: Progress) -> Result<bool> {
        let _lock = Self::reserve(cache, progress)?;
        let found = cache.cluster().exists();
        Self::remove(cache)?;
        Ok(found)
    }

    /// Kills, undoes and deletes. The caller holds the lock.
    fn remove(cache: &Cache) -> Result<()> {
        let folder = cache.cluster();
        Processes::of(&folder).kill_all()?;
        Journal::new(journal_path(&folder)).undo()?;
        if folder.exists() {
            // Logs outlive the cluster, for whoever asks why it failed.
            let kept = cache.last_logs();
            if folder.join("log").exists() {
                if kept.exists() {
                    fs::remove_dir_all(&kept)?;
                }
                fs::rename(folder.join("log"), &kept)?;
            }
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot delete {}", folder.display()))?;
        }
        Ok(())
    }

    /// Leaves the cluster running when this process ends.
    pub fn leave_running(mut self) {
        if let Some(guardian) = self.guardian.take() {
            guardian.dismiss();
        }
    }

    /// A client with all rights.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The kubeconfig of the user with all rights.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.parts.credentials.kubeconfig("admin")
    }

    /// A program that was built with the cluster, such as `kubectl` or `helm`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.parts.binaries.path(name)
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes
            .iter()
            .find(|node| node.name() == name)
            .with_context(|| format!("there is no node {name}"))
    }

    /// Gives every node the images of an OCI archive.
    pub async fn load(&self, archive: &Path) -> Result<()> {
        futures::future::try_join_all(self.nodes.iter().map(|node| node.load(archive))).await?;
        Ok(())
    }

    /// Moves all pods off a node, as far as disruption budgets allow within `limit`, and keeps new ones away.
    pub async fn drain(&self, node: &str, limit: Duration) -> Result<()> {
        let limit = format!("--timeout={}s", limit.as_secs());
        self.kubectl(&["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", &limit])
            .await
            .map(drop)
    }

    /// Lets pods come to a node again.
    pub async fn uncordon(&self, node: &str) -> Result<()> {
        self.kubectl(&["uncordon", node]).await.map(drop)
    }

    /// Waits until Kubernetes calls the node ready, or no longer.
    pub async fn wait_node(&self, node: &str, ready: bool, limit: Duration) -> Result<()> {
        let nodes: Api<KubernetesNode> = Api::all(self.client());
        let what = format!("node {node} {}", if ready { "ready" } else { "lost" });
        until(&what, limit, || async {
            Ok((is_ready(&nodes.get(node).await?) == ready).then_some(()))
        })
        .await
    }

    async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::new(self.program("kubectl"));
        run_async(command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments)).await
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Cluster")
            .field("folder", &self.parts.folder)
            .finish_non_exhaustive()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Some(guardian) = self.guardian.take() else { return };
        match Self::remove(&self.cache) {
            Ok(()) => guardian.dismiss(),
            // The guardian tries again once this process has freed the lock.
            Err(error) => Progress::start().say(format_args!("the cluster is not down: {error:#}")),
        }
    }
}

fn journal_path(cluster: &Path) -> PathBuf {
    cluster.join("journal")
}

async fn boot(parts: &Parts, nodes: &[Node], progress: Progress) -> Result<Client> {
    progress.say(format_args!("starting a cluster of {} nodes", nodes.len()));
    let folder = &parts.folder;
    fs::create_dir_all(node::images(folder))?;
    fs::create_dir_all(folder.join("log"))?;
    let journal = Journal::new(journal_path(folder));
    let networks: Vec<_> = nodes.iter().map(|node| node.network().clone()).collect();
    network::raise(&journal, "fs/inotify/max_user_instances", INOTIFY_INSTANCES_MIN)?;
    network::lay(&journal, &networks)?;
    cgroups::make(&journal, &nodes.iter().map(Node::name).collect::<Vec<_>>())?;
    parts.credentials.make(&networks)?;
    parts.start_api()?;

    Image {
        reference: node::PAUSE_IMAGE.into(),
        files: vec![(parts.binaries.path("pause"), "pause".into())],
        entrypoint: vec!["/pause".into()],
        user: "65535:65535".into(),
    }
    .write(&node::images(folder).join("pause.tar"))?;
    // Nodes boot as far as they can while the API server starts.
    for node in nodes {
        node.configure()?;
        node.start()?;
    }

    let kubeconfig = parts.credentials.kubeconfig("admin");
    let client = until("API server", STEP_LIMIT, || async {
        if !parts.processes.alive("kube-apiserver") {
            bail!("the API server has ended");
        }
        let client = connect(&kubeconfig, None).await?;
        let ready = client.request_text(http::Request::get("/readyz").body(Vec::new())?).await?;
        Ok((ready == "ok").then_some(client))
    })
    .await?;
    fs::write(node::api_ready(folder), "")?;
    parts.start_controllers()?;
    parts.start_gateway(nodes[0].name())?;
    let mut kubectl = std::process::Command::new(parts.binaries.path("kubectl"));
    kubectl.arg("--kubeconfig").arg(&kubeconfig).args(["create", "--filename=-"]);
    run_with_input(&mut kubectl, &objects().to_string())?;
    parts.start_dns()?;
    progress.say("API server ready");

    let registered: Api<KubernetesNode> = Api::all(client.clone());
    until("ready nodes", STEP_LIMIT, || async {
        let listed = registered.list(&ListParams::default()).await?;
        Ok((listed.items.iter().filter(|node| is_ready(node)).count() == nodes.len()).then_some(()))
    })
    .await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    until("default service account", STEP_LIMIT, || async {
        Ok(accounts.get_opt("default").await?)
    })
    .await?;
    until("names", STEP_LIMIT, || async { Ok(answers_ok(dns_health(), "/ready").then_some(())) })
        .await?;
    for address in networks.iter().map(|it| it.address).chain([GATEWAY]) {
        until("service addresses", STEP_LIMIT, || async move {
            Ok(answers_ok(proxy_health(address), "/healthz").then_some(()))
        })
        .await?;
    }
    progress.say(format_args!("{} nodes ready", nodes.len()));
    Ok(client)
}

/// A client for the cluster of a kubeconfig, in one of its contexts.
pub async fn connect(kubeconfig: &Path, context: Option<&str>) -> Result<Client> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..Default::default() };
    let read = Kubeconfig::read_from(kubeconfig)?;
    Ok(Client::try_from(Config::from_custom_kubeconfig(read, &options).await?)?)
}

fn is_ready(node: &KubernetesNode) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True")
    })
}

/// The ends of the logs of components that have ended: usually the reason why a cluster did not come up.
fn complaints(parts: &Parts) -> String {
    let mut text = String::from("the cluster did not come up");
    for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "coredns"] {
        let log = fs::read_to_string(parts.processes.log(name)).unwrap_or_default();
        if !log.is_empty() && !parts.processes.alive(name) {
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            text += "\n";
            text += name;
            text += " has ended:\n";
            text += &shown.join("\n");
        }
    }
    text
}
