//! The command line of the node's binary.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::ConfigArgs;

/// The store node of Reckon, a replicated event store.
#[derive(Debug, Parser)]
#[command(name = "reckon-node", version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a node of a replicated store.
    Run(RunArgs),
    /// Runs a store of one node on loopback, for development and embedding.
    Dev(DevArgs),
}

/// Runs a node with the given configuration.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Runs a single node on loopback that forms its own store.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Where the store keeps its data.
    #[arg(long, default_value = "reckon-data")]
    pub data: PathBuf,
    /// The first of three ports on loopback: clients, then peers, then HTTP.
    #[arg(long, default_value_t = 7430)]
    pub port: u16,
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl DevArgs {
    /// A store of one: the node expects only itself, and listens on loopback alone.
    pub fn into_config_args(self) -> ConfigArgs {
        let address = |offset: u16| format!("127.0.0.1:{}", self.port.saturating_add(offset));
        let mut args = self.config;
        let own = [
            ("node.name", "dev".to_owned()),
            ("node.data_dir", self.data.display().to_string()),
            ("listen.client", address(0)),
            ("listen.peer", address(1)),
            ("listen.http", address(2)),
            ("advertise.client", address(0)),
            ("advertise.peer", address(1)),
            ("formation.mode", "expect".to_owned()),
            ("formation.expect", "1".to_owned()),
            ("discovery.mode", "static".to_owned()),
            ("discovery.static", format!("[\"{}\"]", address(1))),
        ];
        // What the caller set himself stands behind these and wins.
        let own = own.map(|(path, value)| format!("{path}={value}"));
        args.set.splice(0..0, own);
        args
    }
}
