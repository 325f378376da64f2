//! The Kubernetes that is worked in: one of our own, or one that a person named. The same calls for both; what only
//! our own can do (crash a node, cut it off) is asked of [`Kubernetes::own`].

use std::{env, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::GroupVersionKind,
};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::{
    cluster::{Cache, Cluster, requirements},
    command::{run_async, run_with_input},
    images::{Programs, workspace},
    progress::{Progress, Size},
    wait::until,
};

/// Names an existing cluster, as a context of the usual kubeconfig.
pub const CONTEXT_VARIABLE: &str = "RECKON_E2E_CONTEXT";

/// Set to `require`, it makes it a failure that there is no Kubernetes.
pub const REQUIRE_VARIABLE: &str = "RECKON_E2E";

/// How many nodes a cluster of our own has: as many as a store with a majority to lose.
pub const NODES: usize = 3;

/// Where nodes of a store take clients.
pub const CLIENT_PORT: u16 = 7430;

/// The label that names a pod's store.
pub const STORE_LABEL: &str = "reckon.dev/store";

/// The namespace of the operator.
pub const OPERATOR_NAMESPACE: &str = "reckon-system";

/// Long enough for an image to be pulled into a foreign cluster.
const HELM_TIMEOUT: &str = "--timeout=180s";

/// A cluster to work in.
#[derive(Debug)]
pub struct Kubernetes {
    access: Access,
    /// Last, so that everything else is gone when it is taken down.
    own: Option<Cluster>,
}

struct Access {
    client: Client,
    kubectl: PathBuf,
    helm: PathBuf,
    /// Flags that name the cluster, for kubectl and for helm.
    kubectl_flags: Vec<String>,
    helm_flags: Vec<String>,
    /// The foreign cluster's name in the kubeconfig.
    context: Option<String>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Access").field("kubectl", &self.kubectl).finish_non_exhaustive()
    }
}

/// What there is to work in.
#[derive(Debug)]
pub enum Found {
    /// A cluster.
    Kubernetes(Box<Kubernetes>),
    /// None, and why, in one line.
    Nothing(String),
}

/// The context that `RECKON_E2E_CONTEXT` names, if any.
#[must_use]
pub fn context_from_environment() -> Option<String> {
    env::var(CONTEXT_VARIABLE).ok().filter(|context| !context.is_empty())
}

/// Why there is no Kubernetes here, if there is none. Makes nothing but missing Debian packages.
pub fn missing(context: Option<&str>, progress: Progress) -> Result<Option<String>> {
    match context {
        Some(_) => Ok(None),
        None => requirements::unmet(&Cache::locate()?, progress),
    }
}

impl Kubernetes {
    /// The named cluster, else one of our own.
    pub async fn open(context: Option<&str>, progress: Progress) -> Result<Found> {
        if let Some(context) = context {
            return Ok(Found::Kubernetes(Box::new(Self::foreign(context).await?)));
        }
        let cache = Cache::locate()?;
        // Before the look at the machine: what an earlier cluster left is no obstacle.
        if Cluster::down(&cache, progress)? {
            progress.say("removed the cluster of an earlier run");
        }
        if let Some(reason) = requirements::unmet(&cache, progress)? {
            return Ok(Found::Nothing(reason));
        }
        let cluster = Cluster::up(&cache, NODES, progress).await?;
        let kubeconfig = format!("--kubeconfig={}", cluster.kubeconfig().display());
        let access = Access {
            client: cluster.client(),
            kubectl: cluster.program("kubectl"),
            helm: cluster.program("helm"),
            kubectl_flags: vec![kubeconfig.clone()],
            helm_flags: vec![kubeconfig],
            context: None,
        };
        Ok(Found::Kubernetes(Box::new(Self { access, own: Some(cluster) })))
    }

    async fn foreign(context: &str) -> Result<Self> {
        let options = KubeConfigOptions { context: Some(context.to_owned()), ..Default::default() };
        let read = Kubeconfig::read().context("there is no kubeconfig")?;
        let config = kube::Config::from_custom_kubeconfig(read, &options).await?;
        let access = Access {
            client: Client::try_from(config)?,
            kubectl: "kubectl".into(),
            helm: "helm".into(),
            kubectl_flags: vec![format!("--context={context}")],
            helm_flags: vec![format!("--kube-context={context}")],
            context: Some(context.to_owned()),
        };
        Ok(Self { access, own: None })
    }

