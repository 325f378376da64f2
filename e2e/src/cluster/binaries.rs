//! Builds Kubernetes and what it needs from the pinned Go module in `e2e/cluster`, once for each content of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::interval,
};

use super::cache::Cache;
use crate::{
    command::run,
    oci::sha256_hex,
    progress::{Progress, REMINDER_INTERVAL},
};

/// The version of Kubernetes in `cluster/go.mod`, as its binaries must name themselves: charts check it.
const KUBERNETES_VERSION: &str = "v1.36.3";
const KUBERNETES_MAJOR: &str = "1";
const KUBERNETES_MINOR: &str = "36";
const CONTAINERD_VERSION: &str = "v2.3.7";
const HELM_VERSION: &str = "v3.22.0";

/// Needs C, for the moment between two namespaces where no Go runtime may run.
const RUNC: &str = "github.com/opencontainers/runc";

/// Without this tag runc cannot apply the seccomp profile that every pod gets by default.
const RUNC_TAGS: &str = "seccomp";

/// The folder of built binaries.
#[derive(Clone, Debug)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// The binaries for this source tree: those in the cache, else built now. Minutes when cold.
    pub async fn ensure(cache: &Cache, progress: Progress) -> Result<Self> {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster");
        let folder = cache.binaries(&digest(&module)?);
        if !folder.exists() {
            let parent = folder.parent().expect("named inside the cache");
            fs::create_dir_all(parent)?;
            // Built beside and renamed when whole: an interrupted build is never taken for a result.
            let partial = tempfile::Builder::new().prefix(".partial-").tempdir_in(parent)?;
            build(&module, partial.path(), progress).await?;
            fs::rename(partial.path(), &folder)?;
            progress.say(format_args!("built into {}", folder.display()));
        }
        Ok(Self { folder })
    }

    /// Whether nothing would have to be built.
    pub fn are_cached(cache: &Cache) -> Result<bool> {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster");
        Ok(cache.binaries(&digest(&module)?).exists())
    }

    /// The folder itself, for a `PATH` or a plugin search.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// One binary.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn linker_flags() -> String {
    let version = "k8s.io/component-base/version";
    let helm = "helm.sh/helm/v3";
    [
        format!("-X {version}.gitVersion={KUBERNETES_VERSION}"),
        format!("-X {version}.gitMajor={KUBERNETES_MAJOR}"),
        format!("-X {version}.gitMinor={KUBERNETES_MINOR}"),
        format!("-X {version}.gitTreeState=archive"),
        format!("-X github.com/containerd/containerd/v2/version.Version={CONTAINERD_VERSION}"),
        format!("-X {helm}/internal/version.version={HELM_VERSION}"),
        format!("-X {helm}/pkg/chartutil.k8sVersionMajor={KUBERNETES_MAJOR}"),
        format!("-X {helm}/pkg/chartutil.k8sVersionMinor={KUBERNETES_MINOR}"),
    ]
    .join(" ")
}

/// Of everything that decides what is built.
fn digest(module: &Path) -> Result<String> {
    let mut content = linker_flags();
    content.push_str(RUNC_TAGS);
    content.push_str(std::env::consts::ARCH);
    for file in ["go.mod", "go.sum", "cmd/coredns/main.go", "cmd/pause/main.go"] {
        let path = module.join(file);
        content.push_str(
            &fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?,
        );
    }
    Ok(sha256_hex(content.as_bytes())[..16].to_owned())
}

async fn build(module: &Path, output: &Path, progress: Progress) -> Result<()> {
    progress.say(format_args!(
        "building Kubernetes {KUBERNETES_VERSION}, containerd, runc, etcd, CoreDNS and Helm from source (minutes, once)"
    ));
    let tools = run("go", &["-C", &module.to_string_lossy(), "list", "tool"])?;
    let tools = tools.lines().filter(|tool| *tool != RUNC);

    let mut pure = go(module);
    pure.env("CGO_ENABLED", "0")
        .args(["build", "-v", "-trimpath", "-buildvcs=false"])
        .arg(format!("-ldflags=-s -w {}", linker_flags()))
        .arg(format!("-o={}/", output.display()))
        .args(tools)
        .arg("./cmd/...");
    compile(&mut pure, "Kubernetes", progress).await?;
    // Go names a binary after the last part of its package's path that is no version.
    fs::rename(output.join("server"), output.join("etcd"))?;

    let mut runc = go(module);
    runc.env("CGO_ENABLED", "1")
        .args(["build", "-v", "-trimpath", "-buildvcs=false", "-tags", RUNC_TAGS])
        .arg("-ldflags=-s -w")
        .arg(format!("-o={}", output.join("runc").display()))
        .arg(RUNC);
    compile(&mut runc, "runc", progress).await
}

fn go(module: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(module).env("GOFLAGS", "-mod=readonly").env("GOWORK", "off");
    command
}

/// Runs a verbose `go build`, which prints a line for each package it compiles, and counts the lines.
async fn compile(command: &mut Command, what: &str, progress: Progress) -> Result<()> {
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run go")?;
    let mut lines = BufReader::new(child.stderr.take().expect("it was asked for")).lines();
    let mut packages = 0_u64;
    let mut recent: Vec<String> = Vec::new();
    let mut reminder = interval(REMINDER_INTERVAL);
    reminder.tick().await;
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                Some(line) => {
                    packages += 1;
                    recent.push(line);
                    let excess = recent.len().saturating_sub(20);
                    recent.drain(..excess);
                }
                None => break,
            },
            _ = reminder.tick() => progress.say(format_args!(
                "  still building {what}: {packages} packages in {} s",
                begun.elapsed().as_secs(),
            )),
        }
    }
    if !child.wait().await?.success() {
        bail!("building {what} failed:\n{}", recent.join("\n"));
    }
    Ok(())
}
