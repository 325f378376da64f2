//! The control plane: processes of this machine that listen on the bridge's address alone.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    binaries::Binaries,
    credentials::Credentials,
    network::{DNS, GATEWAY, HOST, PODS, SERVICES, gateway_namespace},
    process::Processes,
    roles,
};

/// Where the API server listens.
pub const API_URL: &str = "https://172.30.0.1:6443";

/// The class that [`super::provisioner`] serves.
pub const STORAGE_CLASS: &str = "local";
/// The provisioner's name in that class.
pub const PROVISIONER: &str = "reckon.dev/local";

/// The domain below which Services have names.
pub const CLUSTER_DOMAIN: &str = "cluster.local";
const DNS_READY_PORT: u16 = 8181;
const PROXY_HEALTH_PORT: u16 = 10256;

/// What all parts of a cluster are started from.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The cluster's folder.
    pub folder: PathBuf,
    /// What is run.
    pub binaries: Binaries,
    /// Who may speak to whom.
    pub credentials: Credentials,
    /// What runs.
    pub processes: Processes,
}

impl Parts {
    fn spawn(&self, name: &str, arguments: &[String]) -> Result<()> {
        self.processes.spawn(name, Command::new(self.binaries.path(name)).args(arguments))
    }

    /// Starts etcd and the API server.
    pub fn start_api(&self) -> Result<()> {
        let client_url = format!("http://{HOST}:2379");
        let peer_url = format!("http://{HOST}:2380");
        self.spawn(
            "etcd",
            &[
                format!("--data-dir={}", self.folder.join("etcd").display()),
                // A cluster that is thrown away need not survive a loss of power.
                "--unsafe-no-fsync".into(),
                "--log-level=warn".into(),
                format!("--listen-client-urls={client_url}"),
                format!("--advertise-client-urls={client_url}"),
                format!("--listen-peer-urls={peer_url}"),
                format!("--initial-advertise-peer-urls={peer_url}"),
                format!("--initial-cluster=default={peer_url}"),
            ],
        )?;
        let credentials = &self.credentials;
        self.spawn(
            "kube-apiserver",
            &[
                format!("--etcd-servers={client_url}"),
                format!("--bind-address={HOST}"),
                format!("--advertise-address={HOST}"),
                "--secure-port=6443".into(),
                format!("--cert-dir={}", credentials.server_folder().display()),
                format!("--service-cluster-ip-range={SERVICES}"),
                "--authorization-mode=Node,RBAC".into(),
                "--enable-admission-plugins=NodeRestriction".into(),
                format!("--token-auth-file={}", credentials.tokens().display()),
                "--allow-privileged".into(),
                format!("--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}"),
                format!("--service-account-key-file={}", credentials.verifying_key().display()),
                format!(
                    "--service-account-signing-key-file={}",
                    credentials.signing_key().display()
                ),
                // Nodes' names are not in any DNS.
                "--kubelet-preferred-address-types=InternalIP".into(),
                // Minutes by default: too long for a test of a lost node.
                "--default-not-ready-toleration-seconds=10".into(),
                "--default-unreachable-toleration-seconds=10".into(),
            ],
        )
    }

    /// Starts the controllers, once the API server is ready.
    pub fn start_controllers(&self) -> Result<()> {
        let credentials = &self.credentials;
        self.spawn(
            "kube-controller-manager",
            &[
                format!("--kubeconfig={}", credentials.kubeconfig("controller-manager").display()),
                format!("--bind-address={HOST}"),
                "--leader-elect=false".into(),
                format!(
                    "--service-account-private-key-file={}",
                    credentials.signing_key().display()
                ),
                format!("--root-ca-file={}", credentials.server_certificate().display()),
                "--use-service-account-credentials".into(),
                // Each controller fetches a token of its own at the start; at the default rate that takes seconds.
                "--kube-api-qps=300".into(),
                "--kube-api-burst=600".into(),
                format!("--flex-volume-plugin-dir={}", self.folder.join("flex").display()),
                "--node-monitor-period=2s".into(),
                "--node-monitor-grace-period=16s".into(),
            ],
        )?;
        self.spawn(
            "kube-scheduler",
            &[
                format!("--kubeconfig={}", credentials.kubeconfig("scheduler").display()),
                format!("--bind-address={HOST}"),
                "--leader-elect=false".into(),
            ],
        )?;
        self.processes.spawn("provisioner", &mut roles::provisioner(self)?)
    }