    /// The cluster, if it is one of our own.
    #[must_use]
    pub fn own(&self) -> Option<&Cluster> {
        self.own.as_ref()
    }

    /// The context of a foreign cluster.
    #[must_use]
    pub fn context(&self) -> Option<&str> {
        self.access.context.as_deref()
    }

    /// Leaves a cluster of our own running when this process ends.
    pub fn leave_running(self) {
        if let Some(cluster) = self.own {
            cluster.leave_running();
        }
    }

    /// A client with the rights of the kubeconfig.
    #[must_use]
    pub fn client(&self) -> Client {
        self.access.client.clone()
    }

    /// What a person types before the arguments of `kubectl`.
    #[must_use]
    pub fn kubectl_by_hand(&self) -> String {
        let flags = self.access.kubectl_flags.join(" ");
        format!("{} {flags}", self.access.kubectl.display())
    }

    /// Runs `kubectl`.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::new(&self.access.kubectl);
        run_async(command.args(&self.access.kubectl_flags).args(arguments)).await
    }

    /// Runs `helm`.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::new(&self.access.helm);
        run_async(command.args(&self.access.helm_flags).args(arguments)).await
    }

    /// Applies a manifest; an error has what the API server said.
    pub fn apply(&self, namespace: &str, manifest: &str) -> Result<String> {
        let mut command = Command::new(&self.access.kubectl);
        command.args(&self.access.kubectl_flags).args(["--namespace", namespace]);
        run_with_input(command.args(["apply", "--filename=-"]), manifest)
    }

    /// Builds Reckon's images and gives them to a cluster of our own; a foreign one pulls them itself.
    pub async fn load_images(&self, progress: Progress) -> Result<Option<Programs>> {
        let Some(cluster) = &self.own else {
            progress.say("not our cluster: it must be able to pull Reckon's images itself");
            return Ok(None);
        };
        let programs = Programs::build(progress).await?;
        let folder = tempfile::tempdir()?;
        for image in programs.images(folder.path())? {
            cluster.load(&image.archive).await?;
            progress.say(format_args!("image {}: {}", image.reference, Size(image.size_bytes)));
        }
        Ok(Some(programs))
    }

    /// Installs both charts and waits for the operator. Installing again upgrades.
    pub async fn install(&self, progress: Progress) -> Result<()> {
        let charts = workspace().join("charts");
        for chart in ["reckon-crds", "reckon"] {
            progress.say(format_args!("helm install {chart}"));
            let path = charts.join(chart).display().to_string();
            let namespace = format!("--namespace={OPERATOR_NAMESPACE}");
            self.helm(&[
                "upgrade",
                "--install",
                chart,
                &path,
                &namespace,
                "--create-namespace",
                "--wait",
                HELM_TIMEOUT,
            ])
            .await?;
        }
        Ok(())
    }

    /// An `EventStore` as the API server shows it.
    pub async fn store(&self, namespace: &str, name: &str) -> Result<Value> {
        self.ours("EventStore", "eventstores", namespace, name).await
    }

    /// A `Subscription` as the API server shows it.
    pub async fn subscription(&self, namespace: &str, name: &str) -> Result<Value> {
        self.ours("Subscription", "subscriptions", namespace, name).await
    }

    async fn ours(&self, kind: &str, plural: &str, namespace: &str, name: &str) -> Result<Value> {
        let kind = GroupVersionKind::gvk("reckon.dev", "v1alpha1", kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        let objects: Api<DynamicObject> = Api::namespaced_with(self.client(), namespace, &resource);
        Ok(serde_json::to_value(objects.get(name).await?)?)
    }

    /// Waits until the store is ready with all its members, by the conditions that describe its latest specification.
    pub async fn wait_ready(&self, namespace: &str, name: &str, limit: Duration) -> Result<()> {
        until(&format!("ready store {namespace}/{name}"), limit, || async {
            let store = self.store(namespace, name).await?;
            let wanted = store["spec"]["replicas"].as_u64().unwrap_or_default();
            let all = store["status"]["membersReady"] == format!("{wanted}/{wanted}");
            if is_ready(&store) && all {
                return Ok(Some(()));
            }
            anyhow::bail!("its status is {}", store["status"])
        })
        .await
    }

    /// Waits until the store has the subscription as it is specified, and a sink's pods deliver if it has one.
    pub async fn wait_subscribed(
        &self,
        namespace: &str,
        name: &str,
        limit: Duration,
    ) -> Result<()> {
        until(&format!("ready subscription {namespace}/{name}"), limit, || async {
            let subscription = self.subscription(namespace, name).await?;
            if is_ready(&subscription) {
                return Ok(Some(()));
            }
            anyhow::bail!("its status is {}", subscription["status"])
        })
        .await
    }

    /// The pods of a store, by name.
    pub async fn pods(&self, namespace: &str, store: &str) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client(), namespace);
        let selected = ListParams::default().labels(&format!("{STORE_LABEL}={store}"));
        let mut pods = pods.list(&selected).await?.items;
        pods.sort_by_key(ResourceExt::name_any);
        Ok(pods)
    }

    /// Deletes a pod without waiting for it to stop.
    pub async fn kill_pod(&self, namespace: &str, pod: &str) -> Result<()> {
        self.kubectl(&[
            "--namespace",
            namespace,
            "delete",
            "pod",
            pod,
            "--force",
            "--grace-period=0",
            "--wait=false",
        ])
        .await
        .map(drop)
    }

    /// An address of the store's client Service that this process can reach.
    pub async fn endpoint(&self, namespace: &str, store: &str) -> Result<Endpoint> {
        if self.own.is_none() {
            let selected = ListParams::default().labels(&format!("{STORE_LABEL}={store}"));
            return self.tunnel(namespace, selected).await;
        }
        let services: Api<Service> = Api::namespaced(self.client(), namespace);
        let address = until("client Service", Duration::from_secs(30), || async {
            let service = services.get_opt(store).await?;
            Ok(service.and_then(|service| service.spec?.cluster_ip))
        })
        .await?;
        Ok(Endpoint { address: format!("{address}:{CLIENT_PORT}"), tunnel: None })
    }

    /// An address of one pod that this process can reach.
    pub async fn pod_endpoint(&self, pod: &Pod) -> Result<Endpoint> {
        if self.own.is_some() {
            let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
            let address = address.context("the pod has no address yet")?;
            return Ok(Endpoint { address: format!("{address}:{CLIENT_PORT}"), tunnel: None });
        }
        let selected = ListParams::default().fields(&format!("metadata.name={}", pod.name_any()));
        self.tunnel(&pod.namespace().unwrap_or_default(), selected).await
    }

    /// Listens on loopback and carries each connection to a ready one of these pods through the API server.
    async fn tunnel(&self, namespace: &str, selected: ListParams) -> Result<Endpoint> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?.to_string();
        let pods: Api<Pod> = Api::namespaced(self.client(), namespace);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (pods, selected) = (pods.clone(), selected.clone());
                tokio::spawn(async move {
                    if let Err(error) = carry(connection, &pods, &selected).await {
                        tracing::debug!("a tunnelled connection ended: {error:#}");
                    }
                });
            }
        });
        Ok(Endpoint { address, tunnel: Some(Tunnel(task)) })
    }
}

