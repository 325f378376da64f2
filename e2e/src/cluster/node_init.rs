//! The first process of a node: it mounts the node's own folders over the machine's, starts containerd, kubelet and
//! kube-proxy, starts again what ends, and reaps what is orphaned. It runs in the node's namespaces and has no runtime:
//! PID 1 must wait for children that are not its own, which no other waiter may do beside it.

use std::{
    collections::HashMap,
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::{
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change},
    process::{WaitOptions, wait},
};
use serde::{Deserialize, Serialize};

const POLL: Duration = Duration::from_millis(50);
const RESTART_DELAY: Duration = Duration::from_secs(1);
const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// Settings of the whole machine that a kubelet insists on and would write: it is shown files that already say so.
const KUBELET_SETTINGS: [(&str, &str); 6] = [
    ("kernel/keys/root_maxbytes", "25000000"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
];

/// What a node is started with.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Boot {
    /// The node's name.
    pub hostname: String,
    /// Becomes the node's `/var/lib`.
    pub lib: PathBuf,
    /// Becomes the node's `/var/log`.
    pub log: PathBuf,
    /// Where all programs are.
    pub binaries: PathBuf,
    /// Archives loaded before the kubelet starts.
    pub images: PathBuf,
    /// The file that says that the API server is ready.
    pub api_ready: PathBuf,
    /// containerd's configuration.
    pub containerd_config: PathBuf,
    /// The kubelet's arguments.
    pub kubelet: Vec<String>,
    /// kube-proxy's arguments.
    pub proxy: Vec<String>,
    /// Where the programs' output goes.
    pub logs: PathBuf,
}

/// A program that is started again when it ends.
struct Service {
    name: &'static str,
    arguments: Vec<String>,
}

/// Boots the node and never returns but with an error.
pub fn run(boot: &Path) -> Result<Infallible> {
    if std::process::id() != 1 {
        bail!("only PID 1 of a namespace may boot a node");
    }
    let boot: Boot = serde_json::from_slice(&fs::read(boot)?)?;
    rustix::system::sethostname(boot.hostname.as_bytes())?;
    mount_own_folders(&boot)?;

    let mut running = HashMap::new();
    let config = boot.containerd_config.display();
    let containerd = Service { name: "containerd", arguments: vec![format!("--config={config}")] };
    start(&boot, containerd, &mut running)?;
    while !Path::new(CONTAINERD_SOCKET).exists() {
        thread::sleep(POLL);
    }
    load_images(&boot)?;
    while !boot.api_ready.exists() {
        thread::sleep(POLL);
    }
    start(&boot, Service { name: "kubelet", arguments: boot.kubelet.clone() }, &mut running)?;
    start(&boot, Service { name: "kube-proxy", arguments: boot.proxy.clone() }, &mut running)?;
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => {
                if let Some(service) = running.remove(&pid.as_raw_pid()) {
                    log_line(&format!("{} ended: {status:?}", service.name));
                    thread::sleep(RESTART_DELAY);
                    start(&boot, service, &mut running)?;
                }
            }
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for children"),
        }
    }
}

fn mount_own_folders(boot: &Boot) -> Result<()> {
    // `unshare` made every mount private. Shared among the node's own processes, as kubelets expect; the machine's
    // mounts are in another peer group and see nothing of it.
    mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)?;
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).context("cannot mount /run")?;
    fs::create_dir_all("/run/lock")?;
    mount_bind(&boot.lib, "/var/lib").context("cannot mount /var/lib")?;
    mount_bind(&boot.log, "/var/log").context("cannot mount /var/log")?;
    for (setting, value) in KUBELET_SETTINGS {
        let shown = Path::new("/run/settings").join(setting);
        fs::create_dir_all(shown.parent().expect("it lies in a folder"))?;
        fs::write(&shown, format!("{value}\n"))?;
        mount_bind(&shown, Path::new("/proc/sys").join(setting))
            .with_context(|| format!("cannot cover {setting}"))?;
    }
    Ok(())
}

fn load_images(boot: &Boot) -> Result<()> {
    for entry in fs::read_dir(&boot.images)? {
        let archive = entry?.path();
        let status = Command::new(boot.binaries.join("ctr"))
            .args(["--namespace=k8s.io", "images", "import", "--local"])
            .arg(&archive)
            .stdin(Stdio::null())
            .status()?;
        if !status.success() {
            bail!("cannot load {}", archive.display());
        }
    }
    Ok(())
}

fn start(boot: &Boot, service: Service, running: &mut HashMap<i32, Service>) -> Result<()> {
    let log = boot.logs.join(format!("{}-{}.log", boot.hostname, service.name));
    let output = fs::File::options().create(true).append(true).open(log)?;
    let path = std::env::var("PATH").unwrap_or_default();
    let child = Command::new(boot.binaries.join(service.name))
        .args(&service.arguments)
        // containerd finds its shim there, the shim runc.
        .env("PATH", format!("{}:{path}", boot.binaries.display()))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("cannot start {}", service.name))?;
    running.insert(i32::try_from(child.id())?, service);
    Ok(())
}

/// The node's standard error is its log.
fn log_line(line: &str) {
    use std::io::Write;
    drop(writeln!(std::io::stderr(), "{line}"));
}
