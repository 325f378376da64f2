//! Reckon's own images: static release binaries, one layer, nothing else in them. The same content as the Dockerfile's.
//! Beside them the image of a service that sinks deliver to, for tests.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::process::Command;

use crate::{command::run, oci::Image, progress::Progress};

/// The version of everything in this repository.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Nobody in particular: the images have no list of users, and pods may demand that it is not root.
const USER: &str = "65532:65532";

/// An image that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// Repository and tag.
    pub reference: String,
    /// The archive.
    pub archive: PathBuf,
    /// Uncompressed, in bytes.
    pub size_bytes: u64,
}

/// The static binaries, by name.
#[derive(Clone, Debug)]
pub struct Programs {
    paths: HashMap<String, PathBuf>,
}

/// What the names of variables start with by which cargo tells a program about its own package.
const DESCRIBES_CALLER: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];

impl Programs {
    /// Builds them, or finds that nothing has changed.
    pub async fn build(progress: Progress) -> Result<Self> {
        progress.say("building Reckon (release, static)");
        let host = run("rustc", &["-vV"])?;
        let host = host.lines().find_map(|line| line.strip_prefix("host: "));
        let host = host.context("rustc does not say what it builds for")?;
        let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", host.to_uppercase().replace('-', "_"));
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .current_dir(workspace())
            .env(flags, "-C target-feature=+crt-static")
            .args(["build", "--release", "--bins", "--message-format=json-render-diagnostics"])
            // With a target of its own, flags do not reach build scripts and macros, which must not be static.
            .args(["--target", host])
            .args(["--package=reckon-node", "--package=reckon-operator", "--package=reckon-cli"])
            .arg("--package=reckon-e2e-receiver")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // What cargo says of its progress is for the person who waits.
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        // The cargo that runs this program describes it to itself. Build scripts that watch these variables would
        // be run again, and all that depends on them be built again, at each change of who calls.
        for (name, _) in std::env::vars_os() {
            let told = name.to_string_lossy();
            if DESCRIBES_CALLER.iter().any(|prefix| told.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        let output = command.spawn().context("cannot run cargo")?.wait_with_output().await?;
        if !output.status.success() {
            bail!("building Reckon failed");
        }
        let mut paths = HashMap::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
            if let (Some(name), Some(path)) =
                (message["target"]["name"].as_str(), message["executable"].as_str())
            {
                paths.insert(name.to_owned(), PathBuf::from(path));
            }
        }
        Ok(Self { paths })
    }

    /// One of them.
    pub fn path(&self, name: &str) -> Result<&Path> {
        self.paths.get(name).map(PathBuf::as_path).with_context(|| format!("cargo built no {name}"))
    }

    /// Writes the images of node and operator into `folder`.
    pub fn images(&self, folder: &Path) -> Result<Vec<Built>> {
        [("node", &["reckon-node", "reckon"][..]), ("operator", &["reckon-operator"])]
            .into_iter()
            .map(|(name, programs)| self.image(folder, name, programs))
            .collect()
    }

    /// Writes the image of the service that sinks deliver to into `folder`.
    pub fn receiver_image(&self, folder: &Path) -> Result<Built> {
        self.image(folder, "receiver", &["receiver"])
    }

    /// An image of these programs, of which a container runs the first.
    fn image(&self, folder: &Path, name: &str, programs: &[&str]) -> Result<Built> {
        std::fs::create_dir_all(folder)?;
        let reference = format!("reckon.dev/{name}:{VERSION}");
        let archive = folder.join(format!("{name}.tar"));
        let mut files = Vec::new();
        for program in programs {
            files.push((self.path(program)?.to_owned(), (*program).to_owned()));
        }
        let image = Image {
            reference: reference.clone(),
            files,
            entrypoint: vec![format!("/{}", programs[0])],
            user: USER.into(),
        };
        let size_bytes = image.write(&archive)?;
        Ok(Built { reference, archive, size_bytes })
    }
}

/// The top of the repository.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the workspace")
}