async fn carry(
    mut connection: tokio::net::TcpStream,
    pods: &Api<Pod>,
    selected: &ListParams,
) -> Result<()> {
    let listed = pods.list(selected).await?;
    let pod = listed.items.iter().find(|pod| pod_is_ready(pod)).context("no pod is ready")?;
    let mut forwarder = pods.portforward(&pod.name_any(), &[CLIENT_PORT]).await?;
    let mut stream = forwarder.take_stream(CLIENT_PORT).context("no stream was opened")?;
    tokio::io::copy_bidirectional(&mut connection, &mut stream).await?;
    Ok(())
}

/// Where a store is reached, for as long as this lives.
#[derive(Debug)]
pub struct Endpoint {
    address: String,
    tunnel: Option<Tunnel>,
}

#[derive(Debug)]
struct Tunnel(tokio::task::JoinHandle<()>);

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Endpoint {
    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether connections are carried through the API server.
    #[must_use]
    pub fn is_tunnelled(&self) -> bool {
        self.tunnel.is_some()
    }
}

/// Whether the conditions of an object say `Ready`, and say it of its latest specification.
#[must_use]
pub fn is_ready(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
        && condition(object, "Ready") == Some("True")
}

/// What a condition of an object says, if it says it of the object's latest specification.
#[must_use]
pub fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a str> {
    let conditions = object["status"]["conditions"].as_array()?;
    let condition = conditions.iter().find(|condition| condition["type"] == type_)?;
    let current = condition["observedGeneration"] == object["metadata"]["generation"];
    condition["status"].as_str().filter(|_| current)
}

/// Whether a pod is ready and not on its way out.
#[must_use]
pub fn pod_is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
