//! The flags that set configuration: one generic, and short ones for what is set most.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::layers::{Layers, Override};
use super::{Config, ConfigError};

/// Where the configuration comes from, and what to do with it other than run.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// The configuration file, YAML.
    #[arg(long, value_name = "FILE", env = "RECKON_CONFIG")]
    pub config: Option<PathBuf>,
    /// Sets one value by its path, such as `raft.heartbeat_ms=100`; repeatable, the last one wins. A list is
    /// written as `a,b` or `["a","b"]`.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// The name of the node (`node.name`).
    #[arg(long)]
    pub name: Option<String>,
    /// The folder that holds the node's data (`node.data_dir`).
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// The address for clients (`listen.client`).
    #[arg(long, value_name = "IP:PORT")]
    pub listen_client: Option<SocketAddr>,
    /// The address for peers (`listen.peer`).
    #[arg(long, value_name = "IP:PORT")]
    pub listen_peer: Option<SocketAddr>,
    /// The address for metrics and probes (`listen.http`).
    #[arg(long, value_name = "IP:PORT")]
    pub listen_http: Option<SocketAddr>,
    /// The lowest level that is logged (`logging.level`).
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// The form of log lines, text or json (`logging.format`).
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Prints the effective configuration as YAML and ends.
    #[arg(long)]
    pub dump_config: bool,
    /// Prints the JSON Schema of the configuration and ends.
    #[arg(long)]
    pub print_config_schema: bool,
}

impl ConfigArgs {
    /// What the flags set, in the order in which it counts: a flag of its own beats `--set`.
    pub(super) fn overrides(&self) -> Result<Vec<Override>, ConfigError> {
        let mut overrides = Vec::new();
        for text in &self.set {
            let (path, value) = text
                .split_once('=')
                .ok_or_else(|| ConfigError::MalformedSet { text: text.clone() })?;
            overrides.push(Override {
                origin: format!("--set {path}"),
                path: path.trim().to_owned(),
                value: value.to_owned(),
            });
        }
        let flags = [
            ("--name", "node.name", self.name.clone()),
            (
                "--data-dir",
                "node.data_dir",
                self.data_dir.as_ref().map(|dir| dir.display().to_string()),
            ),
            (
                "--listen-client",
                "listen.client",
                self.listen_client.map(|address| address.to_string()),
            ),
            ("--listen-peer", "listen.peer", self.listen_peer.map(|address| address.to_string())),
            ("--listen-http", "listen.http", self.listen_http.map(|address| address.to_string())),
            ("--log-level", "logging.level", self.log_level.clone()),
            ("--log-format", "logging.format", self.log_format.clone()),
        ];
        for (flag, path, value) in flags {
            if let Some(value) = value {
                overrides.push(Override { origin: flag.to_owned(), path: path.to_owned(), value });
            }
        }
        Ok(overrides)
    }
}

impl Config {
    /// The configuration of this process: defaults, the file, the environment, and these flags.
    pub fn load(args: &ConfigArgs) -> Result<Self, ConfigError> {
        let file = match &args.config {
            None => None,
            Some(path) => {
                let name = path.display().to_string();
                match std::fs::read_to_string(path) {
                    Ok(text) => Some((name, text)),
                    Err(source) => return Err(ConfigError::Unreadable { file: name, source }),
                }
            }
        };
        // A variable that is not Unicode cannot be one of ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let mut config = Layers { file, environment, flags: args.overrides()? }.merge()?;
        if config.node.name.is_empty() {
            config.node.name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        }
        Ok(config)
    }
}