    /// Starts the kube-proxy through which the machine reaches Services. It speaks in the name of `node`: kube-proxy
    /// waits for a node that does not exist.
    pub fn start_gateway(&self, node: &str) -> Result<()> {
        let config = self.folder.join("gateway-proxy.json");
        write_json(&config, &proxy_configuration(&self.credentials, node, &GATEWAY.to_string()))?;
        self.processes.spawn(
            "gateway",
            Command::new("nsenter")
                .arg(format!("--net=/run/netns/{}", gateway_namespace()))
                .arg(self.binaries.path("kube-proxy"))
                .arg(format!("--config={}", config.display())),
        )
    }

    /// Starts the DNS server, after [`objects`] are there: it backs off when its first request is refused.
    pub fn start_dns(&self) -> Result<()> {
        let corefile = self.folder.join("Corefile");
        let kubeconfig = self.credentials.kubeconfig("dns");
        fs::write(
            &corefile,
            format!(
                ".:53 {{
                bind {HOST}
                errors
                ready {HOST}:{DNS_READY_PORT}
                kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
                    kubeconfig {}
                    pods insecure
                    ttl 1
                }}
                loadbalance
            }}\n",
                kubeconfig.display(),
            ),
        )?;
        self.spawn("coredns", &[format!("-conf={}", corefile.display())])
    }
}

/// Where the DNS server says whether it is ready (`/ready`).
#[must_use]
pub fn dns_health() -> SocketAddr {
    SocketAddr::from((HOST, DNS_READY_PORT))
}

/// Where a kube-proxy says whether it has done its first round (`/healthz`).
#[must_use]
pub fn proxy_health(address: std::net::Ipv4Addr) -> SocketAddr {
    SocketAddr::from((address, PROXY_HEALTH_PORT))
}

/// kube-proxy's configuration, for a node or the gateway.
#[must_use]
pub fn proxy_configuration(credentials: &Credentials, node: &str, address: &str) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": node,
        "bindAddress": address,
        "healthzBindAddress": format!("0.0.0.0:{PROXY_HEALTH_PORT}"),
        "clusterCIDR": PODS,
        "clientConnection": { "kubeconfig": credentials.kubeconfig("proxy") },
        // Zero leaves the machine's settings alone.
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
        "nftables": { "minSyncPeriod": "0s", "syncPeriod": "30s" },
    })
}

/// Objects every cluster has: names for pods, and node-local volumes.
#[must_use]
pub fn objects() -> Value {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": "system:coredns" },
        "rules": [
            { "apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"] },
            { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"] },
        ],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": "system:coredns" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns" }],
    });
    // The server runs beside the cluster, so that names survive the loss of any node: hence no selector.
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "kube-dns", "namespace": "kube-system" },
        "spec": { "clusterIP": DNS, "ports": [
            { "name": "dns", "port": 53, "protocol": "UDP" },
            { "name": "dns-tcp", "port": 53, "protocol": "TCP" },
        ]},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns-host",
            "namespace": "kube-system",
            "labels": { "kubernetes.io/service-name": "kube-dns" },
        },
        "addressType": "IPv4",
        "ports": [
            { "name": "dns", "port": 53, "protocol": "UDP" },
            { "name": "dns-tcp", "port": 53, "protocol": "TCP" },
        ],
        "endpoints": [{ "addresses": [HOST], "conditions": { "ready": true } }],
    });
    let class = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
        },
        "provisioner": PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [role, binding, service, slice, class] })
}

/// Writes a component's configuration: JSON is YAML.
pub fn write_json(path: &Path, content: &Value) -> Result<()> {
    Ok(fs::write(path, serde_json::to_vec_pretty(content)?)?)
}
