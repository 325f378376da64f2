//! The configuration of the operator: flags, each of which an environment variable may give too.

use std::io::IsTerminal as _;
use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

/// Keeps the event stores of a Kubernetes cluster as their specifications say.
#[derive(Debug, Clone, Parser)]
#[command(name = "reckon-operator", version, about)]
pub struct Config {
    /// Image of the nodes whose store names none
    #[arg(long, env = "RECKON_OPERATOR_NODE_IMAGE", default_value = concat!("reckon.dev/node:", env!("CARGO_PKG_VERSION")))]
    pub node_image: String,

    /// Namespaces to look after; all when none is given
    #[arg(long = "namespace", env = "RECKON_OPERATOR_NAMESPACE", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// Where metrics and probes are served
    #[arg(long, env = "RECKON_OPERATOR_HTTP_LISTEN", default_value = "0.0.0.0:7440")]
    pub http_listen: SocketAddr,

    /// Name of the lease that the replicas of the operator share
    #[arg(long, env = "RECKON_OPERATOR_LEASE_NAME", default_value = "reckon-operator")]
    pub lease_name: String,

    /// Namespace of the lease; the operator's own when absent
    #[arg(long, env = "RECKON_OPERATOR_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// Name of this replica; the host's name, which in Kubernetes is the pod's, when absent
    #[arg(long, env = "RECKON_OPERATOR_IDENTITY")]
    pub identity: Option<String>,

    /// How nodes are reached
    #[arg(long, env = "RECKON_OPERATOR_REACH", value_enum, default_value_t = ReachBy::Auto)]
    pub reach: ReachBy,

    /// How often the numbers in a Subscription's status are refreshed, in seconds
    #[arg(
        long,
        env = "RECKON_OPERATOR_SUBSCRIPTION_REFRESH_S",
        default_value_t = 15,
        value_parser = clap::value_parser!(u64).range(1..=3_600)
    )]
    pub subscription_refresh_s: u64,

    /// Form of the log
    #[arg(long, env = "RECKON_OPERATOR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What is logged, as a filter of `tracing`
    #[arg(
        long,
        env = "RECKON_OPERATOR_LOG",
        default_value = "info,kube_client=warn,kube_runtime=warn"
    )]
    pub log: String,
}

/// How nodes are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReachBy {
    /// By address inside the cluster, through the API server outside
    Auto,
    /// By the addresses of their pods
    Address,
    /// By port-forward through the API server
    PortForward,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// A JSON object per line
    Json,
}

impl Config {
    /// Starts logging to standard error.
    pub fn start_logging(&self) -> Result<(), tracing_subscriber::util::TryInitError> {
        use tracing_subscriber::util::SubscriberInitExt as _;
        let filter = tracing_subscriber::EnvFilter::new(&self.log);
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => builder.finish().try_init(),
            LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
        }
    }

    /// Who this replica is among those that share the lease.
    pub fn identity(&self) -> String {
        self.identity
            .clone()
            .or_else(|| std::env::var("HOSTNAME").ok())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| format!("reckon-operator-{}", std::process::id()))
    }
}
